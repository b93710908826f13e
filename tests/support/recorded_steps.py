"""A recorded run whose every step is known, in sessions of producers that a test lays out."""

from collections.abc import Iterator, Sequence
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
from roundlog.events import RunOpened
from roundlog.recorder import Recorder
from roundlog.tensors import TensorSchema, TensorSpec

Plan = Sequence[tuple[str, Sequence[int]]]
"""Sessions one after the other: a producer, and the rounds that it commits before it closes."""

FLAT = TensorSchema(
    tensors=(
        TensorSpec(name="weights", dtype="float32", shape=(1030,)),
        TensorSpec(name="running", dtype="float32", shape=(7,), role="buffer"),
    )
)
"""All float32; a row is two tiles of unlike width."""


@dataclass(slots=True)
class Steps:
    """A recorded run and what each step added, kept by the test."""

    path: Path
    schema: TensorSchema
    run: str = "steps"
    deltas: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """By round, every element in schema order; of a round that was done again, the last."""

    @property
    def rounds(self) -> list[int]:
        return sorted(self.deltas)

    def matrix(self) -> NDArray[np.float64]:
        """Shape (rounds, elements)."""
        return np.stack([self.deltas[t] for t in self.rounds])

    @property
    def trainable(self) -> NDArray[np.bool_]:
        kinds = [np.full(spec.elements, spec.role == "trainable") for spec in self.schema.tensors]
        return np.concatenate(kinds)

    @contextmanager
    def open(self) -> Iterator[CaseModels]:
        """The models of the ingested case."""
        case = Case(self.path)
        with case.own():
            ingest_case(case)
            store = Store(case)
            try:
                yield CaseModels(case, store, self.run)
            finally:
                store.close()


def record_steps(path: Path, plan: Plan, *, schema: TensorSchema = FLAT, seed: int) -> Steps:
    """Records random steps; each session begins with a whole model, and ends with a seal."""
    rng = np.random.default_rng(seed)
    steps = Steps(path, schema)
    model = _moved({spec.name: np.zeros(spec.shape, spec.numpy) for spec in schema.tensors}, rng)
    for session, (producer, rounds) in enumerate(plan):
        with Recorder(path, run=steps.run, producer=producer, on_error="raise") as recorder:
            if session == 0:
                recorder.record(RunOpened, framework="known steps")
            recorder.genesis(schema, schema.flatten(model), architecture="none", round=rounds[0])
            for t in rounds:
                before, model = model, _moved(model, rng)
                recorder.commit(schema.flatten(model), round=t, cohort_size=1)
                steps.deltas[t] = _numbers(model) - _numbers(before)
    return steps


def directions_for(schema: TensorSchema, m: int, seed: int) -> NDArray[np.float64]:
    """Shape (m, elements), zero at buffers."""
    rng = np.random.default_rng([seed, m])
    parts = [
        rng.standard_normal((m, spec.elements)) * (spec.role == "trainable")
        for spec in schema.tensors
    ]
    return np.concatenate(parts, axis=1)


def _moved(model: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    moved = {}
    for name, array in model.items():
        whole = np.issubdtype(array.dtype, np.integer)
        step = rng.integers(-3, 4, array.shape) if whole else rng.normal(0, 0.1, array.shape)
        moved[name] = (array + step).astype(array.dtype)
    return moved


def _numbers(model: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    return np.concatenate([array.astype(np.float64).reshape(-1) for array in model.values()])
