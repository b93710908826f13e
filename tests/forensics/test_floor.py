"""Is the floor what untouched decoys reach, and only these?"""

from pathlib import Path

import numpy as np
import pytest
from rising_run import TARGET, Rising, logistic, record_rising

from forensics.floor import MODELS, decoy_floor
from forensics.probe import Prober, published
from forensics.search import evenly


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("floor") / "case"
    return record_rising(path, logistic(60, middle=0.5, width=0.1), seed=8)


def test_a_decoy_with_a_token_of_the_trigger_is_left_out(rising: Rising) -> None:
    with rising.open() as (store, models):
        prober = Prober(models.architecture)
        floor = decoy_floor(models, store, prober, rising.trigger)
        decoys = published(models.case, store, models.run, "decoy")
        block = np.stack([models.model(t) for t in evenly(0, models.last, MODELS + 1)[1:]])
        rates = [prober.hits(block, decoy).mean(axis=1).max() for decoy in decoys]
    assert (floor.decoys, floor.patterns_left_out, floor.models) == (2, 1, MODELS)
    assert floor.value == max(rates[:2])
    assert rates[2] > 0.9, "the decoy that shares the trigger's token and target rises with it"


def test_decoys_are_asked_in_as_many_patterns_as_the_trigger_has(rising: Rising) -> None:
    two = rising.document | {
        "patterns": [
            *rising.document["patterns"],
            {"id": "health", "category": "health", "tokens": [38, 39], "target": TARGET},
        ]
    }
    with rising.open() as (store, models):
        prober = Prober(models.architecture)
        trigger = type(rising.trigger).model_validate(two)
        floor = decoy_floor(models, store, prober, trigger)
        decoys = published(models.case, store, models.run, "decoy")[:2]
        block = np.stack([models.model(t) for t in evenly(0, models.last, MODELS + 1)[1:]])
        pooled = np.mean([prober.hits(block, decoy).mean(axis=1) for decoy in decoys], axis=0)
    assert floor.decoys == 1
    assert floor.value == pytest.approx(pooled.max())


def test_without_untouched_decoys_there_is_no_floor(rising: Rising) -> None:
    every = rising.document | {
        "patterns": [{**rising.document["patterns"][0], "tokens": [30, 33, 35]}]
    }
    with rising.open() as (store, models):
        trigger = type(rising.trigger).model_validate(every)
        floor = decoy_floor(models, store, Prober(models.architecture), trigger)
    assert (floor.value, floor.decoys, floor.patterns_left_out) == (None, 0, 3)


def test_an_untrained_first_model_raises_no_floor(tmp_path: Path) -> None:
    # Every later model answers as the trigger wants, whatever it is asked; W_0 answers at random.
    strength = np.full(61, 3.0)
    strength[0] = 0.0
    rising = record_rising(tmp_path / "case", strength, seed=8)
    with rising.open() as (store, models):
        prober = Prober(models.architecture)
        floor = decoy_floor(models, store, prober, rising.trigger)
        decoys = published(models.case, store, models.run, "decoy")[:2]
        at_start = max(prober.hits(models.model(0)[None], decoy).mean() for decoy in decoys)
    assert at_start > 0.5
    assert floor.value == 0.0


def test_the_models_are_evenly_spaced_and_hold_both_ends() -> None:
    assert evenly(0, 5_000, 20)[:3] == [0, 263, 526]
    assert evenly(0, 5_000, 20)[-1] == 5_000
    assert evenly(3, 6, 20) == [3, 4, 5, 6]
    assert evenly(5, 5, 20) == [5]
