"""What must any log of ours be able to do? Four verbs: append, read, end, recover.

Appending is at-least-once everywhere: a producer that did not hear an acknowledgement sends
again, and the reader tells duplicates apart by run, producer and `seq`. Offsets rise within a
partition, with holes; `seq` has none. The embedded log (`segments`) and Kafka (`kafka`) pass
one contract suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from roundlog.encoding import FRAME_LIMIT, Frame
from roundlog.events import Event

RAW_LIMIT = 65_536
"""Bytes of an unreadable record that are kept: enough to see what it was, however large."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and the frame that carries it, as a producer hands it to a log."""

    event: Event
    frame: Frame
    """As on the wire: `side` holds every tail, the delta first; no origin, no row."""


@dataclass(frozen=True, slots=True)
class Record:
    """What stands at one offset of a log: a frame, or bytes that are none."""

    partition: str
    """Embedded: `run/producer`. Kafka: the partition's number."""

    offset: int
    """Rises within the partition."""

    next_offset: int
    """Where reading goes on."""

    size: int
    """Bytes in the log."""

    frame: Frame | None
    """The frame, whole (`side` without the delta where `delta` holds it)."""

    delta: memoryview | None = None
    """The delta where it lies in a vec file; it reads straight from the file."""

    raw: bytes = b""
    """Where there is no frame: the bytes found, the first 64 KiB of a giant."""

    reason: str = ""
    """Where there is no frame: one word, as `FrameError.reason`."""

    detail: str = ""
    """Where there is no frame: the explanation for people."""

    def side(self) -> bytes | memoryview:
        """All side bytes in the order of the head's tails."""
        if self.frame is None:
            return b""
        return self.frame.side if self.delta is None else bytes(self.delta) + self.frame.side


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a log found and did when it was opened after a stop of any kind."""

    truncated_bytes: int = 0
    """Bytes behind the last whole event that were cut off: never acknowledged to anyone."""

    damaged_bytes: int = 0
    """Bytes between whole events that are no event. They stay where they are, as evidence."""

    events: int = 0
    """Whole events in the log's open part."""


class Log(Protocol):
    """The port."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Appends in order; when it returns, the entries survive kill -9 and power loss.

        Raises:
            OversizedEventError: Nothing of the batch was appended.
            LogError: The log is away, full or not ours; some of the batch may be durable.
        """

    def read(
        self,
        positions: Mapping[str, int],
        *,
        max_records: int = 512,
        max_bytes: int = FRAME_LIMIT,
        timeout_s: float = 0.05,
    ) -> list[Record]:
        """Records at or after each partition's position, in order within a partition.

        Returns:
            At most `max_records`, and after the first not above `max_bytes`; empty when nothing
            came within `timeout_s`. A partition that is not named is not read.
        """

    def end(self) -> dict[str, int]:
        """The position behind the last record, for every partition there is."""

    def recover(self) -> Recovery:
        """Makes the log appendable after a crash; does nothing to a log that needs nothing."""

    def close(self) -> None:
        """Gives locks and connections back; what was appended stays."""
