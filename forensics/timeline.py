"""What happened to this run, in the order of its rounds?

Facts, and what was said: releases, failed rounds, gaps, findings, audits, stored models, sealed
cohorts, alarms and what people did about them. A caller who has measured crossings, or which
releases carry a backdoor, lays them beside these. Entries are ordered by round, never by clock:
what a person did stands where the run stood then.
"""

from dataclasses import dataclass
from importlib import resources

from ingest.store import Store


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One line of a timeline."""

    round: int
    """The round, or the t of the model, that it concerns."""

    kind: str
    """`opened`, `model`, `release`, `failed`, `finding`, `audits`, `cohorts`, `alarm`,
    `acknowledged`, `silenced`, `erased`, `last_round`; of a caller's `onset`, `crossing`,
    `carrier`, `last_clean`, `note`."""

    title: str
    """One line for people."""

    def document(self) -> dict[str, object]:
        return {"round": self.round, "kind": self.kind, "title": self.title}


def lay_out(store: Store, run: str, beside: tuple[Entry, ...] = ()) -> tuple[Entry, ...]:
    """The run's facts and whatever the caller found, oldest round first.

    Args:
        beside: Entries of the caller's own, such as crossings.
    """
    sql = (resources.files("forensics") / "sql" / "timeline.sql").read_text(encoding="utf-8")
    rows = store.rows(sql, {"run": run})
    facts = [Entry(int(round_ or 0), str(kind), str(title)) for round_, kind, title in rows]
    return tuple(sorted([*facts, *beside]))


def crossing_entries(document: dict[str, object]) -> tuple[Entry, ...]:
    """The crossings of a `crossings` answer as entries, where a level was crossed."""
    rows = document.get("crossings")
    entries: list[Entry] = []
    for row in rows if isinstance(rows, list) else []:
        if row["status"] == "crossed" and row["round"] is not None:
            sure = "" if row["exact"] else f", between models {row['low']} and {row['high']}"
            title = f"attack success crosses {as_percent(row['level'])} ({row['mode']}{sure})"
            entries.append(Entry(int(row["round"]), "crossing", title))
    return tuple(entries)


def as_percent(share: float) -> str:
    """A level as people say it: 0.5 is 50%, 0.005 is 0.5%."""
    return f"{100 * share:g}%"
