"""Would what was refused be accepted by today's code? Then it becomes part of the record, late.

    with case.own():
        tried = try_again(case)

A record is refused for good reasons, and some of them pass: a newer version of this program knows
what an older one did not. Two kinds are told apart by where the bytes lie:

1. It came from a topic, so that quarantine alone has it. It is judged as it was then, by the steps
   of `ingest.reader`, and what is accepted is appended to the segments of its run and producer with
   its place in the topic, as any event is that fills a hole late. So a projection that is built
   from the files again meets it at the same place, and comes to the same rows.
2. It lies in a segment of the case, where every rebuild judges it anew. If it would be accepted,
   the projection is built again; nothing is appended, or the record would hold it twice.

The file in quarantine stays either way: that it was refused, and why, is history. What is still
refused stays as it is. A record of which only the first 64 KiB were kept cannot be tried.

Stopped in between, an event is in its segment and not in the projection: the next ingest reads it.
Nobody may follow the case's log meanwhile, for two readers would project an event twice.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ingest.batch import Batch
from ingest.blobs import Blobs
from ingest.chain import restore
from ingest.classify import Classifier
from ingest.disk import NO_TOPIC
from ingest.landing import Landing
from ingest.place import Origin
from ingest.quarantine import Quarantine, Refused
from ingest.reader import Accepted, Duplicate, Reader, Rejected
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import decode_frame
from roundlog.errors import FrameError, QuestionError
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.port import Record


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one refused record."""

    id: str
    accepted: bool
    """Whether it is part of the record now, and was not before."""
    why: str
    """Why not; or how."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {"id": self.id, "accepted": self.accepted, "why": self.why}


class _UndoneError(Exception):
    """Ends a transaction that was never meant to be."""


def try_again(case: Case, ids: Collection[str] = ()) -> list[Tried]:
    """Tries refused records with today's code; all of them where none is named.

    The caller holds `case.own()`, and has the projection closed.

    Args:
        ids: Of the records, or their first digits.

    Returns:
        One a record, in the order of their logs.

    Raises:
        QuestionError: No record has such an id, or several have.
        LogLockedError: A recorder holds the log that an event belongs into; some may be accepted.
        IngestError: The projection cannot be written.
    """
    store = Store(case)
    try:
        ingest_case(case, store=store)
        records = sorted(_kept(case, ids), key=_log_order)
        from_topics = [refused for refused in records if refused.origin is not None]
        in_segments = [refused for refused in records if refused.origin is None]
        tried = {one.id: one for one in _append(case, store, from_topics)}
        judged = {one.id: one for one in _judge(case, store, in_segments)}
    finally:
        store.close()
    if any(one.accepted for one in judged.values()):
        _build_again(case)
    tried |= judged
    return [tried[refused.id] for refused in records]


def _append(case: Case, store: Store, records: list[Refused]) -> Iterator[Tried]:
    """Those of a topic."""
    blobs, landing = Blobs(case.blobs), Landing(case.segments)
    tried: list[Tried] = []
    try:
        with store.transaction() as transaction:
            batch = Batch(transaction, blobs)
            reader = Reader(Classifier(restore(store), batch), batch)
            for refused in records:
                record = _as_it_came(case, refused)
                if record is None:
                    tried.append(_only_a_part(refused))
                    continue
                origin = Origin(refused.origin, refused.partition, refused.log_offset)
                read = reader.read(record, origin)
                tried.append(_told(refused, read, "appended to its log, late"))
                if isinstance(read, Accepted):
                    place, kept = landing.append(read, origin)
                    batch.add_event(
                        read.event, read.head_digest, read.status, read.checked, place, kept
                    )
            ends = landing.flush()
            blobs.sync()
            batch.flush()
            for partition, end in ends.items():
                transaction.set_watermark("segments", partition, end, of=NO_TOPIC)
    finally:
        landing.close(seal=True)
    yield from tried


def _judge(case: Case, store: Store, records: list[Refused]) -> Iterator[Tried]:
    """Those that lie in segments; changes nothing."""
    log = EmbeddedLog(case.segments)
    tried: list[Tried] = []
    try:
        with store.transaction() as transaction:
            batch = Batch(transaction, Blobs(case.blobs))
            reader = Reader(Classifier(restore(store), batch), batch)
            tried += [_judge_one(log, reader, refused) for refused in records]
            raise _UndoneError
    except _UndoneError:
        pass
    finally:
        log.close()
    yield from tried


def _judge_one(log: EmbeddedLog, reader: Reader, refused: Refused) -> Tried:
    at = {refused.partition: refused.log_offset}
    found = log.read(at, max_records=1, timeout_s=0)
    if not found or found[0].offset != refused.log_offset:
        return Tried(refused.id, False, "it lies no more where it was refused")
    origin = Origin(None, refused.partition, refused.log_offset)
    read = reader.read(found[0], origin, partition=refused.partition)
    return _told(refused, read, "accepted where it lies; the projection was built again")


def _build_again(case: Case) -> None:
    case.database.unlink()
    case.database.with_name(case.database.name + ".wal").unlink(missing_ok=True)
    ingest_case(case)


def _kept(case: Case, ids: Collection[str]) -> Iterator[Refused]:
    # Descriptions only: a hundred thousand refused records are gigabytes.
    quarantine = Quarantine(case.quarantine)
    there = quarantine.ids()
    chosen = {_meant(there, one) for one in ids} if ids else there
    for id_ in chosen:
        if (entry := quarantine.read(id_)) is not None:
            yield entry[0]


def _meant(there: Collection[str], id_: str) -> str:
    found = [one for one in there if one.startswith(id_)]
    if len(found) != 1:
        what = "no refused record" if not found else f"{len(found)} refused records"
        raise QuestionError(f"{what} of {len(there):,} has an id that begins with {id_!r}")
    return found[0]


def _as_it_came(case: Case, refused: Refused) -> Record | None:
    entry = Quarantine(case.quarantine).read(refused.id)
    raw = b"" if entry is None else entry[1]
    if refused.kept != refused.size or len(raw) != refused.kept:
        return None
    place = (refused.partition, refused.log_offset, refused.log_offset + 1, refused.size)
    try:
        frame, end = decode_frame(raw)
    except FrameError as error:
        return Record(*place, None, raw=raw, reason=error.reason, detail=str(error))
    if end != len(raw):
        return Record(*place, None, raw=raw, reason=refused.reason, detail=refused.detail)
    return Record(*place, frame, raw=raw)


def _only_a_part(refused: Refused) -> Tried:
    why = f"{refused.kept:,} of its {refused.size:,} bytes were kept, so it cannot be tried"
    return Tried(refused.id, False, why)


def _told(refused: Refused, read: Accepted | Duplicate | Rejected, how: str) -> Tried:
    if isinstance(read, Accepted):
        return Tried(refused.id, True, how)
    if isinstance(read, Duplicate):
        return Tried(refused.id, False, "it is part of the record already")
    return Tried(refused.id, False, f"{read.refused.reason}: {read.refused.detail}")


def _log_order(refused: Refused) -> tuple[str, str, int]:
    return refused.origin or "", refused.partition, refused.log_offset
