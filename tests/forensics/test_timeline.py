"""Are the facts of a run listed in the order of its rounds?"""

from pathlib import Path

from recorded_walk import record_walk

from forensics.timeline import crossing_entries, lay_out


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
