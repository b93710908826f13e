"""Who appends to one run and producer, and what does it promise? One writer at a time.

Order of writing: vec, fdatasync, heads, fdatasync. What `flush` returned from survives
kill -9 and power loss; what was only appended may be lost, and was acknowledged to nobody.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from roundlog.encoding import Frame, check_lengths, digest, encode_parts
from roundlog.errors import HeadError, LogError
from roundlog.events import NO_DIGEST, parse_head
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.files import (
    PART_SUFFIX,
    is_locked,
    lock_file,
    make_directory,
    sync_directory,
    write_all,
    write_durably,
    write_parts,
)
from roundlog.log.port import Entry, Recovery
from roundlog.log.segments import (
    EVENTS_PER_SEGMENT,
    Seal,
    Segment,
    delta_bytes,
    list_segments,
    scan_heads,
)

# Enough that fdatasync is paid once for some seventy rounds of the reference model, little
# enough that a crash of a simulator costs a fraction of a second of work.
BUFFER_BYTES = 1 << 20

LOCK_NAME = ".lock"

# As `roundlog.events.base.Name`, before there is an event to refuse.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an appended event lies, or will once it was flushed."""

    segment: int
    """First seq of the segment, which names its files."""

    heads_offset: int
    """First byte of the frame in the heads file."""

    row: int | None
    """Row of the delta in the vec file."""


@dataclass(slots=True)
class _Open:
    """The segment that is being written."""

    segment: Segment
    heads: IO[bytes]
    vec: IO[bytes]
    last_seq: int = -1
    count: int = 0
    rows: int = 0
    row_bytes: int = 0
    heads_bytes: int = 0
    tree: MerkleTree = field(default_factory=MerkleTree)
    pending_heads: list[bytes] = field(default_factory=list)
    pending_rows: list[memoryview] = field(default_factory=list)
    pending_bytes: int = 0


