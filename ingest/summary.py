"""What did ingest do? Counts for people, and for the progress bar while it runs."""

from dataclasses import dataclass

from ingest.batch import Batch
from roundlog.events import Event, RoundCommitted


@dataclass(slots=True)
class IngestSummary:
    """Counts of one call of `ingest.service.ingest_case`."""

    events: int = 0
    """Accepted and projected."""

    rounds: int = 0
    """Of these, committed rounds."""

    duplicates: int = 0
    """Identical copies that were met and left out."""

    quarantined: int = 0
    """Records that were refused for the first time."""

    findings: int = 0
    """New facts about what is wrong with the record."""

    records: int = 0
    """Records read, of any kind."""

    batches: int = 0
    """Transactions."""

    seconds: float = 0.0
    """Wall clock, for the rate."""

    done: int = 0
    """How far the work is, in the unit of `total`."""

    total: int | None = None
    """How much there was to do when it began; None while tailing."""

    connected: bool = False
    """Whether a broker has answered."""

    behind: int | None = None
    """Offsets of the topic that were not read yet, when it was last asked; None where none is."""

    stopped: bool = False
    """Whether it ended early because it was asked to; nothing is half done."""

    def count(self, event: Event) -> None:
        """Counts one accepted event."""
        self.events += 1
        if type(event) is RoundCommitted:
            self.rounds += 1

    def add_batch(self, batch: Batch, records: int) -> None:
        """Counts one committed transaction."""
        self.records += records
        self.batches += 1
        self.findings += batch.findings
        self.quarantined += batch.refused
