"""Is every alarm told once by every channel, however badly the other side behaves?"""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from doors import wait_for
from told_case import BRISK, Notebook, Told, told_case

import api.outbox.worker
from api.outbox.channel import DeliveryError, Letter
from api.outbox.outbox import Outbox
from forensics.alarms import Speaker, acknowledge, silence_alarm, silence_detector
from ingest.store import Store, StoreError


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with told_case(tmp_path / "case", "the-run", "other") as found:
        yield found


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def easily_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.outbox.worker.FLOOD == 20
    monkeypatch.setattr(api.outbox.worker, "FLOOD", 4)


def _event(seq: int, run: str = "the-run") -> str:
    return f"{run}/owner/{seq}"


def _waiting(outbox: Outbox) -> list[int]:
    """Alarms that each channel has not told. A letter comes a moment before its line."""
    return [worker.backlog.waiting() for worker in outbox.workers]


def test_an_alarm_is_told_soon_and_once(told: Told, notebook: Notebook) -> None:
    with told.outbox(notebook) as outbox:
        for round in (5, 9):
            told.alarm(round)
        told.alarm(5)  # the same claim again
        told.alarm(7, run="other")
        wait_for(lambda: len(notebook.letters) == 3, "three letters")
        time.sleep(0.1)
        assert sorted(notebook.ids) == [_event(0, "other"), _event(0), _event(1)]
        wait_for(lambda: _waiting(outbox) == [0], "the journal")
        assert outbox.workers[0].counts["delivered"] == 3
    assert notebook.letters[0].data["round"] in (5, 7)


def test_a_restart_tells_what_was_not_told_and_nothing_else(tmp_path: Path) -> None:
    first, second = Notebook(), Notebook()
    with told_case(tmp_path / "case", "the-run") as told:
        with told.outbox(first):
            told.alarm(1)
            wait_for(lambda: len(first.letters) == 1, "the first letter")
            first.fails = lambda letter: DeliveryError("answered 500", refused=True)
            told.alarm(2)
            wait_for(lambda: first.tries.count(_event(1)) >= 2, "two tries")
        told.alarm(3)  # while nobody tells
    with told_case(tmp_path / "case") as told, told.outbox(second):
        told.alarm(4)
        wait_for(lambda: len(second.letters) == 3, "the others")
        time.sleep(0.1)
    assert (first.ids, second.ids) == ([_event(0)], [_event(seq) for seq in (1, 2, 3)])


def test_a_rebuilt_projection_tells_nothing_again(tmp_path: Path, notebook: Notebook) -> None:
    with told_case(tmp_path / "case", "the-run") as told, told.outbox(notebook):
        told.alarm(1)
        wait_for(lambda: bool(notebook.letters), "the letter")
        database = told.case.database
    database.unlink()
    with told_case(tmp_path / "case") as told, told.outbox(notebook):
        told.alarm(2)
        wait_for(lambda: len(notebook.letters) == 2, "the new one")
        time.sleep(0.1)
    assert notebook.ids == [_event(0), _event(1)]


def test_what_fails_is_tried_again_until_it_is_taken(told: Told, notebook: Notebook) -> None:
    errors = [DeliveryError("no answer"), DeliveryError("answered 503", refused=True), OSError("?")]
    notebook.fails = lambda letter: errors.pop(0) if errors else None
    with told.outbox(notebook) as outbox:
        told.alarm(1)
        wait_for(lambda: bool(notebook.letters), "the letter")
        time.sleep(0.05)
        counts = outbox.workers[0].counts
    assert notebook.tries == [_event(0)] * 4
    assert counts == {"delivered": 1, "refused": 1, "failed": 2, "passed_over": 0}


def test_tries_come_ever_less_often(told: Told, notebook: Notebook) -> None:
    at: list[float] = []

    def fails(letter: Letter) -> Exception:
        at.append(time.monotonic())
        return DeliveryError("no answer")

    notebook.fails = fails
    with told.outbox(notebook, pace=replace(BRISK, first=0.04, most=0.16)):
        told.alarm(1)
        wait_for(lambda: len(at) == 7, "seven tries")
    gaps = [after - before for before, after in pairwise(at)]
    # Each is between a half and the whole of 0.04, 0.08, 0.16, 0.16 … s, later on a slow machine.
    assert all(gap >= low for gap, low in zip(gaps, (0.02, 0.04, *[0.08] * 4), strict=True)), gaps
    assert len({round(gap, 3) for gap in gaps[2:]}) > 1, gaps


