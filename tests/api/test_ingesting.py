"""What does a server do when its ingest cannot go on? It waits for what may pass, and says so."""

import threading
from collections.abc import Callable

import pytest
from doors import wait_for

import api.web.state
from api.web.state import Ingesting
from ingest.summary import IngestSummary
from roundlog.errors import BrokerError, IngestError

Progress = Callable[[IngestSummary], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.web.state, "RETRY_S", 0.02)


def test_a_broker_that_comes_back_is_read_on() -> None:
    attempts: list[int] = []

    def ingest(progress: Progress, stop: threading.Event) -> IngestSummary:
        attempts.append(1)
        if len(attempts) < 4:
            raise BrokerError("no broker answers")
        progress(IngestSummary(events=7))
        stop.wait()
        return IngestSummary(events=7)

    ingesting = Ingesting(ingest)
    ingesting.start()
    wait_for(lambda: ingesting.summary.events == 7, "the broker to come back")
    assert ingesting.running
    assert len(attempts) == 4
    assert ingesting.stop(5)
    assert not ingesting.running


def test_while_the_broker_is_away_the_server_is_not_ready_and_still_stops() -> None:
    def ingest(progress: Progress, stop: threading.Event) -> IngestSummary:
        raise BrokerError("no broker answers")

    ingesting = Ingesting(ingest)
    ingesting.start()
    wait_for(lambda: ingesting.error is not None, "the first failure")
    assert not ingesting.running
    assert ingesting.stop(5)


@pytest.mark.parametrize("error", [IngestError("decide"), ZeroDivisionError("ours")])
def test_what_will_not_pass_stops_it_and_stays_to_be_told(error: Exception) -> None:
    attempts: list[int] = []

    def ingest(progress: Progress, stop: threading.Event) -> IngestSummary:
        attempts.append(1)
        raise error

    ingesting = Ingesting(ingest)
    ingesting.start()
    assert ingesting.stop(5)
    assert (attempts, ingesting.error) == ([1], error)
    assert not ingesting.running
