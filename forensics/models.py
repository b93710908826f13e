"""What does a question about behaviour need of a record? Models by their t, one or many.

`forensics.rebuild.CaseModels` takes them from a case; anything else that keeps this protocol can
be asked the same questions.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roundlog.tensors import Array, Bytes, TensorSchema


class ModelSource(Protocol):
    """The models first … last of one run."""

    @property
    def run(self) -> str:
        """Which run."""

    @property
    def schema(self) -> TensorSchema:
        """Tensors of every model."""

    @property
    def first(self) -> int:
        """t of the first model."""

    @property
    def last(self) -> int:
        """t of the last model: N after N rounds."""

    def model(self, t: int) -> Bytes:
        """W_t as bytes, shape (schema.nbytes,), equal to what was recorded.

        Raises:
            RoundRangeError: No such model.
            DigestMismatchError: It is not the recorded one.
        """

    def blocks(
        self, first: int, last: int, *, step: int = 1, size: int = 256
    ) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Models first, first + step, … up to `last`: their t, shape (m,), and bytes, (m, nbytes).

        Raises:
            As `model`.
        """


def numbers(models: Array, schema: TensorSchema) -> Array:
    """Elements of models given as bytes, in schema order.

    Args:
        models: Shape (m, schema.nbytes), uint8.

    Returns:
        Shape (m, schema.elements): the models' own dtype where all tensors share one, else float64.
    """
    if schema.uniform is not None:
        return np.ascontiguousarray(models).view(schema.uniform)
    flat = np.empty((len(models), schema.elements), dtype=np.float64)
    element = 0
    for spec, start in zip(schema.tensors, schema.offsets, strict=True):
        raw = np.ascontiguousarray(models[:, start : start + spec.elements * spec.numpy.itemsize])
        flat[:, element : element + spec.elements] = raw.view(spec.numpy)
        element += spec.elements
    return flat


def evenly(first: int, last: int, count: int) -> list[int]:
    """Up to `count` different t from `first` to `last`, both inside, evenly spaced."""
    return sorted({int(round(t)) for t in np.linspace(first, last, max(2, count))})