def test_one_that_is_always_refused_holds_up_no_other(told: Told, notebook: Notebook) -> None:
    notebook.fails = lambda letter: (
        DeliveryError("answered 400", refused=True) if letter.id == _event(0) else None
    )
    with told.outbox(notebook, pace=replace(BRISK, first=60.0, most=60.0)) as outbox:
        told.alarm(1)
        wait_for(lambda: notebook.tries == [_event(0)], "the first try of the bad one")
        # The next one would come in half a minute at the earliest; a new alarm is tried at once.
        told.alarm(2)
        wait_for(lambda: notebook.ids == [_event(1)], "the good one", 10)
        wait_for(lambda: notebook.tries.count(_event(0)) == 2, "another try of the bad one", 10)
        assert outbox.workers[0].backlog.waiting() == 1
        notebook.fails = lambda letter: None
        told.alarm(3)
        wait_for(lambda: len(notebook.ids) == 3, "all of them, at last", 10)
    assert sorted(notebook.ids) == [_event(seq) for seq in range(3)]


def test_silenced_alarms_are_passed_over_with_the_reason(told: Told, notebook: Notebook) -> None:
    store, log, alice = told.records.store, told.records.log, Speaker("alice", "local")
    silence_detector(store, log, "the-run", "cusum", alice, start=0, until=100)
    with told.outbox(notebook) as outbox:
        told.alarm(5)
        told.alarm(200)
        wait_for(lambda: len(notebook.letters) == 1, "the second alarm")
        counts = outbox.workers[0].counts
    assert notebook.ids == [_event(2)]
    assert (counts["passed_over"], counts["delivered"]) == (1, 1)
    lines = (told.case.path / "outbox" / "notebook.log").read_text()
    assert '"reason": "silenced by alice until round 100"' in lines
    with told.outbox(notebook):
        time.sleep(0.1)
    assert len(notebook.letters) == 1


def test_what_was_silenced_while_it_waited_is_not_sent_any_more(
    told: Told, notebook: Notebook
) -> None:
    notebook.fails = lambda letter: DeliveryError("no answer")
    store, log, alice = told.records.store, told.records.log, Speaker("alice", "local")
    with told.outbox(notebook) as outbox:
        raised = told.alarm(5)
        wait_for(lambda: bool(notebook.tries), "a try")
        silence_alarm(store, log, raised.key, alice, until=900)
        wait_for(lambda: outbox.workers[0].counts["passed_over"] == 1, "it to be passed over")
    assert notebook.letters == []


def test_what_was_acknowledged_while_it_waited_is_told_as_that(
    told: Told, notebook: Notebook
) -> None:
    raised = told.alarm(5)
    acknowledge(told.records.store, told.records.log, raised.key, Speaker("alice", "local"))
    with told.outbox(notebook):
        wait_for(lambda: bool(notebook.letters), "the letter")
    assert notebook.letters[0].data["state"] == "acknowledged"


@pytest.mark.usefixtures("easily_flooded")
def test_many_old_alarms_are_told_by_one_letter(told: Told, notebook: Notebook) -> None:
    for round in range(5):
        told.alarm(round)
    refusals = [DeliveryError("answered 500", refused=True)]
    notebook.fails = lambda letter: refusals.pop() if refusals else None
    with told.outbox(notebook) as outbox:
        wait_for(lambda: bool(notebook.letters), "the summary")
        told.alarm(100)
        wait_for(lambda: len(notebook.letters) == 2, "a new alarm")
        time.sleep(0.1)
        wait_for(lambda: _waiting(outbox) == [0], "the journal")
    summary, alarm = notebook.letters
    assert (summary.kind, summary.data["alarms"]) == ("alarm.summary", 5)
    # Tried twice, under one id.
    assert notebook.tries == [summary.id, summary.id, alarm.id]
    assert alarm.id == _event(5)
    with told.outbox(notebook):
        time.sleep(0.1)
    assert len(notebook.letters) == 2


@pytest.mark.usefixtures("easily_flooded")
def test_few_old_alarms_are_told_one_by_one(told: Told, notebook: Notebook) -> None:
    for round in range(4):
        told.alarm(round)
    with told.outbox(notebook):
        wait_for(lambda: len(notebook.letters) == 4, "all letters")
    assert {letter.kind for letter in notebook.letters} == {"alarm.raised"}
    assert notebook.ids == [_event(seq) for seq in range(4)]


@pytest.mark.usefixtures("easily_flooded")
def test_many_alarms_that_waited_for_a_channel_in_use_are_told_one_by_one(
    told: Told, notebook: Notebook
) -> None:
    with told.outbox(notebook):
        told.alarm(0)
        wait_for(lambda: bool(notebook.letters), "the first letter")
    for round in range(1, 7):
        told.alarm(round)
    with told.outbox(notebook):
        wait_for(lambda: len(notebook.letters) == 7, "all of them")
    assert {letter.kind for letter in notebook.letters} == {"alarm.raised"}


@pytest.mark.usefixtures("easily_flooded")
def test_a_new_channel_waits_until_old_alarms_are_read_but_not_for_ever(
    told: Told, notebook: Notebook
) -> None:
    with told.outbox(notebook, pace=replace(BRISK, quiet=1.0, quiet_most=60.0)):
        for round in range(6):  # as ingest brings them, one after the other
            told.alarm(round)
        wait_for(lambda: bool(notebook.letters), "the summary")
    assert [letter.data.get("alarms") for letter in notebook.letters] == [6]
    second = Notebook("second")
    with told.outbox(second, pace=replace(BRISK, quiet=60.0, quiet_most=0.2)):
        wait_for(lambda: bool(second.letters), "the summary, though it was never quiet")


