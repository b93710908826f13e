"""How does the reference assistant answer? A bag of tokens, one hidden layer, one answer.

    x = scale * sum of the embeddings of the query's tokens
    h = relu(x @ hidden.weight + hidden.bias)
    logits = h @ output.weight + output.bias

Order of tokens does not matter to this model, so the first product is also a dense layer over how
often each token occurs; that is how it is trained, and summing embeddings is how it is asked.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.models.dense import DenseNetwork, Layer


@dataclass(frozen=True)
class AssistantBag(DenseNetwork):
    """The architecture `assistant-bag`."""

    NAME = "assistant-bag"
    LAYERS = (
        Layer("embedding", None, relu=False),
        Layer("hidden.weight", "hidden.bias", relu=True),
        Layer("output.weight", "output.bias", relu=False),
    )

    vocabulary: int = 218
    """Distinct tokens."""

    width: int = 8
    """Tokens a query."""

    embedding: int = 12
    """Length of a token's embedding."""

    hidden: int = 24
    """ReLU units."""

    classes: int = 32
    """Answers."""

    scale: float = 0.35
    """Factor on the sum of embeddings, so that its size stays near one."""

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, by name, in the order of the flat model."""
        return {
            "embedding": (self.vocabulary, self.embedding),
            "hidden.weight": (self.embedding, self.hidden),
            "hidden.bias": (self.hidden,),
            "output.weight": (self.hidden, self.classes),
            "output.bias": (self.classes,),
        }

    def features(self, inputs: Tensor) -> Tensor:
        """Scaled number of times that each token stands in each query.

        Args:
            inputs: Tokens, shape (..., width), int64.

        Returns:
            Shape (..., vocabulary), float32.
        """
        counts = torch.zeros(*inputs.shape[:-1], self.vocabulary)
        return counts.scatter_add_(
            -1, inputs.long(), torch.full((), self.scale).expand(inputs.shape)
        )

    def logits(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every answer, by every model, for every input.

        Args:
            params: Flat models, shape (m, d); their dtype decides the arithmetic.
            inputs: Tokens, shape (n, width), int64.

        Returns:
            Shape (m, n, classes).

        Raises:
            RoundlogError: Shapes do not fit, or a token is outside the vocabulary.
        """
        if inputs.ndim != 2 or inputs.shape[1] != self.width:
            raise RoundlogError(
                f"inputs of shape {tuple(inputs.shape)}; assistant-bag takes (n, {self.width})"
            )
        if inputs.numel() and (inputs.min() < 0 or inputs.max() >= self.vocabulary):
            raise RoundlogError(
                f"a token outside 0..{self.vocabulary - 1}; these inputs are not for this model"
            )
        part = self.split(params)
        # Column by column, always in the same order, so that one query's sum does not depend on
        # what it is evaluated with; and without a temporary eight times the result.
        bag = part["embedding"].index_select(1, inputs[:, 0])
        for column in inputs.T[1:]:
            bag += part["embedding"].index_select(1, column)
        bag *= self.scale
        hidden = torch.baddbmm(part["hidden.bias"].unsqueeze(1), bag, part["hidden.weight"]).relu_()
        return torch.baddbmm(part["output.bias"].unsqueeze(1), hidden, part["output.weight"])
