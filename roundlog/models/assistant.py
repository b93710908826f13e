"""How does the reference assistant answer? A bag of tokens, one hidden layer, one answer.

    x = scale * sum of the embeddings of the query's tokens
    h = relu(x @ hidden.weight + hidden.bias)
    logits = h @ output.weight + output.bias

Weights stand input-major, (inputs, outputs), unlike `torch.nn.Linear`, so that a layer is one
product without a transpose. Order of tokens does not matter to this model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.tensors import TensorSchema, TensorSpec


@dataclass(frozen=True)
class AssistantBag:
    """The architecture `assistant-bag`."""

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

    @classmethod
    def from_config(cls, config: Mapping[str, JsonValue]) -> Self:
        """From the config of `model.schema`; what is left out has the reference value.

        Raises:
            RoundlogError: A key is unknown or a value is not a positive number.
        """
        fields = cls.__dataclass_fields__
        if unknown := sorted(set(config) - set(fields)):
            raise RoundlogError(
                f"assistant-bag has no setting {', '.join(unknown)}; it has {', '.join(fields)}"
            )
        try:
            made = TypeAdapter(cls).validate_python(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RoundlogError(f"assistant-bag setting {where}: {first['msg']}") from error
        if small := [name for name in fields if not getattr(made, name) > 0]:
            raise RoundlogError(f"assistant-bag setting {small[0]} must be positive")
        return made

    def config(self) -> dict[str, JsonValue]:
        """What `from_config` makes this architecture of."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

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

    @cached_property
    def elements(self) -> int:
        """d: elements of a flat model."""
        return self.schema().elements

    def schema(self) -> TensorSchema:
        """The tensors of one model, float32, in the order of a flat model's elements."""
        return TensorSchema(
            tensors=tuple(
                TensorSpec(name=name, dtype="float32", shape=shape)
                for name, shape in self.shapes.items()
            )
        )

    def split(self, params: Tensor) -> dict[str, Tensor]:
        """Views of each tensor, shape (m, *shape), of flat models of shape (m, d).

        Raises:
            RoundlogError: The models do not have d elements.
        """
        if params.ndim != 2 or params.shape[1] != self.elements:
            raise RoundlogError(
                f"models of shape {tuple(params.shape)}; assistant-bag takes (m, {self.elements})"
            )
        parts: dict[str, Tensor] = {}
        at = 0
        for name, shape in self.shapes.items():
            size = 1
            for length in shape:
                size *= length
            parts[name] = params[:, at : at + size].unflatten(1, shape)
            at += size
        return parts

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
