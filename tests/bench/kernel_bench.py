"""What does recording cost a server, and how fast do models come back? The kernel alone."""

import time
from pathlib import Path

import numpy as np
from figures import MIB, Figure, Page, clock, median_and_range
from limits import durable_append_mb_s, memory_read_mb_s
from streams import Size, record_stream

from roundlog.events import RoundCommitted, check_side, parse_head
from roundlog.fold import apply_step
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.segments import list_segments
from roundlog.tensors import schema_of

REPEATS = 3


def bench_kernel(page: Page, size: Size, folder: Path) -> None:
    """Recording, reading and folding at one model size."""
    _bench_recording(page, size, folder)
    case = folder / "case-0"
    _bench_reading(page, size, case)
    _bench_fold(page, size, case)


def _bench_recording(page: Page, size: Size, folder: Path) -> None:
    limit = durable_append_mb_s(folder, batch=4 * MIB, total=128 * MIB)
    cpu, rates = [], []
    for repeat in range(REPEATS):
        with clock() as took:
            record_stream(folder / f"case-{repeat}", size, seed=repeat)
        written = sum(path.stat().st_size for path in (folder / f"case-{repeat}").rglob("*"))
        cpu.append(took.cpu / size.rounds * 1e6)
        rates.append(written / took.wall / 1e6)
    median = sorted(rates)[len(rates) // 2]
    topic = f"Recording, {size.name}"
    page.add(Figure(topic, "CPU per round with one audit event", median_and_range(cpu, "µs", 0)))
    page.add(
        Figure(
            topic,
            "recorded durably",
            median_and_range(rates, "MB/s", 0),
            f"{limit:,.0f} MB/s raw write + fdatasync of 4 MiB",
            f"{median / limit:.2f}",
        )
    )


def _bench_reading(page: Page, size: Size, case: Path) -> None:
    log = EmbeddedLog(case / "segments")
    partition = log.partitions()[0]
    decode = []
    position, events = 0, 0
    while records := log.read({partition: position}, timeout_s=0):
        position = records[-1].next_offset
        heads = [record.frame.head for record in records if record.frame is not None]
        start = time.process_time()
        parsed = [parse_head(head) for head in heads]
        decode.append((time.process_time() - start) / len(heads) * 1e6)
        events += len(parsed)
        for event, record in zip(parsed, records, strict=True):
            check_side(event, record.side())
    log.close()
    page.add(
        Figure(
            f"Reading, {size.name}",
            f"decode and validate an event, without SHA-256 ({events:,} events)",
            median_and_range(decode, "µs"),
        )
    )


def _bench_fold(page: Page, size: Size, case: Path) -> None:
    """Folds every recorded step into one model, in memory-mapped rows, and times only that."""
    limit = memory_read_mb_s()
    schema = schema_of({"weights": np.zeros(size.parameters, dtype=np.float32)})
    log = EmbeddedLog(case / "segments")
    partition = log.partitions()[0]
    steps = []
    position = 0
    while records := log.read({partition: position}, timeout_s=0):
        position = records[-1].next_offset
        for record in records:
            if record.frame is None:
                continue
            event = parse_head(record.frame.head)
            if isinstance(event, RoundCommitted) and record.delta is not None:
                patch = record.frame.side[: event.tails[1].bytes]
                steps.append((record.delta, patch))
    model = np.zeros(schema.nbytes, dtype=np.uint8)
    start = time.perf_counter()
    for delta, patch in steps:
        apply_step(model, delta, patch, schema)
    elapsed = time.perf_counter() - start
    rate = len(steps) * size.round_bytes / elapsed / 1e6
    segments = len(list_segments(case / "segments" / partition))
    page.add(
        Figure(
            f"Folding, {size.name}",
            f"{len(steps):,} steps from {segments} segments, digests apart",
            f"{len(steps) / elapsed:,.0f} rounds/s, {rate:,.0f} MB/s",
            f"{limit:,.0f} MB/s memory read",
            f"{rate / limit:.2f}",
        )
    )
