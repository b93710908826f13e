"""How does one record become rows, or a refusal? The same steps, whichever log it came from.

1. Bytes that are no frame, or a head that is no event: refused. So is, from a topic, what only the
   owner of a case may say: whoever can produce to a topic could speak in another person's name.
2. Side bytes that are not those the head sealed: refused.
3. Its place in the sequence (`ingest.classify`): a duplicate is noted, another content refused.
4. Content that no fold could use (`ingest.checks`): refused.
5. What is left is accepted, with whatever was found about it.
"""

from dataclasses import dataclass

from ingest.batch import Batch
from ingest.checks import Checked, check_content
from ingest.classify import Classifier, Verdict
from ingest.place import Origin
from ingest.quarantine import Refused, refuse
from roundlog.encoding import Frame, digest
from roundlog.errors import HeadError
from roundlog.events import Event, check_side, is_owners, parse_head
from roundlog.log.port import Record


@dataclass(slots=True)
class Accepted:
    """An event to be stored and projected."""

    event: Event
    frame: Frame
    head_digest: str
    checked: Checked
    status: str


@dataclass(slots=True)
class Duplicate:
    """An identical copy of an accepted event; `again` where it is that event's own record."""

    event: Event
    head_digest: str
    again: bool


@dataclass(slots=True)
class Rejected:
    """A record for quarantine."""

    refused: Refused
    raw: bytes


class Reader:
    """Judges records and adds what was found to a batch."""

    def __init__(self, classifier: Classifier, batch: Batch) -> None:
        self._classifier, self._batch = classifier, batch

    def read(
        self, record: Record, origin: Origin, *, partition: str | None = None
    ) -> Accepted | Duplicate | Rejected:
        """Judges one record.

        Args:
            partition: `run/producer` that the event must be about, where the log says so.
        """
        frame = record.frame
        if frame is None:
            return Rejected(*refuse(record, origin, record.reason, record.detail))
        try:
            event = parse_head(frame.head)
        except HeadError as error:
            return Rejected(*refuse(record, origin, error.reason, str(error)))
        head_digest = digest(frame.head)
        if partition is not None and partition != f"{event.subject}/{event.source}":
            detail = f"an event of {event.subject}/{event.source} in the log of {partition}"
            return Rejected(*refuse(record, origin, "misplaced", detail, event=event))
        if partition is None and is_owners(event):
            detail = f"only the owner of the case says {event.name}, and from its own log"
            return Rejected(*refuse(record, origin, "reserved", detail, event=event))
        try:
            if record.reason:
                raise HeadError(record.reason, record.detail)
            tails = check_side(event, record.side())
        except HeadError as error:
            return self._refuse(record, origin, error, event, head_digest)
        verdict = self._classifier.judge(event, head_digest, origin)
        if verdict in ("duplicate", "again"):
            return Duplicate(event, head_digest, verdict == "again")
        if verdict == "equivocation":
            detail = f"seq {event.seq} was recorded before with other content; the first one stays"
            return Rejected(*refuse(record, origin, "equivocation", detail, event=event))
        try:
            checked = check_content(event, tails, self._classifier.chain(event).known)
        except HeadError as error:
            return self._refuse(record, origin, error, event, head_digest)
        return self._accept(event, frame, head_digest, verdict, checked, origin)

    def _accept(
        self,
        event: Event,
        frame: Frame,
        head_digest: str,
        verdict: Verdict,
        checked: Checked,
        origin: Origin,
    ) -> Accepted:
        status, findings = self._classifier.accept(event, head_digest, verdict, checked, origin)
        for finding in findings:
            self._batch.add_finding(finding)
        return Accepted(event, frame, head_digest, checked, status)

    def _refuse(
        self, record: Record, origin: Origin, error: HeadError, event: Event, head_digest: str
    ) -> Rejected:
        expected = self._classifier.refuse(event, head_digest)
        refused = refuse(record, origin, error.reason, str(error), event=event, expected=expected)
        return Rejected(*refused)
