"""Are gaps, late fills, duplicates and second versions told apart, whatever came between?"""

from collections.abc import Callable
from itertools import pairwise

import pytest
from made_log import Maker, write
from table_rows import Rows, all_rows, delete_projection

from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.events import ContinuityBreak, ModelGenesis, RecorderGap
from roundlog.log.port import Entry

Ingest = Callable[[], IngestSummary]


def kinds(rows: Rows) -> list[tuple[str, int | None]]:
    return sorted((row[1], row[4]) for row in rows["findings"])


def in_pieces(case: Case, ingest: Ingest, entries: list[Entry], cuts: list[int]) -> Rows:
    """Rows after ingesting in pieces; they are the same in one piece."""
    for first, stop in pairwise([0, *cuts, len(entries)]):
        write(case, entries[first:stop])
        ingest()
    rows = all_rows(case)
    delete_projection(case)
    ingest()
    assert all_rows(case) == rows
    return rows


def open_gaps(case: Case) -> list[tuple[int, int]]:
    store = Store(case)
    found = store.rows("SELECT first_missing, last_missing FROM open_gaps ORDER BY ALL")
    store.close()
    return [(first, last) for first, last in found]


@pytest.mark.parametrize("cuts", [[], [3], [5], [5, 6], [4, 5, 6, 7]])
def test_a_gap_is_found_and_stays_open(
    case: Case, maker: Maker, ingest: Ingest, cuts: list[int]
) -> None:
    events = maker.opening() + maker.rounds(4)
    rows = in_pieces(case, ingest, events[:5] + events[8:], cuts)
    assert kinds(rows) == [("gap", 8)]
    assert "3 event(s) missing: seq 5 to 7" in rows["findings"][0][6]
    assert [row[2] for row in rows["events"] if row[7] == "gap"] == [8]
    assert open_gaps(case) == [(5, 7)]


def test_missing_first_events_are_a_gap(case: Case, maker: Maker, ingest: Ingest) -> None:
    rows = in_pieces(case, ingest, (maker.opening() + maker.rounds(2))[2:], [])
    assert kinds(rows) == [("gap", 2), ("schema", 2), ("schema", 3), ("schema", 5)]
    assert open_gaps(case) == [(0, 1)]


@pytest.mark.parametrize("cuts", [[], [6], [7], [8], [6, 7, 8, 9]])
def test_a_gap_that_is_filled_late_is_closed(
    case: Case, maker: Maker, ingest: Ingest, cuts: list[int]
) -> None:
    events = maker.opening() + maker.rounds(4)
    late = [*events[:5], events[8], events[6], events[5], events[7], *events[9:]]
    rows = in_pieces(case, ingest, late, cuts)
    assert kinds(rows) == [("gap", 8)]
    assert open_gaps(case) == []
    assert len(rows["events"]) == len(events)
    assert [row[4] for row in rows["rounds"]] == [0, 1, 2, 3]


@pytest.mark.parametrize("cuts", [[], [9], [11], [10, 12]])
def test_an_identical_copy_is_a_duplicate_and_no_finding(
    case: Case, maker: Maker, ingest: Ingest, cuts: list[int]
) -> None:
    events = maker.opening() + maker.rounds(4)
    rows = in_pieces(case, ingest, [*events[:9], *events[2:8], *events[9:]], cuts)
    assert kinds(rows) == []
    assert [row[2] for row in rows["duplicates"]] == [2, 3, 4, 5, 6, 7]
    assert len(rows["events"]) == len(events)


