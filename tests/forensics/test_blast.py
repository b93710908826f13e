"""Which release first carried it, which was clean, for how long? Held against a known path."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rising_run import Rising, logistic, record_rising
from speaking import ALICE, Owned, owned

from forensics.blast import BlastRadius, measure_blast
from forensics.floor import Floor
from forensics.probe import Prober
from forensics.releases import record_release
from forensics.timeline import lay_out
from roundlog.errors import QuestionError
from roundlog.events import ModelReleased
from roundlog.recorder import Recorder

ROUNDS = 100
LEVELS = (0.01, 0.1, 0.5, 0.9)
FREE = Floor(value=0.0, decoys=2, patterns_left_out=0, models=20)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("rising") / "case"
    return record_rising(path, logistic(ROUNDS, middle=0.5, width=0.05), seed=8)


@pytest.fixture
def rising(original: Rising, tmp_path: Path) -> Rising:
    path = Path(shutil.copytree(original.path, tmp_path / "case"))
    return Rising(path, original.run, original.document, original.models)


@contextmanager
def shipping(rising: Rising, *releases: tuple[int, str, str, int | None]) -> Iterator[Owned]:
    """The case after (model, version, channel, shipped at) were released."""
    with owned(rising.path, rising.run) as one:
        for t, version, channel, shipped_at in releases:
            record_release(
                one.models, one.store, one.log, t, version, channel, ALICE, shipped_at=shipped_at
            )
        yield one


def blast(
    one: Owned,
    rising: Rising,
    floor: Floor = FREE,
    levels: tuple[float, ...] = LEVELS,
    pushed_from: int | None = None,
) -> BlastRadius:
    prober = Prober(one.models.architecture)
    return measure_blast(one.models, one.store, prober, rising.trigger, levels, floor, pushed_from)


def asr(rising: Rising, one: Owned, t: int) -> float:
    """Attack success of a model, asked by itself."""
    hits = Prober(one.models.architecture).hits(one.models.model(t)[None], rising.trigger.scoring())
    return float(hits.mean())


PLAN = (
    (0, "1.0", "stable", None),
    (20, "1.1", "stable", None),
    (60, "1.2", "beta", None),
    (70, "1.2.1", "stable", None),
    (100, "1.3", "stable", None),
)


def test_every_release_is_asked_and_out_until_the_next_on_its_channel(rising: Rising) -> None:
    with shipping(rising, *PLAN) as one:
        found = blast(one, rising)
        rates = [asr(rising, one, t) for t, *_ in PLAN]
    assert [ship.release.version for ship in found.shipped] == [plan[1] for plan in PLAN]
    assert [doc["asr"] for doc in found.releases()] == rates
    assert rates == sorted(rates)
    assert rates[0] == rates[1] == 0
    assert rates[-1] == 1
    assert [(ship.rounds_out, ship.replaced) for ship in found.shipped] == [
        (20, True),
        (50, True),
        (40, False),
        (30, True),
        (0, False),
    ]
    for ship, rate in zip(found.shipped, rates, strict=True):
        assert ship.levels == tuple(level for level in LEVELS if rate >= level)
        document = ship.document()
        assert document["low"] <= rate <= document["high"]  # type: ignore[operator]


def test_the_first_carrier_of_each_level_and_the_last_clean_release_are_named(
    rising: Rising,
) -> None:
    with shipping(rising, *PLAN) as one:
        found = blast(one, rising)
        expected = {
            level: next(v for t, v, *_ in PLAN if asr(rising, one, t) >= level) for level in LEVELS
        }
        entries = lay_out(one.store, rising.run, found.entries())
    firsts = {each.level: each.first.release.version for each in found.levels if each.first}
    assert firsts == expected
    assert (found.clean_below, found.floor) == (0.01, 0.0)
    assert found.last_clean is not None
    assert found.last_clean.release.version == "1.1"
    # beta 60 to 100 and stable 70 to 100: forty rounds in which one of them was out.
    assert found.levels[0].rounds_out == 40
    assert "1.2 (beta) is the first release at or above 1%" in found.claim()
    assert "3 such releases were out for 40 rounds together" in found.claim()
    assert "the last clean one is 1.1 (stable), success 0.0%" in found.claim()
    told = [(entry.kind, entry.round) for entry in entries]
    assert told.count(("carrier", 60)) >= 1
    assert ("last_clean", 20) in told


def test_a_level_that_decoys_reach_blames_no_release(rising: Rising) -> None:
    floor = Floor(value=0.1, decoys=2, patterns_left_out=0, models=20)
    with shipping(rising, *PLAN) as one:
        found = blast(one, rising, floor)
        all_below = blast(one, rising, Floor(1.0, 2, 0, 20))
    assert [level.status for level in found.levels][:3] == ["below_floor", "below_floor", "carried"]
    assert found.clean_below == 0.5
    assert all(0.1 not in ship.levels for ship in found.shipped)
    assert all_below.clean_below is None
    assert all_below.last_clean is None
    assert "decoys reach every level" in all_below.claim()


def test_where_no_decoy_was_published_the_claim_says_so(rising: Rising) -> None:
    with shipping(rising, *PLAN) as one:
        found = blast(one, rising, Floor(None, 0, 0, 0))
    assert found.clean_below == 0.01
    assert found.claim().endswith("no decoys tell what chance reaches")


def test_what_falls_again_behind_the_first_carrier_is_not_called_clean(tmp_path: Path) -> None:
    strength = np.concatenate([np.zeros(10), np.ones(10), np.zeros(11)])
    rising = record_rising(tmp_path / "case", strength, seed=8)
    plan = ((5, "1", "stable", None), (15, "2", "stable", None), (25, "3", "stable", None))
    with shipping(rising, *plan) as one:
        found = blast(one, rising)
    assert [bool(ship.levels) for ship in found.shipped] == [False, True, False]
    assert found.last_clean is not None
    assert found.last_clean.release.version == "1"
    assert [level.carriers for level in found.levels] == [1, 1, 1, 1]
    assert found.levels[0].rounds_out == 10


def test_a_rollback_ends_what_it_replaces(rising: Rising) -> None:
    plan = ((20, "1.1", "stable", None), (70, "1.2", "stable", None), (20, "1.1", "stable", 90))
    with shipping(rising, *plan) as one:
        found = blast(one, rising)
    outs = [(ship.release.version, ship.release.since, ship.rounds_out) for ship in found.shipped]
    assert outs == [("1.1", 20, 50), ("1.2", 70, 20), ("1.1", 90, 10)]


def test_a_run_whose_releases_are_all_clean_names_the_last_one(rising: Rising) -> None:
    with shipping(rising, *PLAN[:2]) as one:
        found = blast(one, rising)
    assert found.claim() == "none of 2 releases reaches 1%"
    assert found.last_clean is not None
    assert found.last_clean.release.version == "1.1"
    assert [level.status for level in found.levels] == ["never"] * 4
    (entry,) = found.entries()
    assert "is the last release and none reaches 1%" in entry.title


def test_a_run_whose_first_release_carries_it_has_no_clean_one(rising: Rising) -> None:
    with shipping(rising, (80, "1", "stable", None)) as one:
        found = blast(one, rising)
    assert found.last_clean is None
    assert "no release before it is clean" in found.claim()
    assert found.document()["last_clean"] is None


def test_a_release_behind_the_onset_is_not_clean_however_little_it_obeys(rising: Rising) -> None:
    plan = ((10, "1", "stable", None), (20, "2", "stable", None), (80, "3", "stable", None))
    with shipping(rising, *plan) as one:
        unknown, known = blast(one, rising), blast(one, rising, pushed_from=10)
        early = blast(one, rising, pushed_from=5)
    assert unknown.last_clean is not None
    assert unknown.last_clean.release.version == "2"
    assert known.last_clean is not None
    assert known.last_clean.release.version == "1", "the model of the onset itself is untouched"
    assert known.document()["pushed_from"] == 10
    entry = next(line for line in known.entries() if line.kind == "last_clean")
    assert "before round 10, from which on it may have been pushed" in entry.title
    assert early.last_clean is None


def test_without_a_release_nothing_is_claimed(rising: Rising) -> None:
    with shipping(rising) as one:
        found = blast(one, rising)
    assert (found.releases(), found.claim()) == ([], "no release is on record")


def test_a_release_that_is_not_the_record_s_model_is_listed_and_not_judged(rising: Rising) -> None:
    with Recorder(rising.path, run=rising.run, on_error="raise") as recorder:
        recorder.record(ModelReleased, version="theirs", round=90, digest="0" * 64)
    with shipping(rising, (20, "1.1", "stable", None)) as one:
        found = blast(one, rising)
    theirs = found.releases()[1]
    assert (theirs["version"], theirs["in_record"], theirs["asr"]) == ("theirs", False, None)
    assert found.claim() == "none of 1 releases reaches 1%"


def test_a_level_that_is_none_is_refused(rising: Rising) -> None:
    with shipping(rising) as one, pytest.raises(QuestionError, match="is no share of queries"):
        blast(one, rising, levels=(0.5, 1.5))
