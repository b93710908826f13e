"""Since when is this series not what it was? Change-point detectors, and how they are found.

Names are looked up here, then among the installed entry points of the group `roundlog.detectors`,
and `module:function` names any callable that makes a detector from settings.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from pydantic import JsonValue

from forensics.detectors.cusum import Cusum
from forensics.detectors.glr import Glr
from forensics.detectors.port import (
    Block,
    Budget,
    Detector,
    Floats,
    Rounds,
    State,
    Vote,
    identity,
)
from forensics.detectors.sequential_ranks import SequentialRanks
from roundlog.errors import QuestionError

GROUP = "roundlog.detectors"

Factory = Callable[..., Detector]

BUILT_IN: dict[str, Factory] = {
    Cusum.name: Cusum,
    Glr.name: Glr,
    SequentialRanks.name: SequentialRanks,
}


def resolve(name: str, settings: Mapping[str, JsonValue] | None = None) -> Detector:
    """The detector of a name, with its settings.

    Args:
        name: A built-in name, an entry point of the group `roundlog.detectors`, or
            `module:function`.
        settings: Keyword arguments of the detector; its defaults hold for what is not given.

    Raises:
        QuestionError: Nothing of that name is known, it cannot be imported, it does not take
            these settings, or it makes something that is no detector.
    """
    given = dict(settings or {})
    factory = BUILT_IN.get(name) or _installed(name) or _by_path(name)
    if factory is None:
        known = sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})
        raise QuestionError(
            f"no detector is called {name!r}; known are {', '.join(known)}. Name yours as "
            f"module:function, or install an entry point of the group {GROUP!r}"
        )
    try:
        detector = factory(**given)
    except QuestionError:
        raise
    except Exception as error:
        raise QuestionError(
            f"the detector {name!r} does not take the settings {given}: {error}"
        ) from error
    if not isinstance(detector, Detector):
        raise QuestionError(
            f"{name!r} made a {type(detector).__name__}, which lacks some of name, version, "
            f"charts, calibrate(), update() and load()"
        )
    return detector


def _installed(name: str) -> Factory | None:
    for point in entry_points(group=GROUP, name=name):
        try:
            loaded: Factory = point.load()
        except (ImportError, AttributeError) as error:
            raise QuestionError(
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
        raise QuestionError(f"the detector {name!r} cannot be imported: {error}") from error
    return loaded


__all__ = [
    "BUILT_IN",
    "GROUP",
    "Block",
    "Budget",
    "Cusum",
    "Detector",
    "Factory",
    "Floats",
    "Glr",
    "Rounds",
    "SequentialRanks",
    "State",
    "Vote",
    "identity",
    "resolve",
]
