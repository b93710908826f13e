"""Which network is this? From the name in `model.schema` to something that can be run.

An architecture is a pure function from a flat model and inputs to logits, for many models at
once. Names are looked up here, then among the installed entry points of the group
`roundlog.models`, and `module:function` names any callable that takes the recorded config.

This is the one room of the kernel that imports torch; the rest of `roundlog` may not import it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from pydantic import JsonValue
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.models.assistant import AssistantBag
from roundlog.models.dense import DenseNetwork, Layer
from roundlog.models.digits import DigitsMlp
from roundlog.plugins import find_factory, known_names
from roundlog.tensors import TensorSchema

GROUP = "roundlog.models"


@runtime_checkable
class Architecture(Protocol):
    """What probing needs to know of a network."""

    @property
    def classes(self) -> int:
        """Answers that the model chooses from."""

    @property
    def width(self) -> int:
        """Tokens (or features) an input."""

    def schema(self) -> TensorSchema:
        """The tensors of one model, in the order of a flat model's elements."""

    def logits(self, params: Tensor, inputs: Tensor) -> Tensor:
        """Scores of every answer, by every model, for every input.

        Args:
            params: Flat models, shape (m, d); their dtype decides the arithmetic.
            inputs: Shape (n, width), int64.

        Returns:
            Shape (m, n, classes), in the dtype of `params`.
        """


Factory = Callable[[Mapping[str, JsonValue]], Architecture]

BUILT_IN: dict[str, Factory] = {
    AssistantBag.NAME: AssistantBag.from_config,
    DigitsMlp.NAME: DigitsMlp.from_config,
}


def resolve(name: str, config: Mapping[str, JsonValue]) -> Architecture:
    """The architecture that a recorded name and config mean.

    Args:
        name: A built-in name, an entry point of the group `roundlog.models`, or
            `module:function` for a callable that takes the config.

    Raises:
        RoundlogError: Nothing of that name is known, it cannot be imported, or it does not
            take this config.
    """
    factory = find_factory(name, group=GROUP, built_in=BUILT_IN, what="architecture")
    if factory is None:
        known = known_names(GROUP, BUILT_IN)
        raise RoundlogError(
            f"no architecture is called {name!r}; known are {', '.join(known)}. Without it the "
            f"record can be rebuilt but not probed: name yours as module:function, or install "
            f"an entry point of the group {GROUP!r}."
        )
    try:
        architecture = factory(config)
    except RoundlogError:
        raise
    except Exception as error:
        raise RoundlogError(
            f"the architecture {name!r} does not take the recorded config {dict(config)}: {error}"
        ) from error
    if not isinstance(architecture, Architecture):
        raise RoundlogError(
            f"{name!r} made a {type(architecture).__name__}, which lacks some of classes, width, "
            f"schema() and logits()"
        )
    return architecture


__all__ = [
    "BUILT_IN",
    "GROUP",
    "Architecture",
    "AssistantBag",
    "DenseNetwork",
    "DigitsMlp",
    "Factory",
    "Layer",
    "resolve",
]
