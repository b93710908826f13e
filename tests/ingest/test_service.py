"""Can ingest be stopped, followed, interrupted and failed without losing its place?"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka_node import KafkaCluster
from made_log import Maker, write
from table_rows import all_rows

from ingest.service import ingest_case, stop_on_signals
from ingest.store import Store, StoreError, Transaction
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.errors import AddressError, BrokerError
from roundlog.log.kafka import KafkaLog
from roundlog.log.segments import list_segments


class Unreliable(Store):
    """Raises at some commits, before or after they have happened: nobody can tell from outside."""

    failures: list[bool]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        committed = self.failures.pop(0) if self.failures else None
        if committed is False:
            raise StoreError("the disk said no")
        with super().transaction() as transaction:
            yield transaction
        if committed:
            raise StoreError("the disk said no, and wrote it")


@pytest.mark.parametrize("committed", [False, True])
def test_a_commit_that_raised_is_settled_by_the_watermark(
    case: Case, maker: Maker, committed: bool
) -> None:
    write(case, maker.opening() + maker.rounds(3000))
    store = Unreliable(case)
    store.failures = [committed, committed]
    ingest_case(case, store=store)
    store.close()
    seqs = [row[2] for row in all_rows(case)["events"]]
    assert sorted(seqs) == list(range(6003))


def test_a_store_that_keeps_failing_ends_the_ingest(case: Case, maker: Maker) -> None:
    write(case, maker.opening())
    store = Unreliable(case)
    store.failures = [False] * 3
    with pytest.raises(StoreError, match="the disk said no"):
        ingest_case(case, store=store)
    store.close()


def test_a_stop_drains_the_batch_and_goes_on_later(case: Case, maker: Maker) -> None:
    write(case, maker.opening() + maker.rounds(5000))
    stop = threading.Event()
    summary = ingest_case(case, stop=stop, progress=lambda _: stop.set())
    assert summary.stopped
    assert 0 < summary.events < 10_003
    assert summary.events + ingest_case(case).events == 10_003


def test_a_signal_asks_for_the_stop_and_the_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_following_sees_what_is_appended_meanwhile(case: Case, maker: Maker) -> None:
    write(case, maker.opening())
    with following(case) as store:
        for _ in range(3):
            write(case, maker.rounds(2))
            wait_for(store, maker.round)
    assert all_rows(case)["findings"] == []


@pytest.mark.kafka
def test_following_a_topic_sees_it_and_the_recorder_beside_it(
    case: Case, maker: Maker, kafka: KafkaCluster, topic: str
) -> None:
    log = KafkaLog(kafka.bootstrap, topic, create=False)
    local = Maker(run="local")
    log.append(maker.opening())
    with following(case, f"kafka://{kafka.bootstrap}/{topic}") as store:
        log.append(maker.rounds(2))
        write(case, local.opening() + local.rounds(1))
        wait_for(store, 3)
    log.close()
    # It was stopped, and did not come to an end: the segment may still grow.
    assert [s.sealed for s in list_segments(case.segments / "run" / "server")] == [False]
    assert all_rows(case)["findings"] == []


@pytest.mark.kafka
def test_an_address_without_a_broker_is_told_and_not_waited_for(case: Case) -> None:
    write(case, Maker().opening())
    with pytest.raises(BrokerError, match="nobody listens at"):
        ingest_case(case, source="kafka://127.0.0.1:1/fl.rounds", until_end=False)
    assert len(all_rows(case)["events"]) == 3


def test_a_source_that_is_no_address_is_refused(case: Case) -> None:
    with pytest.raises(AddressError, match="does not begin with kafka://"):
        ingest_case(case, source="http://localhost/topic")


@contextmanager
def following(case: Case, source: str | None = None) -> Iterator[Store]:
    """An ingest that tails in a thread until the block ends."""
    store, stop = Store(case), threading.Event()
    done: list[IngestSummary] = []

    def follow() -> None:
        done.append(ingest_case(case, source=source, store=store, until_end=False, stop=stop))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield store
    finally:
        stop.set()
        thread.join(timeout=60)
        store.close()
    assert done, "the ingest ended with an error"
    assert done[0].stopped


def wait_for(store: Store, rounds: int) -> None:
    """Returns when so many rounds are projected."""
    deadline = time.monotonic() + 40
    while store.rows("SELECT count(*) FROM rounds") != [(rounds,)]:
        assert time.monotonic() < deadline, store.rows("SELECT count(*) FROM rounds")
        time.sleep(0.05)