class SegmentWriter:
    """The only appender of one run and producer; holds a lock for as long as it is open.

    Args:
        buffer_bytes: What is appended gathers up to here before it is written and made durable,
            unless `flush` is called earlier.

    Attributes:
        next_seq: What the next event's `seq` should be.
        recovery: What was found when the writer opened.
    """

    def __init__(
        self, directory: Path, *, run: str, producer: str, buffer_bytes: int = BUFFER_BYTES
    ) -> None:
        self.directory, self.run, self.producer = directory, run, producer
        self._buffer_bytes = buffer_bytes
        for name in (run, producer):
            if not NAME.fullmatch(name):
                raise LogError(
                    f"{name!r} cannot name a run or producer: it names a directory, so up to 64 "
                    f"letters, digits, '.', '_' and '-', and no '.' or '-' at the beginning"
                )
        try:
            make_directory(directory)
        except OSError as error:
            raise LogError(f"{directory} cannot be made: {error.strerror}") from error
        self._lock = lock_file(directory / LOCK_NAME)
        self._open: _Open | None = None
        self._failed = False
        self.next_seq = 0
        self._last_digest = NO_DIGEST
        self._last_head: bytes | None = None
        self.recovery = Recovery()
        try:
            self._recover()
        except OSError as error:
            self._lock.close()
            raise LogError(f"{directory} cannot be recovered: {error.strerror}") from error
        except BaseException:
            self._lock.close()
            raise

    @property
    def last_digest(self) -> str:
        """SHA-256 of the last head, for the next event's `prev`."""
        # Taken when it is asked for: who lands another producer's events never does.
        if self._last_head is not None:
            self._last_digest, self._last_head = digest(self._last_head), None
        return self._last_digest

    @last_digest.setter
    def last_digest(self, value: str) -> None:
        self._last_digest, self._last_head = value, None

    def append(self, entry: Entry, origin: bytes = b"") -> Appended:
        """Buffers one event; `flush` makes it durable.

        Args:
            entry: Its bytes are held, not copied, until then.
            origin: Where the event came from, as ingest records it; empty for the producer.

        Raises:
            OversizedEventError: Nothing was buffered.
            HeadError: `side_length`, where the side bytes end inside the delta; nothing was
                buffered.
            LogError: The disk refused, now or before.
        """
        self._check_usable()
        head, side = entry.frame.head, memoryview(entry.frame.side)
        check_lengths(len(head), len(side))
        tails = entry.event.tails
        delta_bytes = tails[0].bytes if tails and tails[0].name == "delta" else 0
        if len(side) < delta_bytes:
            # One short row would shift every row behind it.
            raise HeadError(
                "side_length", f"{len(side)} side bytes, and the delta alone is {delta_bytes}"
            )
        open_ = self._open
        if open_ is not None and (
            open_.count >= EVENTS_PER_SEGMENT
            or (delta_bytes and open_.row_bytes not in (0, delta_bytes))
        ):
            open_ = None
        row = None
        if delta_bytes:
            row = open_.rows if open_ is not None else 0
        # Before anything is sealed or begun for its sake.
        check_lengths(len(head), len(side) - delta_bytes, len(origin))
        encoded = encode_parts(head, side[delta_bytes:], origin, row)
        if open_ is None:
            self.seal()
            open_ = self._start(entry.event.seq)
        at = Appended(open_.segment.first_seq, open_.heads_bytes, row)
        if delta_bytes:
            open_.pending_rows.append(side[:delta_bytes])
            open_.rows += 1
            open_.row_bytes = delta_bytes
        open_.pending_heads.append(encoded)
        open_.pending_bytes += len(encoded) + delta_bytes
        open_.tree.append(head)
        open_.count += 1
        open_.heads_bytes += len(encoded)
        open_.last_seq = max(open_.last_seq, entry.event.seq)
        if entry.event.seq >= self.next_seq:
            self.next_seq = entry.event.seq + 1
            self._last_head = head
        if open_.pending_bytes >= self._buffer_bytes:
            self.flush()
        return at

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
        self._check_usable()
        open_ = self._open
        if open_ is None or not open_.pending_heads:
            return
        try:
            if open_.pending_rows:
                write_parts(open_.vec, open_.pending_rows)
                os.fdatasync(open_.vec.fileno())
            write_all(open_.heads, b"".join(open_.pending_heads))
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
        try:
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
                previous=self._last_seal(),
            )
            write_durably(open_.segment.seal, seal.encode())
        except OSError as error:
            self._failed = True
            raise LogError(
                f"{open_.segment.seal} could not be written: {error.strerror}. Its events are on "
                f"disk, but not sealed; make room and reopen."
            ) from error
        return seal

    def _last_seal(self) -> str:
        for segment in reversed(list_segments(self.directory)):
            if segment.sealed:
                return digest(segment.seal.read_bytes())
        return NO_DIGEST

    def _check_usable(self) -> None:
        if self._failed:
            raise LogError(f"writing to {self.directory} failed before; reopen it to recover")
        if self._lock.closed:
            raise LogError(f"the writer of {self.directory} is closed")

    def close(self, *, seal: bool = True) -> None:
        """Seals (or only flushes) the open segment and gives the lock back, even on errors."""
        if self._lock.closed:
            return
        try:
            if seal:
                self.seal()
            else:
                self.flush()
        finally:
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
        try:
            self._open = _Open(segment, *_open_files(segment))
            sync_directory(self.directory)
        except OSError as error:
            self._failed = True
            raise LogError(f"{segment.heads} could not be made: {error.strerror}") from error
        return self._open

    def _recover(self) -> None:
        for left_over in self.directory.glob(f"*{PART_SUFFIX}"):
            left_over.unlink()  # of a seal that a crash kept from being one; we hold the lock
        segments = list_segments(self.directory)
        if not segments:
            return
        self.next_seq, self._last_digest = _end_of(segments)
        last = segments[-1]
        if not last.sealed:
            self._resume(last)

    def _resume(self, last: Segment) -> None:
        stretches = list(scan_heads(last.heads.read_bytes()))
        frames = [stored.frame for stored in stretches if stored.frame is not None]
        end = max((stored.end for stored in stretches if stored.frame is not None), default=0)
        size = stretches[-1].end if stretches else 0
        with_row = [frame for frame in frames if frame.row is not None]
        rows = max((frame.row + 1 for frame in with_row if frame.row is not None), default=0)
        # An unreadable head does not tell how long its row is; the next one does.
        row_bytes = next((length for frame in with_row if (length := delta_bytes(frame))), 0)
        vec_size = last.vec.stat().st_size if last.vec.exists() else 0
        # Rows are on disk before their heads, so what lies behind the last head's row was never
        # acknowledged. A vec file that is too short is damage, and appending to it would put
        # every later row into a wrong place: it stays as it is, and a new segment begins.
        vec_end = rows * row_bytes
        if rows and (not row_bytes or vec_size < vec_end):
            self.recovery = Recovery(events=len(frames))
            return
        damaged = sum(at.end - at.offset for at in stretches if at.frame is None) - (size - end)
        heads, vec = _open_files(last)
        try:
            if size > end:
                heads.truncate(end)
            if vec_size > vec_end:
                vec.truncate(vec_end)
            for file in (vec, heads):
                os.fdatasync(file.fileno())
        except OSError:
            heads.close()
            vec.close()
            raise
        self._open = _Open(
            last,
            heads,
            vec,
            last_seq=max((seq for seq, _ in map(_place, frames)), default=self.next_seq - 1),
            count=len(frames),
            rows=rows,
            row_bytes=row_bytes,
            heads_bytes=end,
            tree=MerkleTree(frame.head for frame in frames),
        )
        cut = (size - end) + (vec_size - vec_end)
        self.recovery = Recovery(truncated_bytes=cut, damaged_bytes=damaged, events=len(frames))


def _open_files(segment: Segment) -> tuple[IO[bytes], IO[bytes]]:
    """Heads and vec for appending: both, or neither."""
    heads = segment.heads.open("ab", buffering=0)
    try:
        return heads, segment.vec.open("ab", buffering=0)
    except OSError:
        heads.close()
        raise


def _end_of(segments: list[Segment]) -> tuple[int, str]:
    """The `seq` that comes next, and the digest of the head with the highest one so far."""
    found = (-1, NO_DIGEST)
    for segment in reversed(segments):
        if segment.first_seq < found[0] and _sealed_below(segment, found[0]):
            continue
        for stored in scan_heads(segment.heads.read_bytes()):
            if stored.frame is not None:
                place = _place(stored.frame)
                found = max(found, place, key=lambda place: place[0])
    return found[0] + 1, found[1]


def _sealed_below(segment: Segment, seq: int) -> bool:
    """Whether a segment promises that nothing in it comes after `seq`."""
    try:
        return segment.sealed and segment.read_seal().last_seq <= seq
    except LogError:
        return False


def _place(frame: Frame) -> tuple[int, str]:
    try:
        return parse_head(frame.head).seq, digest(frame.head)
    except HeadError:
        return -1, NO_DIGEST


def is_being_written(directory: Path) -> bool:
    """Whether a live process holds the producer's lock."""
    return is_locked(directory / LOCK_NAME)
