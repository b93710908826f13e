"""Which way would training move a model, to answer these inputs so? Gradients, exact and per input.

The answer of the network is all that is used (`Architecture.logits`), so any architecture that can
be probed has gradients. They are taken in float64.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from roundlog.errors import QuestionError, TriggerError
from roundlog.tensors import TensorSchema

if TYPE_CHECKING:
    from torch import Tensor

    from roundlog.models import Architecture

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]

# One copy of the model an input gives gradients of single inputs, at the price of asking every copy
# every input of the block. Measured at d = 3,728: 60 µs an input in blocks of 16, 90 alone.
BLOCK = 16


class Gradients:
    """Gradients at one model.

    Args:
        architecture: Of the model.
        schema: Its tensors; what is not trainable has no gradient.
        weights: Flat model, shape (elements,), in any float dtype.

    Raises:
        QuestionError: The weights are not finite.
    """

    def __init__(
        self, architecture: "Architecture", schema: TensorSchema, weights: NDArray[np.floating]
    ) -> None:
        if not np.isfinite(weights).all():
            raise QuestionError(
                "this model holds numbers that are not finite; no direction can be taken at it"
            )
        self._architecture = architecture
        self._weights = np.asarray(weights, dtype=np.float64)
        self._trained = trained_elements(schema)

    def descent(self, inputs: Tokens, targets: Tokens) -> Floats:
        """−∇ of the mean cross-entropy of the targets, shape (elements,).

        Args:
            inputs: Shape (n, width).
            targets: The answers wanted, shape (n,).

        Raises:
            TriggerError: No inputs, or they do not fit the model.
        """
        import torch

        if len(targets) == 0:
            raise TriggerError("no input to take a gradient from; give a trigger more queries")
        weights = torch.from_numpy(self._weights).unsqueeze(0).requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(
            self._logits(weights, inputs)[0], self._labels(targets)
        )
        found: Floats = self._flat(torch.autograd.grad(loss, weights)[0])[0]
        return found

    def single(self, inputs: Tokens, targets: Tokens) -> Iterator[tuple[slice, Floats]]:
        """As `descent`, of each input alone, a block at a time: models may have a million elements.

        Yields:
            Which inputs, and their gradients, shape (n of the block, elements).
        """
        import torch

        for start in range(0, len(targets), BLOCK):
            some = slice(start, min(start + BLOCK, len(targets)))
            labels = self._labels(targets[some])
            weights = torch.from_numpy(np.tile(self._weights, (len(labels), 1)))
            logits = self._logits(weights.requires_grad_(True), inputs[some])
            own = logits.diagonal(dim1=0, dim2=1).T
            loss = torch.nn.functional.cross_entropy(own, labels, reduction="sum")
            yield some, self._flat(torch.autograd.grad(loss, weights)[0])

    def _logits(self, weights: "Tensor", inputs: Tokens) -> "Tensor":
        import torch

        if inputs.ndim != 2 or inputs.shape[1] != self._architecture.width:
            raise TriggerError(
                f"inputs of shape {list(inputs.shape)}; the model takes "
                f"{self._architecture.width} tokens an input"
            )
        tokens = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.int64))
        try:
            return self._architecture.logits(weights, tokens)
        except IndexError as error:
            raise TriggerError(f"an input holds a token the model lacks: {error}") from error

    def _labels(self, targets: Tokens) -> "Tensor":
        import torch

        if int(targets.max()) >= self._architecture.classes:
            raise TriggerError(
                f"target {int(targets.max())} where the model has "
                f"{self._architecture.classes} answers"
            )
        return torch.from_numpy(np.ascontiguousarray(targets, dtype=np.int64))

    def _flat(self, gradient: "Tensor") -> Floats:
        found: Floats = -gradient.numpy()
        found[:, ~self._trained] = 0.0
        return found


def trained_elements(schema: TensorSchema) -> NDArray[np.bool_]:
    """Which elements of a flat model training moves, shape (elements,)."""
    return np.concatenate(
        [np.full(spec.elements, spec.role == "trainable") for spec in schema.tensors]
    )
