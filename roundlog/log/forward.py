"""How does what lies in a spool reach Kafka, while nobody waits for it? One thread, at-least-once.

The recorder appends to segments on local disk. A forwarder reads them as any reader of the
embedded log does, sends whole batches in order, and saves its position after each
acknowledgement. A broker that is away is tried again, for as long as it takes; a process that is
killed goes on from the saved position when its recorder is opened again, and may send one batch
twice. What was sent and is sealed is deleted; of a spool that was sent to the end and closed,
only where it ended is kept, so that the next recorder of the run counts on from there.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from roundlog.encoding import Frame, canonical_json, encode_frame
from roundlog.errors import BrokerError, LogError, LogLockedError, RoundlogError
from roundlog.log.address import KafkaAddress
from roundlog.log.embedded import EmbeddedLog, split_offset
from roundlog.log.files import lock_file, write_durably
from roundlog.log.port import Record
from roundlog.log.segments import Segment, list_segments
from roundlog.log.writer import SegmentWriter

logger = logging.getLogger(__name__)

STATE_NAME = "forwarded.json"
LOCK_NAME = ".forwarding"

# A fresh attempt soon, since most outages are restarts; then seldom, since each attempt costs the
# connection time-out and a line in nobody's log.
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 15.0

# An attempt gives up soon, since there will be another, and a stop must come in between.
CONNECT_S = 3.0

# The sink says when something is durable; this is only for what it could not say.
IDLE_S = 1.0

# A stop must not wait for a connection attempt that is under way.
JOIN_S = 1.0


class End(BaseModel):
    """Where a spool ended when its events were all in Kafka and its files were deleted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    next_seq: int
    last_digest: str
    model_digest: str | None
    """Of the model that was recorded last, to notice that a server came back with another."""


class SpoolState(BaseModel):
    """What a spool remembers between processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["roundlog.spool/1"] = "roundlog.spool/1"
    position: int = 0
    """Offset in the spool behind the last acknowledged event."""
    end: End | None = None

    @classmethod
    def load(cls, directory: Path) -> "SpoolState":
        """The state of one run and producer; a fresh one where there is none.

        Raises:
            LogError: The file is not a spool's state.
        """
        path = directory / STATE_NAME
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise LogError(
                f"{path} is not a spool's state: {error.errors()[0]['msg']}. Without it nobody "
                f"knows what was sent; delete it to send the whole spool again, which ingest "
                f"notices and drops."
            ) from error

    def save(self, directory: Path) -> None:
        """Makes it durable."""
        write_durably(directory / STATE_NAME, canonical_json(self.model_dump()))


class Sender(Protocol):
    """What a forwarder needs of a log: `KafkaLog` is one."""

    def send(self, values: Sequence[tuple[str, bytes]]) -> None: ...
    def close(self) -> None: ...


def default_spool(address: KafkaAddress) -> Path:
    """Where the spools for one topic lie: `${XDG_STATE_HOME:-~/.local/state}/roundlog/spool/…`.

    One folder a topic and cluster, since a run's events are counted in each of them.
    """
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    place = "+".join(address.servers).translate(str.maketrans(":[]", "___"))
    return Path(state) / "roundlog" / "spool" / f"{address.topic}@{place}"


def open_spool(root: Path, run: str, producer: str) -> tuple[SegmentWriter, End | None]:
    """The writer of one run's spool, counting on from where the last one ended.

    The spool is for its owner alone (0700): events may hold texts that people wrote.

    Raises:
        LogLockedError: Another process records the same run and producer.
        LogError: The directory cannot be made or its state cannot be read.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LogError(
            f"the spool {root} cannot be made: {error.strerror}. Give `spool=` a directory on a "
            f"disk that survives a restart."
        ) from error
    writer = SegmentWriter(root / run / producer, run=run, producer=producer)
    try:
        end = SpoolState.load(writer.directory).end
    except LogError:
        writer.close(seal=False)
        raise
    if end is not None and writer.next_seq < end.next_seq:
        writer.next_seq, writer.last_digest = end.next_seq, end.last_digest
    return writer, end


