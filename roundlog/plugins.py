"""Which code does a name mean? Ours, then an installed entry point, then `module:function`.

Architectures and detectors are found so, and whatever else others may bring along.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from roundlog.errors import RoundlogError

Factory = Callable[..., Any]


def find_factory(
    name: str,
    *,
    group: str,
    built_in: Mapping[str, Factory],
    what: str,
    error: type[RoundlogError] = RoundlogError,
) -> Factory | None:
    """What makes the thing of that name; None where nothing is known under it.

    Args:
        group: Of the entry points.
        what: The kind of thing, for people: `architecture`, `detector`.
        error: Raised where what the name means cannot be imported.

    Raises:
        RoundlogError: It is named, and cannot be imported.
    """
    if name in built_in:
        return built_in[name]
    for point in entry_points(group=group, name=name):
        try:
            installed: Factory = point.load()
        except (ImportError, AttributeError) as cause:
            raise error(
                f"the entry point {name!r} ({point.value}) cannot be loaded: {cause}"
            ) from cause
        return installed
    module, colon, attribute = name.partition(":")
    if not colon:
        return None
    try:
        named: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as cause:
        raise error(f"the {what} {name!r} cannot be imported: {cause}") from cause
    return named


def known_names(group: str, built_in: Mapping[str, Factory]) -> list[str]:
    """Every name that is known without a module, sorted."""
    return sorted({*built_in, *(point.name for point in entry_points(group=group))})
