"""How do events reach the disk without making a training round wait? A queue and one thread.

The queue is bounded in bytes. A caller that may not wait is told when there is no room; one
that may, waits. The thread writes what has gathered as one batch and makes it durable, so the
cost of fdatasync is shared by however many events came meanwhile.

A disk that refuses ends the recording of a caller that may wait: it is told. For one that may not,
what was queued is lost, and the log is opened again until the disk takes events again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from roundlog.errors import LogError
from roundlog.events import Event, ModelSchema, RecorderGap, RoundCommitted
from roundlog.log.port import Entry
from roundlog.log.writer import SegmentWriter

logger = logging.getLogger(__name__)

# Four thousand rounds of the reference model, or sixty of the incident's upload size: minutes
# of a stalled disk in a real federation, and small beside any training server's memory.
QUEUE_BYTES = 64 << 20

# Events gather at most this long before they are written. A crash can cost a server what it
# recorded in this time; `flush` waits it out.
GATHER_S = 0.05

# A disk that was full is tried again this often. A round comes every few minutes.
REOPEN_S = 5.0


@dataclass(frozen=True, slots=True)
class Restart:
    """The log was opened again after a failure; what was queued then is in no log."""

    next_seq: int
    last_digest: str
    reason: str
    """What the disk said."""
    first_round: int | None
    """The first round that was lost from the queue."""
    schema_lost: bool
    """Whether the model's layout was."""


class Sink:
    """Feeds one segment writer from a thread of its own.

    Args:
        reopen: Opens the log again after a failure.
        block: Whether a caller waits for room, and is told of failures.
        limit: Bytes of the queue.
        written: Called from the thread whenever a batch has become durable.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        *,
        reopen: Callable[[], SegmentWriter],
        block: bool,
        limit: int = QUEUE_BYTES,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer, self._reopen = writer, reopen
        self._block, self._limit = block, limit
        self._tell_written = written
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._put, self._written = 0, 0
        self._wanted = 0
        self._closing = False
        self._error: LogError | None = None
        self._restart: Restart | None = None
        self._hurry = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="roundlog-recorder", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether the queue is at most half full, so that recording can begin again."""
        with self._changed:
            return self._error is None and self._bytes <= self._limit // 2

    def has_lost(self) -> bool:
        """Whether the disk refused what was queued; tries at once whether it still does.

        Not for a caller that may wait: that one was told.
        """
        with self._changed:
            if self._error is not None and not self._block:
                self._hurry = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._hurry)
            return self._restart is not None

    def restart(self) -> Restart | None:
        """What there is to know before recording begins again; None where nothing had failed."""
        with self._changed:
            found, self._restart = self._restart, None
        return found

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
            elif self._error or self._restart or self._bytes + size > self._limit:
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
            if self._restart is not None:
                raise LogError(f"events were lost before: {self._restart.reason}")

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
                lost = self._fail(error, batch)
                if self._block or not self._begin_again(lost):
                    return
                continue
            with self._changed:
                self._written += len(batch)
                self._bytes -= sum(len(entry.frame) for entry in batch)
                self._changed.notify_all()
            self._tell_written()

    def _fail(self, error: Exception, batch: deque[Entry]) -> list[Event]:
        """Says so to whoever waits, and gives up what is queued; returns what may be lost."""
        logger.error("recording stopped: %s", error)
        known = error if isinstance(error, LogError) else LogError(f"recording ended: {error!r}")
        if known is not error:
            known.__cause__ = error
        with self._changed:
            self._error = known
            lost = [entry.event for entry in (*batch, *self._queue)]
            batch.clear()  # up to the whole queue's bytes, for as long as the disk is full
            self._queue.clear()
            self._changed.notify_all()
        return lost

    def _begin_again(self, events: list[Event]) -> bool:
        """Opens the log again as soon as that can be done; False if the recorder closes before."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._hurry, timeout=REOPEN_S)
                if self._closing:
                    return False
                hurried = self._hurry
            with suppress(LogError):  # it says again what was said already, and gives the lock back
                self._writer.close(seal=False)
            try:
                self._writer = self._reopen()
            except Exception as error:  # as above
                logger.debug("not yet: %s", error)
                with self._changed:
                    # Who asked while this attempt was under way gets another one.
                    self._hurry = self._hurry and not hurried
                    self._changed.notify_all()
            else:
                break
        # What the disk has taken of the batch is not lost.
        lost = [event for event in events if event.seq >= self._writer.next_seq]
        rounds = [event.round for event in lost if isinstance(event, RoundCommitted)]
        # A hole that was told, and the telling lost: it begins where it began.
        rounds += [event.expected for event in lost if isinstance(event, RecorderGap)]
        logger.warning("%s takes events again; recording goes on", self._writer.directory)
        with self._changed:
            self._restart = Restart(
                next_seq=self._writer.next_seq,
                last_digest=self._writer.last_digest,
                reason=str(self._error),
                first_round=min(rounds, default=None),
                schema_lost=any(isinstance(event, ModelSchema) for event in lost),
            )
            self._error, self._bytes, self._written = None, 0, self._put
            self._hurry = False
            self._changed.notify_all()
        return True
