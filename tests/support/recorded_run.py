"""What do recorded runs of tests share? A case, a trigger, and a way in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, parse_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import canonical_json


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A case that holds one run, and the trigger that it is asked about."""

    path: Path
    run: str
    document: dict[str, Any]
    """The trigger file."""

    @property
    def trigger(self) -> Trigger:
        return parse_trigger(canonical_json(self.document), "the test's trigger")

    @contextmanager
    def open(self) -> Iterator[tuple[Store, CaseModels]]:
        """The ingested case's store and models."""
        case = Case(self.path)
        with case.own():
            ingest_case(case)
            store = Store(case)
            try:
                yield store, CaseModels(case, store, self.run)
            finally:
                store.close()
