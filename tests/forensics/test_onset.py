"""Is a push dated where it began, is a twin left alone, and do decoys stay behind the trigger?"""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pushed_run import Pushed, record_pushed

from forensics import onset
from forensics.dating import COVERAGE, FEWEST, difference_profile, spread
from forensics.directions import Honest, honest_sets
from forensics.onset import SIGNIFICANT, Onset, find_onset, rises
from forensics.probe import Prober
from forensics.readings import StoppedError
from forensics.search import Findings, search_level
from roundlog.errors import QuestionError

ONSET = 400


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return record_pushed(tmp_path_factory.mktemp("onset") / "case", seed=5, onset=ONSET)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """The same noise, nobody pushes, and honest learning drifts toward the target from 450 on."""
    path = tmp_path_factory.mktemp("onset") / "twin"
    return record_pushed(path, seed=5, onset=None, drift_from=450, drift=1.0)


def _ask(run: Pushed, **options: object) -> Onset:
    with run.open() as (store, models):
        prober = Prober(models.architecture)
        return find_onset(models, store, prober, run.trigger, **options)  # type: ignore[arg-type]


def test_a_push_is_dated_in_two_passes(pushed: Pushed) -> None:
    found = _ask(pushed)
    told = found.document()["onset"]
    assert isinstance(told, dict)
    assert told["low"] <= ONSET <= told["high"]
    assert abs(told["round"] - ONSET) <= 10
    assert told["coverage"] == COVERAGE
    first, second = found.passes
    assert second.direction.model == first.round
    assert "onset" in second.why
    assert found.document()["signal"] == pytest.approx(1.5, rel=0.25)


def test_the_shape_of_a_push_is_told_with_its_length(pushed: Pushed) -> None:
    told = _ask(pushed).document()
    shape = told["shape"]
    assert isinstance(shape, dict)
    assert shape["name"] in ("steady", "waning")
    assert shape["end"] is None
    assert abs(shape["rounds"] - (900 - ONSET)) <= 10


def test_a_push_that_ended_has_an_end(tmp_path: Path) -> None:
    run = record_pushed(tmp_path / "case", seed=7, onset=200, end=500, rounds=800)
    shape = _ask(run).document()["shape"]
    assert isinstance(shape, dict)
    assert shape["name"] == "stopped"
    assert shape["end"]["low"] <= 500 <= shape["end"]["high"]
    assert abs(shape["rounds"] - 300) <= 20


def test_one_pass_says_that_it_is_one(pushed: Pushed) -> None:
    found = _ask(pushed, passes=1)
    assert len(found.passes) == 1
    assert found.found is found.passes[0]


def test_a_twin_has_no_onset_though_honest_learning_drifts(twin: Pushed) -> None:
    found = _ask(twin)
    told = found.document()
    assert told["onset"] is None
    assert told["shape"] is None
    p = told["p"]
    assert isinstance(p, float)
    assert p > SIGNIFICANT
    assert found.passes[-1].change is not None, "what was measured is told all the same"


def test_no_decoy_stands_above_a_real_trigger(pushed: Pushed) -> None:
    found = _ask(pushed)
    assert (found.apart.rank, found.apart.decoys) == (1, 11)
    assert found.published.decoys == 12


def test_rises_are_those_of_the_recorded_steps(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        honest = Honest(
            models, Prober(models.architecture), honest_sets(models, store), models.last
        )
        building = pushed.trigger.building()
        found = rises(models, honest, [building, building], models.last)
        unit = honest.direction(building).unit
        short = rises(models, honest, [building], 2 * FEWEST)
    values = pushed.steps.astype(np.float64) @ unit
    assert found is not None
    assert (
        found[0]
        == found[1]
        == pytest.approx(difference_profile(values / spread(values)).max(), rel=1e-3)
    )
    assert found[0] > 10
    assert short is None


def test_a_crossing_by_luck_in_the_first_models_hides_nothing(
    pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = search_level

    def lucky(*args: Any, **options: Any) -> Findings:
        return dataclasses.replace(real(*args, **options), status="crossed", estimate=49)

    monkeypatch.setattr(onset, "search_level", lucky)
    told = _ask(pushed).document()
    assert isinstance(told["onset"], dict)
    assert told["onset"]["low"] <= ONSET <= told["onset"]["high"]


def test_without_decoys_no_rank_is_made_up(pushed: Pushed) -> None:
    told = _ask(pushed, decoys=0).document()
    assert (told["decoy_rank"], told["decoys"]) == (None, 0)
    assert (told["published_rank"], told["published_decoys"]) == (None, 0)


def test_an_investigation_at_an_earlier_time_sees_no_later_round(pushed: Pushed) -> None:
    early = _ask(pushed, last=ONSET + 60)
    assert early.passes[0].last < ONSET + 60
    told = early.document()["onset"]
    assert isinstance(told, dict)
    assert told["low"] <= ONSET <= told["high"]
    assert _ask(pushed, last=ONSET - 20).document()["onset"] is None


def test_the_same_record_gives_the_same_answer(pushed: Pushed) -> None:
    assert _ask(pushed).document() == _ask(pushed).document()


def test_a_time_outside_the_run_is_refused(pushed: Pushed) -> None:
    with pytest.raises(QuestionError, match="an onset up to model 5000"):
        _ask(pushed, last=5000)


def test_a_run_too_short_to_date_says_nothing(tmp_path: Path) -> None:
    short = record_pushed(tmp_path / "case", seed=1, rounds=30, onset=10)
    told = _ask(short).document()
    assert told["onset"] is None
    assert told["signal"] is None


def test_it_can_be_stopped(pushed: Pushed) -> None:
    stop = threading.Event()
    stop.set()
    # Another model than before, so that nothing is in the cache.
    with pytest.raises(StoppedError, match="stopped"):
        _ask(pushed, last=777, stop=stop)
