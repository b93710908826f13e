"""How are people's words taken out of a record that must still verify? For good, and on record.

    erase_texts(case, log, "assistant-2026", before=90_000, actor="alice", note="retention", …)

What goes are the erasable tails of a run's events: what people typed and what they were answered.
What stays is all the rest, with the salted digest of what is gone (ADR 3).

The order makes it safe to be stopped anywhere:

1. The owner writes down whose words go, and why (`TextsErased`). From then on they are to be gone.
2. File by file they are overwritten (`roundlog.log.erase`): segments, then refused records.

Whoever is stopped in between finishes with the next erasure of the run; until then `verify` says
what is still there. So does an older copy that was put back.

Not reached: a segment that somebody is writing (its texts wait until it is sealed, and are
counted), bytes that are no whole event (damage may hold words; it is counted too), and copies
outside of the case: the topic, whose retention is the broker's, exports, backups, and a recorder's
spool.
"""

import time as clock
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.quarantine import SUFFIX, Quarantine
from ingest.said import CaseLog
from ingest.still import rewriting
from roundlog.case import Case
from roundlog.encoding import decode_frame, encode_frame
from roundlog.errors import FrameError, HeadError, LogError, LogLockedError
from roundlog.events import OWNER, Authenticated, Event, TextsErased, parse_head
from roundlog.log.erase import erase_heads, erased, has_text, overwrite
from roundlog.log.files import PART_SUFFIX, lock_file
from roundlog.log.segments import Segment, list_segments, scan_heads
from roundlog.log.writer import LOCK_NAME

# What is left of a file that was being written when somebody was killed may hold words as well. In
# quarantine younger ones may be another thread's, which has them for milliseconds.
LEFT_BEHIND_S = 60.0

Progress = Callable[[int, int], None]
"""Segments looked at, and how many there are; each twice."""


@dataclass(slots=True)
class Erasure:
    """What an erasure did, or would do."""

    texts: int = 0
    """Texts that were there and are gone."""
    waiting: int = 0
    """Texts that were meant too, in a segment that somebody is writing."""
    unreadable: int = 0
    """Damaged stretches and refused records that may hold words, and were left alone."""
    files: int = 0
    """Files that were rewritten."""
    events: list[TextsErased] = field(default_factory=list)
    """What was written down."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        events = [event.model_dump(mode="json", exclude_none=True) for event in self.events]
        return {
            "event": events[-1] if events else None,
            "events": events,
            "texts": self.texts,
            "waiting": self.waiting,
            "unreadable": self.unreadable,
            "files": self.files,
        }


def erase_texts(
    case: Case,
    log: CaseLog,
    run: str,
    *,
    before: int | None = None,
    actor: str,
    authenticated: Authenticated,
    note: str,
    said_at: int,
    time: datetime | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Erasure:
    """Erases the texts of a run, or those of models before t = `before`; finishes earlier erasures.

    The caller owns the case, and has named a run that there is.

    Args:
        log: The case's log; what is erased is written down there first.
        time: For people; now where it is left out.
        dry_run: Count only.

    Raises:
        CaseBusyError: The case is being exported.
        LogError: The owner's log cannot be written, and nothing was erased; or the disk refused in
            between, and another erasure finishes this one.
    """
    with rewriting(case), _writable(case, run) as writable:
        _remove_what_was_left_behind(case, run)
        words = _Words(case, run, writable, progress)
        planned = words.plan(before)
        if not dry_run:
            for fields in planned:
                event = log.say(
                    TextsErased,
                    run=run,
                    time=time,
                    before_round=before,
                    actor=actor,
                    authenticated=authenticated,
                    note=note,
                    said_at=said_at,
                    **fields,
                )
                words.found.events.append(event)
            try:
                words.overwrite()
            except OSError as error:
                raise LogError(
                    f"{error.filename or case.path}: {error.strerror}. What is on record as erased "
                    f"is not all erased yet; make room, and run `roundlog erase` again."
                ) from error
        return words.found


def said_erased(case: Case, run: str) -> list[TextsErased]:
    """Every erasure of a run, as the owner's log has it, projected or not."""
    found = []
    for segment in list_segments(case.segments / run / OWNER):
        for stored in scan_heads(segment.heads.read_bytes()):
            event = None if stored.frame is None else _event(stored.frame.head)
            if isinstance(event, TextsErased):
                found.append(event)
    return found


@dataclass(slots=True)
class _Text:
    """The words of one event, wherever they stand."""

    there: bool = False
    """Some copy was not overwritten yet."""
    meant: bool = False
    waits: bool = False
    """Some copy lies in a segment that somebody is writing."""


