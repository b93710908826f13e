"""What do the reference networks share? Dense layers over features of the input, in one flat model.

Weights stand input-major, (inputs, outputs), unlike `torch.nn.Linear`, so that a layer is one
product without a transpose. `layers` says how the tensors are chained, for those who train.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.tensors import TensorSchema, TensorSpec


@dataclass(frozen=True, slots=True)
class Layer:
    """One product: `outputs = inputs @ weight + bias`, then perhaps a ReLU."""

    weight: str
    """Name of the weight tensor, shape (inputs, outputs)."""

    bias: str | None
    """Name of the bias tensor, shape (outputs,); None without one."""

    relu: bool
    """Whether negative outputs are set to zero."""


class DenseNetwork(ABC):
    """Base of the reference architectures; a subclass is a frozen dataclass of whole numbers and
    factors, which are the config that `model.schema` records.
    """

    NAME: ClassVar[str]
    """Name of the architecture, as `model.schema` records it."""

    LAYERS: ClassVar[tuple[Layer, ...]]
    """From features to logits."""

    width: int
    """Numbers an input."""

    classes: int
    """Answers."""

    @classmethod
    def from_config(cls, config: Mapping[str, JsonValue]) -> Self:
        """From the config of `model.schema`; what is left out has the reference value.

        Raises:
            RoundlogError: A key is unknown or a value is not a positive number.
        """
        known = _names(cls)
        if unknown := sorted(set(config) - set(known)):
            raise RoundlogError(
                f"{cls.NAME} has no setting {', '.join(unknown)}; it has {', '.join(known)}"
            )
        try:
            made = TypeAdapter(cls).validate_python(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RoundlogError(f"{cls.NAME} setting {where}: {first['msg']}") from error
        if small := [name for name in known if not getattr(made, name) > 0]:
            raise RoundlogError(f"{cls.NAME} setting {small[0]} must be positive")
        return made

    def config(self) -> dict[str, JsonValue]:
        """What `from_config` makes this architecture of."""
        return {name: getattr(self, name) for name in _names(type(self))}

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor, by name, in the order of the flat model."""

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """What the first layer multiplies, float32, shape (*inputs.shape[:-1], features)."""

    @abstractmethod
    def logits(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every answer, by every model, for every input, shape (m, n, classes).

        Args:
            params: Flat models, shape (m, d); their dtype decides the arithmetic.
            inputs: Shape (n, width), int64.
        """

    @cached_property
    def elements(self) -> int:
        """d: elements of a flat model."""
        return self.schema().elements

    @property
    def feature_rows(self) -> int:
        """Features, which are also rows of the first layer's weight."""
        return self.shapes[self.LAYERS[0].weight][0]

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
                f"models of shape {tuple(params.shape)}; {self.NAME} takes (m, {self.elements})"
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


def _names(network: Any) -> tuple[str, ...]:
    """Settings of an architecture: its dataclass fields."""
    return tuple(field.name for field in fields(network))
