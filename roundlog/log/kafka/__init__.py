"""Where do events wait when many read them? In a Kafka topic: the value of a record is one frame.

The key is the run, so one run is one partition and stays in order; partitions spread runs.
Offsets rise with holes (transaction markers), and consumers keep their own positions: no
consumer group holds anything of ours. Only this package imports the Kafka client.

It does not promise exactly-once: what was sent twice stands there twice, and ingest tells.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
)

from roundlog.encoding import FRAME_LIMIT, decode_frame, encode_frame
from roundlog.errors import (
    BrokerError,
    FrameError,
    LostRangeError,
    OversizedEventError,
    TopicReplacedError,
)
from roundlog.log.address import CONNECT_S, DEFAULT_TOPIC, KafkaAddress
from roundlog.log.kafka.clients import BATCH_BYTES, RECEIVE_LIMIT, RECORD_OVERHEAD, Clients
from roundlog.log.kafka.topic import PARTITIONS, TOPIC_SETTINGS, Topic, TopicIdentity
from roundlog.log.port import RAW_LIMIT, Entry, Record, Recovery

__all__ = ["DEFAULT_TOPIC", "TOPIC_SETTINGS", "KafkaAddress", "KafkaLog", "TopicIdentity"]

logger = logging.getLogger(__name__)

# A leader that was killed is replaced within 7 s (measured with three brokers), and a restart
# takes a few more: within this time the client tries again by itself, and nothing is sent twice.
APPEND_S = 30.0

# While nothing comes, ask this often whether the broker still lives and the topic is still ours.
CHECK_S = 2.0

# A reader that stands still this long, with records ahead of it, cannot read the next one.
STALLED_S = 30.0

ALL_THAT_CAME = 1 << 20
"""Records of one poll: everything of the last answers, which are bounded in bytes."""


class KafkaLog:
    """`roundlog.log.port.Log` over one topic. For one thread.

    Args:
        bootstrap: `HOST:PORT[,HOST:PORT]`.
        create: Make the topic with our settings where it is missing.
        partitions: Of a topic that is made here.
        connect_s: How long a broker may be silent before `BrokerError`, in seconds.
        append_s: The same for an acknowledgement.

    Raises:
        BrokerError: No broker answers, or the topic is missing and may not be made.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str = DEFAULT_TOPIC,
        *,
        create: bool = True,
        partitions: int = PARTITIONS,
        connect_s: float = CONNECT_S,
        append_s: float = APPEND_S,
    ) -> None:
        self.address = KafkaAddress(tuple(bootstrap.split(",")), topic)
        self.topic = topic
        self._connect_s, self._append_s = connect_s, append_s
        self._clients = Clients(self.address, connect_s)
        self._topic = Topic(self._clients)
        self._producer: KafkaProducer | None = None
        self._consumer: KafkaConsumer | None = None
        self._largest = FRAME_LIMIT
        self._next: dict[str, int] = {}
        self._ready: deque[Record] = deque()
        self._moved = self._heard = self._checked = time.monotonic()
        try:
            self._known = self._find_or_make(partitions if create else None)
        except BaseException:
            self.close()
            raise

    def identity(self, *, patient: bool = True) -> TopicIdentity:
        """The topic as the broker knows it now.

        Args:
            patient: Wait for a broker that is away, for `connect_s`.

        Raises:
            TopicReplacedError: The topic is gone.
            BrokerError: The broker does not answer.
        """
        found = self._topic.identity(patient=patient)
        if found is None:
            raise TopicReplacedError(f"{self.address} has no such topic any more: it was deleted.")
        return found

    def append(self, entries: Sequence[Entry]) -> None:
        """As the port says: in order, and acknowledged by every replica in sync."""
        self.send([(entry.event.run, encode_frame(entry.frame)) for entry in entries])

    def send(self, values: Sequence[tuple[str, bytes]]) -> None:
        """What `append` does, for frames that are bytes already.

        Args:
            values: (run, frame) pairs.

        Raises:
            OversizedEventError: Nothing was sent.
            BrokerError: Some may be durable, from the front; send all of them again.
        """
        producer = self._open_producer()
        for _, value in values:
            if len(value) > self._largest:
                raise OversizedEventError(what="event", size=len(value), limit=self._largest)
        done = 0
        for batch in _batches(values):
            try:
                sent = [
                    producer.send(self.topic, key=run.encode(), value=value) for run, value in batch
                ]
                # One batch at a time: when one fails, nothing behind it has been written.
                producer.flush(timeout=self._append_s + self._connect_s)
                for future in sent:
                    future.get(timeout=0)
            except KafkaError as error:
                self._drop_producer()
                raise BrokerError(
                    f"{self.address} did not acknowledge within {self._append_s:g} s ({error}). "
                    f"{done} of {len(values)} event(s) are durable, the next {len(batch)} may be; "
                    f"send them again when the broker is back."
                ) from error
            done += len(batch)

    def read(
        self,
        positions: Mapping[str, int],
        *,
        max_records: int = 512,
        max_bytes: int = FRAME_LIMIT,
        timeout_s: float = 0.05,
    ) -> list[Record]:
        """As the port says, committed records only; fetches ahead of what it returns.

        Raises:
            LostRangeError: The next offset is not there any more. Read on from its `resume`.
            TopicReplacedError: The topic was deleted, or made again: its offsets mean nothing.
            BrokerError: No broker has answered for `connect_s`, or a record cannot be fetched.
        """
        self._move_to(positions)
        if not self._ready:
            self._fill(timeout_s)
        elif len(self._ready) < max_records:
            # The client asks the broker for more only once all that came was taken from it. Taken
            # here, the next answer travels while the caller works on this one.
            self._fill(0.0)
        if not self._ready:
            self._check()
            return []
        self._moved = self._heard = time.monotonic()
        records: list[Record] = []
        size = 0
        while self._ready and len(records) < max_records:
            if records and size + self._ready[0].size > max_bytes:
                break
            record = self._ready.popleft()
            records.append(record)
            size += record.size
            self._next[record.partition] = record.next_offset
        return records

    def reached(self) -> dict[str, int]:
        """Where the last `read` stands; it may lie beyond the last record's `next_offset`.

        Transaction markers take offsets at which no record stands. After an empty `read`, who
        waits for `end()` goes on from here.
        """
        if self._consumer is not None and not self._ready:
            for partition in self._next:
                self._next[partition] = max(self._next[partition], self._stands_at(partition))
        return dict(self._next)

    def begin(self) -> dict[str, int]:
        """The earliest offset that is still there, for every partition."""
        consumer, patience = self._open_consumer(), self._connect_s * 1e3
        found = self._clients.ask(lambda: consumer.beginning_offsets(self._all(), patience))
        return {str(place.partition): offset for place, offset in found.items()}

    def end(self) -> dict[str, int]:
        """As the port says: behind the last record that a `read` could return now."""
        consumer, patience = self._open_consumer(), self._connect_s * 1e3
        found = self._clients.ask(lambda: consumer.end_offsets(self._all(), patience))
        return {str(place.partition): offset for place, offset in found.items()}

    def recover(self) -> Recovery:
        """Nothing to do: what the broker acknowledged is whole."""
        return Recovery()

    def close(self) -> None:
        """Ends every connection and thread."""
        self._drop_producer()
        self._drop_consumer()
        self._topic.close()

    def _find_or_make(self, partitions: int | None) -> TopicIdentity:
        found = self._topic.identity()
        if found is not None:
            return found
        if partitions is None:
            raise BrokerError(
                f"{self.address} has no such topic. A recorder makes it, or an administrator with "
                f"{', '.join(f'{key}={value}' for key, value in TOPIC_SETTINGS.items())}."
            )
        self._topic.make(partitions)
        return self.identity()

    def _all(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, int(number)) for number in self._known.partitions]

    def _move_to(self, positions: Mapping[str, int]) -> None:
        """Makes the consumer read on from these positions; costs nothing where it does anyway."""
        if dict(positions) == self._next and self._consumer is not None:
            return
        unknown = set(positions) - set(self._known.partitions)
        if unknown:
            self._known = self.identity()
            if unknown := unknown - set(self._known.partitions):
                raise BrokerError(f"{self.address} has no partition {', '.join(sorted(unknown))}")
        self._place(positions)

    def _place(self, positions: Mapping[str, int]) -> None:
        self._ready.clear()
        self._next = dict(positions)
        consumer = self._open_consumer()
        consumer.assign([TopicPartition(self.topic, int(number)) for number in positions])
        for number, offset in positions.items():
            consumer.seek(TopicPartition(self.topic, int(number)), offset)
        self._moved = time.monotonic()

    def _fill(self, timeout_s: float) -> None:
        if not self._next:
            time.sleep(timeout_s)
            return
        consumer = self._open_consumer()
        try:
            polled = consumer.poll(timeout_ms=round(timeout_s * 1e3), max_records=ALL_THAT_CAME)
        except (OffsetOutOfRangeError, LogTruncationError) as error:
            if self._ready:
                return  # It will be said again, behind the records that came before.
            raise self._lost_range() from error
        except Exception as error:
            if self._ready:
                return
            # Besides its own errors the client raises whatever its parser trips over.
            if isinstance(error, KafkaError) and not isinstance(error, CorruptRecordError):
                self._drop_consumer()
                raise BrokerError(f"{self.address} cannot be read: {error}") from error
            logger.warning("%s: a batch is damaged: %r; reading around it", self.address, error)
            self._fill_around_damage()
            return
        for records in polled.values():
            self._ready.extend(_record(found) for found in records)

    def _fill_around_damage(self) -> None:
        """Reads every partition by itself, to find which one has a batch that is damaged.

        Without the batch's checksum, since nearly all of it are frames that have their own: one
        flipped bit is then one refused frame. Where the batch cannot even be taken apart, the
        client tells neither partition nor offset, so each of its offsets becomes a record
        without bytes, until reading stands behind it.
        """
        positions = dict(self._next)
        found = [
            record
            for number, offset in positions.items()
            for record in self._read_alone(number, offset)
        ]
        # The next read finds no consumer, and places a new one behind what was found.
        self._drop_consumer()
        self._next = positions
        self._ready.extend(found)

    def _read_alone(self, number: str, offset: int) -> list[Record]:
        self._drop_consumer()
        self._consumer = self._clients.consumer(check_crcs=False)
        self._place({number: offset})
        try:
            polled = self._consumer.poll(timeout_ms=1_000)
        except Exception as error:
            if isinstance(error, KafkaError) and not isinstance(error, CorruptRecordError):
                return []
            detail = f"the batch at offset {offset} cannot be taken apart: {error!r}"
            return [Record(number, offset, offset + 1, 0, None, None, b"", "batch", detail)]
        records = [_record(found) for part in polled.values() for found in part]
        for record in records:
            if record.offset < offset:
                detail = f"the batch gives offset {record.offset} where {offset} must be"
                return [Record(number, offset, offset + 1, 0, None, None, b"", "batch", detail)]
            offset = record.next_offset
        return records

    def _lost_range(self) -> LostRangeError | BrokerError:
        self._check_identity()
        begin, end = self.begin(), self.end()
        for number, offset in self._next.items():
            if not begin[number] <= offset <= end[number]:
                self._drop_consumer()
                return LostRangeError(
                    partition=number, expected=offset, earliest=begin[number], end=end[number]
                )
        self._drop_consumer()
        return BrokerError(f"{self.address} moved its offsets while we looked; read again.")

    def _check(self) -> None:
        """Nothing came: is that because nothing is there?"""
        now = time.monotonic()
        if now - max(self._checked, self._heard) < CHECK_S:
            return
        self._checked = now
        try:
            self._check_identity(patient=False)
            end = self.end()
        except TopicReplacedError:
            raise
        except BrokerError as error:
            away = time.monotonic() - self._heard
            if away < self._connect_s:
                return
            raise BrokerError(f"{self.address} has been silent for {away:.0f} s") from error
        self._heard = time.monotonic()
        behind = [number for number, offset in self.reached().items() if offset < end[number]]
        if not behind:
            self._moved = self._heard
        elif self._heard - self._moved > STALLED_S:
            number = behind[0]
            raise BrokerError(
                f"{self.address} partition {number} has records up to {end[number]}, but none came "
                f"from {self._next[number]} on for {STALLED_S:.0f} s. One larger than "
                f"{RECEIVE_LIMIT:,} bytes cannot be received; go on behind it to skip it."
            )

    def _check_identity(self, *, patient: bool = True) -> None:
        found = self.identity(patient=patient)
        if (found.cluster_id, found.topic_id) != (self._known.cluster_id, self._known.topic_id):
            raise TopicReplacedError(
                f"{self.address} is topic {found.topic_id} of cluster {found.cluster_id}, and was "
                f"{self._known.topic_id} of {self._known.cluster_id}: it was deleted and made "
                f"again, so no offset means what it did."
            )
        self._known = found

    def _stands_at(self, partition: str) -> int:
        consumer = self._open_consumer()
        place = TopicPartition(self.topic, int(partition))
        position = self._clients.ask(
            lambda: consumer.position(place, timeout_ms=self._connect_s * 1e3)
        )
        return self._next[partition] if position is None else int(position)

    def _open_consumer(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = self._clients.consumer()
        return self._consumer

    def _open_producer(self) -> KafkaProducer:
        if self._producer is None:
            limit = self._topic.largest_message()
            self._largest = min(FRAME_LIMIT, limit - RECORD_OVERHEAD)
            self._producer = self._clients.producer(limit=limit, append_s=self._append_s)
        return self._producer

    def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=1)
            except KafkaError as error:
                logger.debug("closing the producer: %s", error)

    def _drop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._ready.clear()
        if consumer is not None:
            try:
                consumer.close(autocommit=False)
            except KafkaError as error:
                logger.debug("closing the consumer: %s", error)


def _batches(values: Sequence[tuple[str, bytes]]) -> Iterable[list[tuple[str, bytes]]]:
    """Cuts so that each part, or its single record, is one batch of the producer."""
    batch: list[tuple[str, bytes]] = []
    size = RECORD_OVERHEAD
    for run, value in values:
        cost = len(value) + RECORD_OVERHEAD
        if batch and size + cost > BATCH_BYTES:
            yield batch
            batch, size = [], RECORD_OVERHEAD
        batch.append((run, value))
        size += cost
    if batch:
        yield batch


def _record(found: Any) -> Record:
    """A consumed record, whatever its value is."""
    value: bytes = found.value or b""
    partition, offset = str(found.partition), int(found.offset)
    try:
        frame, end = decode_frame(value)
        if end != len(value):
            raise FrameError("lengths", f"{len(value) - end} bytes behind the frame")
    except FrameError as error:
        raw, reason, detail = bytes(value[:RAW_LIMIT]), error.reason, str(error)
        return Record(partition, offset, offset + 1, len(value), None, None, raw, reason, detail)
    return Record(partition, offset, offset + 1, len(value), frame)
