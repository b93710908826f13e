"""How are words taken out of a file that was sealed, so that it stays the file that was sealed?

An erasable tail is overwritten where it stands, and its frame gets another checksum. Every other
byte stays, and so does every offset, every head, every root and every seal.

A file is replaced as a whole: whoever reads it at any moment, or after a crash at any moment, finds
it as it was or as it shall be. Behind that the bytes of the replaced file are overwritten too,
since a file without a name may lie on the disk for long. What a file system that copies on write,
or a flash drive, keeps of overwritten bytes is out of reach from here.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from roundlog.encoding import Frame, digest, encode_frame
from roundlog.errors import HeadError
from roundlog.events import Event, parse_head
from roundlog.log.files import write_durably
from roundlog.log.segments import scan_heads

# A text whose bytes had not the digest in its head is no erased text, before or after: it is
# damage, and must not begin to pass for something else.
ERASED, ERASED_DAMAGE = b"\x00", b"\xff"


def erased(frame: Frame) -> Frame | None:
    """The frame without its words; None where it has none, or none that can be told apart."""
    event = _event(frame)
    if event is None or not has_text(event):
        return None
    tails = event.tails if frame.row is None else event.tails[1:]
    if sum(tail.bytes for tail in tails) != len(frame.side):
        return None
    side, at = bytearray(frame.side), 0
    for tail in tails:
        if tail.erasable is not None:
            text = frame.side[at : at + tail.bytes]
            whole = digest(text) == tail.erasable or not any(text)
            side[at : at + tail.bytes] = (ERASED if whole else ERASED_DAMAGE) * tail.bytes
        at += tail.bytes
    return replace(frame, side=bytes(side))


def has_text(event: Event) -> bool:
    """Whether an event carries words that may be erased."""
    return any(tail.erasable is not None and tail.bytes for tail in event.tails)


def erase_heads(path: Path, wanted: Callable[[Event], bool]) -> int:
    """Takes the words of some events out of a heads file that nobody writes to.

    Args:
        wanted: Whether an event's words go.

    Returns:
        From how many frames something was taken; 0 leaves the file alone.

    Raises:
        OSError: The disk refused; the file is as it was.
    """
    data = path.read_bytes()
    changed = bytearray(data)
    stretches: list[tuple[int, int]] = []
    for stored in scan_heads(data):
        if stored.frame is None:
            continue
        event, without = _event(stored.frame), erased(stored.frame)
        if event is None or without is None or without == stored.frame or not wanted(event):
            continue
        encoded = encode_frame(without)
        changed[stored.offset : stored.end] = encoded
        stretches.append((stored.offset, stored.end))
    if stretches:
        overwrite(path, bytes(changed), stretches)
    return len(stretches)


def overwrite(path: Path, data: bytes, stretches: list[tuple[int, int]]) -> None:
    """Replaces a file by one as long, durably and as a whole, and then overwrites what it was.

    Args:
        stretches: First byte and byte behind the last of what differs.
    """
    with path.open("r+b") as old:
        write_durably(path, data)
        # With what replaced it: somebody may have opened the file before, and be reading it.
        for start, stop in stretches:
            old.seek(start)
            old.write(data[start:stop])
        old.flush()
        os.fdatasync(old.fileno())


def _event(frame: Frame) -> Event | None:
    # Reading a head costs a hundred times as much as seeing that it names no erasable tail, unless
    # it was written with escapes, as ours never are.
    if b'"erasable"' not in frame.head and b"\\u" not in frame.head:
        return None
    try:
        return parse_head(frame.head)
    except HeadError:
        return None
