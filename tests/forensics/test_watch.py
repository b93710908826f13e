"""Do alarms come soon after a push, not without one, and the same however the rounds arrive?"""

import threading
from pathlib import Path

import numpy as np
import pytest
from pushed_run import Pushed, record_pushed

from forensics.detectors import Block, Budget, resolve
from forensics.probe import Prober
from forensics.projection import neighbours
from forensics.readings import StoppedError
from forensics.rebuild import KEYFRAME_EVERY
from forensics.watch import (
    COSINE,
    NORM,
    Alarm,
    Plan,
    Watch,
    WatchState,
    known_triggers,
    load_state,
    save_state,
)
from roundlog.errors import QuestionError
from roundlog.events.alarms import alarm_key

ONSET = 400


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return record_pushed(tmp_path_factory.mktemp("watch") / "case", seed=6, onset=ONSET)


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """An attack-free twin whose honest learning moves toward the target from round 400 on."""
    path = tmp_path_factory.mktemp("watch") / "twin"
    return record_pushed(path, seed=6, onset=None, drift_from=ONSET, drift=2.0)


def _watched(run: Pushed, plan: Plan | None = None, *sizes: int) -> list[Alarm]:
    """Alarms of the whole run, read in pieces of the given sizes, then to the end."""
    with run.open() as (store, models):
        plan = Plan((run.trigger,)) if plan is None else plan
        watch = Watch(models, store, plan, Prober(models.architecture))
        at = models.first
        for size in sizes:
            at += size
            for _ in watch.advance(models, at - 1):
                pass
            assert watch.next == at
        for _ in watch.advance(models):
            pass
        assert watch.next == models.last
        return watch.alarms


def test_a_push_raises_an_alarm_within_a_few_dozen_rounds(pushed: Pushed) -> None:
    alarms = [one for one in _watched(pushed) if one.series == "suspect"]
    assert alarms
    assert ONSET < alarms[0].round < ONSET + 60
    assert {one.detector for one in alarms} == {"cusum", "glr", "sequential-ranks"}
    assert all(one.score >= one.threshold for one in alarms)


def test_norm_and_cosine_see_nothing(pushed: Pushed) -> None:
    assert {one.series for one in _watched(pushed)} == {"suspect"}


def test_training_that_settles_raises_no_alarm_though_norm_and_cosine_fall(tmp_path: Path) -> None:
    settling = record_pushed(tmp_path / "case", seed=6, onset=None, cooling=12)
    assert _watched(settling) == []
    with settling.open() as (_, models):
        rounds, norms, cosines = neighbours(models)
    for values in (norms, cosines):
        both_sides = resolve("cusum", {"two_sided": True})
        state = both_sides.calibrate(np.empty(0), Budget())
        _, votes = both_sides.update(state, Block(rounds, values))
        assert {vote.chart.endswith(" down") for vote in votes} == {True}


def test_honest_drift_raises_no_alarm_but_along_the_plain_gradient(drifting: Pushed) -> None:
    assert _watched(drifting) == []
    plain = _watched(drifting, Plan((drifting.trigger,), plain=True))
    assert plain, "the control fails, as it should"
    assert all(one.round > ONSET for one in plain)


def test_how_rounds_arrive_changes_nothing(pushed: Pushed) -> None:
    whole = _watched(pushed)
    assert _watched(pushed, None, 1, 1, 1, 250, 7, 100, 300) == whole
    assert _watched(pushed, None, *[1] * 90) == whole


def test_directions_come_from_earlier_models_only(pushed: Pushed) -> None:
    for one in _watched(pushed):
        assert one.model is not None
        assert one.model == one.round - one.round % KEYFRAME_EVERY


