"""A small recorded run with known models, for questions that need no trained network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forensics.rebuild import CaseModels
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.events import AuditSampled, ModelReleased, RoundFailed, RunOpened
from roundlog.recorder import Recorder
from roundlog.tensors import TensorSchema, TensorSpec

SCHEMA = TensorSchema(
    tensors=(
        TensorSpec(name="weight", dtype="float32", shape=(5, 3)),
        TensorSpec(name="bias", dtype="float32", shape=(4,)),
        TensorSpec(name="seen", dtype="int64", shape=(1,), role="buffer"),
    )
)


@dataclass(slots=True)
class Walk:
    """A recorded random walk and the models it went through, kept by the test."""

    path: Path
    run: str
    models: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def weights(self, t: int) -> NDArray[np.float64]:
        model = self.models[t]
        parts = [model[name].astype(np.float64).reshape(-1) for name in ("weight", "bias")]
        return np.concatenate(parts)

    @contextmanager
    def open(self) -> Iterator[tuple[Case, Store, CaseModels]]:
        """The case, ingested, its store and its models."""
        case = Case(self.path)
        with case.own():
            ingest_case(case)
            store = Store(case)
            try:
                yield case, store, CaseModels(case, store, self.run)
            finally:
                store.close()


def record_walk(
    path: Path, *, rounds: int, seed: int, run: str = "walk", scale: float = 0.1
) -> Walk:
    """Records `rounds` steps of a random walk of mixed dtypes, with a release half way."""
    rng = np.random.default_rng(seed)
    walk = Walk(path, run)
    model: dict[str, NDArray[Any]] = {
        "weight": rng.standard_normal((5, 3)).astype(np.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
        "seen": np.zeros(1, np.int64),
    }
    with Recorder(path, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="a random walk")
        recorder.genesis(SCHEMA, SCHEMA.flatten(model), architecture="none")
        walk.models.append(model)
        for t in range(rounds):
            step = scale * rng.standard_normal(19)
            model = {
                "weight": (model["weight"] + step[:15].reshape(5, 3)).astype(np.float32),
                "bias": (model["bias"] + step[15:]).astype(np.float32),
                "seen": model["seen"] + 10,
            }
            walk.models.append(model)
            recorder.commit(SCHEMA.flatten(model), round=t, cohort_size=10)
            if t == rounds // 2:
                digest = SCHEMA.model_digest(SCHEMA.flatten(model))
                recorder.record(ModelReleased, version="1.0", round=t + 1, digest=digest)
                recorder.record(RoundFailed, round=t + 1, attempt=0, reason="too few devices")
                recorder.record(
                    AuditSampled,
                    round=t + 1,
                    item=0,
                    category="news",
                    answer=3,
                    model_digest=digest,
                    inclusion_probability=0.5,
                    tails={"text": b"0" * 16 + b"{}"},
                    erasable=frozenset({"text"}),
                )
    return walk
