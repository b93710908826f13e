"""How do events lie on disk, so that a crash loses nothing that was acknowledged?

One segment holds up to 1,024 events of one run and producer, in three files named after the
first `seq`: `.heads` (frames), `.vec` (deltas, fixed-size rows), and `.seal` once it is full
or closed. Order of writing: vec, fdatasync, heads, fdatasync. So a whole head proves that its
row is on disk, the last whole head is the commit point, and recovery cuts both files there.

A sealed segment never changes; its seal holds the RFC 6962 root over the exact heads and
the digest of the seal before it. Reading never repairs anything.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from roundlog.encoding import Frame, canonical_json, claimed_end, decode_frame, find_frame
from roundlog.errors import FrameError, HeadError, LogError
from roundlog.events import parse_head

EVENTS_PER_SEGMENT = 1024

# Exactly what `Segment` writes, so that no two names stand for one segment.
_HEADS_NAME = re.compile(r"([0-9]{12}|[1-9][0-9]{12,18})\.heads")


class Seal(BaseModel):
    """What is promised about a segment that will not change any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["roundlog.seal/1"] = "roundlog.seal/1"
    run: str
    producer: str
    first_seq: int
    last_seq: int
    count: int
    """Events."""
    rows: int
    """Rows in the vec file."""
    row_bytes: int
    """Bytes a row; 0 where there are no rows."""
    heads_bytes: int
    """Length of the heads file when it was sealed."""
    root: str
    """RFC 6962 tree hash over the exact heads, in order."""
    previous: str
    """SHA-256 of the seal file before this one; zeros for the first segment."""

    def encode(self) -> bytes:
        return canonical_json(self.model_dump())


@dataclass(frozen=True, slots=True)
class Segment:
    """The three files of one segment."""

    directory: Path
    first_seq: int

    def _named(self, suffix: str) -> Path:
        return self.directory / f"{self.first_seq:012d}.{suffix}"

    @property
    def heads(self) -> Path:
        return self._named("heads")

    @property
    def vec(self) -> Path:
        return self._named("vec")

    @property
    def seal(self) -> Path:
        return self._named("seal")

    @property
    def sealed(self) -> bool:
        return self.seal.exists()

    def read_seal(self) -> Seal:
        """The seal.

        Raises:
            LogError: The file is not exactly what a seal's writer writes.
        """
        raw = self.seal.read_bytes()
        try:
            seal = Seal.model_validate_json(raw)
        except ValidationError as error:
            raise LogError(f"{self.seal} is not a seal: {error.errors()[0]['msg']}") from error
        if seal.encode() != raw:
            raise LogError(f"{self.seal} holds a seal, but not in its canonical bytes")
        return seal


def list_segments(directory: Path) -> list[Segment]:
    """The segments of one run and producer, oldest first."""
    try:
        names = [entry.name for entry in os.scandir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # By number, not by name: a `seq` may have more digits than the name's twelve.
    seqs = sorted(int(match[1]) for name in names if (match := _HEADS_NAME.fullmatch(name)))
    return [Segment(directory, seq) for seq in seqs]


@dataclass(frozen=True, slots=True)
class Stored:
    """One stretch of a heads file: a frame, or bytes between frames that are none."""

    offset: int
    end: int
    frame: Frame | None
    reason: str = ""
    detail: str = ""


def scan_heads(data: bytes | memoryview, offset: int = 0) -> Iterator[Stored]:
    """Every frame of a heads file, and every damaged stretch, from `offset` on.

    A stretch without a frame behind it is the tail: torn, or still being written.
    """
    while offset < len(data):
        try:
            frame, end = decode_frame(data, offset)
        except FrameError as error:
            end = _end_of_damage(data, offset)
            yield Stored(offset, end, None, error.reason, str(error))
        else:
            yield Stored(offset, end, frame)
        offset = end


def _end_of_damage(data: bytes | memoryview, offset: int) -> int:
    # Where the frame's own length leads to a whole frame, it is believed: the damaged bytes may
    # hold something that looks like a frame, and that must not be read as an event.
    claimed = claimed_end(data, offset)
    if claimed is not None:
        try:
            decode_frame(data, claimed)
        except FrameError:
            pass
        else:
            return claimed
    next_frame = find_frame(data, offset + 1)
    return len(data) if next_frame is None else next_frame


def delta_bytes(frame: Frame) -> int:
    """Length of the delta that belongs to a frame, 0 where it has none or is unreadable."""
    try:
        tails = parse_head(frame.head).tails
    except HeadError:
        return 0
    return tails[0].bytes if tails and tails[0].name == "delta" else 0
