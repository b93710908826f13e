"""A flight recorder for federated learning: record every round, rebuild any model.

    import roundlog

    with roundlog.open("my-case") as source:        # or "http://127.0.0.1:8765"
        rounds = source.rounds()                    # a polars frame

A server that only records needs `roundlog.recorder` and nothing else of this package.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__version__ = "0.1.0"

OPENERS = "roundlog.openers"
"""Entry-point group in which `open` finds what can open a case or a server."""

__all__ = ["OPENERS", "__version__", "open"]


def open(source: "Path | str", **options: Any) -> Any:
    """A case directory or a server's URL, ready to be asked.

    Found through the entry-point group `roundlog.openers`, so that this kernel imports nothing
    above it; `api.client.open_source` is the one that roundlog itself installs.

    Args:
        source: Path of a case, or `http://HOST:PORT` of a `roundlog serve`.
        options: Handed to the opener, such as `token` for a server that asks for one.

    Returns:
        An `api.client.Source`; close it, or use it in a `with` statement.

    Raises:
        RoundlogError: No opener is installed, or the source cannot be opened.
    """
    # Imported here: it costs 20 ms that `roundlog --help` must not pay.
    from importlib.metadata import entry_points

    from roundlog.errors import RoundlogError

    for point in entry_points(group=OPENERS):
        return point.load()(source, **options)
    raise RoundlogError(
        f"nothing is installed that can open {source}: no entry point of the group {OPENERS!r}. "
        f"Install the distribution again: pip install 'roundlog[server]'."
    )
