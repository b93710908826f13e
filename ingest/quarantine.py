"""What becomes of a record that cannot be believed? It is kept, whole, and said to be refused.

`quarantine/<id>.record` holds one line of JSON (where it came from, why it was refused, how long
it was) and then the bytes: all of a frame, the first 64 KiB of anything larger. The row and its
findings are made from the file alone, so that they come back when the projection is rebuilt. Words
that people may have erased can be taken out of the bytes (`ingest.erasure`); nothing else changes.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ingest.findings import ID_LENGTH, Finding
from ingest.place import Origin
from roundlog.encoding import canonical_json, decode_frame, digest, encode_frame
from roundlog.errors import FrameError
from roundlog.events import Event, UnknownEvent
from roundlog.log.erase import erased
from roundlog.log.files import PART_SUFFIX, make_directory, write_durably
from roundlog.log.port import RAW_LIMIT, Record

logger = logging.getLogger(__name__)

SUFFIX = ".record"

DIGEST_REASONS = frozenset({"side_digest", "side_length", "vec_row"})
"""The head is whole, and its side bytes are not what it sealed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused record; the fields are the columns of the table `quarantine`."""

    id: str
    reason: str
    detail: str
    run: str | None
    producer: str | None
    seq: int | None
    type: str | None
    round: int | None
    head_digest: str | None
    expected: int | None
    """The seq that was due when it came; at most `seq` means that it came in its turn."""
    size: int
    kept: int
    sha256: str
    origin: str | None
    partition: str
    log_offset: int

    @property
    def file(self) -> str:
        return self.id + SUFFIX

    @property
    def in_turn(self) -> bool:
        """Whether the sequence may go on behind it: it is refused, and not missing."""
        return self.seq is not None and self.expected is not None and self.expected <= self.seq

    def row(self) -> tuple[Any, ...]:
        """Values in the order of the table `quarantine`."""
        return (
            self.id,
            self.reason,
            self.detail,
            self.run,
            self.producer,
            self.seq,
            self.type,
            self.head_digest,
            self.expected,
            self.size,
            self.kept,
            self.sha256,
            self.file,
            self.origin,
            self.partition,
            self.log_offset,
        )

    def findings(self) -> Iterator[Finding]:
        """What follows from the refusal, beside its own row."""
        kind = None
        if self.reason in DIGEST_REASONS:
            kind = "bad_digest"
        elif self.reason in ("equivocation", "torn_tail"):
            kind = self.reason
        where = (self.run, self.producer, self.seq, self.round, self.origin, self.log_offset)
        if kind is not None:
            yield Finding(kind, self.detail, *where)
        if self.in_turn and self.seq != self.expected:
            yield gap_finding(self.expected, *where)


def gap_finding(
    expected: int | None,
    run: str | None,
    producer: str | None,
    seq: int | None,
    round: int | None,
    origin: str | None,
    log_offset: int | None,
) -> Finding:
    """Events between `expected` and `seq` were missing when `seq` came."""
    missing = (seq or 0) - (expected or 0)
    detail = f"{missing} event(s) missing: seq {expected} to {(seq or 0) - 1}"
    return Finding("gap", detail, run, producer, seq, round, origin, log_offset)


def refuse(
    record: Record,
    origin: Origin,
    reason: str,
    detail: str,
    *,
    event: Event | None = None,
    expected: int | None = None,
) -> tuple[Refused, bytes]:
    """What to store of a refused record: its description, and its bytes."""
    raw = record.raw[: min(RAW_LIMIT, record.size)]
    head_digest = None
    if record.frame is not None:
        frame = record.frame
        head_digest = digest(frame.head)
        # As on the wire, so that the same record is the same bytes from either log.
        side = bytes(record.side())
        raw = encode_frame(type(frame)(frame.head, side))
    sha256 = digest_without_words(raw)
    return (
        Refused(
            id=_id(origin.name, origin.partition, origin.offset, reason, sha256),
            reason=reason,
            detail=detail,
            run=event.run if event else None,
            producer=event.producer if event else None,
            seq=event.seq if event else None,
            type=event.type if event else None,
            round=_round_of(event),
            head_digest=head_digest,
            expected=expected,
            size=len(raw) if record.frame is not None else record.size,
            kept=len(raw),
            sha256=sha256,
            origin=origin.name,
            partition=origin.partition,
            log_offset=origin.offset,
        ),
        raw,
    )


def digest_without_words(raw: bytes) -> str:
    """SHA-256 of a refused record, words that may be erased taken as erased.

    So the record keeps its digest and its id when they are, and when it is read from a segment once
    more. The words have a salted digest of their own, in the head.
    """
    try:
        frame, end = decode_frame(raw)
    except FrameError:
        return digest(raw)
    without = erased(frame) if end == len(raw) else None
    return digest(raw) if without is None else digest(encode_frame(without))


def id_of(refused: Refused) -> str:
    """The id that belongs to a description; another one means that the description was changed."""
    return _id(
        refused.origin, refused.partition, refused.log_offset, refused.reason, refused.sha256
    )


def _id(origin: str | None, partition: str, log_offset: int, reason: str, sha256: str) -> str:
    key = [origin, partition, log_offset, reason, sha256]
    return digest(canonical_json(key))[:ID_LENGTH]


def _round_of(event: Event | None) -> int | None:
    # An event of an unknown kind may call anything its round.
    found = None if isinstance(event, UnknownEvent) else getattr(event, "round", None)
    return found if isinstance(found, int) else None


class Quarantine:
    """The quarantine folder of a case."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, refused: Refused, raw: bytes) -> None:
        """Stores a refused record durably; does nothing where it is there already."""
        path = self._directory / refused.file
        if not path.exists():
            make_directory(self._directory)
            write_durably(path, canonical_json(asdict(refused)) + b"\n" + raw)

    def sweep(self) -> None:
        """Deletes what a crash left half written; for the owner of the case, before it writes."""
        for left_over in self._directory.glob("*" + PART_SUFFIX):
            left_over.unlink(missing_ok=True)

    def ids(self) -> set[str]:
        """Every id that has a file."""
        return {path.stem for path in self._directory.glob("*" + SUFFIX)}

    def read(self, id: str) -> tuple[Refused, bytes] | None:
        """A refused record and its bytes; None where the file was damaged."""
        data = (self._directory / (id + SUFFIX)).read_bytes()
        line, _, raw = data.partition(b"\n")
        try:
            refused = Refused(**json.loads(line))
        except (ValueError, TypeError):
            logger.error("quarantine/%s%s is damaged; it is left out", id, SUFFIX)
            return None
        return refused, raw