class _Words:
    """The words of one run."""

    def __init__(
        self, case: Case, run: str, writable: set[Path], progress: Progress | None
    ) -> None:
        self._case, self._run, self._writable = case, run, writable
        self._progress = progress
        self._quarantine = Quarantine(case.quarantine)
        self.found = Erasure()

    def plan(self, before: int | None) -> list[dict[str, Any]]:
        """Which events are to be written down: for each producer stretches of its `seq`."""
        texts: dict[tuple[str, int], _Text] = {}
        said = said_erased(self._case, self._run)
        for event, there, waits in self._look():
            text = texts.setdefault((event.producer, event.seq), _Text())
            text.there, text.waits = text.there or there, text.waits or waits
            text.meant = text.meant or before is None or _model_of(event, before) < before
        planned: list[dict[str, Any]] = []
        last: dict[str, dict[str, Any] | None] = {}
        for (producer, seq), text in sorted(texts.items()):
            covered = any(one.covers(producer, seq) for one in said)
            if text.there and (covered or text.meant):
                self.found.waiting += text.waits
                self.found.texts += not text.waits
            if covered or (text.meant and not text.there):
                continue  # a stretch may lead across it
            if not text.meant or text.waits:
                last[producer] = None
                continue
            stretch = last.get(producer)
            if stretch is None:
                stretch = {"from_producer": producer, "first_seq": seq, "texts": 0}
                last[producer] = stretch
                planned.append(stretch)
            stretch["last_seq"] = seq
            stretch["texts"] += 1
        return planned

    def overwrite(self) -> None:
        """Takes out whatever the owner's log says is erased."""
        said = said_erased(self._case, self._run)

        def gone(event: Event) -> bool:
            return event.run == self._run and any(
                one.covers(event.producer, event.seq) for one in said
            )

        for segment in self._told(self._segments(), second=True):
            if segment.sealed or segment.directory in self._writable:
                self.found.files += bool(erase_heads(segment.heads, gone))
        for path in self._refused():
            line, _, raw = path.read_bytes().partition(b"\n")
            event, without = _without_words(raw)
            if event is not None and without not in (None, raw) and gone(event):
                start = len(line) + 1
                overwrite(path, line + b"\n" + (without or b""), [(start, start + len(raw))])
                self.found.files += 1

    def _look(self) -> Iterator[tuple[Event, bool, bool]]:
        """Every event with words: the event, whether they are there, whether they must wait."""
        for segment in self._told(self._segments(), second=False):
            waits = not segment.sealed and segment.directory not in self._writable
            for stored in scan_heads(segment.heads.read_bytes()):
                if stored.frame is None:
                    self.found.unreadable += not waits
                    continue
                event, without = _event(stored.frame.head), erased(stored.frame)
                if without is not None and event is not None:
                    yield event, without != stored.frame, waits
        for path in self._refused():
            refused, rest = _without_words(raw := path.read_bytes().partition(b"\n")[2])
            if rest is None:
                # Events without words are no riddle, whatever else is wrong with them.
                self.found.unreadable += refused is None or has_text(refused)
            elif refused is not None and refused.run == self._run:
                yield refused, rest != raw, False

    def _told(self, segments: list[Segment], *, second: bool) -> Iterator[Segment]:
        for number, segment in enumerate(segments, len(segments) * second):
            if self._progress is not None:
                self._progress(number, 2 * len(segments))
            yield segment

    def _segments(self) -> list[Segment]:
        folders = sorted(path for path in (self._case.segments / self._run).iterdir())
        return [one for folder in folders if folder.name != OWNER for one in list_segments(folder)]

    def _refused(self) -> list[Path]:
        """Refused records that are this run's, or nobody knows whose."""
        found = []
        for id_ in sorted(self._quarantine.ids()):
            entry = self._quarantine.read(id_)
            if entry is None or entry[0].run in (None, self._run):
                found.append(self._case.quarantine / (id_ + SUFFIX))
        return found


def _without_words(raw: bytes) -> tuple[Event | None, bytes | None]:
    """The event of a refused frame, and the frame without its words where they can be told."""
    try:
        frame, end = decode_frame(raw)
    except FrameError:
        return None, None
    event, without = _event(frame.head), erased(frame)
    whole = end == len(raw) and without is not None
    return event, encode_frame(without) if whole and without is not None else None


def _event(head: bytes) -> Event | None:
    try:
        return parse_head(head)
    except HeadError:
        return None


def _model_of(event: Event, otherwise: int) -> int:
    """t of the model that an event is about; an event that does not say is about none."""
    found = getattr(event, "round", None)
    return found if isinstance(found, int) else otherwise


@contextmanager
def _writable(case: Case, run: str) -> Iterator[set[Path]]:
    """The folders of producers that nobody writes to, and nobody can begin to meanwhile."""
    with ExitStack() as locks:
        free = set()
        for folder in sorted((case.segments / run).iterdir()):
            segments = list_segments(folder)
            if folder.name == OWNER or not segments or all(one.sealed for one in segments):
                continue
            try:
                locks.enter_context(lock_file(folder / LOCK_NAME))
            except LogLockedError:
                continue
            free.add(folder)
        yield free


def _remove_what_was_left_behind(case: Case, run: str) -> None:
    # Parts of heads files are ours alone, and nobody else erases now.
    for path in (case.segments / run).glob(f"*/*.heads.*{PART_SUFFIX}"):
        path.unlink()
    for path in case.quarantine.glob(f"*{PART_SUFFIX}"):
        if path.stat().st_mtime < clock.time() - LEFT_BEHIND_S:
            path.unlink()
