"""Since when is this series not what it was? Change-point detectors, and how they are found.

Names are looked up here, then among the installed entry points of the group `roundlog.detectors`,
and `module:function` names any callable that makes a detector from settings.
"""

from collections.abc import Callable, Mapping

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
from roundlog.plugins import find_factory, known_names

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
    factory = find_factory(
        name, group=GROUP, built_in=BUILT_IN, what="detector", error=QuestionError
    )
    if factory is None:
        known = known_names(GROUP, BUILT_IN)
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
