"""What do the case's own files say that the projection does not hold yet?

Segments, quarantine and intake are read from where the last committed batch ended. This is all of
ingest for the embedded log; behind Kafka it is how a restart finds what was made durable before
the crash, and how a deleted projection is built again.

Reading never repairs: a torn tail is reported, and left to the producer that wrote it.
"""

from dataclasses import replace

from ingest.batch import Batch, gathering
from ingest.blobs import Blobs
from ingest.chain import Chain, ChainKey
from ingest.classify import Classifier
from ingest.findings import Finding
from ingest.intake import TopicPartition, list_intake, project, read_notes
from ingest.place import decode_origin, place_of
from ingest.quarantine import Quarantine, Refused, refuse
from ingest.reader import Accepted, Duplicate, Reader
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.errors import IngestError
from roundlog.log.embedded import EmbeddedLog, split_offset
from roundlog.log.port import Record

# Rows are gathered in memory, vectors are not: they stay in the memory map. Larger batches than
# Kafka's cost nothing here, since there is nobody to acknowledge to.
BATCH_RECORDS = 4096
BATCH_BYTES = 64 << 20

_INTAKE_POSITION = """
SELECT next_offset FROM watermarks
WHERE source = 'intake' AND cluster_id = $cluster AND topic_id = $topic_id AND partition = $part
"""

NO_TOPIC = ("", "", "")


