"""Does a replay say what the live watch said, keep its pace, and leave the case as it is?"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pushed_run import Pushed, record_pushed

from forensics.probe import Prober, read_model
from forensics.readings import StoppedError
from forensics.reemission import Reemission
from forensics.replay import SECONDS_PER_ROUND, Moment, Pace, consequences, replay_run
from forensics.watch import Alarm, Plan, Watch
from ingest.service import ingest_case
from roundlog.case import Case
from roundlog.encoding import digest
from roundlog.errors import QuestionError
from roundlog.events import RoundCommitted
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.port import Entry, Recovery

ONSET, ROUNDS = 300, 500


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    path = tmp_path_factory.mktemp("replay") / "case"
    return record_pushed(path, seed=8, rounds=ROUNDS, onset=ONSET)


class Kept:
    """A log that keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def recover(self) -> Recovery:
        return Recovery()

    def close(self) -> None: ...


def _replayed(
    run: Pushed, pace: Pace, first: int | None = None, last: int | None = None
) -> tuple[list[Moment], list[Alarm]]:
    with run.open() as (store, models):
        watch = Watch(models, store, Plan((run.trigger,)), Prober(models.architecture))
        return list(replay_run(models, watch, pace, first=first, last=last)), watch.alarms


def _live(run: Pushed) -> list[Alarm]:
    """As a server has it: one round after the other, as each is committed."""
    with run.open() as (store, models):
        watch = Watch(models, store, Plan((run.trigger,)), Prober(models.architecture))
        for t in range(models.last):
            list(watch.advance(models, t))
        return watch.alarms


def test_a_replay_gives_what_the_live_watch_gave(pushed: Pushed) -> None:
    live = _live(pushed)
    assert live
    moments, alarms = _replayed(pushed, Pace(None, None))
    assert alarms == live
    assert [alarm for moment in moments for alarm in moment.alarms] == live
    paced, single = _replayed(pushed, Pace(1e9, 210.0))
    assert single == live
    assert [moment.round for moment in paced] == list(range(ROUNDS))


def test_a_part_is_replayed_with_what_was_learnt_in_it(pushed: Pushed) -> None:
    moments, alarms = _replayed(pushed, Pace(None, None), first=150, last=449)
    assert moments[-1].round == 449
    assert alarms
    assert ONSET < alarms[0].round < 450
    assert _replayed(pushed, Pace(None, None), first=0, last=ONSET - 1)[1] == []


@pytest.mark.parametrize(("first", "last"), [(5, 4), (0, 500), (-1, 3), (500, 500)])
def test_rounds_that_do_not_exist_are_refused(pushed: Pushed, first: int, last: int) -> None:
    with pytest.raises(QuestionError, match="cannot be replayed"):
        _replayed(pushed, Pace(None, None), first=first, last=last)


def test_pace_is_kept() -> None:
    pace = Pace(1000.0, 20.0)  # 20 ms a round
    begun = time.monotonic()
    for rounds in range(1, 6):
        pace.wait(rounds, None)
    assert time.monotonic() - begun >= 0.1
    assert pace.single
    unhurried = Pace(None, None)
    assert not unhurried.single
    unhurried.wait(10**9, None)


def test_a_pace_that_never_ends_is_refused() -> None:
    for speed in (0.0, -1.0):
        with pytest.raises(QuestionError, match="above 0"):
            Pace(speed, 210.0)
    assert SECONDS_PER_ROUND == 210.0


def test_a_stop_is_heard_while_waiting(pushed: Pushed) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pushed.open() as (store, models):
        watch = Watch(models, store, Plan(), None)
        begun = time.monotonic()
        with pytest.raises(StoppedError, match=r"stopped (after|before) round 0"):
            list(replay_run(models, watch, Pace(1.0, 210.0), stop=stop))
    assert time.monotonic() - begun < 60


def test_what_goes_out_again_is_what_was_recorded(pushed: Pushed, tmp_path: Path) -> None:
    kept = Kept()
    with pushed.open() as (store, models):
        case = models.case
        reemission = Reemission(case, "pushed", kept)  # type: ignore[arg-type]
        reemission.up_to(99)
        rounds = [e.event.round for e in kept.entries if isinstance(e.event, RoundCommitted)]
        assert rounds == list(range(100))
        watch = Watch(models, store, Plan(), None)
        list(replay_run(models, watch, Pace(None, None), reemission=reemission))
    assert reemission.sent == len(kept.entries)
    assert [entry.event.seq for entry in kept.entries] == list(range(len(kept.entries)))
    # Given to another case, they are the same run, model by model.
    other = Case.create(tmp_path / "other")
    log = EmbeddedLog(other.segments)
    log.append(kept.entries)
    log.seal()
    with pushed.open() as (_, models):
        expected = digest(bytes(models.model(models.last)))
    again = Pushed(other.path, "pushed", pushed.document, pushed.start, pushed.steps, pushed.pool)
    with again.open() as (_, models):
        assert models.last == ROUNDS
        assert digest(bytes(models.model(models.last))) == expected


def test_the_case_is_not_changed_by_a_replay(pushed: Pushed) -> None:
    case = Case(pushed.path)
    with case.own():
        ingest_case(case)

    def files() -> dict[str, str]:
        return {
            str(path): digest(path.read_bytes())
            for path in sorted(case.segments.rglob("*"))
            if path.is_file()
        }

    before = files()
    _replayed(pushed, Pace(None, None))
    assert files() == before


def test_beside_an_alarm_stands_how_far_the_attack_was(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        prober = Prober(models.architecture)
        watch = Watch(models, store, Plan((pushed.trigger,)), prober)
        list(replay_run(models, watch, Pace(None, None)))
        alarms = tuple(watch.alarms)
        found = consequences(models, prober, pushed.trigger, alarms)
        first = found[0]
        expected = read_model(prober, models, first.alarm.round + 1, pushed.trigger.scoring())
        untold = consequences(models, None, None, alarms)
    assert first.reading == expected
    assert first.rounds_left == ROUNDS - first.alarm.round - 1
    assert {"asr", "low", "high", "rounds_left", "round", "detector"} <= set(first.document())
    assert untold[0].reading is None
    assert "asr" not in untold[0].document()
