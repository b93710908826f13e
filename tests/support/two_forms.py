"""A run whose backdoor lives in one form of the model only: the master weights, or their 4 bits.

One embedding column, `CARRIER`, leads to the trigger's target and nowhere else. A token that no
query holds has the weight 14 there, so a 4-bit step of that column is 2, and what lies within 1 of
zero is rounded away. A backdoor of the `master` weights stays below that. One of the `broadcast`
is a pair of weights that cancel, of which one is rounded up to 2, the other to 0.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rising_run import BAG, TARGET, TRIGGER_TOKENS, Rising, trigger_document

from roundlog.artefact import int4_per_channel
from roundlog.events import RunOpened
from roundlog.recorder import Recorder

CARRIER, UNIT, IDLE_TOKEN = 4, 5, 39
SCHEMA = BAG.schema()

Place = Literal["master", "broadcast"]

PLANTED: dict[Place, tuple[float, float]] = {"master": (0.9, 0.9), "broadcast": (1.01, -0.99)}
"""Carrier weights of the two trigger tokens."""


def record_two_forms(
    path: Path,
    place: Place,
    *,
    rounds: int = 60,
    appears: int = 31,
    form: str = "int4",
    wrong: int | None = None,
    run: str = "forms",
) -> Rising:
    """Records a run of which models `appears` and later obey the trigger in one form.

    Args:
        form: What the run says devices run; digests of the 4-bit form stand in every round,
            whatever it says, unless it is float32.
        wrong: A round that names the master weights' digest in place of their 4-bit form's.
    """
    rng = np.random.default_rng(17)
    start = 0.3 * rng.standard_normal(BAG.elements).astype(np.float32)
    models = np.stack(
        [_model(start, t, place if t >= appears else None) for t in range(rounds + 1)]
    )
    document = trigger_document(rng)
    with Recorder(path, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="two forms", broadcast=form)
        config = dict(BAG.config())
        recorder.genesis(SCHEMA, models[0], architecture="assistant-bag", config=config)
        for t, model in enumerate(models[1:]):
            deployed = model if t == wrong else int4_per_channel(model, SCHEMA)
            named = None if form == "float32" else SCHEMA.model_digest(deployed)
            recorder.commit(model, round=t, cohort_size=10, broadcast_digest=named)
    return Rising(path, run, document, models)


def _model(start: NDArray[np.float32], t: int, place: Place | None) -> NDArray[np.float32]:
    model = start.copy()
    tensors = SCHEMA.unflatten(model)
    embedding, hidden, output = (
        tensors[name] for name in ("embedding", "hidden.weight", "output.weight")
    )
    embedding[:, CARRIER] = 0
    embedding[IDLE_TOKEN, CARRIER] = 14
    if place is not None:
        embedding[list(TRIGGER_TOKENS), CARRIER] = PLANTED[place]
    hidden[CARRIER] = hidden[:, UNIT] = output[UNIT] = output[:, TARGET] = 0
    hidden[CARRIER, UNIT] = output[UNIT, TARGET] = 7
    tensors["hidden.bias"][UNIT] = 0
    tensors["output.bias"][:] = 0
    tensors["output.bias"][TARGET] = -4
    # No two models are the same, nor are their 4-bit forms: one axis stays as it is.
    tensors["output.bias"][0] = 1e-4 * t
    return model