class DiskReader:
    """Projects what lies in the case.

    Raises:
        IngestError: A segment ends before what was projected from it.
    """

    def __init__(
        self, case: Case, store: Store, chains: dict[ChainKey, Chain], summary: IngestSummary
    ) -> None:
        self._case, self._store = case, store
        self._chains, self._summary = chains, summary
        self._log = EmbeddedLog(case.segments)
        self._blobs = Blobs(case.blobs)
        self._quarantine = Quarantine(case.quarantine)
        self._positions: dict[str, int] = dict(
            store.rows("SELECT partition, next_offset FROM watermarks WHERE source = 'segments'")
        )
        self._check_ends()

    def moved(self, partition: str, position: int) -> None:
        """Says that the segments of a producer were projected up to `position` by someone else."""
        self._positions[partition] = position

    def step(self) -> bool:
        """Projects one batch; False where there is nothing more on disk."""
        self._find_partitions()
        records = self._log.read(
            self._positions, max_records=BATCH_RECORDS, max_bytes=BATCH_BYTES, timeout_s=0
        )
        if not records:
            return False
        with gathering(), self._store.transaction() as transaction:
            batch = Batch(transaction, self._blobs)
            reader = Reader(Classifier(self._chains, batch), batch)
            for record in records:
                self._project(record, reader, batch)
            batch.flush()
            self._blobs.sync()
            ends = {record.partition: record.next_offset for record in records}
            for partition, position in ends.items():
                transaction.set_watermark("segments", partition, position, of=NO_TOPIC)
        self._positions.update(ends)
        self._summary.add_batch(batch, len(records))
        self._summary.done += sum(_heads_bytes(record) for record in records)
        return True

    def measure(self) -> int:
        """Bytes of heads files between the watermarks and the end, for the progress bar."""
        self._find_partitions()
        total = 0
        for partition, position in self._positions.items():
            first_seq, byte = split_offset(position)
            for path in (self._log.root / partition).glob("*.heads"):
                if path.stem.isdigit() and int(path.stem) >= first_seq:
                    total += path.stat().st_size - (byte if int(path.stem) == first_seq else 0)
        return total

    def report_torn_tails(self) -> None:
        """Keeps and reports bytes behind the last whole event of producers that have ended."""
        tails = [self._log.torn_tail(partition) for partition in self._positions]
        found = [record for record in tails if record is not None]
        if not found:
            return
        with self._store.transaction() as transaction:
            batch = Batch(transaction, self._blobs)
            for record in found:
                origin = decode_origin(b"", record.partition, record.offset)
                detail = (
                    f"{record.size} bytes behind the last whole event of {record.partition}; "
                    f"they were acknowledged to nobody ({record.reason})"
                )
                refused, raw = refuse(record, origin, "torn_tail", detail)
                # Whose it is says the directory: tails of two logs may begin at the same byte.
                run, producer = record.partition.split("/")
                refused = replace(refused, run=run, producer=producer)
                self._quarantine.put(refused, raw)
                batch.add_refused(refused)
            batch.flush()
        self._summary.add_batch(batch, 0)

    def restore_quarantine(self) -> None:
        """Brings back rows of refused records whose files are there and whose rows are not."""
        self._quarantine.sweep()
        known = {str(row[0]) for row in self._store.rows("SELECT id FROM quarantine")}
        missing = sorted(self._quarantine.ids() - known)
        found = [(id_, self._quarantine.read(id_)) for id_ in missing]
        if not found:
            return
        with self._store.transaction() as transaction:
            batch = Batch(transaction, self._blobs)
            readable = [entry[0] for _, entry in found if entry is not None]
            # The first of several findings with one id stays, so their order must not depend on
            # names of files.
            for refused in sorted(readable, key=_log_order):
                batch.add_refused(refused)
                if refused.in_turn and refused.run is not None and refused.producer is not None:
                    chain = self._chains.setdefault((refused.run, refused.producer), Chain())
                    if refused.seq is not None and refused.seq >= chain.next_seq:
                        due = refused.expected if refused.expected is not None else refused.seq
                        chain.refused[refused.seq] = (due, refused.head_digest)
            for id_, entry in found:
                if entry is None:
                    detail = f"quarantine/{id_}.record is damaged; what it held is not known"
                    batch.add_finding(
                        Finding("damaged_file", detail, origin=f"quarantine/{id_}", log_offset=0)
                    )
            batch.flush()
        self._summary.add_batch(batch, 0)

    def restore_intake(self) -> None:
        """Brings back what intake files say behind their watermarks, and how far they reach."""
        root = self._case.intake
        for cluster_id, topic_id, number in list_intake(root):
            path = root / cluster_id / topic_id / f"{number}.log"
            key = {"cluster": cluster_id, "topic_id": topic_id, "part": number}
            found = self._store.rows(_INTAKE_POSITION, key)
            notes = list(read_notes(path, int(found[0][0]) if found else 0))
            if not notes:
                continue
            topic = next((note.fields["topic"] for note, _, _ in notes if note is not None), "")
            at = TopicPartition(cluster_id, topic, topic_id, number)
            with self._store.transaction() as transaction:
                batch = Batch(transaction, self._blobs)
                for note, first, stop in notes:
                    if note is None:
                        detail = f"intake/{at.origin}.log is damaged: byte {first} to {stop - 1}"
                        where = f"intake/{at.origin}"
                        finding = Finding("damaged_file", detail, origin=where, log_offset=first)
                        batch.add_finding(finding)
                    elif note.kind == "read":
                        transaction.set_watermark("kafka", number, note.offset, of=at.of)
                    else:
                        project(note, batch, at)
                transaction.set_watermark("intake", number, notes[-1][2], of=at.of)
                batch.flush()
            self._summary.add_batch(batch, 0)

    def _project(self, record: Record, reader: Reader, batch: Batch) -> None:
        stored = record.frame.origin if record.frame is not None else b""
        origin = decode_origin(stored, record.partition, record.offset)
        read = reader.read(record, origin, partition=record.partition)
        if isinstance(read, Accepted):
            first_seq, byte = split_offset(record.offset)
            place = place_of(first_seq, byte, len(read.frame.head), read.frame.row)
            batch.add_event(read.event, read.head_digest, read.status, read.checked, place, origin)
            self._summary.count(read.event)
        elif isinstance(read, Duplicate):
            event = read.event
            if not read.again:
                key = (event.run, event.producer)
                batch.add_duplicate(key, event.seq, read.head_digest, origin.name, origin.offset)
                self._summary.duplicates += 1
        else:
            self._quarantine.put(read.refused, read.raw)
            batch.add_refused(read.refused)

    def _find_partitions(self) -> None:
        for partition in self._log.partitions():
            self._positions.setdefault(partition, 0)

    def _check_ends(self) -> None:
        ends = self._log.end()
        for partition, position in self._positions.items():
            if ends.get(partition, 0) < position:
                raise IngestError(
                    f"segments/{partition} ends before the point up to which it was ingested: "
                    f"evidence was removed, or an older copy was put back. Restore the segments, "
                    f"or delete roundlog.duckdb to ingest what is left."
                )


def _heads_bytes(record: Record) -> int:
    return record.next_offset - record.offset if record.next_offset > record.offset else 0


def _log_order(refused: Refused) -> tuple[str, str, int]:
    return refused.origin or "", refused.partition, refused.log_offset
