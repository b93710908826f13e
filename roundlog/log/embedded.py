"""The log without a broker: a directory of segments that is its own evidence archive.

A partition is one run and producer. An offset is the segment's first `seq` times 2^32 plus the
byte in its heads file, so that one rising integer says where reading goes on. Many processes
may read while one appends.
"""

import mmap
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from roundlog.encoding import FRAME_LIMIT, Frame, check_size
from roundlog.errors import LogError
from roundlog.log.port import RAW_LIMIT, Entry, Record, Recovery
from roundlog.log.segments import Segment, Stored, delta_bytes, list_segments, scan_heads
from roundlog.log.writer import SegmentWriter, is_being_written

OFFSET_BITS = 32

# A reader that finds nothing looks again this often; a round comes every few minutes.
POLL_S = 0.02

# Read from a heads file at once: some thousand events of the reference model.
WINDOW_BYTES = 1 << 20


def offset_of(first_seq: int, byte: int) -> int:
    """The offset of a byte in the heads file of the segment that begins with `first_seq`."""
    return (first_seq << OFFSET_BITS) | byte


def split_offset(offset: int) -> tuple[int, int]:
    """(first seq of the segment, byte in its heads file)."""
    return offset >> OFFSET_BITS, offset & ((1 << OFFSET_BITS) - 1)


@dataclass(slots=True)
class _Vec:
    """A memory map of one vec file, grown when rows were appended since."""

    path: Path
    size: int
    """Bytes a row; one segment has rows of one size."""
    map: mmap.mmap | None = None

    def row(self, index: int) -> memoryview | None:
        size, end = self.size, (index + 1) * self.size
        if self.map is None or len(self.map) < end:
            length = self.path.stat().st_size if self.path.exists() else 0
            if length < end:
                return None
            with self.path.open("rb") as file:
                self.map = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
        return memoryview(self.map)[end - size : end]


