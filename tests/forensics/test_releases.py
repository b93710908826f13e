"""Is a release what a person says of a model that the record holds, and nothing else?"""

import shutil
from pathlib import Path

import pytest
from recorded_walk import SCHEMA, Walk, record_walk
from speaking import ALICE, Owned, owned

from forensics.releases import Release, list_releases, record_release
from forensics.verify import verify_case
from roundlog.errors import QuestionError, RoundRangeError
from roundlog.events import ModelReleased
from roundlog.recorder import Recorder

ROUNDS = 20
RUN = "walk"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Twenty rounds; the server itself released model 11 as 1.0."""
    return record_walk(tmp_path_factory.mktemp("walk") / "case", rounds=ROUNDS, seed=3)


@pytest.fixture
def path(original: Walk, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original.path, tmp_path / "case"))


def release(one: Owned, t: int, version: str, shipped_at: int | None = None) -> ModelReleased:
    return record_release(
        one.models, one.store, one.log, t, version, "stable", ALICE, shipped_at=shipped_at
    )


def order(one: Owned) -> list[tuple[str, int, int]]:
    return [(each.version, each.round, each.since) for each in list_releases(one.store, RUN)]


def test_a_release_has_the_digest_that_the_record_names(path: Path, original: Walk) -> None:
    with owned(path, RUN) as one:
        event = release(one, 7, "0.9")
        assert event.digest == SCHEMA.model_digest(SCHEMA.flatten(original.models[7]))
        assert (event.actor, event.authenticated, event.channel) == ("alice", "local", "stable")
        first, second = list_releases(one.store, RUN)
    assert first == Release(
        version="0.9",
        round=7,
        channel="stable",
        digest=event.digest,
        actor="alice",
        since=7,
        in_record=True,
        event="walk/owner/0",
    )
    assert (second.version, second.channel, second.actor) == ("1.0", "production", None)
    assert second.in_record


def test_the_first_and_the_last_model_can_be_released(path: Path) -> None:
    with owned(path, RUN) as one:
        release(one, 0, "0.0")
        release(one, ROUNDS, "2.0")
        assert order(one) == [("0.0", 0, 0), ("1.0", 11, 11), ("2.0", ROUNDS, ROUNDS)]
        assert all(each.in_record for each in list_releases(one.store, RUN))
    assert verify_case(one.case).ok


def test_a_model_outside_the_run_is_not_released(path: Path) -> None:
    with owned(path, RUN) as one:
        with pytest.raises(RoundRangeError, match="there is no model 21"):
            release(one, 21, "2.1")
        with pytest.raises(RoundRangeError, match="there is no model 21"):
            release(one, 3, "2.1", shipped_at=21)
        assert order(one) == [("1.0", 11, 11)]
    assert not (path / "segments" / RUN / "owner").exists()


def test_a_version_names_one_model_for_ever(path: Path) -> None:
    with owned(path, RUN) as one:
        with pytest.raises(QuestionError, match=r"version '1.0' is model 11 already"):
            release(one, 12, "1.0")
        release(one, 11, "1.0")
        assert order(one) == [("1.0", 11, 11), ("1.0", 11, 11)]


def test_a_rollback_stands_where_it_was_shipped(path: Path) -> None:
    with owned(path, RUN) as one:
        release(one, 15, "1.1")
        release(one, 11, "1.0", shipped_at=18)
        release(one, 18, "1.2", shipped_at=18)
        assert order(one) == [("1.0", 11, 11), ("1.1", 15, 15), ("1.0", 11, 18), ("1.2", 18, 18)]
        with pytest.raises(QuestionError, match=r"model 9 was not there yet .* at model 8"):
            release(one, 9, "0.9", shipped_at=8)


def test_a_digest_that_the_record_does_not_know_is_told(path: Path) -> None:
    with Recorder(path, run=RUN, on_error="raise") as recorder:
        recorder.record(ModelReleased, version="odd", round=4, digest="0" * 64)
    with owned(path, RUN) as one:
        odd, _ = list_releases(one.store, RUN)
    assert (odd.version, odd.in_record) == ("odd", False)
