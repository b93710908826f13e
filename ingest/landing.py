"""Where do events from Kafka come to rest? In the case's own segments, which outlive the topic.

They are written by the same writer as a recorder's, one for each run and producer, each with the
place in Kafka it came from. What was appended may be named by the projection only after `flush`.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.chain import ChainKey
from ingest.place import Origin, Place, place_of
from ingest.reader import Accepted
from roundlog.encoding import FRAME_LIMIT
from roundlog.errors import LogError
from roundlog.log.embedded import offset_of
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments
from roundlog.log.writer import SegmentWriter

# Two files and a lock each. A topic with thousands of small runs must not run out of handles.
OPEN_WRITERS = 64

# A batch is bounded in bytes already, and made durable at its end: one pair of fdatasync a run.
BUFFER_BYTES = 64 << 20


class Landing:
    """The segment writers of one ingest."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: OrderedDict[ChainKey, SegmentWriter] = OrderedDict()
        self._touched: set[ChainKey] = set()
        self._refused = False

    def append(self, accepted: Accepted, origin: Origin) -> tuple[Place, Origin]:
        """Appends an accepted event; it is durable after `flush`.

        Returns:
            Where it lies, and the origin that is kept beside it: its place in the segment instead,
            where the frame is so large that nothing fits behind it.

        Raises:
            LogLockedError: Another process records the same run and producer into this case.
            LogError: The disk refused.
        """
        event, frame = accepted.event, accepted.frame
        key = (event.run, event.producer)
        writer = self._writer(key)
        source = origin.encode()
        if len(frame) + len(source) > FRAME_LIMIT:
            source = b""
        with self._noting():
            at = writer.append(Entry(event, frame), source)
        self._touched.add(key)
        if not source:
            offset = offset_of(at.segment, at.heads_offset)
            origin = Origin(None, f"{event.run}/{event.producer}", offset)
        return place_of(at.segment, at.heads_offset, len(frame.head), at.row), origin

    def reopen(self, key: ChainKey) -> None:
        """Opens the writer of a segment that a stop left unsealed, so that `close` can seal it."""
        segments = list_segments(self._root / key[0] / key[1])
        if segments and not segments[-1].sealed:
            self._writer(key)

    def flush(self) -> dict[str, int]:
        """Makes everything appended durable.

        Returns:
            For each `run/producer` that was appended to, the embedded offset behind its last event.

        Raises:
            LogError: The disk refused.
        """
        ends: dict[str, int] = {}
        for run, producer in sorted(self._touched):
            writer = self._writers[run, producer]
            with self._noting():
                writer.flush()
            segment, heads_bytes, _ = writer.position()
            ends[f"{run}/{producer}"] = offset_of(segment, heads_bytes)
        self._touched.clear()
        return ends

    def close(self, *, seal: bool) -> None:
        """Gives all locks back; with `seal`, the segments that are open will not change again.

        Raises:
            LogError: The disk refused now; what it refused before was told then.
        """
        failed: LogError | None = None
        while self._writers:
            _, writer = self._writers.popitem()
            try:
                writer.close(seal=seal)
            except LogError as error:
                failed = failed or error
        if failed is not None and not self._refused:
            raise failed

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except LogError:
            self._refused = True
            raise

    def _writer(self, key: ChainKey) -> SegmentWriter:
        if key in self._writers:
            self._writers.move_to_end(key)
            return self._writers[key]
        idle = next((one for one in self._writers if one not in self._touched), None)
        if idle is not None and len(self._writers) >= OPEN_WRITERS:
            self._writers.pop(idle).close(seal=False)
        run, producer = key
        self._writers[key] = SegmentWriter(
            self._root / run / producer, run=run, producer=producer, buffer_bytes=BUFFER_BYTES
        )
        return self._writers[key]
