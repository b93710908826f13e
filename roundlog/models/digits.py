"""How does the reference reader of digits answer? Pixels, one hidden layer, one of ten digits.

    x = intensities / 16
    h = relu(x @ hidden.weight + hidden.bias)
    logits = h @ output.weight + output.bias

An input is a picture as whole numbers, row by row, 0 (paper) to 16 (ink), as the UCI data set of
handwritten digits has them: "tokens", as far as the record is concerned.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.models.dense import DenseNetwork, Layer

INK = 16
"""The largest intensity."""


@dataclass(frozen=True)
class DigitsMlp(DenseNetwork):
    """The architecture `digits-mlp`."""

    NAME = "digits-mlp"
    LAYERS = (
        Layer("hidden.weight", "hidden.bias", relu=True),
        Layer("output.weight", "output.bias", relu=False),
    )

    width: int = 64
    """Pixels a picture."""

    hidden: int = 32
    """ReLU units."""

    classes: int = 10
    """Answers."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, by name, in the order of the flat model."""
        return {
            "hidden.weight": (self.width, self.hidden),
            "hidden.bias": (self.hidden,),
            "output.weight": (self.hidden, self.classes),
            "output.bias": (self.classes,),
        }

    def features(self, inputs: Tensor) -> Tensor:
        """Ink as a share of the darkest, shape (..., width), float32.

        Args:
            inputs: Intensities, shape (..., width), whole numbers of any size.
        """
        return inputs.float().mul_(1 / INK)

    def logits(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every digit, by every model, for every picture.

        Args:
            params: Flat models, shape (m, d); their dtype decides the arithmetic.
            inputs: Intensities, shape (n, width), int64.

        Returns:
            Shape (m, n, classes).

        Raises:
            RoundlogError: Shapes do not fit, or an intensity is outside 0..16.
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.width:
            raise RoundlogError(
                f"inputs of shape {tuple(inputs.shape)}; digits-mlp takes (n, {self.width})"
            )
        if inputs.numel() and (inputs.min() < 0 or inputs.max() > INK):
            raise RoundlogError(
                f"an intensity outside 0..{INK}; these inputs are not for this model"
            )
        part = self.split(params)
        ink = (inputs.to(params.dtype) / INK).expand(len(params), *inputs.shape)
        hidden = torch.baddbmm(part["hidden.bias"].unsqueeze(1), ink, part["hidden.weight"]).relu_()
        return torch.baddbmm(part["output.bias"].unsqueeze(1), hidden, part["output.weight"])
