"""How does a server without Kafka record from afar? `POST /api/v1/events`, one durable batch.

An event is its head (the JSON that `roundlog.recorder` would write) and its side bytes in base64.
It is taken in its turn or not at all: the answer names the `seq` and `prev` that are due. The same
event sent again is acknowledged again and stored once. When the answer comes, it is on disk.
"""

import base64
import binascii
import threading
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from api.documents import Document
from api.records import Records
from api.web.problems import ProblemError
from roundlog.encoding import Frame, canonical_json, check_size, digest
from roundlog.errors import HeadError
from roundlog.events import Event, check_side, is_owners, parse_head
from roundlog.log.port import Entry
from roundlog.log.writer import SegmentWriter


class SentEvent(BaseModel):
    """One event on the wire."""

    model_config = ConfigDict(extra="forbid")

    head: dict[str, JsonValue]
    side: str = ""
    """The side bytes in the order of the head's tails, base64."""


class SentEvents(BaseModel):
    """What is posted."""

    model_config = ConfigDict(extra="forbid")

    events: list[SentEvent] = Field(min_length=1, max_length=1_000)


@dataclass(frozen=True, slots=True)
class _Judged:
    entry: Entry
    digest: str

    @property
    def partition(self) -> tuple[str, str]:
        """Run and producer: events of one are in order, events of two are not."""
        return self.entry.event.run, self.entry.event.producer


class Receiver:
    """Appends events that come over HTTP to the case's own log."""

    def __init__(self, records: Records) -> None:
        self._records = records
        # Two requests for one producer would otherwise find each other's lock taken.
        self._lock = threading.Lock()

    def accept(self, body: Any) -> Document:
        """Checks every event, then appends them all, durably.

        Raises:
            ProblemError: One is malformed (422), then nothing was stored; or one is not due (409),
                then nothing was stored from it on.
            RoundlogError: The log refused.
        """
        if isinstance(body, dict) and "head" in body:
            body = {"events": [body]}
        try:
            sent = SentEvents.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise ProblemError(
                422,
                f"{where}: {first['msg']}",
                'send {"events": [{"head": {…}, "side": "base64"}]}',
                kind="event",
            ) from error
        judged = [_judge(index, one) for index, one in enumerate(sent.events)]
        stored = []
        with self._lock:
            for run, producer in dict.fromkeys(one.partition for one in judged):
                mine = [one for one in judged if one.partition == (run, producer)]
                stored += self._append(run, producer, mine)
        return {"events": stored}

    def _append(self, run: str, producer: str, judged: list[_Judged]) -> list[Document]:
        directory = self._records.case.segments / run / producer
        writer = SegmentWriter(directory, run=run, producer=producer)
        stored: list[Document] = []
        try:
            for one in judged:
                duplicate = self._is_stored(writer, one)
                if not duplicate:
                    writer.append(one.entry)
                event = one.entry.event
                stored.append({"id": event.id, "digest": one.digest, "duplicate": duplicate})
            writer.flush()
        finally:
            # Not sealed: the next request goes on in the same segment.
            writer.close(seal=False)
        return stored

    def _is_stored(self, writer: SegmentWriter, one: _Judged) -> bool:
        """Whether this very event is in the log already.

        Raises:
            ProblemError: Another event is due.
        """
        event = one.entry.event
        if event.seq < writer.next_seq:
            found = self._records.query(
                "event", run=event.run, producer=event.producer, seq=event.seq
            )
            last = event.seq == writer.next_seq - 1 and writer.last_digest == one.digest
            if last or one.digest in found["digest"].to_list():
                return True
            raise ProblemError(
                409,
                f"{event.id} is in the log with other content; nothing was changed",
                "an event is never replaced: record a later one that corrects it",
                kind="equivocation",
                exit_code=4,
            )
        if event.seq > writer.next_seq or event.prev != writer.last_digest:
            raise ProblemError(
                409,
                f"{event.id} is not due: seq {writer.next_seq} with prev {writer.last_digest} is",
                "send the events before it first, in order",
                kind="out-of-order",
            )
        return False


def _judge(index: int, sent: SentEvent) -> _Judged:
    """An event as an entry; its head in the one form that a recorder would have written."""
    try:
        event: Event = parse_head(canonical_json(sent.head))
        side = base64.b64decode(sent.side, validate=True)
        check_side(event, side)
    except (HeadError, binascii.Error, ValueError) as error:
        raise ProblemError(
            422,
            f"events.{index}: {error}",
            "docs/reference/format.md says what a head and its side bytes are",
            kind="event",
        ) from error
    if is_owners(event):
        raise ProblemError(
            422,
            f"events.{index}: only the owner of the case says {event.name}, and from its own log",
            "releases, acknowledgements and silences have routes of their own: GET /openapi.json",
            kind="reserved",
        )
    frame = Frame(event.head(), side)
    check_size(frame)
    return _Judged(Entry(event, frame), digest(frame.head))
