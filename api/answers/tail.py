"""What came into the record since? Events in the order in which they were ingested, by a cursor.

A cursor is `<birth>-<place>`: the projection that it is about, and how far it was read there. What
fills a gap late comes behind what was there before it, so nobody who goes on from a cursor misses
it. A projection that was made anew may hold the same events in another order: then a cursor means
nothing, and reading begins again.
"""

import re
from dataclasses import dataclass

from api.documents import Document
from api.records import Records

PAGE = 500
"""Events that are read at a time: all that a slow reader keeps in memory here."""

_CURSOR = re.compile(r"([0-9a-f]{16})-(-1|0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far somebody has read."""

    birth: str
    place: int

    def __str__(self) -> str:
        return f"{self.birth}-{self.place}"


def parse_cursor(text: str) -> Cursor | None:
    """The cursor that a text is; None where it is none of ours."""
    found = _CURSOR.fullmatch(text)
    return None if found is None else Cursor(found[1], int(found[2]))


def begin(records: Records, run: str, last: int) -> Cursor:
    """The cursor behind which the last so many events of a run stand."""
    [(place,)] = records.rows("tail_start", run=run, last=last)
    return Cursor(records.store.birth, int(place))


def page(records: Records, run: str, after: Cursor) -> tuple[list[Document], Cursor]:
    """At most `PAGE` events behind a cursor, and the cursor behind them; each with its own."""
    table = records.query("tail", run=run, after=after.place, limit=PAGE)
    events: list[Document] = []
    for row in table.iter_rows(named=True):
        cursor = Cursor(after.birth, row.pop("place"))
        events.append({"id": f"{run}/{row['producer']}/{row['seq']}", **row, "cursor": str(cursor)})
        after = cursor
    return events, after
