"""How do events reach the disk without making a training round wait? A queue and one thread.

The queue is bounded in bytes. A caller that may not wait is told when there is no room; one
that may, waits. The thread writes what has gathered as one batch and makes it durable, so the
cost of fdatasync is shared by however many events came meanwhile.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

from roundlog.errors import LogError
from roundlog.log.port import Entry
from roundlog.log.writer import SegmentWriter

logger = logging.getLogger(__name__)

# Four thousand rounds of the reference model, or sixty of the incident's upload size: minutes
# of a stalled disk in a real federation, and small beside any training server's memory.
QUEUE_BYTES = 64 << 20

# Events gather at most this long before they are written. A crash can cost a server what it
# recorded in this time; `flush` waits it out.
GATHER_S = 0.05


class Sink:
    """Feeds one segment writer from a thread of its own.

    Args:
        block: Whether a caller waits for room.
        limit: Bytes of the queue.
        written: Called from the thread whenever a batch has become durable.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        *,
        block: bool,
        limit: int = QUEUE_BYTES,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer, self._block, self._limit = writer, block, limit
        self._tell_written = written
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._put, self._written = 0, 0
        self._wanted = 0
        self._closing = False
        self._error: LogError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="roundlog-recorder", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether the queue is at most half full, so that recording can begin again."""
        with self._changed:
            return self._error is None and self._bytes <= self._limit // 2

    def put(self, entry: Entry) -> bool:
        """Queues one event.

        Returns:
            Whether it was taken. Never False for a caller that may block.

        Raises:
            LogError: The caller may block, and writing has failed.
        """
        size = len(entry.frame)
        with self._changed:
            if self._closing:
                raise LogError("the recorder is closed; open another one to record more")
            if self._block:
                self._changed.wait_for(lambda: self._error or self._bytes < self._limit)
                if self._error is not None:
                    raise self._error
            elif self._error is not None or self._bytes + size > self._limit:
                return False
            self._queue.append(entry)
            self._bytes += size
            self._put += 1
            if self._bytes >= self._limit // 16:
                self._changed.notify_all()
        return True

    def flush(self) -> None:
        """Waits until all that was put is durable.

        Raises:
            LogError: Writing has failed.
        """
        with self._changed:
            self._wanted = self._put
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error or self._written >= self._wanted)
            if self._error is not None:
                raise self._error

    def close(self, *, raise_errors: bool) -> None:
        """Writes what is queued, seals, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        try:
            self._writer.close()
        except LogError as error:
            self._error = self._error or error
        if self._error is not None:
            if raise_errors:
                raise self._error
            logger.error("the recorder closed with events unwritten: %s", self._error)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closing
                        or self._wanted > self._written
                        or self._bytes >= self._limit // 16
                    ),
                    timeout=GATHER_S,
                )
                batch, self._queue = self._queue, deque()
                closing = self._closing
            if not batch:
                if closing:
                    return
                continue
            try:
                for entry in batch:
                    self._writer.append(entry)
                self._writer.flush()
            except Exception as error:  # whatever it is: nobody may wait for a dead thread
                logger.error("recording stopped: %s", error)
                known = (
                    error
                    if isinstance(error, LogError)
                    else LogError(f"recording ended: {error!r}")
                )
                if known is not error:
                    known.__cause__ = error
                with self._changed:
                    self._error = known
                    self._changed.notify_all()
                return
            with self._changed:
                self._written += len(batch)
                self._bytes -= sum(len(entry.frame) for entry in batch)
                self._changed.notify_all()
            self._tell_written()
