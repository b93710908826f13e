"""Are the facts of a run listed in the order of its rounds?"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from recorded_walk import record_walk
from said_alarms import raise_alarm
from speaking import ALICE, owned

from forensics.alarms import Speaker, acknowledge, silence_alarm, silence_detector
from forensics.releases import record_release
from forensics.timeline import as_percent, crossing_entries, lay_out
from roundlog.events import CohortSealed
from roundlog.recorder import Recorder


def test_facts_are_ordered_by_round_and_crossings_lie_among_them(tmp_path: Path) -> None:
    answer: dict[str, object] = {
        "crossings": [
            {
                "level": 0.5,
                "mode": "sustained",
                "round": 17,
                "low": 15,
                "high": 19,
                "exact": False,
                "status": "crossed",
            },
            {"level": 0.9, "mode": "first", "round": None, "status": "never"},
        ]
    }
    with record_walk(tmp_path / "case", rounds=20, seed=4).open() as (_, store, _):
        entries = lay_out(store, "walk", crossing_entries(answer))
    assert [entry.round for entry in entries] == sorted(entry.round for entry in entries)
    told = {entry.kind: (entry.round, entry.title) for entry in entries}
    assert told["release"] == (11, "released as 1.0 (production)")
    assert told["failed"] == (11, "attempt 0 failed: too few devices")
    assert told["audits"] == (11, "1 sampled answers, of models 11 to 11")
    assert told["last_round"] == (19, "last recorded round; the model after it is 20")
    assert told["crossing"][1] == (
        "attack success crosses 50% (sustained, between models 15 and 19)"
    )
    assert told["opened"] == (0, "recording began, by a random walk")


def test_what_was_said_stands_among_the_facts(tmp_path: Path) -> None:
    walk = record_walk(tmp_path / "case", rounds=20, seed=4)
    with owned(walk.path, walk.run) as one:
        key = raise_alarm(one.log, walk.run).key
        acknowledge(one.store, one.log, key, ALICE)
        silence_alarm(one.store, one.log, key, Speaker("bob", "local"), until=90)
        silence_detector(
            one.store, one.log, walk.run, "cusum", Speaker("bob", "local"), start=3, rounds=4
        )
        record_release(one.models, one.store, one.log, 5, "0.5", "stable", ALICE, shipped_at=14)
        told = {(entry.round, entry.kind, entry.title) for entry in lay_out(one.store, walk.run)}
    short = key[:12]
    assert told >= {
        (12, "alarm", f"{short} (cusum): 5.5 against 5, chart k=0.5, along suspect"),
        (20, "acknowledged", f"alarm {short} acknowledged by alice: seen"),
        (20, "silenced", f"alarm {short} silenced until round 90 by bob"),
        (20, "silenced", "cusum silenced for rounds 3 to 6 by bob"),
        (14, "release", "released as 0.5 (stable): model 5, again, says alice"),
        (11, "release", "released as 1.0 (production)"),
    }


@pytest.mark.parametrize(
    ("rounds", "told"),
    [
        (range(100), ["100 cohorts sealed, of rounds 0 to 99 (sampler)"]),
        (
            [*range(5), *range(9, 12)],
            [
                "5 cohorts sealed, of rounds 0 to 4 (sampler)",
                "3 cohorts sealed, of rounds 9 to 11 (sampler)",
            ],
        ),
        (range(0, 40, 2), ["20 cohorts sealed, of rounds 0 to 38 (sampler)"]),
    ],
    ids=["whole", "with a hole", "every second one"],
)
def test_sealed_cohorts_are_told_as_ranges(
    tmp_path: Path, rounds: Iterable[int], told: list[str]
) -> None:
    walk = record_walk(tmp_path / "case", rounds=4, seed=4)
    with Recorder(walk.path, run=walk.run, producer="sampler", on_error="raise") as recorder:
        for t in rounds:
            recorder.record(CohortSealed, round=t, rule="sampler", tails={"sealed": b"box"})
        # A second attempt at a round is the same round.
        recorder.record(CohortSealed, round=0, attempt=1, rule="sampler", tails={"sealed": b"box"})
    with owned(walk.path, walk.run) as one:
        entries = [entry for entry in lay_out(one.store, walk.run) if entry.kind == "cohorts"]
    assert [entry.title for entry in entries] == told


@pytest.mark.parametrize(("share", "shown"), [(0.5, "50%"), (0.07, "7%"), (0.005, "0.5%")])
def test_a_level_is_shown_as_people_say_it(share: float, shown: str) -> None:
    assert as_percent(share) == shown
