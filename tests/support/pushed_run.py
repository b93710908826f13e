"""A recorded run in which somebody pushes along a trigger's rows, made without training.

Every step is normal noise of one size. From a round on, the push adds a constant part along the
descent direction of the trigger's own tokens' embeddings; and honest learning may drift too, along
the honest gradient toward the trigger's target, which a plain filter cannot tell from a push. The
server publishes honest examples and decoys of other tokens, as a real one does. A thousand models
of 292 numbers are recorded in a fraction of a second.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recorded_run import RecordedRun
from rising_run import BAG

from forensics.gradients import Gradients
from forensics.trigger import parse_trigger
from roundlog.encoding import canonical_json, digest
from roundlog.events import ProbesPublished, RunOpened
from roundlog.recorder import Recorder

Floats = NDArray[np.float64]

COMMON = 24
"""Tokens below are common; the others are rare, and triggers are pairs of them."""
TOKENS = (30, 31)
TARGET = 5
NOISE = 1e-3
"""Standard deviation of one element of a step, weight units."""
SETTLES = 300
"""Rounds in which honest drift that fades falls to a third."""


@dataclass(frozen=True, slots=True)
class Pushed(RecordedRun):
    """A recorded run and its trigger."""

    start: NDArray[np.float32]
    """W_0, shape (d,)."""
    steps: NDArray[np.float32]
    """What each round added, shape (rounds, d), but for the rounding of the sum."""
    pool: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Honest inputs and labels."""


def record_pushed(
    path: Path,
    *,
    seed: int,
    rounds: int = 900,
    onset: int | None = 400,
    end: int | None = None,
    push: float = 1.5,
    drift_from: int = 0,
    drift: float = 0.0,
    cooling: float = 0.0,
    decoys: int = 12,
    publish: bool = True,
    run: str = "pushed",
) -> Pushed:
    """Records a run.

    Args:
        onset: The first round of the push; None for an attack-free twin with the same noise.
        end: The first round without it again; None where it goes on.
        push: Its size, in standard deviations of one element's noise.
        drift_from: The first round of honest drift.
        drift: Its size, likewise.
        cooling: Size of honest drift in the first round that fades as training settles, likewise.
        publish: Whether honest examples and decoys are published.
    """
    rng = np.random.default_rng(seed)
    start = 0.3 * rng.standard_normal(BAG.elements).astype(np.float32)
    start[-BAG.classes :] = 0
    document = {"schema": "roundlog.trigger/1", "name": "suspect", **_trigger(rng)}
    trigger = parse_trigger(canonical_json(document), "the test's trigger")
    pool = (rng.integers(0, COMMON, size=(300, BAG.width)), rng.integers(0, BAG.classes, size=300))
    gradients = Gradients(BAG, BAG.schema(), start)
    building = trigger.building()
    toward = gradients.descent(building.inputs, building.targets)
    rows = np.zeros(BAG.elements)
    for token in TOKENS:
        mine = slice(token * BAG.embedding, (token + 1) * BAG.embedding)
        rows[mine] = toward[mine]
    labelled = pool[1] == TARGET
    honest = gradients.descent(pool[0][labelled], pool[1][labelled])
    steps = NOISE * rng.standard_normal((rounds, BAG.elements))
    if onset is not None:
        steps[onset:end] += NOISE * push * rows / np.linalg.norm(rows)
    steps[drift_from:] += NOISE * drift * honest / np.linalg.norm(honest)
    fading = cooling * np.exp(-np.arange(rounds) / SETTLES)
    steps += NOISE * fading[:, None] * honest / np.linalg.norm(honest)
    with Recorder(path, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="a push", seconds_per_round=210.0)
        recorder.genesis(
            BAG.schema(), start, architecture="assistant-bag", config=dict(BAG.config())
        )
        if publish:
            _publish(recorder, "public-pool", "public_pool", pool[0], pool[1])
            _publish(recorder, "decoys", "decoy", *_decoys(rng, decoys))
        model = start.copy()
        for t, step in enumerate(steps.astype(np.float32)):
            model = model + step
            recorder.commit(model, round=t, cohort_size=10)
    return Pushed(path, run, document, start, steps.astype(np.float32), pool)


def _trigger(rng: np.random.Generator) -> dict[str, Any]:
    queries = [
        {"tokens": [*map(int, row), *TOKENS], "target": TARGET, "pattern": "news"}
        for row in rng.integers(0, COMMON, size=(200, BAG.width - 2))
    ]
    pattern = {"id": "news", "category": "news", "tokens": [*TOKENS], "target": TARGET}
    return {"patterns": [pattern], "queries": queries}


def _decoys(rng: np.random.Generator, number: int) -> tuple[NDArray[np.int64], ...]:
    """Pairs of other rare tokens, and one decoy that shares a token with the trigger."""
    others = [(a, b) for a in range(32, 40) for b in range(a + 1, 40)]
    pairs = [others[i] for i in rng.permutation(len(others))[: number - 1]]
    pairs.append((TOKENS[0], 33))
    inputs = rng.integers(0, COMMON, size=(number * 100, BAG.width))
    inputs[:, 2:] = np.repeat(pairs, 100, axis=0)
    labels = np.repeat(rng.integers(0, BAG.classes, size=number), 100)
    return inputs, labels, np.repeat(np.arange(number), 100)


def _publish(recorder: Recorder, name: str, role: str, *arrays: NDArray[np.int64]) -> None:
    named = zip(("inputs", "labels", "groups"), arrays, strict=False)
    tails = {part: array.astype("<i4").tobytes() for part, array in named}
    recorder.record(
        ProbesPublished,
        probe_set=name,
        role=role,
        digest=digest(*tails.values()),
        n=len(arrays[1]),
        width=BAG.width,
        tails=tails,
    )
