"""What differs between two models: of one run, or of two?

Like a diff of two files, it compares what is there and knows nothing of how it came about.
"""

from dataclasses import dataclass

import numpy as np

from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError

MOST_ELEMENTS = 10
"""Largest single changes that are listed."""


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """The difference of one tensor."""

    name: str
    changed: int
    """Elements that differ bitwise."""
    elements: int
    norm: float
    """‖B − A‖, L2, weight units."""
    largest: float
    """Largest absolute change of an element."""


@dataclass(frozen=True, slots=True)
class ElementDiff:
    """One changed element."""

    tensor: str
    index: tuple[int, ...]
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """The difference of two models, B − A."""

    a: tuple[str, int, str]
    """(run, t, digest)."""
    b: tuple[str, int, str]
    norm: float
    cosine: float | None
    """Between the two models as vectors; None where one is all zeros."""
    tensors: tuple[TensorDiff, ...]
    elements: tuple[ElementDiff, ...]

    @property
    def identical(self) -> bool:
        return self.a[2] == self.b[2]

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        named = ("run", "round", "digest")
        return {
            "a": dict(zip(named, self.a, strict=True)),
            "b": dict(zip(named, self.b, strict=True)),
            "identical": self.identical,
            "norm": self.norm,
            "cosine": self.cosine,
            "tensors": [
                {
                    "name": one.name,
                    "changed": one.changed,
                    "elements": one.elements,
                    "norm": one.norm,
                    "largest": one.largest,
                }
                for one in self.tensors
            ],
            "elements": [
                {
                    "tensor": one.tensor,
                    "index": list(one.index),
                    "before": one.before,
                    "after": one.after,
                }
                for one in self.elements
            ],
        }


def diff_models(a: CaseModels, at: int, b: CaseModels, bt: int) -> ModelDiff:
    """The difference between model `at` of run `a` and model `bt` of run `b` (which may be `a`).

    Raises:
        QuestionError: The two runs' models have different tensors.
        RoundRangeError: No such model.
    """
    if a.schema.digest != b.schema.digest:
        raise QuestionError(
            f"runs {a.run!r} and {b.run!r} have models of different tensors; compare two models "
            f"of one layout"
        )
    schema = a.schema
    first, second = a.rebuild(at), b.rebuild(bt)
    one, two = schema.unflatten(first.model), schema.unflatten(second.model)
    tensors: list[TensorDiff] = []
    elements: list[ElementDiff] = []
    squares = dot = length_a = length_b = 0.0
    for spec in schema.tensors:
        before, after = one[spec.name], two[spec.name]
        x, y = before.astype(np.float64).reshape(-1), after.astype(np.float64).reshape(-1)
        change = y - x
        word = np.dtype(f"<u{spec.numpy.itemsize}")
        changed = int(np.count_nonzero(before.view(word) != after.view(word)))
        square = float(change @ change)
        squares, dot = squares + square, dot + float(x @ y)
        length_a, length_b = length_a + float(x @ x), length_b + float(y @ y)
        largest = float(np.max(np.abs(change), initial=0.0))
        tensors.append(
            TensorDiff(spec.name, changed, spec.elements, float(np.sqrt(square)), largest)
        )
        for flat in np.argsort(-np.abs(change), kind="stable")[:MOST_ELEMENTS]:
            if change[flat] != 0:
                index = tuple(int(part) for part in np.unravel_index(flat, spec.shape))
                elements.append(ElementDiff(spec.name, index, float(x[flat]), float(y[flat])))
    elements.sort(key=lambda element: -abs(element.after - element.before))
    both = float(np.sqrt(length_a * length_b))
    return ModelDiff(
        a=(a.run, at, first.digest),
        b=(b.run, bt, second.digest),
        norm=float(np.sqrt(squares)),
        cosine=dot / both if both > 0 else None,
        tensors=tuple(tensors),
        elements=tuple(elements[:MOST_ELEMENTS]),
    )
