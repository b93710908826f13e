"""How does a Kafka topic become part of the case, so that losing the topic loses nothing?

Each batch: read, judge, and then, in this order, all of it durable: accepted events in segments,
refused ones in quarantine, the rest in intake; then one transaction of rows, findings and the
offsets at which reading goes on. Offsets live beside the rows they produced, never in a consumer
group. After a crash some records are read a second time, and known by their origin: `again`.
"""

import time
from typing import TYPE_CHECKING

from ingest.batch import Batch, gathering
from ingest.blobs import Blobs
from ingest.chain import Chain, ChainKey
from ingest.classify import Classifier
from ingest.disk import NO_TOPIC, DiskReader
from ingest.intake import IntakeFile, Note, TopicPartition, project
from ingest.landing import Landing
from ingest.place import Origin
from ingest.quarantine import Quarantine
from ingest.reader import Accepted, Duplicate, Reader
from ingest.store import Store, Transaction
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.errors import LostRangeError
from roundlog.log.port import Record

if TYPE_CHECKING:
    from roundlog.log.kafka import KafkaLog

# What a batch may hold before it is committed: a crash costs at most this much reading again, and
# a stop waits at most this long for the batch to be drained, a third of a second. While somebody
# records, a batch is what came meanwhile; this many only where there is much to catch up with,
# and then each transaction costs as much as fifty events.
BATCH_RECORDS = 2048
BATCH_BYTES = 16 << 20
POLL_S = 0.05

# A topic may be given more partitions while we follow it; runs on them must not go unread.
PARTITIONS_S = 30.0