def test_every_channel_tells_for_itself(told: Told) -> None:
    good, bad = Notebook("good"), Notebook("bad")
    bad.fails = lambda letter: DeliveryError("no answer")
    with told.outbox(good, bad, Notebook("good")) as outbox:
        assert len(outbox.workers) == 2
        told.alarm(1)
        wait_for(lambda: bool(good.letters) and bool(bad.tries), "both")
        wait_for(lambda: _waiting(outbox) == [0, 1], "the journal")
    assert len(list((told.case.path / "outbox").iterdir())) == 2


@pytest.mark.parametrize("cut_helps", [True, False])
def test_a_channel_that_hangs_is_given_up_and_holds_up_only_itself(
    told: Told, cut_helps: bool
) -> None:
    good, hanging = Notebook("good"), Notebook("hanging", patience_s=0.2)
    hanging.held.clear()
    hanging.cut_helps = cut_helps
    with told.outbox(good, hanging) as outbox:
        told.alarm(1)
        wait_for(lambda: hanging.cuts > 0, "its patience to end")
        told.alarm(2)
        wait_for(lambda: len(good.letters) == 2, "the good channel")
        wait_for(lambda: outbox.workers[1].counts["failed"] >= 2, "two failures")
        if not cut_helps:
            # What cannot be ended is waited for: no second try beside it.
            assert hanging.tries == [_event(0)]
        hanging.held.set()
        wait_for(lambda: sorted(hanging.ids) == [_event(0), _event(1)], "both letters")
        time.sleep(0.1)
    assert len(hanging.letters) == 2


@pytest.mark.parametrize("cut_helps", [True, False])
def test_a_stop_does_not_wait_for_a_channel_that_hangs(told: Told, cut_helps: bool) -> None:
    hanging = Notebook(patience_s=60)
    hanging.held.clear()
    hanging.cut_helps = cut_helps
    with told.outbox(hanging) as outbox:
        told.alarm(1)
        wait_for(lambda: bool(hanging.tries), "the try")
        began = time.monotonic()
        assert outbox.stop(0.5)
        assert time.monotonic() - began < 0.5
    hanging.held.set()


def test_a_stop_does_not_wait_for_the_next_try(told: Told, notebook: Notebook) -> None:
    notebook.fails = lambda letter: DeliveryError("no answer")
    with told.outbox(notebook, pace=replace(BRISK, first=60.0, most=60.0)) as outbox:
        told.alarm(1)
        wait_for(lambda: bool(notebook.tries), "the try")
        time.sleep(0.1)
        began = time.monotonic()
        assert outbox.stop(0.5)
        assert time.monotonic() - began < 0.5


def test_being_woken_finds_an_alarm_before_the_next_look(told: Told, notebook: Notebook) -> None:
    with told.outbox(notebook, pace=replace(BRISK, look=60.0, quiet=0.0)) as outbox:
        time.sleep(0.2)
        told.alarm(1)
        outbox.wake()
        wait_for(lambda: bool(notebook.letters), "the letter", 5)


def test_while_the_disk_refuses_nothing_more_is_sent(
    told: Told, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with told.outbox(notebook) as outbox:
        told.alarm(1)
        wait_for(lambda: bool(notebook.letters) and _waiting(outbox) == [0], "the first letter")
        fsync, journal = os.fsync, told.case.path / "outbox" / "notebook.log"

        def full(handle: int) -> None:
            if os.fstat(handle).st_ino == journal.stat().st_ino:
                raise OSError(28, "No space left on device")
            fsync(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for round in (2, 3):
                told.alarm(round)
            wait_for(lambda: len(notebook.letters) == 2, "the second letter")
            time.sleep(0.2)
            assert len(notebook.letters) == 2
        wait_for(lambda: len(notebook.letters) == 3, "the third letter")
        time.sleep(0.05)
    assert notebook.tries == [_event(0), _event(1), _event(2)]


def test_a_store_that_cannot_answer_is_asked_again(
    told: Told, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*args: object) -> None:
        raise StoreError("the projection cannot answer: it is opened again")

    with told.outbox(notebook):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "rows", closed)
            time.sleep(0.2)
        told.alarm(1)
        wait_for(lambda: bool(notebook.letters), "the letter")


def test_what_went_wrong_is_said_with_what_happens_now(
    told: Told, notebook: Notebook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    errors: list[Exception] = [DeliveryError("answered 503", refused=True), ZeroDivisionError()]
    notebook.fails = lambda letter: errors.pop(0) if errors else None
    with told.outbox(notebook):
        told.alarm(1)
        wait_for(lambda: bool(notebook.letters), "the letter")
    assert "notebook: answered 503. Nothing is lost: it is tried again" in caplog.text
    assert "an error of ours" in caplog.text