class Forwarder:
    """Sends one run and producer's spool to a topic, from a thread of its own.

    Args:
        root: The spool; events lie in `root/run/producer`.
        connect: Opens the topic; called again after every failure.
        target: The topic, for messages.
    """

    def __init__(
        self, root: Path, run: str, producer: str, *, connect: Callable[[], Sender], target: str
    ) -> None:
        self.directory = root / run / producer
        self._run, self._partition, self._target = run, f"{run}/{producer}", target
        self._connect = connect
        self._spool = EmbeddedLog(root)
        self._state = SpoolState.load(self.directory)
        self._error: RoundlogError | None = None
        self._woken = threading.Event()
        self._closing, self._stop, self._drained = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._work, name="roundlog-forwarder", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Offset in the spool behind the last event that the broker acknowledged."""
        return self._state.position

    def wake(self) -> None:
        """Says that there is something to send; returns at once."""
        self._woken.set()

    def close(self, drain_s: float, *, model_digest: str | None) -> None:
        """Sends what is left, for at most `drain_s` seconds, and ends.

        Call it when the spool's writer is closed. When all was acknowledged the spool is deleted.

        Args:
            model_digest: Of the model that was recorded last, for the next recorder of this run.

        Raises:
            BrokerError: Events are left; the message says where, and how they are sent later.
        """
        self._closing.set()
        self._woken.set()
        drained = self._drained.wait(drain_s)
        self._stop.set()
        self._woken.set()
        self._thread.join(JOIN_S)
        if drained:
            self._delete(model_digest)
        elif not self._drained.is_set():
            why = f" ({self._error})" if self._error is not None else ""
            raise BrokerError(
                f"{self._target} has not taken everything within {drain_s:g} s{why}. Nothing is "
                f"lost: the rest lies in {self.directory}. Open a recorder for the same target, "
                f"run, producer and spool when the broker is back, and close it: it sends the rest."
            )

    def _work(self) -> None:
        lock = self._lock()
        if lock is None:
            return
        sender: Sender | None = None
        retry = FIRST_RETRY_S
        try:
            # Another process may have sent some of it while we waited for the lock.
            self._state = SpoolState.load(self.directory)
            while not self._stop.is_set():
                self._woken.clear()
                closing = self._closing.is_set()
                records = self._spool.read({self._partition: self._state.position}, timeout_s=0)
                if not records:
                    if closing:
                        self._drained.set()
                        return
                    self._woken.wait(IDLE_S)
                    continue
                try:
                    sender = sender or self._connect()
                    if self._stop.is_set():
                        return
                    sender.send([(self._run, _value(record)) for record in records])
                except RoundlogError as error:
                    self._tell(error)
                    if sender is not None:
                        sender.close()
                        sender = None
                    self._stop.wait(retry)
                    retry = min(2 * retry, LAST_RETRY_S)
                    continue
                if self._error is not None:
                    logger.info("%s takes events again; sending what was spooled", self._target)
                    self._error, retry = None, FIRST_RETRY_S
                self._advance(records[-1].next_offset)
        finally:
            if sender is not None:
                sender.close()
            self._spool.close()
            lock.close()

    def _lock(self) -> IO[bytes] | None:
        """Waits until no other process forwards this spool; None when told to stop meanwhile."""
        while not self._stop.is_set():
            try:
                return lock_file(self.directory / LOCK_NAME)
            except LogLockedError:
                self._stop.wait(FIRST_RETRY_S)
        return None

    def _tell(self, error: RoundlogError) -> None:
        if self._error is None and not self._stop.is_set():
            logger.warning(
                "%s; recording goes on into %s, and we try again every %.0f s at the latest",
                error,
                self.directory,
                LAST_RETRY_S,
            )
        self._error = error

    def _advance(self, position: int) -> None:
        self._state = self._state.model_copy(update={"position": position})
        self._state.save(self.directory)
        # The segment before the one that is read stays: the writer's next seal names its seal.
        at, _ = split_offset(position)
        behind = [found for found in list_segments(self.directory) if found.first_seq < at]
        for segment in behind[:-1]:
            if segment.sealed:
                _delete_segment(segment)

    def _delete(self, model_digest: str | None) -> None:
        run, producer = self._partition.split("/")
        try:
            writer = SegmentWriter(self.directory, run=run, producer=producer)
        except LogLockedError:
            # The next recorder of this run has begun: the spool is its own now.
            return
        try:
            segments = list_segments(self.directory)
            if not segments or self._spool.read({self._partition: self.position}, timeout_s=0):
                return
            end = End(
                next_seq=writer.next_seq,
                last_digest=writer.last_digest,
                model_digest=model_digest,
            )
            self._state = self._state.model_copy(update={"end": end})
            self._state.save(self.directory)
            # Oldest first: after a crash in between, what is left still ends where it ended.
            for segment in segments:
                _delete_segment(segment)
        finally:
            writer.close(seal=False)
            self._spool.close()


def _delete_segment(segment: Segment) -> None:
    # Heads first: without them the segment is gone, so none is ever half there.
    for path in (segment.heads, segment.vec, segment.seal):
        path.unlink(missing_ok=True)


def _value(record: Record) -> bytes:
    """The record as it goes to Kafka; damage in the spool is sent as it is, for quarantine."""
    if record.frame is None:
        return record.raw
    return encode_frame(Frame(record.frame.head, bytes(record.side())))
