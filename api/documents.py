"""How does an answer become JSON that every reader accepts? No NaN, no surprise, one byte form.

A number that is not finite becomes null, and a neighbour `<key>_reason` says why, so that no
reader takes a hole for a zero.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from roundlog.encoding import digest

Document = dict[str, Any]


def plain(value: Any) -> Any:
    """The value as JSON's own types: dicts, lists, texts, finite numbers, booleans, null.

    Raises:
        TypeError: A value has no form in JSON.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, date | Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if hasattr(value, "document"):
        return plain(value.document())
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _plain_mapping(value: Mapping[Any, Any]) -> Document:
    result: Document = {}
    for key, item in value.items():
        result[str(key)] = plain(item)
        if isinstance(item, float) and not math.isfinite(item):
            result[f"{key}_reason"] = f"not a finite number: {item}"
    return result


def _time(value: datetime) -> str:
    """ISO 8601 in UTC; the projection's naive times are UTC."""
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")


def encode(document: Any, *, indent: int | None = None) -> bytes:
    """JSON text in UTF-8, ending in a line break; characters beyond ASCII are escaped.

    Escaped, so that no control or direction character of a model's text reaches a terminal.
    """
    return (json.dumps(plain(document), indent=indent, allow_nan=False) + "\n").encode()


def etag(body: bytes) -> str:
    """A strong entity tag: the same only for the same bytes."""
    return f'"{digest(body)[:32]}"'
