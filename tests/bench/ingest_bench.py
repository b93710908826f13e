"""How fast does the log become rows, from the embedded log and through a real Kafka?"""

import time
from pathlib import Path

from figures import Figure, Page, clock
from kafka_node import KafkaCluster
from streams import Size, record_stream

from ingest.service import ingest_case
from roundlog.case import Case
from roundlog.log.kafka import KafkaLog

EMBEDDED_BAR = 5_000
KAFKA_BAR = 3_000


def bench_embedded_ingest(page: Page, size: Size, folder: Path) -> None:
    """Ingest of a recorded case, and of the same files again after the database was deleted."""
    case = Case(folder / "case-0")
    for what in ("first ingest", "rebuild after deleting the database"):
        for path in case.path.glob("roundlog.duckdb*"):
            path.unlink()
        with case.own(), clock() as took:
            summary = ingest_case(case)
        rate = summary.rounds / took.wall
        stored = sum(path.stat().st_size for path in case.segments.rglob("*.*"))
        page.add(
            Figure(
                f"Ingest from the embedded log, {size.name}",
                f"{what}: {summary.rounds:,} rounds, {summary.events:,} events",
                f"{rate:,.0f} rounds/s, {took.cpu / summary.events * 1e6:,.0f} µs CPU an event, "
                f"{stored / took.wall / 1e6:,.0f} MB/s",
                bar=f"≥ {EMBEDDED_BAR:,} rounds/s" if size.parameters < 10_000 else "",
                holds=rate >= EMBEDDED_BAR if size.parameters < 10_000 else None,
            )
        )


def bench_kafka_ingest(page: Page, size: Size, folder: Path) -> None:
    """Ingest through one real broker, beside a consumer that only polls."""
    topic = f"bench.{size.parameters}"
    with KafkaCluster() as cluster:
        target = f"kafka://{cluster.bootstrap}/{topic}"
        record_stream(target, size, seed=1)
        poll_cpu, records = _poll_only(cluster.bootstrap, topic)
        case = Case.create(folder / "case-kafka")
        with case.own(), clock() as took:
            summary = ingest_case(case, source=target)
    rate = summary.rounds / took.wall
    page.add(
        Figure(
            f"Ingest through Kafka, {size.name}",
            f"{summary.rounds:,} rounds, {summary.events:,} events, durable",
            f"{rate:,.0f} rounds/s, {took.cpu / summary.events * 1e6:,.0f} µs CPU an event",
            f"{poll_cpu / records * 1e6:,.0f} µs CPU an event, a consumer that only polls",
            f"{took.cpu / summary.events / (poll_cpu / records):.1f}",
            bar=f"≥ {KAFKA_BAR:,} rounds/s" if size.parameters < 10_000 else "",
            holds=rate >= KAFKA_BAR if size.parameters < 10_000 else None,
        )
    )


def _poll_only(bootstrap: str, topic: str) -> tuple[float, int]:
    """CPU seconds of reading the whole topic through our own adapter, and records read."""
    log = KafkaLog(bootstrap, topic)
    ends = log.end()
    positions = dict.fromkeys(ends, 0)
    count = 0
    start = time.process_time()
    while any(positions[name] < end for name, end in ends.items()):
        for record in log.read(positions, timeout_s=1.0):
            positions[record.partition] = record.next_offset
            count += 1
    cpu = time.process_time() - start
    log.close()
    return cpu, count
