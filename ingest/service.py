"""How does the log get into the projection, exactly once, and what if it stops half way?

    with case.own():
        summary = ingest_case(case)

Each batch is one transaction of rows, findings and the watermark up to which the log was read, and
everything it names is durable on disk before. So it may be killed at any moment: what the
projection does not hold is read again, from the case's own files first.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from ingest.chain import Chain, ChainKey, restore
from ingest.disk import DiskReader
from ingest.store import Store, StoreError
from ingest.summary import IngestSummary
from ingest.topic import TopicReader
from roundlog.case import Case
from roundlog.errors import BrokerError, TopicReplacedError
from roundlog.log.address import KafkaAddress, connector

if TYPE_CHECKING:
    from roundlog.log.kafka import KafkaLog

logger = logging.getLogger(__name__)

Progress = Callable[[IngestSummary], None]

# A commit that raised may have happened. Reopening and reading the watermark settles it; a disk
# that refuses three times in a row will refuse the fourth time.
ATTEMPTS = 3

# While a broker is away, somebody who follows it tries again this often.
RECONNECT_S = 5.0

# How far it is behind a topic is asked of the broker this often.
LAG_S = 5.0

# A reader that follows a log looks again this often; a round comes every few minutes.
IDLE_S = 0.1


def ingest_case(
    case: Case,
    *,
    source: str | None = None,
    store: Store | None = None,
    until_end: bool = True,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> IngestSummary:
    """Projects what the log holds and the projection does not.

    The caller holds `case.own()`.

    Args:
        source: `kafka://HOST:PORT/TOPIC`, which is taken into the case's segments first. By
            default the case's own segments are the log.
        store: An open store to use, and to leave open; by default one is opened and closed here.
        until_end: End where the log ends now, seal what was taken in, and report torn tails;
            otherwise follow the log until `stop` is set.
        progress: Called after every batch with the counts so far.
        stop: When set, the running batch is finished and no further one begun.

    Raises:
        IngestError: The projection cannot be written, or evidence is missing that it was made of.
        AddressError: `source` is no such address.
        BrokerError: No broker answers. One that goes away while it is followed is waited for.
        LogError: The case's disk refused an event.
    """
    connect = None if source is None else connector(KafkaAddress.parse(source))
    stop = stop or threading.Event()
    own_store = store is None
    store = store or Store(case)
    try:
        return _run(case, store, connect, until_end, progress, stop)
    finally:
        if own_store:
            store.close()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, for `stop`: the running batch is drained first.

    Works in the main thread only, and gives the handlers back.
    """
    stop = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    case: Case,
    store: Store,
    connect: "Callable[[], KafkaLog] | None",
    until_end: bool,
    progress: Progress | None,
    stop: threading.Event,
) -> IngestSummary:
    summary = IngestSummary()
    began = time.perf_counter()
    failures = 0
    while True:
        try:
            for _ in _batches(case, store, connect, until_end, stop, summary):
                failures = 0
                summary.seconds = time.perf_counter() - began
                if progress is not None:
                    progress(summary)
        except (StoreError, TopicReplacedError) as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise
            logger.warning("%s Reopening, and going on from our watermark.", error)
            store.reopen()
        except BrokerError as error:
            # Wrong addresses are told at once; a broker that was there may come back.
            if until_end or not summary.connected:
                raise
            logger.warning(
                "%s The view lags, nothing is lost; trying again every %.0f s.", error, RECONNECT_S
            )
            stop.wait(RECONNECT_S)
        else:
            summary.stopped = stop.is_set()
            summary.seconds = time.perf_counter() - began
            return summary


def _batches(
    case: Case,
    store: Store,
    connect: "Callable[[], KafkaLog] | None",
    until_end: bool,
    stop: threading.Event,
    summary: IngestSummary,
) -> Iterator[None]:
    """One step for each committed batch: first what lies in the case, then the topic."""
    chains = restore(store)
    disk = DiskReader(case, store, chains, summary)
    disk.restore_quarantine()
    disk.restore_intake()
    summary.done, summary.total = 0, disk.measure() if until_end else None
    while not stop.is_set() and disk.step():
        yield
    if connect is not None and not stop.is_set():
        log = connect()
        summary.connected = True
        try:
            yield from _topic_batches(case, store, chains, summary, disk, log, until_end, stop)
        finally:
            log.close()
    while not until_end and not stop.is_set():
        if disk.step():
            yield
        else:
            stop.wait(IDLE_S)
    if not stop.is_set():
        disk.report_torn_tails()
        yield


def _topic_batches(
    case: Case,
    store: Store,
    chains: dict[ChainKey, Chain],
    summary: IngestSummary,
    disk: DiskReader,
    log: "KafkaLog",
    until_end: bool,
    stop: threading.Event,
) -> Iterator[None]:
    topic = TopicReader(case, store, chains, summary, disk, log)
    finished = False
    try:
        end, asked = topic.end(), time.monotonic()
        summary.behind = topic.distance(end)
        summary.done, summary.total = 0, summary.behind if until_end else None
        while not stop.is_set() and not (until_end and topic.has_reached(end)):
            if not until_end and time.monotonic() - asked > LAG_S:
                summary.behind, asked = topic.distance(topic.end()), time.monotonic()
            # While nothing comes, whoever records into the case itself is followed too.
            if topic.step() or (not until_end and disk.step()):
                yield
        finished = until_end and not stop.is_set()
    finally:
        topic.close(seal=finished)
