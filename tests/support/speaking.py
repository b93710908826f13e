"""A case in the hands of its owner, who can be asked and can say something."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forensics.alarms import Speaker
from forensics.rebuild import CaseModels
from ingest.said import CaseLog
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case

ALICE = Speaker("alice", "local", "seen")


@dataclass(frozen=True)
class Owned:
    """What the owner has."""

    case: Case
    store: Store
    log: CaseLog
    models: CaseModels


@contextmanager
def owned(path: Path, run: str) -> Iterator[Owned]:
    """The case, ingested, and its log; sealed in the end."""
    case = Case(path)
    with case.own():
        ingest_case(case)
        store = Store(case)
        log = CaseLog(case, store)
        try:
            yield Owned(case, store, log, CaseModels(case, store, run))
        finally:
            log.close()
            store.close()
