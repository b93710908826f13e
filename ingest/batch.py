"""What does one batch add to the projection? Rows gathered by table, written in one transaction.

Rows are written when the batch ends, or earlier when an event has to be compared with what was
accepted before: the transaction sees its own rows, so memory holds one batch and nothing else.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.blobs import Blobs
from ingest.chain import ChainKey
from ingest.checks import Checked
from ingest.classify import ModelFact, Seen
from ingest.findings import Finding
from ingest.place import Origin, Place
from ingest.projections import BLOBBED, PROJECTIONS, round_committed
from ingest.projections.rows import Row
from ingest.quarantine import Refused
from ingest.store import Transaction
from roundlog.events import Event, RoundCommitted


@contextmanager
def gathering() -> Iterator[None]:
    """Python's search for cycles rests while a batch is gathered.

    Thousands of events are alive until it is committed, and hold no cycle; looking at each of them
    several times in vain took a tenth of the time of ingest.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Batch:
    """The rows of one transaction; also the classifier's view of the past (`History`)."""

    def __init__(self, transaction: Transaction, blobs: Blobs) -> None:
        self._transaction, self._blobs = transaction, blobs
        self._rows: dict[str, list[Row]] = {}
        self._findings: dict[str, Row] = {}
        self._refused: dict[str, Row] = {}
        self.findings = 0
        self.refused = 0

    def add_event(
        self,
        event: Event,
        head_digest: str,
        status: str,
        checked: Checked,
        place: Place,
        origin: Origin,
    ) -> None:
        """An accepted event: its row in `events`, and the row of its kind."""
        self._add(
            "events",
            (
                event.subject,
                event.source,
                event.seq,
                event.type,
                event.time,
                head_digest,
                event.prev,
                status,
                place.segment,
                place.heads_offset,
                place.row,
                origin.name,
                origin.offset,
            ),
        )
        kind = type(event)
        if kind is RoundCommitted:
            row = round_committed(event, place, {}, finite=checked.finite)  # type: ignore[arg-type]
            self._add("rounds", row)
        elif kind in PROJECTIONS:
            table, projection = PROJECTIONS[kind]
            blobs = {}
            if kind in BLOBBED:
                blobs = {name: self._blobs.put(tail) for name, tail in checked.tails.items()}
            self._add(table, projection(event, place, blobs))

    def add_duplicate(
        self, key: ChainKey, seq: int, head_digest: str, origin: str | None, offset: int
    ) -> None:
        """A second, identical copy of an accepted event."""
        self._add("duplicates", (*key, seq, head_digest, origin, offset))

    def add_refused(self, refused: Refused) -> None:
        """A refused record and what follows from it; once, however often it is met."""
        self._refused.setdefault(refused.id, refused.row())
        for finding in refused.findings():
            self.add_finding(finding)

    def add_finding(self, finding: Finding) -> None:
        """A fact about the record; the first one with its id stays."""
        self._findings.setdefault(finding.id, finding.row())

    def flush(self) -> None:
        """Writes the rows gathered so far; they become visible to others with the commit."""
        for table, rows in self._rows.items():
            self._transaction.insert(table, rows)
        self._rows.clear()
        self.findings += self._insert_new("findings", self._findings)
        self.refused += self._insert_new("quarantine", self._refused)

    def seen(self, key: ChainKey, first: int, stop: int) -> dict[int, Seen]:
        """As `ingest.classify.History` says."""
        self.flush()
        rows = self._transaction.rows(
            _SEEN, {"run": key[0], "producer": key[1], "first": first, "stop": stop}
        )
        return {row[0]: Seen(*row[1:]) for row in rows}

    def neighbours(self, key: ChainKey, seq: int) -> tuple[ModelFact | None, ModelFact | None]:
        """As `ingest.classify.History` says."""
        self.flush()
        params = {"run": key[0], "producer": key[1], "seq": seq}
        facts = [ModelFact(*row) for row in self._transaction.rows(_NEIGHBOURS, params)]
        before = [fact for fact in facts if fact.seq < seq]
        after = [fact for fact in facts if fact.seq > seq]
        return (before[-1] if before else None), (after[0] if after else None)

    def _add(self, table: str, row: Row) -> None:
        rows = self._rows.get(table)
        if rows is None:
            rows = self._rows[table] = []
        rows.append(row)

    def _insert_new(self, table: str, rows: dict[str, Row]) -> int:
        if not rows:
            return 0
        ids = {"ids": list(rows)}
        known = {row[0] for row in self._transaction.rows(_KNOWN[table], ids)}
        new = [row for id_, row in rows.items() if id_ not in known]
        self._transaction.insert(table, new)
        rows.clear()
        return len(new)


_KNOWN = {
    "findings": "SELECT id FROM findings WHERE list_contains($ids, id)",
    "quarantine": "SELECT id FROM quarantine WHERE list_contains($ids, id)",
}

_SEEN = """
SELECT seq, digest, prev, origin, log_offset FROM events
WHERE run = $run AND producer = $producer AND seq >= $first AND seq < $stop
"""

_NEIGHBOURS = """
WITH facts AS (
    SELECT r.seq, true AS is_round, r.round, r.pre_digest AS pre, r.post_digest AS post
    FROM rounds r WHERE r.run = $run AND r.producer = $producer
    UNION ALL
    SELECT g.seq, false, g.round, g.digest, g.digest
    FROM geneses g WHERE g.run = $run AND g.producer = $producer
), near AS (
    (SELECT * FROM facts WHERE seq < $seq ORDER BY seq DESC LIMIT 1)
    UNION ALL
    (SELECT * FROM facts WHERE seq > $seq ORDER BY seq LIMIT 1)
)
SELECT near.*, e.origin, e.log_offset
FROM near JOIN events e ON e.run = $run AND e.producer = $producer AND e.seq = near.seq
ORDER BY near.seq
"""
