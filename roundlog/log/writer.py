"""Who appends to one run and producer, and what does it promise? One writer at a time.

Order of writing: vec, fdatasync, heads, fdatasync. What `flush` returned from survives
kill -9 and power loss; what was only appended may be lost, and was acknowledged to nobody.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from roundlog.encoding import Frame, digest, encode_frame
from roundlog.errors import HeadError, LogError
from roundlog.events import NO_DIGEST, parse_head
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.files import is_locked, lock_file, sync_directory, write_durably
from roundlog.log.port import Entry, Recovery
from roundlog.log.segments import (
    EVENTS_PER_SEGMENT,
    Seal,
    Segment,
    Stored,
    delta_bytes,
    list_segments,
    scan_heads,
)

# Enough that fdatasync is paid once for some seventy rounds of the reference model, little
# enough that a crash of a simulator costs a fraction of a second of work.
BUFFER_BYTES = 1 << 20

LOCK_NAME = ".lock"


@dataclass(slots=True)
class _Open:
    """The segment that is being written."""

    segment: Segment
    heads: IO[bytes]
    vec: IO[bytes]
    last_seq: int
    count: int = 0
    rows: int = 0
    row_bytes: int = 0
    heads_bytes: int = 0
    tree: MerkleTree = field(default_factory=MerkleTree)
    pending_heads: list[bytes] = field(default_factory=list)
    pending_rows: list[bytes | memoryview] = field(default_factory=list)
    pending_bytes: int = 0


class SegmentWriter:
    """The only appender of one run and producer; holds a lock for as long as it is open.

    Attributes:
        next_seq: What the next event's `seq` should be.
        last_digest: SHA-256 of the last head, for the next event's `prev`.
        recovery: What was found when the writer opened.
    """

    def __init__(self, directory: Path, *, run: str, producer: str) -> None:
        self.directory, self.run, self.producer = directory, run, producer
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = lock_file(directory / LOCK_NAME)
        self._open: _Open | None = None
        self._failed = False
        self.next_seq = 0
        self.last_digest = NO_DIGEST
        self.recovery = Recovery()
        try:
            self._recover()
        except BaseException:
            self._lock.close()
            raise

    def append(self, entry: Entry, origin: bytes = b"") -> None:
        """Buffers one event; `flush` makes it durable.

        Args:
            origin: Where the event came from, as ingest records it; empty for the producer.

        Raises:
            OversizedEventError: Nothing was buffered.
        """
        side: bytes | memoryview = entry.frame.side
        tails = entry.event.tails
        delta_bytes = tails[0].bytes if tails and tails[0].name == "delta" else 0
        open_ = self._open
        if open_ is not None and (
            open_.count >= EVENTS_PER_SEGMENT
            or (delta_bytes and open_.row_bytes not in (0, delta_bytes))
        ):
            self.seal()
            open_ = None
        if open_ is None:
            open_ = self._start(entry.event.seq)
        row = None
        if delta_bytes:
            view = memoryview(side)
            delta, side = view[:delta_bytes], view[delta_bytes:]
            row = open_.rows
        frame = Frame(entry.frame.head, bytes(side), origin, row)
        encoded = encode_frame(frame)
        if delta_bytes:
            open_.pending_rows.append(delta)
            open_.rows += 1
            open_.row_bytes = delta_bytes
        open_.pending_heads.append(encoded)
        open_.pending_bytes += len(encoded) + delta_bytes
        open_.tree.append(frame.head)
        open_.count += 1
        open_.heads_bytes += len(encoded)
        open_.last_seq = max(open_.last_seq, entry.event.seq)
        if entry.event.seq >= self.next_seq:
            self.next_seq = entry.event.seq + 1
            self.last_digest = digest(frame.head)
        if open_.pending_bytes >= BUFFER_BYTES:
            self.flush()

    def position(self) -> tuple[int, int, int]:
        """First seq of the open segment, and the lengths its heads and vec files will have."""
        if self._open is None:
            return self.next_seq, 0, 0
        open_ = self._open
        return open_.segment.first_seq, open_.heads_bytes, open_.rows * open_.row_bytes

    def flush(self) -> None:
        """Makes every appended event durable: vec first, then heads.

        Raises:
            LogError: The disk refused. Nothing was acknowledged; the writer must be reopened.
        """
        if self._failed:
            raise LogError(f"writing to {self.directory} failed before; reopen it to recover")
        open_ = self._open
        if open_ is None or not open_.pending_heads:
            return
        try:
            if open_.pending_rows:
                open_.vec.write(b"".join(open_.pending_rows))
                open_.vec.flush()
                os.fdatasync(open_.vec.fileno())
            open_.heads.write(b"".join(open_.pending_heads))
            open_.heads.flush()
            os.fdatasync(open_.heads.fileno())
        except OSError as error:
            self._failed = True
            raise LogError(
                f"{open_.segment.heads} could not be written: {error.strerror}. The last "
                f"{len(open_.pending_heads)} event(s) are not on disk; make room and reopen."
            ) from error
        open_.pending_heads.clear()
        open_.pending_rows.clear()
        open_.pending_bytes = 0

    def seal(self) -> Seal | None:
        """Closes the open segment for ever and records its root; None if nothing is open."""
        self.flush()
        open_ = self._open
        if open_ is None:
            return None
        open_.heads.close()
        open_.vec.close()
        self._open = None
        before = [segment for segment in list_segments(self.directory) if segment.sealed]
        seal = Seal(
            run=self.run,
            producer=self.producer,
            first_seq=open_.segment.first_seq,
            last_seq=open_.last_seq,
            count=open_.count,
            rows=open_.rows,
            row_bytes=open_.row_bytes,
            heads_bytes=open_.heads_bytes,
            root=open_.tree.root(),
            previous=digest(before[-1].seal.read_bytes()) if before else NO_DIGEST,
        )
        write_durably(open_.segment.seal, seal.encode())
        return seal

    def close(self, *, seal: bool = True) -> None:
        """Seals (or only flushes) the open segment and gives the lock back."""
        if seal:
            self.seal()
        else:
            self.flush()
            if self._open is not None:
                self._open.heads.close()
                self._open.vec.close()
                self._open = None
        self._lock.close()

    def _start(self, first_seq: int) -> _Open:
        # Names must rise even when an old event is appended again or fills a gap late.
        taken = list_segments(self.directory)
        if taken:
            first_seq = max(first_seq, taken[-1].first_seq + 1)
        segment = Segment(self.directory, first_seq)
        self._open = _Open(
            segment, segment.heads.open("ab"), segment.vec.open("ab"), last_seq=first_seq
        )
        sync_directory(self.directory)
        return self._open

    def _recover(self) -> None:
        segments = list_segments(self.directory)
        if not segments:
            return
        last = segments[-1]
        data = last.heads.read_bytes()
        stretches = list(scan_heads(data))
        whole = [stored for stored in stretches if stored.frame is not None]
        for stored in reversed(whole):
            try:
                self.next_seq = parse_head(stored.frame.head).seq + 1  # type: ignore[union-attr]
            except HeadError:
                continue
            self.last_digest = digest(stored.frame.head)  # type: ignore[union-attr]
            break
        if last.sealed:
            return
        if not whole and len(segments) > 1:
            self.next_seq, self.last_digest = _end_of(segments[-2])
        self._resume(last, stretches, whole)

    def _resume(self, last: Segment, stretches: list[Stored], whole: list[Stored]) -> None:
        frames = [stored.frame for stored in whole if stored.frame is not None]
        end = whole[-1].end if whole else 0
        rows = max((frame.row + 1 for frame in frames if frame.row is not None), default=0)
        row_bytes = next((delta_bytes(frame) for frame in frames if frame.row is not None), 0)
        size = last.heads.stat().st_size
        vec_size = last.vec.stat().st_size if last.vec.exists() else 0
        # Rows are on disk before their heads, so what lies behind the last head's row was never
        # acknowledged. A vec file that is too short is evidence of damage: it is not "repaired".
        cut = (size - end) + max(0, vec_size - rows * row_bytes)
        damaged = sum(
            stored.end - stored.offset for stored in stretches if stored.frame is None
        ) - (size - end)
        heads, vec = last.heads.open("r+b"), last.vec.open("a+b")
        heads.truncate(end)
        heads.seek(end)
        if vec_size > rows * row_bytes:
            vec.truncate(rows * row_bytes)
        vec.seek(0, os.SEEK_END)
        for file in (vec, heads):
            os.fdatasync(file.fileno())
        self._open = _Open(
            last,
            heads,
            vec,
            last_seq=self.next_seq - 1,
            count=len(frames),
            rows=rows,
            row_bytes=row_bytes,
            heads_bytes=end,
            tree=MerkleTree(frame.head for frame in frames),
        )
        self.recovery = Recovery(truncated_bytes=cut, damaged_bytes=damaged, events=len(frames))


def _end_of(segment: Segment) -> tuple[int, str]:
    for stored in reversed(list(scan_heads(segment.heads.read_bytes()))):
        if stored.frame is not None:
            return parse_head(stored.frame.head).seq + 1, digest(stored.frame.head)
    return segment.first_seq, NO_DIGEST


def is_being_written(directory: Path) -> bool:
    """Whether a live process holds the producer's lock."""
    return is_locked(directory / LOCK_NAME)