class TopicReader:
    """Takes one topic into a case, batch by batch.

    Raises:
        BrokerError: No broker answers.
        TopicReplacedError: The topic was deleted and made again while it was being read.
        LogError: The case's disk refused an event; nothing of the batch was projected.
    """

    def __init__(
        self,
        case: Case,
        store: Store,
        chains: dict[ChainKey, Chain],
        summary: IngestSummary,
        disk: DiskReader,
        log: "KafkaLog",
    ) -> None:
        self._case, self._store, self._chains, self._summary = case, store, chains, summary
        self._disk, self._log = disk, log
        self._blobs, self._quarantine = Blobs(case.blobs), Quarantine(case.quarantine)
        self._landing = Landing(case.segments)
        self._partitions: dict[str, TopicPartition] = {}
        self._intake: dict[str, IntakeFile] = {}
        self._positions: dict[str, int] = {}
        self._noted: set[tuple[str, int]] = set()
        self._looked = time.monotonic()
        self._find_partitions()
        self._tell_if_recreated()

    def step(self) -> bool:
        """Takes in one batch; False where none came."""
        try:
            records = self._log.read(
                self._positions,
                max_records=BATCH_RECORDS,
                max_bytes=BATCH_BYTES,
                timeout_s=POLL_S,
            )
        except LostRangeError as error:
            self._accept_loss(error)
            return True
        if not records:
            self._positions.update(self._log.reached())
            if time.monotonic() - self._looked > PARTITIONS_S:
                self._find_partitions()
            return False
        notes: dict[str, list[Note]] = {}
        with gathering(), self._store.transaction() as transaction:
            batch = Batch(transaction, self._blobs)
            reader = Reader(Classifier(self._chains, batch), batch)
            for record in records:
                self._take(record, reader, batch, notes)
                self._positions[record.partition] = record.next_offset
            self._commit(transaction, batch, notes, {record.partition for record in records})
        self._summary.add_batch(batch, len(records))
        self._summary.done += len(records)
        return True

    def end(self) -> dict[str, int]:
        """Where the topic ends now."""
        return self._log.end()

    def has_reached(self, end: dict[str, int]) -> bool:
        """Whether everything before `end` was taken in."""
        return all(self._positions.get(part, 0) >= offset for part, offset in end.items())

    def distance(self, end: dict[str, int]) -> int:
        """Offsets between where we stand and `end`."""
        return sum(max(0, stop - self._positions.get(part, 0)) for part, stop in end.items())

    def close(self, *, seal: bool) -> None:
        """Makes all of it durable; with `seal`, no open segment of this topic changes again."""
        try:
            if seal:
                for run, producer in self._store.rows(_LANDED):
                    self._landing.reopen((run, producer))
            self._landing.close(seal=seal)
        finally:
            for file in self._intake.values():
                file.close()
            self._intake.clear()

    def _take(
        self, record: Record, reader: Reader, batch: Batch, notes: dict[str, list[Note]]
    ) -> None:
        at = self._partitions[record.partition]
        origin = Origin(at.origin, record.partition, record.offset)
        read = reader.read(record, origin)
        if isinstance(read, Accepted):
            place, kept = self._landing.append(read, origin)
            batch.add_event(read.event, read.head_digest, read.status, read.checked, place, kept)
            self._summary.count(read.event)
        elif isinstance(read, Duplicate):
            if not read.again and (record.partition, record.offset) not in self._noted:
                note = duplicate_note(read, origin, at)
                notes.setdefault(record.partition, []).append(note)
        else:
            self._quarantine.put(read.refused, read.raw)
            batch.add_refused(read.refused)

    def _commit(
        self,
        transaction: Transaction,
        batch: Batch,
        notes: dict[str, list[Note]],
        partitions: set[str],
    ) -> None:
        ends = self._landing.flush()
        self._blobs.sync()
        for number in sorted(partitions):
            at, file = self._partitions[number], self._intake[number]
            mine, position = notes.get(number, []), self._positions[number]
            file.append(mine, Note("read", position, {"topic": at.topic}))
            for note in mine:
                project(note, batch, at)
                self._summary.duplicates += note.kind == "duplicate"
            transaction.set_watermark("intake", number, file.end, of=at.of)
            transaction.set_watermark("kafka", number, position, of=at.of)
        batch.flush()
        for partition, end in ends.items():
            transaction.set_watermark("segments", partition, end, of=NO_TOPIC)
            self._disk.moved(partition, end)

    def _accept_loss(self, error: LostRangeError) -> None:
        """Notes offsets that are gone, and goes on behind them."""
        number, at = error.partition, self._partitions[error.partition]
        first, until = sorted((error.expected, error.resume))
        reason = "deleted by the topic's retention"
        if error.resume < error.expected:
            reason = "the topic was truncated behind what was read"
        note = Note("lost", first, {"until": until, "reason": reason, "topic": at.topic})
        self._positions[number] = error.resume
        self._note_alone(number, note)

    def _tell_if_recreated(self) -> None:
        identity = self._log.identity()
        known = {"cluster": identity.cluster_id, "topic": identity.topic}
        ids = [row[0] for row in self._store.rows(_TOPIC_IDS, known)]
        if ids and identity.topic_id not in ids:
            number = identity.partitions[0]
            fields = {"before": ", ".join(ids), "topic": identity.topic}
            self._note_alone(number, Note("recreated", 0, fields))

    def _note_alone(self, number: str, note: Note) -> None:
        with self._store.transaction() as transaction:
            batch = Batch(transaction, self._blobs)
            self._commit(transaction, batch, {number: [note]}, {number})
        self._summary.add_batch(batch, 0)

    def _find_partitions(self) -> None:
        identity = self._log.identity()
        self._looked = time.monotonic()
        for number in identity.partitions:
            if number in self._partitions:
                continue
            at = TopicPartition(identity.cluster_id, identity.topic, identity.topic_id, number)
            self._partitions[number] = at
            self._intake[number] = IntakeFile(self._case.intake, at)
            params = {"cluster": at.cluster_id, "topic_id": at.topic_id, "part": number}
            found = self._store.rows(_POSITION, params)
            position = int(found[0][0]) if found else 0
            self._positions[number] = position
            # A crash between a note and the mark behind it makes us read what was noted again.
            after = {"origin": at.origin, "position": position}
            self._noted |= {(number, row[0]) for row in self._store.rows(_NOTED, after)}


def duplicate_note(read: Duplicate, origin: Origin, at: TopicPartition) -> Note:
    """The note of an identical copy."""
    event = read.event
    fields = {
        "run": event.run,
        "producer": event.producer,
        "seq": event.seq,
        "digest": read.head_digest,
        "topic": at.topic,
    }
    return Note("duplicate", origin.offset, fields)


_POSITION = """
SELECT next_offset FROM watermarks
WHERE source = 'kafka' AND cluster_id = $cluster AND topic_id = $topic_id AND partition = $part
"""

_NOTED = """
SELECT log_offset FROM duplicates WHERE origin = $origin AND log_offset >= $position
"""

_TOPIC_IDS = """
SELECT DISTINCT topic_id FROM watermarks
WHERE source = 'kafka' AND cluster_id = $cluster AND topic = $topic ORDER BY topic_id
"""

_LANDED = "SELECT DISTINCT run, producer FROM events WHERE origin IS NOT NULL ORDER BY ALL"
