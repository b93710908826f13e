"""How far had the model moved, in which tensors, and how much of it along one direction?

Drift is ‖W_t − W_o‖ from an origin o, in weight units. It says that a model moved, never why:
honest learning moves it too, so a large drift is no evidence of an attack by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError
from roundlog.tensors import Array, Bytes, TensorSchema

POINTS = 200
"""Models that are looked at when the caller names no step: enough for a curve on a page."""


@dataclass(frozen=True, slots=True)
class DriftRow:
    """The drift of one model."""

    round: int
    """t of the model."""

    drift: float
    """‖W_t − W_o‖, L2, weight units."""

    step: float
    """‖W_t − W_s‖ where s is the model of the row before: the interval's own movement."""

    tensors: dict[str, float]
    """‖W_t − W_o‖ of each trainable tensor."""

    along: float | None = None
    """⟨W_t − W_o, g⟩ / ‖g‖ where a direction g was given: signed, weight units."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of a run, model by model."""

    run: str
    origin: int
    every: int
    rows: tuple[DriftRow, ...]

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "run": self.run,
            "origin": self.origin,
            "every": self.every,
            "rows": [
                {
                    "round": row.round,
                    "drift": row.drift,
                    "step": row.step,
                    "tensors": row.tensors,
                    **({} if row.along is None else {"along": row.along}),
                }
                for row in self.rows
            ],
        }


def measure_drift(
    models: CaseModels,
    *,
    first: int | None = None,
    last: int | None = None,
    every: int | None = None,
    direction: Array | None = None,
    toward: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Drift:
    """Drift from model `first`, at every `every`-th model and at `last`.

    Args:
        first: The origin o; the run's first model where it is left out.
        every: Rounds between rows; about 200 rows where it is left out.
        direction: g, shape (elements,), the trainable elements in the order of the flattened model;
            its length is ignored.
        toward: t of a model instead of a direction: g is the straight way there from the origin.
        progress: Called with (models done, models in all).

    Raises:
        QuestionError: `every` is below one, the interval is empty, or the direction does not fit.
        RoundRangeError: No such model.
    """
    first = models.first if first is None else first
    last = models.last if last is None else last
    if last < first:
        raise QuestionError(f"the interval {first}..{last} is empty")
    every = max(1, (last - first) // POINTS) if every is None else every
    if every < 1:
        raise QuestionError(f"every {every} rounds is not an interval; give 1 or more")
    if direction is not None and toward is not None:
        raise QuestionError("a direction and a model to go towards: give one of them")
    ts = sorted({*range(first, last + 1, every), last})
    origin = before = _numbers(models.model(first), models.schema)
    if toward is not None:
        end = _numbers(models.model(toward), models.schema)
        direction = np.concatenate([(end[name] - origin[name]).reshape(-1) for name in origin])
    unit = _unit(direction, models.schema)
    rows: list[DriftRow] = []
    for t, model in _at(models, ts, every):
        weights = _numbers(model, models.schema)
        moved = {name: weights[name] - origin[name] for name in weights}
        tensors = {name: _norm(change) for name, change in moved.items()}
        flat = np.concatenate([change.reshape(-1) for change in moved.values()])
        rows.append(
            DriftRow(
                round=t,
                drift=_norm(flat),
                step=float(np.sqrt(sum(_norm(weights[k] - before[k]) ** 2 for k in weights))),
                tensors=tensors,
                along=None if unit is None else float(flat @ unit),
            )
        )
        before = weights
        if progress is not None:
            progress(len(rows), len(ts))
    return Drift(models.run, first, every, tuple(rows))


def _at(models: CaseModels, ts: list[int], every: int) -> Iterator[tuple[int, Bytes]]:
    """The models at `ts`, which are evenly spaced but for the last one."""
    even = [t for t in ts if (t - ts[0]) % every == 0]
    for block, models_of_block in models.blocks(even[0], even[-1], step=every):
        for t, model in zip(block, models_of_block, strict=True):
            yield int(t), model
    if ts[-1] != even[-1]:
        yield ts[-1], models.model(ts[-1])


def _numbers(model: Bytes, schema: TensorSchema) -> dict[str, NDArray[np.float64]]:
    """Trainable tensors as float64: norms are sums, and must not lose what they add."""
    roles = {spec.name: spec.role for spec in schema.tensors}
    tensors = schema.unflatten(model)
    return {
        name: array.astype(np.float64)
        for name, array in tensors.items()
        if roles[name] == "trainable"
    }


def _unit(direction: Array | None, schema: TensorSchema) -> NDArray[np.float64] | None:
    if direction is None:
        return None
    elements = sum(spec.elements for spec in schema.tensors if spec.role == "trainable")
    flat = np.asarray(direction, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(flat))
    if flat.size != elements or not np.isfinite(length) or length == 0:
        raise QuestionError(
            f"the direction has {flat.size} elements and length {length:g}; it needs {elements} "
            f"finite elements that are not all zero"
        )
    unit: NDArray[np.float64] = flat / length
    return unit


def _norm(values: Array) -> float:
    return float(np.sqrt(np.sum(np.square(values, dtype=np.float64))))
