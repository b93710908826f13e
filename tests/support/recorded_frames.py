"""What a recorded case says, event by event."""

from pathlib import Path

from roundlog.case import Case
from roundlog.events import Event, parse_head
from roundlog.log.embedded import EmbeddedLog


def frames_of(case: Path) -> list[tuple[bytes, bytes]]:
    """Head and side bytes of every event, in order, of a case of one run."""
    log = EmbeddedLog(Case(case).segments)
    (partition,) = log.partitions()
    frames, position = [], 0
    while records := log.read({partition: position}, timeout_s=0):
        for record in records:
            assert record.frame is not None
            side = b"" if record.delta is None else bytes(record.delta)
            frames.append((record.frame.head, side + record.frame.side))
        position = records[-1].next_offset
    return frames


def events_of(case: Path) -> list[Event]:
    """Every event, in order, of a case of one run."""
    return [parse_head(head) for head, _ in frames_of(case)]
