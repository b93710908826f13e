"""Which network is this? From the name in `model.schema` to something that can be run.

An architecture is a pure function from a flat model and inputs to logits, for many models at
once. Names are looked up here, then among the installed entry points of the group
`roundlog.models`, and `module:function` names any callable that takes the recorded config.

This is the one room of the kernel that imports torch; the rest of `roundlog` may not import it.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from pydantic import JsonValue
from torch import Tensor

from roundlog.errors import RoundlogError
from roundlog.models.assistant import AssistantBag
from roundlog.models.dense import DenseNetwork, Layer
from roundlog.models.digits import DigitsMlp
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
    factory = BUILT_IN.get(name) or _installed(name) or _by_path(name)
    if factory is None:
        known = sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})
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


def _installed(name: str) -> Factory | None:
    for point in entry_points(group=GROUP, name=name):
        try:
            loaded: Factory = point.load()
        except (ImportError, AttributeError) as error:
            raise RoundlogError(
                f"the entry point {name!r} ({point.value}) cannot be loaded: {error}"
            ) from error
        return loaded
    return None


def _by_path(name: str) -> Factory | None:
    module, colon, attribute = name.partition(":")
    if not colon:
        return None
    try:
        loaded: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise RoundlogError(f"the architecture {name!r} cannot be imported: {error}") from error
    return loaded


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
