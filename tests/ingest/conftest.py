"""A fresh case and a producer for every test, and one way to ingest."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_log import Maker

from ingest.service import ingest_case
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case

Ingest = Callable[[], IngestSummary]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case.create(tmp_path / "case")


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def ingest(case: Case) -> Ingest:
    def run() -> IngestSummary:
        with case.own():
            return ingest_case(case)

    return run


@pytest.fixture
def store(case: Case) -> Iterator[Store]:
    """Opened when it is asked for: take it from `request` behind the last ingest."""
    opened = Store(case)
    yield opened
    opened.close()