def test_the_budget_is_shared_by_all_charts(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        prober = Prober(models.architecture)
        watch = Watch(models, store, Plan((pushed.trigger,)), prober)
        charts = sum(map(len, watch.charts.values()))
        alone = Watch(models, store, Plan((pushed.trigger,), baselines=False), prober)
    assert set(watch.charts) == {"suspect", NORM, COSINE}
    assert watch.budget == Budget(0.1, 1_000_000, charts)
    assert alone.budget.charts < charts
    assert alone.identity != watch.identity


def test_an_alarm_is_known_by_its_key(pushed: Pushed) -> None:
    alarms = _watched(pushed)
    for one in alarms:
        key = alarm_key(
            "pushed", one.detector, one.version, direction=one.direction, round=one.round
        )
        assert one.key == key
    assert len({one.key for one in alarms}) == len(alarms)
    told = alarms[0].document()
    assert {"round", "detector", "score", "threshold", "budget"} <= set(told)
    assert told["budget"] == {"alarms": 0.1, "rounds": 1_000_000, "charts": 14}


def test_a_watch_without_a_trigger_needs_no_network(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        last = Watch(models, store, Plan(), None)
        list(last.advance(models))
    assert set(last.charts) == {NORM, COSINE}
    assert last.next == 900


def test_two_triggers_of_one_name_are_refused(pushed: Pushed) -> None:
    norm = pushed.trigger.model_copy(update={"name": NORM})
    with pushed.open() as (store, models):
        for pair in ((pushed.trigger, pushed.trigger), (norm,)):
            with pytest.raises(QuestionError, match="cannot be told apart"):
                Watch(models, store, Plan(pair), Prober(models.architecture))


def test_an_unknown_detector_is_refused(pushed: Pushed) -> None:
    with pushed.open() as (store, models), pytest.raises(QuestionError, match="no detector"):
        Watch(models, store, Plan((pushed.trigger,), ("nose",)), Prober(models.architecture))


def test_it_can_be_stopped_between_blocks(pushed: Pushed) -> None:
    stop = threading.Event()
    with pushed.open() as (store, models):
        watch = Watch(models, store, Plan(), None)
        for _ in watch.advance(models, None, None):
            stop.set()
            break
        read = watch.next
        with pytest.raises(StoppedError, match=f"before round {read}"):
            list(watch.advance(models, None, stop))


def test_a_trigger_that_is_given_replaces_a_named_one(pushed: Pushed) -> None:
    other = pushed.trigger.model_copy(update={"name": "other"})
    assert known_triggers([pushed.trigger, other], pushed.trigger) == (other, pushed.trigger)
    assert known_triggers([], None) == ()


def _read_to(run: Pushed, t: int) -> tuple[WatchState, list[Alarm]]:
    with run.open() as (store, models):
        watch = Watch(models, store, Plan((run.trigger,)), Prober(models.architecture))
        list(watch.advance(models, t - 1))
        save_state(models.case, watch.state(models))
        return watch.state(models), watch.alarms


@pytest.mark.parametrize("t", [3, 256, 405, 430, 700])
def test_a_watch_that_was_put_away_goes_on_bit_for_bit(pushed: Pushed, t: int) -> None:
    stored, before = _read_to(pushed, t)
    with pushed.open() as (store, models):
        watch = Watch(models, store, Plan((pushed.trigger,)), Prober(models.architecture))
        kept = load_state(models.case, watch.identity)
        assert kept == stored
        assert watch.resume(kept, models)
        assert watch.next == t
        list(watch.advance(models))
        whole = Watch(models, store, Plan((pushed.trigger,)), Prober(models.architecture))
        list(whole.advance(models))
        assert before + watch.alarms == whole.alarms
        assert watch.state(models) == whole.state(models)


def test_a_state_of_another_history_plan_or_shape_is_not_used(pushed: Pushed) -> None:
    stored, _ = _read_to(pushed, 50)
    with pushed.open() as (store, models):
        watch = Watch(models, store, Plan((pushed.trigger,)), Prober(models.architecture))
        other = Watch(models, store, Plan(), None)
        assert not other.resume(stored, models)
        assert not watch.resume(stored.model_copy(update={"digest": "0" * 64}), models)
        assert not watch.resume(stored.model_copy(update={"next": 5_000}), models)
        assert not watch.resume(stored.model_copy(update={"series": ()}), models)
        assert watch.next == 0


def test_a_damaged_state_is_no_state(pushed: Pushed) -> None:
    stored, _ = _read_to(pushed, 20)
    with pushed.open() as (_, models):
        file = models.case.cache / "watch" / f"{stored.identity}.json"
        file.write_bytes(file.read_bytes()[:-20])
        assert load_state(models.case, stored.identity) is None
        assert load_state(models.case, "0" * 64) is None
