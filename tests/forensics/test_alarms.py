"""Does every alarm stand as people left it, found by a few digits, and verified like a round?"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from recorded_walk import Walk, record_walk
from said_alarms import FIELDS, raise_alarm
from speaking import ALICE, Owned, owned

from forensics.alarms import (
    Speaker,
    acknowledge,
    find_alarm,
    last_model,
    list_alarms,
    silence_alarm,
    silence_detector,
)
from forensics.verify import verify_case
from roundlog.case import Case
from roundlog.encoding import encode_frame
from roundlog.errors import QuestionError
from roundlog.log.segments import list_segments, scan_heads
from roundlog.recorder import Recorder

ROUNDS = 20
RUN = "walk"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return record_walk(tmp_path_factory.mktemp("walk") / "case", rounds=ROUNDS, seed=3)


@pytest.fixture
def path(original: Walk, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original.path, tmp_path / "case"))


def states(one: Owned) -> list[tuple[int, str]]:
    return [(row["round"], row["state"]) for row in list_alarms(one.store, RUN)]


def test_an_alarm_is_raised_until_somebody_answers_for_it(path: Path) -> None:
    with owned(path, RUN) as one:
        for round_ in (12, 7):
            raise_alarm(one.log, RUN, round=round_)
        assert states(one) == [(7, "raised"), (12, "raised")]
        key = list_alarms(one.store)[0]["key"]
        event = acknowledge(one.store, one.log, key, ALICE)
        assert (event.alarm, event.said_at, event.actor) == (key, ROUNDS, "alice")
        assert states(one) == [(7, "acknowledged"), (12, "raised")]
        acknowledge(one.store, one.log, key, Speaker("bob", "local", "me too"))
        row = find_alarm(one.store, key)
        assert (row["acknowledged_by"], row["acknowledged_note"]) == ("alice", "seen")


def test_an_alarm_comes_back_with_what_it_claims(path: Path) -> None:
    with owned(path, RUN) as one:
        said = raise_alarm(one.log, RUN)
        row = find_alarm(one.store, said.key)
    for name in ("detector", "version", "chart", "direction", "score", "threshold", "evidence"):
        assert row[name] == FIELDS[name]
    assert row["budget"] == {"alarms": 0.1, "rounds": 100_000, "charts": 4}
    assert row["event"] == "walk/owner/0"


def test_a_few_digits_of_a_key_are_enough_where_they_mean_one(path: Path) -> None:
    with owned(path, RUN) as one:
        keys = [raise_alarm(one.log, RUN, round=t).key for t in range(20)]
        short = keys[0][:12]
        assert find_alarm(one.store, short)["key"] == keys[0]
        assert find_alarm(one.store, short, RUN)["key"] == keys[0]
        with pytest.raises(QuestionError, match="no alarm has a key that begins with 'zz'"):
            find_alarm(one.store, "zz")
        with pytest.raises(QuestionError, match="no alarm has"):
            find_alarm(one.store, short, "another run")
        with pytest.raises(QuestionError, match="20 alarms have keys that begin with ''"):
            find_alarm(one.store, "")


def test_an_alarm_rests_until_the_run_has_come_to_a_round(path: Path) -> None:
    with owned(path, RUN) as one:
        key = raise_alarm(one.log, RUN).key
        event = silence_alarm(one.store, one.log, key[:8], ALICE, rounds=3)
        assert (event.from_round, event.until_round) == (ROUNDS, ROUNDS + 3)
        assert states(one) == [(12, "silenced")]
        assert list_alarms(one.store)[0]["silenced_until"] == ROUNDS + 3
    for last, state in ((ROUNDS + 2, "silenced"), (ROUNDS + 3, "raised")):
        _record_on(path, last)
        with owned(path, RUN) as one:
            assert states(one) == [(12, state)], f"as the run stands at round {last}"


def _record_on(path: Path, last: int) -> None:
    """Further rounds, up to this one."""
    with owned(path, RUN) as one:
        first, schema = one.models.last, one.models.schema
        model = one.models.model(first)
    with Recorder(path, run=RUN, on_error="raise") as recorder:
        recorder.genesis(schema, model, architecture="none", round=first)
        for t in range(first, last + 1):
            recorder.commit(model, round=t, cohort_size=1)


def test_a_detector_rests_for_the_alarms_of_its_rounds_alone(path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"round": 4},
        {"round": 5},
        {"round": 8},
        {"round": 9},
        {"round": 6, "detector": "glr"},
        {"round": 7, "direction_name": "another", "direction": None},
    ]
    with owned(path, RUN) as one:
        for changes in others:
            raise_alarm(one.log, RUN, **changes)
        silence_detector(
            one.store, one.log, RUN, "cusum", ALICE, direction="suspect", start=5, until=9
        )
        assert [t for t, state in states(one) if state == "silenced"] == [5, 8]
        silence_detector(one.store, one.log, RUN, "cusum", ALICE, start=7, rounds=1)
        assert [t for t, state in states(one) if state == "silenced"] == [5, 7, 8]
        later = silence_detector(one.store, one.log, RUN, "glr", ALICE, rounds=5)
        assert (later.from_round, later.until_round) == (ROUNDS, ROUNDS + 5)
        assert (6, "raised") in states(one)


def test_an_answered_alarm_stays_answered_under_a_silence(path: Path) -> None:
    with owned(path, RUN) as one:
        key = raise_alarm(one.log, RUN).key
        acknowledge(one.store, one.log, key, ALICE)
        silence_alarm(one.store, one.log, key, Speaker("bob", "local"), until=ROUNDS + 9)
        (row,) = list_alarms(one.store)
    assert (row["state"], row["acknowledged_by"], row["silenced_by"]) == (
        "acknowledged",
        "alice",
        "bob",
    )


@pytest.mark.parametrize(
    ("how_long", "message"),
    [
        ({}, "say how long"),
        ({"rounds": 5, "until": 30}, "one of the two"),
        ({"until": ROUNDS}, "holds for no round"),
    ],
)
def test_a_silence_of_no_round_is_refused(
    path: Path, how_long: dict[str, Any], message: str
) -> None:
    with owned(path, RUN) as one:
        key = raise_alarm(one.log, RUN).key
        with pytest.raises(QuestionError, match=message):
            silence_alarm(one.store, one.log, key, ALICE, **how_long)
        with pytest.raises(QuestionError, match=message):
            silence_detector(one.store, one.log, RUN, "cusum", ALICE, **how_long)
        assert states(one) == [(12, "raised")]


def test_alarms_of_another_run_are_another_matter(path: Path) -> None:
    record_walk(path, rounds=5, seed=4, run="other")
    with owned(path, RUN) as one:
        here, there = (raise_alarm(one.log, run) for run in (RUN, "other"))
        assert here.key != there.key
        silence_detector(one.store, one.log, "other", "cusum", ALICE, start=0, rounds=50)
        assert [row["state"] for row in list_alarms(one.store)] == ["silenced", "raised"]
        assert states(one) == [(12, "raised")]
        assert [last_model(one.store, run) for run in (RUN, "other")] == [ROUNDS, 5]


def said_and_sealed(path: Path) -> Case:
    """A case in which an alarm was raised and acknowledged, between two others."""
    with owned(path, RUN) as one:
        keys = [raise_alarm(one.log, RUN, round=t).key for t in (5, 12, 13)]
        acknowledge(one.store, one.log, keys[1], ALICE)
    return Case(path)


def test_what_was_said_is_verified_with_the_run(path: Path) -> None:
    verdict = verify_case(said_and_sealed(path), RUN)
    assert verdict.ok, verdict.findings
    assert verdict.rounds == ROUNDS
    assert verdict.events == ROUNDS + 6 + 4


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (b'"score":5.5', b'"score":1.5', {"broken_chain", "bad_seal"}),
        (b'"actor":"alice"', b'"actor":"malice"', {"bad_seal"}),
        (b'"round":12', b'"round":11', {"bad_head", "gap", "bad_seal"}),
    ],
)
def test_an_altered_alarm_is_found(path: Path, old: bytes, new: bytes, kinds: set[str]) -> None:
    case = said_and_sealed(path)
    (segment,) = list_segments(case.segments / RUN / "owner")
    altered = b""
    for stored in scan_heads(segment.heads.read_bytes()):
        assert stored.frame is not None
        altered += encode_frame(type(stored.frame)(stored.frame.head.replace(old, new)))
    assert altered != segment.heads.read_bytes()
    segment.heads.write_bytes(altered)
    findings = verify_case(case).findings
    assert {one.kind for one in findings} == kinds
    assert {one.run for one in findings} == {RUN}
    assert {Path(one.file or "").parent.name for one in findings} == {"owner"}
