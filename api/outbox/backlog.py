"""Which alarms has one channel not told yet? Asked of the store, a page at a time.

An alarm's place is its run and its number in the owner's log, and places come in that order. The
alarms themselves are not kept here: whoever tells one asks for it, with its state at that moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.outbox.journal import Journal
from api.records import Records
from forensics.alarms import list_alarms

PAGE = 256


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an alarm stands in the log."""

    run: str
    seq: int
    key: str
    time: datetime


class Backlog:
    """The alarms of a case that a channel's journal does not name.

    Whatever asks the store may raise `StoreError`.
    """

    def __init__(self, records: Records, journal: Journal) -> None:
        self._records, self._journal = records, journal

    def next(self, after: Place | None = None) -> Place | None:
        """The first one behind a place, or else the first one of all; None where none waits."""
        found = next(self._open(after), None)
        if found is None and after is not None:
            found = next(self._open(None), None)
        return found

    def alarm(self, place: Place) -> dict[str, Any] | None:
        """The alarm at a place, as `list_alarms` has it; None while the projection is rebuilt."""
        rows = list_alarms(self._records.store, place.run, place.key)
        wanted = f"/{place.seq}"
        return next((row for row in rows if row["event"].endswith(wanted)), None)

    def waiting(self) -> int:
        """How many there are."""
        above = self._records.rows("alarms_unsettled_count", **self._lows())[0][0]
        # While the projection is rebuilt it holds fewer than were told.
        return max(0, int(above) - self._journal.beyond)

    def by_run(self) -> list[dict[str, Any]]:
        """For each run `run`, `alarms`, `first_round`, `last_round`, `last_seq`, `time`."""
        return self._records.query("alarms_by_run").to_dicts()

    def moved(self) -> tuple[int, int]:
        """Numbers that change when the record grows: of events, and of alarms among them."""
        events, alarms = self._records.rows("alarms_and_events")[0]
        return int(events), int(alarms)

    def _open(self, after: Place | None) -> Iterator[Place]:
        """Places that wait, behind one. On the way the journal learns what lies below them all."""
        run, seq = ("", -1) if after is None else (after.run, after.seq)
        # A run that is entered in its middle may hold others before.
        unbroken = False
        while True:
            page = self._records.rows(
                "alarms_unsettled", **self._lows(), after_run=run, after_seq=seq, limit=PAGE
            )
            waiting: list[Place] = []
            ends: dict[str, int] = {}
            for found, number, key, time in page:
                unbroken = unbroken if found == run else True
                run, seq = found, number
                if not self._journal.settled(run, seq):
                    unbroken = False
                    waiting.append(Place(run, seq, key, time.replace(tzinfo=UTC)))
                elif unbroken:
                    ends[run] = seq
            for settled, end in ends.items():
                self._journal.raise_low(settled, end)
            yield from waiting
            if len(page) < PAGE:
                return

    def _lows(self) -> dict[str, list[Any]]:
        lows = self._journal.lows()
        return {"runs": list(lows), "seqs": list(lows.values())}
