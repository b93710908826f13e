"""How does what people and detectors say become part of the record? As events, through one log.

    with case.own():
        log = CaseLog(case, store)
        log.say(AlarmAcknowledged, run="quickstart", alarm=key, actor="alice", …)

The owner of a case is one more producer of the run that is spoken of: `segments/<run>/owner/`, with
a `seq`, a `prev` chain and seals of its own, so that reading, verifying and rebuilding hold for it
as they do for a server. When `say` returns, the event is on disk, and questions see it.

An alarm is said once: whoever raises it again, after a restart or in a replay, gets the first one.
"""

import json
import logging
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import Frame
from roundlog.errors import CaseError, HeadError, LogError, QuestionError, RecorderError
from roundlog.events import OWNER, AlarmRaised, Event, alarm_key, parse_head
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments, scan_heads
from roundlog.log.writer import SegmentWriter

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)

# A reader that follows the log looks every 0.1 s, and a batch takes less than that. Longer than
# this it is held up, by a broker or a disk; what was said is durable either way.
SEEN_S = 5.0
LOOK_S = 0.01


class CaseLog:
    """What is said of the runs of one case; one a process, and that process owns the case.

    Safe from any thread. A run's log is locked from the first word on until `close`.

    Args:
        store: The case's projection, for whoever asks next.
        followed: Whether another thread follows the case's log already, as in `roundlog serve`.
            It is waited for then: two readers would project an event twice.
    """

    def __init__(self, case: Case, store: Store, *, followed: bool = False) -> None:
        self._case, self._store, self._followed = case, store, followed
        self._lock = threading.RLock()
        self._writers: dict[str, SegmentWriter] = {}
        self._alarms: dict[str, dict[str, AlarmRaised]] = {}

    def say(self, kind: type[E], *, run: str, time: datetime | None = None, **fields: Any) -> E:
        """Writes one event about a run, durably; of an alarm that was raised before, nothing.

        Args:
            time: For people; now where it is left out.
            fields: The fields of `kind`. The key of an alarm is filled in.

        Returns:
            The event as it stands in the log: an earlier one where the alarm was raised before.

        Raises:
            QuestionError: The record knows no such run.
            RecorderError: A field is missing, unknown or out of its domain.
            CaseError: This process does not own the case.
            LogLockedError: A recorder of that run calls itself `owner`.
            LogError: The disk refused; nothing was said.
        """
        with self._lock:
            writer = self._writer(run)
            if issubclass(kind, AlarmRaised):
                # A field that is missing is told by its own name, below.
                fields["key"] = alarm_key(
                    run,
                    fields.get("detector", ""),
                    fields.get("version", ""),
                    direction=fields.get("direction"),
                    round=fields.get("round", 0),
                )
                known = self._alarms[run].get(fields["key"])
                if isinstance(known, kind):
                    return known
            event = self._event(kind, writer, time, fields)
            try:
                writer.append(Entry(event, Frame(event.head())))
                writer.flush()
            except LogError:
                # What is on disk decides: the next word opens this log again, and recovers.
                del self._writers[run]
                with suppress(LogError):
                    writer.close(seal=False)
                raise
            if isinstance(event, AlarmRaised):
                self._alarms[run][event.key] = event
            if not self._followed:
                ingest_case(self._case, store=self._store)
        if self._followed:
            self._wait_until_seen(event)
        return event

    def alarm(self, run: str, key: str) -> AlarmRaised | None:
        """The alarm of that key, as the log has it, projected or not."""
        with self._lock:
            if run not in self._alarms:
                self._alarms[run] = _raised(self._directory(run))
            return self._alarms[run].get(key)

    def close(self) -> None:
        """Seals what was said and gives the locks back.

        Raises:
            LogError: The disk refused; what was said is durable, and not sealed.
        """
        with self._lock:
            writers, self._writers = self._writers, {}
            self._alarms.clear()
            failed: LogError | None = None
            for writer in writers.values():
                try:
                    writer.close()
                except LogError as error:
                    failed = error
            if failed is not None:
                raise failed

    def _directory(self, run: str) -> Path:
        return self._case.segments / run / OWNER

    def _writer(self, run: str) -> SegmentWriter:
        if run not in self._writers:
            self._check_owned()
            # A misspelt name would become a run.
            if not self._store.rows(_KNOWN, {"run": run}):
                raise QuestionError(f"there is no run {run!r} of which something could be said")
            self._writers[run] = SegmentWriter(self._directory(run), run=run, producer=OWNER)
            self._alarms[run] = _raised(self._directory(run))
        return self._writers[run]

    def _check_owned(self) -> None:
        try:
            held = json.loads(self._case.owner.read_bytes()).get("pid")
        except (OSError, ValueError, AttributeError):
            held = None
        if held != os.getpid():
            raise CaseError(
                f"{self._case.path} is not owned by this process, and only its owner says anything "
                f"of it: `with case.own():` first, or ask the server that owns it"
            )

    def _event(
        self, kind: type[E], writer: SegmentWriter, time: datetime | None, fields: dict[str, Any]
    ) -> E:
        try:
            return kind(
                id=f"{writer.run}/{OWNER}/{writer.next_seq}",
                source=OWNER,
                subject=writer.run,
                time=time or datetime.now(UTC),
                seq=writer.next_seq,
                prev=writer.last_digest,
                **fields,
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "event"
            raise RecorderError(f"{kind.__name__}.{where}: {first['msg']}") from error

    def _wait_until_seen(self, event: Event) -> None:
        place = {"run": event.run, "producer": event.producer, "seq": event.seq}
        deadline = time.monotonic() + SEEN_S
        while not self._store.rows(_SEEN, place):
            if time.monotonic() >= deadline:
                logger.warning(
                    "%s is on disk, and not projected after %.0f s: answers lag, nothing is lost",
                    event.id,
                    SEEN_S,
                )
                return
            time.sleep(LOOK_S)


def _raised(directory: Path) -> dict[str, AlarmRaised]:
    """Every alarm in a log by its key. Not from the projection, which may lag behind the log."""
    found: dict[str, AlarmRaised] = {}
    for segment in list_segments(directory):
        for stored in scan_heads(segment.heads.read_bytes()):
            if stored.frame is None:
                continue
            with suppress(HeadError):
                event = parse_head(stored.frame.head)
                if isinstance(event, AlarmRaised):
                    found.setdefault(event.key, event)
    return found


_KNOWN = "SELECT 1 FROM events WHERE run = $run LIMIT 1"

_SEEN = "SELECT 1 FROM events WHERE run = $run AND producer = $producer AND seq = $seq"