def test_a_late_event_that_comes_twice_is_taken_once(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening() + maker.rounds(4)
    rows = in_pieces(case, ingest, [*events[:5], *events[6:], events[5], events[5], events[4]], [])
    assert [row[2] for row in rows["duplicates"]] == [4, 5]
    assert len(rows["events"]) == len(events)


@pytest.mark.parametrize("cuts", [[], [7], [8], [9]])
def test_other_content_under_a_known_seq_is_an_equivocation(
    case: Case, maker: Maker, ingest: Ingest, cuts: list[int]
) -> None:
    events = maker.opening() + maker.rounds(2)
    other = maker.make(type(events[4].event), tails=None, **_fields(events[4], answer=7))
    again = maker.make(type(events[4].event), tails=None, **_fields(events[4], answer=8))
    rows = in_pieces(case, ingest, [*events, other, again, *maker.rounds(1)], cuts)
    assert kinds(rows) == [("equivocation", 4)]
    assert [(row[1], row[5]) for row in rows["quarantine"]] == [("equivocation", 4)] * 2
    assert [row[7] for row in sorted(rows["audits"], key=lambda row: row[2])] == [3, 3, 3]


def _fields(entry: Entry, **changed: object) -> dict[str, object]:
    event = entry.event
    left_out = {"type", "id", "specversion", "dataschema", "tails", "sha256"}
    fields = {name: getattr(event, name) for name in type(event).model_fields}
    return {k: v for k, v in fields.items() if k not in left_out} | changed


def test_a_head_that_names_another_predecessor_breaks_the_chain(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening()
    maker.prev = "f" * 64
    rows = in_pieces(case, ingest, [*events, maker.commit(), maker.audit()], [])
    assert kinds(rows) == [("broken_chain", 3)]


def test_a_late_event_is_checked_against_both_neighbours(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening() + maker.rounds(3)
    foreign = Maker(seed=9)
    foreign.opening()
    forged = foreign.rounds(2)[2]
    assert forged.event.seq == events[5].event.seq == 5
    rows = in_pieces(case, ingest, [*events[:5], *events[6:], forged], [])
    assert kinds(rows) == [
        ("broken_chain", 5),
        ("broken_chain", 6),
        ("continuity", 5),
        ("continuity", 7),
        ("gap", 6),
    ]


def test_weights_that_moved_between_rounds_are_found(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening() + maker.rounds(2)
    maker.model = maker.model + 1
    rows = in_pieces(case, ingest, events + maker.rounds(2), [7])
    assert kinds(rows) == [("continuity", 7)]
    assert rows["findings"][0][5] == 2


def test_a_round_that_is_left_out_or_comes_again_is_found(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening() + maker.rounds(2)
    maker.round = 5
    ahead = maker.rounds(1)
    maker.round = 1
    rows = in_pieces(case, ingest, events + ahead + maker.rounds(1), [])
    assert kinds(rows) == [("round_gap", 7), ("round_repeated", 9)]
    store = Store(case)
    assert store.rows("SELECT first_missing, last_missing FROM missing_rounds") == [(2, 4)]
    assert store.rows("SELECT seq FROM current_rounds ORDER BY round") == [(3,), (9,), (7,)]
    store.close()


def test_a_break_that_the_recorder_tells_is_found_once(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening() + maker.rounds(2)
    before = maker.schema.model_digest(maker.model)
    maker.model = maker.model + 1
    after = maker.schema.model_digest(maker.model)
    genesis = {"schema_digest": maker.schema.digest, "digest": after}
    weights = {"weights": maker.model.tobytes()}
    events += [
        maker.make(ContinuityBreak, reason="restored", round=2, expected=before, got=after),
        maker.make(ModelGenesis, weights, round=2, **genesis),
        *maker.rounds(1),
        maker.make(RecorderGap, reason="the queue was full", expected=3, got=9),
        maker.make(
            ModelGenesis,
            {"weights": maker.model.tobytes()},
            round=9,
            schema_digest=maker.schema.digest,
            digest=maker.schema.model_digest(maker.model),
        ),
    ]
    maker.round = 9
    events += maker.rounds(1)
    for cuts in ([], [8], [9], [12]):
        rows = in_pieces(case, ingest, events, cuts)
        assert kinds(rows) == [("continuity", 7), ("recorder_gap", 11)]
        events = []


def test_a_refused_event_is_not_missing(case: Case, maker: Maker, ingest: Ingest) -> None:
    events = maker.opening()
    bad = maker.commit(delta=b"short")
    worse = maker.commit(delta=b"shorter")
    rows = in_pieces(case, ingest, [*events, bad, worse, *maker.rounds(1)], [4])
    assert kinds(rows) == []
    assert [row[8] for row in rows["quarantine"]] in ([3, 4], [4, 3])
    assert open_gaps(case) == []


def test_a_refused_event_behind_a_gap_tells_the_gap(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    events = maker.opening()
    maker.audit()
    bad = maker.commit(delta=b"short")
    rows = in_pieces(case, ingest, [*events, bad, *maker.rounds(1)], [4])
    assert kinds(rows) == [("gap", 4)]
    assert open_gaps(case) == [(3, 3)]
