"""Does a channel find what it has not told, whatever the order, and hold no more than a page?"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from told_case import Told, told_case

import api.outbox.backlog
from api.outbox.backlog import Backlog, Place
from api.outbox.journal import Journal
from forensics.alarms import Speaker, acknowledge


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with told_case(tmp_path / "case", "a-run", "the-run") as found:
        yield found


@pytest.fixture
def journal(told: Told) -> Journal:
    return Journal(told.case.path / "outbox", "notebook")


@pytest.fixture
def backlog(told: Told, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> Backlog:
    monkeypatch.setattr(api.outbox.backlog, "PAGE", 3)
    return Backlog(told.records, journal)


def _all(backlog: Backlog) -> list[tuple[str, int]]:
    """Every place that waits, as a worker goes round that has no luck."""
    found: list[Place] = []
    place = backlog.next()
    while place is not None and place not in found:
        found.append(place)
        place = backlog.next(place)
    return [(one.run, one.seq) for one in found]


def test_where_nothing_was_raised_nothing_waits(backlog: Backlog) -> None:
    assert backlog.next() is None
    assert backlog.waiting() == 0
    assert backlog.by_run() == []


def test_alarms_of_all_runs_come_in_the_order_of_the_log(told: Told, backlog: Backlog) -> None:
    for round in range(10, 15):
        told.alarm(round)
    told.alarm(3, run="a-run")
    acknowledge(told.records.store, told.records.log, told.alarm(20).key, Speaker("al", "local"))
    told.alarm(1)  # raised last, of an early round
    assert _all(backlog) == [("a-run", 0), *(("the-run", seq) for seq in (0, 1, 2, 3, 4, 5, 7))]
    assert backlog.waiting() == 8


def test_who_comes_to_the_end_begins_again(told: Told, backlog: Backlog) -> None:
    told.alarm(1)
    told.alarm(2)
    first = backlog.next()
    second = backlog.next(first)
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq) == (0, 1)
    assert backlog.next(second) == first
    assert first.time.tzinfo is not None


def test_what_was_told_waits_no_more_and_is_forgotten_one_by_one(
    told: Told, backlog: Backlog, journal: Journal
) -> None:
    for round in range(8):
        told.alarm(round)
        journal.told(f"the-run/owner/{round}")
    assert (journal.beyond, backlog.waiting()) == (8, 0)
    assert backlog.next() is None
    assert (journal.beyond, journal.lows()) == (0, {"the-run": 7})
    told.alarm(20)
    assert _all(backlog) == [("the-run", 8)]
    assert backlog.waiting() == 1


def test_one_that_is_never_told_stays_found_among_many_that_were(
    told: Told, backlog: Backlog, journal: Journal
) -> None:
    for round in range(10):
        told.alarm(round)
        if round != 1:
            journal.told(f"the-run/owner/{round}")
    assert _all(backlog) == [("the-run", 1)]
    # Nothing above it may count as settled by its number alone.
    assert journal.lows() == {"the-run": 0}
    assert (journal.beyond, backlog.waiting()) == (8, 1)
    found = backlog.next()
    assert backlog.next(found) == found
    assert journal.lows() == {"the-run": 0}


def test_a_run_that_is_entered_in_its_middle_forgets_nothing_before_it(
    told: Told, backlog: Backlog, journal: Journal
) -> None:
    for round in range(6):
        told.alarm(round)
    for seq in (3, 4):
        journal.told(f"the-run/owner/{seq}")
    place = backlog.next()
    while place is not None and place.seq < 2:
        place = backlog.next(place)
    after = backlog.next(place)
    assert after is not None
    assert after.seq == 5
    assert journal.lows() == {}
    assert _all(backlog) == [("the-run", seq) for seq in (0, 1, 2, 5)]


def test_an_alarm_comes_with_its_state_of_now(told: Told, backlog: Backlog) -> None:
    raised = told.alarm(4)
    place = backlog.next()
    assert place is not None
    before = backlog.alarm(place)
    acknowledge(told.records.store, told.records.log, raised.key, Speaker("al", "local"))
    after = backlog.alarm(place)
    assert before is not None
    assert after is not None
    assert (before["event"], before["state"], after["state"]) == (
        raised.id,
        "raised",
        "acknowledged",
    )


def test_a_place_that_the_projection_does_not_hold_yet_has_no_alarm(
    told: Told, backlog: Backlog
) -> None:
    raised = told.alarm(4)
    assert backlog.alarm(Place("the-run", 1, raised.key, raised.time)) is None
    assert backlog.alarm(Place("a-run", 0, raised.key, raised.time)) is None


def test_a_projection_that_is_being_rebuilt_makes_no_negative_count(
    backlog: Backlog, journal: Journal
) -> None:
    for seq in range(3):
        journal.told(f"the-run/owner/{seq}")
    assert backlog.waiting() == 0


def test_counts_by_run_reach_to_the_last_alarm_in_the_log(told: Told, backlog: Backlog) -> None:
    for round in (7, 3, 5):
        told.alarm(round)
    told.alarm(9, run="a-run")
    rows = [{key: value for key, value in row.items() if key != "time"} for row in backlog.by_run()]
    assert rows == [
        {"run": "a-run", "alarms": 1, "first_round": 9, "last_round": 9, "last_seq": 0},
        {"run": "the-run", "alarms": 3, "first_round": 3, "last_round": 7, "last_seq": 2},
    ]


def test_the_record_moves_with_every_event(told: Told, backlog: Backlog) -> None:
    events, alarms = backlog.moved()
    key = told.alarm(4).key
    assert backlog.moved() == (events + 1, alarms + 1)
    acknowledge(told.records.store, told.records.log, key, Speaker("al", "local"))
    assert backlog.moved() == (events + 2, alarms + 1)
