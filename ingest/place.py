"""Where did an event come from, and where does it lie in the case?"""

import json
import re
from dataclasses import dataclass

from roundlog.encoding import HEADER
from roundlog.events import INT64_MAX

# `<cluster>/<topic id>/<partition>`: both ids are Kafka's, in printable ASCII.
NAME = re.compile(r"[!-~]{1,255}")


@dataclass(slots=True)
class Origin:
    """The place of a record in the log it was read from."""

    name: str | None
    """Kafka: `<cluster>/<topic id>/<partition>`. None where the case's segments are the log."""

    partition: str
    """Embedded: `run/producer`. Kafka: the partition's number."""

    offset: int
    """In that log."""

    def encode(self) -> bytes:
        """As it stands behind an event in a heads file."""
        return f'{{"offset":{self.offset},"origin":"{self.name}"}}'.encode()


def decode_origin(data: bytes, partition: str, offset: int) -> Origin:
    """The origin behind an event in a heads file; without one, the segment itself is the log."""
    if not data:
        return Origin(None, partition, offset)
    try:
        stored = json.loads(data)
        name, at = stored["origin"], stored["offset"]
    except (ValueError, KeyError, TypeError, RecursionError):
        name, at = None, None
    ours = isinstance(name, str) and NAME.fullmatch(name) and type(at) is int
    if not ours or not 0 <= at <= INT64_MAX:
        # A producer wrote something of its own there, and may have meant harm by it.
        return Origin(None, partition, offset)
    return Origin(name, name.rsplit("/", 1)[-1], at)


@dataclass(slots=True)
class Place:
    """Where the bytes of an accepted event lie in the case."""

    segment: int
    """First seq of the segment, which names its files."""

    heads_offset: int
    """First byte of the frame in the heads file."""

    side_offset: int
    """First byte behind the head: the tails, less a delta that lies in the vec file."""

    row: int | None
    """Row of the delta in the vec file."""


def place_of(segment: int, heads_offset: int, head_length: int, row: int | None) -> Place:
    """The place of a frame that starts at `heads_offset`."""
    return Place(segment, heads_offset, heads_offset + HEADER.size + head_length, row)