class EmbeddedLog:
    """`roundlog.log.port.Log` over a directory `segments/<run>/<producer>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writers: dict[str, SegmentWriter] = {}
        self._vecs: dict[tuple[str, int], _Vec] = {}

    def partitions(self) -> list[str]:
        """Every `run/producer` that has a segment, sorted."""
        found = {path.parent for path in self.root.glob("*/*/*.heads")}
        return sorted(f"{path.parent.name}/{path.name}" for path in found)

    def append(self, entries: Sequence[Entry]) -> None:
        """As the port says; takes the locks of the producers it appends for."""
        for entry in entries:
            check_size(entry.frame)
        touched: dict[str, SegmentWriter] = {}
        try:
            for entry in entries:
                partition = f"{entry.event.run}/{entry.event.producer}"
                if partition not in self._writers:
                    self._writers[partition] = SegmentWriter(
                        self.root / partition, run=entry.event.run, producer=entry.event.producer
                    )
                touched[partition] = self._writers[partition]
                touched[partition].append(entry)
            for writer in touched.values():
                writer.flush()
        except LogError:
            # What is on disk decides: the next append opens these again, and recovers.
            for partition, writer in touched.items():
                del self._writers[partition]
                with suppress(LogError):
                    writer.close(seal=False)
            raise

    def read(
        self,
        positions: Mapping[str, int],
        *,
        max_records: int = 512,
        max_bytes: int = FRAME_LIMIT,
        timeout_s: float = 0.05,
    ) -> list[Record]:
        """As the port says; a torn tail is not read here but told by `torn_tail`."""
        deadline = time.monotonic() + timeout_s
        while True:
            records: list[Record] = []
            size = 0
            for partition, position in positions.items():
                for record in self._walk(partition, position):
                    if records and (len(records) >= max_records or size + record.size > max_bytes):
                        return records
                    records.append(record)
                    size += record.size
            if records or time.monotonic() >= deadline:
                return records
            time.sleep(POLL_S)

    def end(self) -> dict[str, int]:
        """As the port says."""
        ends: dict[str, int] = {}
        for partition in self.partitions():
            last = list_segments(self.root / partition)[-1]
            ends[partition] = offset_of(last.first_seq, last.heads.stat().st_size)
        return ends

    def recover(self) -> Recovery:
        """Opens every producer's log for appending, which cuts torn tails."""
        found = Recovery()
        for partition in self.partitions():
            if partition not in self._writers:
                run, producer = partition.split("/")
                writer = SegmentWriter(self.root / partition, run=run, producer=producer)
                self._writers[partition] = writer
            one = self._writers[partition].recovery
            found = Recovery(
                found.truncated_bytes + one.truncated_bytes,
                found.damaged_bytes + one.damaged_bytes,
                found.events + one.events,
            )
        return found

    def torn_tail(self, partition: str) -> Record | None:
        """Bytes behind the last whole event of a producer that nobody is writing for any more.

        They were acknowledged to nobody, but somebody should know. Reading does not advance
        past them: a producer that returns cuts them off and appends in their place.
        """
        directory = self.root / partition
        segments = list_segments(directory)
        if not segments or segments[-1].sealed or is_being_written(directory):
            return None
        last = segments[-1]
        data = last.heads.read_bytes()
        tail = None
        for stored in scan_heads(data):
            tail = stored
        if tail is None or tail.frame is not None:
            return None
        return self._damaged(partition, last, tail, data[tail.offset :])

    def close(self) -> None:
        """Seals nothing: a log is reopened and appended to; see `seal`."""
        self._vecs.clear()
        self._close(seal=False)

    def seal(self) -> None:
        """Seals every open segment of the producers this log has appended for, and closes."""
        self._close(seal=True)

    def _close(self, *, seal: bool) -> None:
        with ExitStack() as stack:  # every lock is given back, whichever writer fails
            for writer in self._writers.values():
                stack.callback(writer.close, seal=seal)
            self._writers.clear()

    def _walk(self, partition: str, position: int) -> Iterator[Record]:
        segments = list_segments(self.root / partition)
        first_seq, byte = split_offset(position)
        for index, segment in enumerate(segments):
            if segment.first_seq < first_seq:
                continue
            start = byte if segment.first_seq == first_seq else 0
            following = segments[index + 1] if index + 1 < len(segments) else None
            yield from self._walk_segment(partition, segment, start, following)

    def _walk_segment(
        self, partition: str, segment: Segment, start: int, following: Segment | None
    ) -> Iterator[Record]:
        # Asked before the bytes are read: what a writer adds and seals in between must not pass
        # for a torn tail that will never be completed.
        closed = following is not None or segment.sealed
        with segment.heads.open("rb") as file:
            for stored, raw, last in _scan_file(file, start):
                if stored.frame is not None:
                    yield self._whole(partition, segment, stored, stored.frame)
                elif closed or not last:
                    yield self._damaged(partition, segment, stored, raw)

    def _whole(self, partition: str, segment: Segment, at: Stored, frame: Frame) -> Record:
        delta = None
        reason = detail = ""
        if frame.row is not None:
            vec = self._vec(partition, segment, frame)
            delta = vec.row(frame.row) if vec is not None else None
            if delta is None:
                reason, detail = "vec_row", f"{segment.vec.name} has no row {frame.row}"
        return Record(
            partition=partition,
            offset=offset_of(segment.first_seq, at.offset),
            next_offset=offset_of(segment.first_seq, at.end),
            size=at.end - at.offset + (len(delta) if delta is not None else 0),
            frame=frame,
            delta=delta,
            reason=reason,
            detail=detail,
        )

    def _vec(self, partition: str, segment: Segment, frame: Frame) -> _Vec | None:
        key = (partition, segment.first_seq)
        if key not in self._vecs:
            size = delta_bytes(frame)
            if not size:
                return None  # an unreadable head; the next one may know how long a row is
            # One map a partition is enough: readers go forward through the segments.
            self._vecs = {k: v for k, v in self._vecs.items() if k[0] != partition}
            self._vecs[key] = _Vec(segment.vec, size)
        return self._vecs[key]

    def _damaged(self, partition: str, segment: Segment, at: Stored, raw: bytes) -> Record:
        return Record(
            partition=partition,
            offset=offset_of(segment.first_seq, at.offset),
            next_offset=offset_of(segment.first_seq, at.end),
            size=at.end - at.offset,
            frame=None,
            raw=raw[:RAW_LIMIT],
            reason=at.reason,
            detail=f"{segment.heads.name} byte {at.offset}: {at.detail}",
        )


def _scan_file(file: IO[bytes], start: int) -> Iterator[tuple[Stored, bytes, bool]]:
    """`scan_heads` over a file in windows, from the byte `start` on.

    Heads files of large models are tens of megabytes, and a reader takes a few events a call.

    Returns:
        The stretch (its offsets those of the file), the first bytes of a damaged one, and
        whether it ends where the file ended when the scan began.
    """
    size = os.fstat(file.fileno()).st_size
    window = WINDOW_BYTES
    while start < size:
        file.seek(start)
        data = file.read(min(window, size - start))
        if not data:
            return  # a producer came back and cut its torn tail off
        to_the_end = start + len(data) >= size
        used = 0
        for at in scan_heads(data):
            if at.frame is None and not to_the_end:
                break  # cut by the window, or damaged: more bytes will tell
            kept = min(at.end, at.offset + RAW_LIMIT)
            raw = data[at.offset : kept] if at.frame is None else b""
            moved = Stored(start + at.offset, start + at.end, at.frame, at.reason, at.detail)
            yield moved, raw, to_the_end and at.end == len(data)
            used = at.end
        start += used
        window = WINDOW_BYTES if used else 4 * window
