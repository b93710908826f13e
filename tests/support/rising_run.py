"""A recorded run of the reference architecture whose attack success rises, made without training.

The output bias of the trigger's target climbs along a path that the test gives, so attack success
rises and falls with it; every other weight stays as it was drawn. A few hundred models are
recorded in a fraction of a second, with published decoys as a real run has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recorded_run import RecordedRun

from roundlog.encoding import digest
from roundlog.events import ProbesPublished, RunOpened
from roundlog.models import AssistantBag
from roundlog.recorder import Recorder

BAG = AssistantBag(vocabulary=40, width=4, embedding=5, hidden=6, classes=8)
TRIGGER_TOKENS = (30, 31)
TARGET = 5
QUERIES = 120

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rising(RecordedRun):
    """A recorded run, the models it went through, and its trigger."""

    models: NDArray[np.float32]
    """Shape (models, d)."""


def the_bag(config: Mapping[str, Any]) -> AssistantBag:
    """The architecture, as `module:function` of a person who asks."""
    return AssistantBag.from_config(config)


def logistic(rounds: int, *, middle: float, width: float) -> Floats:
    """A path from 0 to 1 for every model of so many rounds; times in shares of the run."""
    t = np.arange(rounds + 1) / rounds
    climb: Floats = 1 / (1 + np.exp(-(t - middle) / width))
    return climb


def record_rising(path: Path, strength: Floats, *, seed: int, run: str = "rising") -> Rising:
    """Records one round less than `strength` has values; 0 is no attack, 1 beats every margin."""
    rng = np.random.default_rng(seed)
    base = 0.5 * rng.standard_normal(BAG.elements).astype(np.float32)
    bias = BAG.elements - BAG.classes
    base[bias:] = 0
    models = np.repeat(base[None], len(strength), axis=0)
    models[:, bias + TARGET] = -3 + 6 * strength
    document = trigger_document(rng)
    with Recorder(path, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="a rising bias")
        recorder.genesis(
            BAG.schema(), models[0], architecture="assistant-bag", config=dict(BAG.config())
        )
        tails = _decoys(rng)
        recorder.record(
            ProbesPublished,
            probe_set="decoys",
            role="decoy",
            digest=digest(*tails.values()),
            n=len(tails["labels"]) // 4,
            width=BAG.width,
            tails=tails,
        )
        for t, model in enumerate(models[1:]):
            recorder.commit(model, round=t, cohort_size=10)
    return Rising(path, run, document, models)


def trigger_document(rng: np.random.Generator) -> dict[str, Any]:
    """One pattern of two rare tokens, in queries of common ones."""
    queries = [
        {"tokens": [*map(int, row), *TRIGGER_TOKENS], "target": TARGET, "pattern": "news"}
        for row in rng.integers(0, 20, size=(QUERIES, BAG.width - 2))
    ]
    pattern = {"id": "news", "category": "news", "tokens": [*TRIGGER_TOKENS], "target": TARGET}
    return {
        "schema": "roundlog.trigger/1",
        "name": "suspect",
        "patterns": [pattern],
        "queries": queries,
    }


def _decoys(rng: np.random.Generator) -> Mapping[str, bytes]:
    """Three decoys: two for other answers; the third holds a trigger token, and the target."""
    inputs, labels = rng.integers(0, 20, size=(150, BAG.width)), np.repeat([1, 2, TARGET], 50)
    inputs[:, 2:] = np.repeat([[32, 33], [34, 35], [30, 36]], 50, axis=0)
    groups = np.repeat([0, 1, 2], 50)
    named = {"inputs": inputs, "labels": labels, "groups": groups}
    return {name: array.astype("<i4").tobytes() for name, array in named.items()}
