"""What do all projections share? Rows are plain tuples, JSON columns are canonical text."""

import json
from collections.abc import Mapping
from typing import Any

Row = tuple[Any, ...]
"""Values in the order of the table's columns in `ingest/schema/*.sql`."""

Blobbed = Mapping[str, str]
"""Names of the blobs that hold the event's tails, by tail name."""

# `roundlog.encoding.canonical_json` with its encoder made once: this runs for every event.
_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def json_text(value: Any) -> str:
    """The one JSON text of a value, so that two rows about the same fact are equal."""
    return _encode(value) if value != {} else "{}"
