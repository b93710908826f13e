"""What can be wrong with a record, and how is that said? Facts about the record, each with an id.

A finding accuses nobody and judges no model. Its id depends on what it is about and not on when
or from which log it was read, so that ingesting again, or through another log, keeps it.
"""

from dataclasses import dataclass
from typing import Any

from roundlog.encoding import canonical_json, digest

ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the record; `seq` or else `log_offset` says where."""

    kind: str
    detail: str
    run: str | None = None
    producer: str | None = None
    seq: int | None = None
    round: int | None = None
    origin: str | None = None
    log_offset: int | None = None

    @property
    def id(self) -> str:
        """First 16 hex digits of SHA-256 over [kind, run, producer, seq or offset].

        What lies in no event of a producer (a lost range of a topic) is told apart by its origin.
        """
        where = self.log_offset if self.seq is None else self.seq
        who = self.origin if self.run is None else self.run
        return digest(canonical_json([self.kind, who, self.producer, where]))[:ID_LENGTH]

    def row(self) -> tuple[Any, ...]:
        """Values in the order of the table `findings`."""
        return (
            self.id,
            self.kind,
            self.run,
            self.producer,
            self.seq,
            self.round,
            self.detail,
            self.origin,
            self.log_offset,
        )
