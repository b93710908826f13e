"""What does a question need to be answered? A case, its projection, and which run is meant.

Held by whoever owns the case: for one command, or for as long as `roundlog serve` runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from threading import Event
from typing import Any, Protocol

import polars as pl

from ingest.said import CaseLog
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import QuestionError, RoundlogError


class Progress(Protocol):
    """Told now and then how far a long answer is; may raise `CancelledError`."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


class CancelledError(RoundlogError):
    """The person who asked no longer wants the answer."""

    exit_code = 130


def silent(what: str, done: int, total: int | None) -> None:
    """A progress that tells nobody."""


@dataclass(frozen=True, slots=True)
class Records:
    """The case, and its projection as far as it has been read."""

    case: Case
    store: Store
    stopping: Event = field(default_factory=Event)
    """Set when the process is asked to end: long answers give up."""
    followed: bool = False
    """Whether a thread of this process follows the log, as that of a server does."""
    may_erase: bool = True
    """Whether whoever asks may have words erased: a server says no unless it was started for it."""
    log: CaseLog = field(init=False, repr=False, compare=False)
    """Where what people and detectors say is written down; whoever made this closes it."""

    def __post_init__(self) -> None:
        log = CaseLog(self.case, self.store, followed=self.followed)
        object.__setattr__(self, "log", log)  # frozen: set once, here

    def run(self, wanted: str | None) -> str:
        """The run that is meant; it may be left unsaid where the case holds one only.

        Raises:
            QuestionError: There is no such run, or several and none was named.
        """
        return choose_run([str(row[0]) for row in self.rows("run_names")], wanted)

    def query(self, name: str, **params: Any) -> pl.DataFrame:
        """What `api/sql/<name>.sql` selects."""
        return self.store.query(_sql(name), params)

    def rows(self, name: str, **params: Any) -> list[tuple[Any, ...]]:
        """As `query`, as tuples."""
        return self.store.rows(_sql(name), params)


def choose_run(names: Sequence[str], wanted: str | None) -> str:
    """The run among `names` that is meant.

    Raises:
        QuestionError: There is no such run, or several and none was named.
    """
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    if wanted is not None:
        if wanted in names:
            return wanted
        raise QuestionError(f"there is no run {wanted!r}; the case holds: {listed or 'none yet'}")
    if len(names) == 1:
        return names[0]
    if not names:
        raise QuestionError(
            "the case holds no run yet: record one (`roundlog simulate`, or a Recorder in your "
            "server), or ingest one from Kafka"
        )
    raise QuestionError(f"the case holds {len(names)} runs; name one with --run: {listed}")


def _sql(name: str) -> str:
    return (resources.files("api") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
