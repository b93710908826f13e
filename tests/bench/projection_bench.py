"""How near to the speed of memory is a whole run projected? Beside the fastest reading we know.

Two sides take turns on pieces of up to 64 MiB of the same mapped segments, all of them in the page
cache, and each comes back to a piece only after a whole round through the run: so nobody reads from
the processor's cache what another has just read, and who else uses the machine slows both sides
alike. CPU seconds of one thread are counted.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from figures import MIB, Figure, Page, clock, median_and_range
from numpy.typing import NDArray
from streams import SIZES, Size, record_stream

from forensics.dot_products import MatchedFilter
from forensics.projection import project
from forensics.rebuild import CaseModels
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case

SEED = 71
BAR = 0.80
ROUNDS = {3_728: 110_000, 262_144: 600}
"""By parameters: a whole run of the reference incident, and 600 MB of large rows."""

PIECE_BYTES = 64 * MIB
TURNS = 9
SCANS = 5
MANY = 24

Rows = NDArray[np.float32]
Reader = Callable[[Rows], object]

ONES = np.ones(4_096, dtype=np.float32)
READERS: dict[str, Reader] = {
    "float32 dot product with itself": lambda rows: np.dot(rows.reshape(-1), rows.reshape(-1)),
    "float32 matrix-vector product": lambda rows: _in_lines(rows) @ ONES,
    "float32 maximum": lambda rows: rows.max(),
    "uint64 sum": lambda rows: rows.view(np.uint64).sum(),
}
"""What touches every byte. The fastest one is the limit."""


def bench_projection(page: Page, folder: Path) -> None:
    """One direction at two sizes against the memory-read limit, and scans of the whole run."""
    for size in SIZES:
        wanted = replace(size, rounds=ROUNDS[size.parameters])
        place = folder / str(size.parameters)
        record_stream(place, wanted, seed=SEED, audits=False)
        with _opened(place) as models:
            _bench_size(page, wanted, models)
        shutil.rmtree(place)


def _bench_size(page: Page, size: Size, models: CaseModels) -> None:
    topic = f"Projection, {size.name}, seed {SEED}"
    rng = np.random.default_rng(SEED)
    directions = rng.standard_normal((MANY, size.parameters), dtype=np.float32)
    pieces = list(_pieces(models))
    for piece in pieces:  # every page is mapped before anything is timed
        piece.max()
    ours = _rates(pieces, directions[:1])
    best = max(READERS, key=lambda name: _middle(ours.readers[name]))
    ratios = [a / b for a, b in zip(ours.dots, ours.readers[best], strict=True)]
    page.add(
        Figure(
            topic,
            f"one direction, {len(pieces)} pieces of {pieces[0].nbytes >> 20} MiB, {TURNS} turns",
            median_and_range(ours.dots, "GB/s"),
            f"{median_and_range(ours.readers[best], 'GB/s')} ({best})",
            _ratio(ratios),
            f"ratio ≥ {BAR:.2f}",
            _middle(ratios) >= BAR,
        )
    )
    slower = ", ".join(
        f"{name} {_middle(rates):.1f}" for name, rates in ours.readers.items() if name != best
    )
    page.add(Figure(topic, "slower ways to touch every byte, GB/s", slower))
    del pieces
    _bench_scans(page, topic, models, directions, READERS[best])


@dataclass(frozen=True, slots=True)
class Rates:
    """GB per CPU second, the median of each turn."""

    dots: list[float]
    readers: dict[str, list[float]]


def _rates(pieces: list[Rows], direction: Rows) -> Rates:
    ways: dict[str, Reader] = {"dots": MatchedFilter(direction).dots, **READERS}
    names = list(ways)
    turns: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TURNS):
        found: dict[str, list[float]] = {name: [] for name in names}
        # Each way goes through all pieces, one piece behind the way before it.
        for step in range(len(pieces)):
            for place, name in enumerate(names):
                rows = pieces[(step + turn + place * len(pieces) // len(names)) % len(pieces)]
                start = time.thread_time()
                ways[name](rows)
                found[name].append(rows.nbytes / (time.thread_time() - start) / 1e9)
        for name in names:
            turns[name].append(_middle(found[name]))
    return Rates(turns.pop("dots"), turns)


def _bench_scans(
    page: Page, topic: str, models: CaseModels, directions: Rows, reader: Reader
) -> None:
    """`project` from the first call to the digest, beside mapping and reading the same files."""
    nbytes = (models.last - models.first) * models.schema.nbytes
    walls, cpus, ratios, many = [], [], [], []
    for _ in range(SCANS):
        with clock() as read:
            for piece in _pieces(models):
                reader(piece)
        with clock() as took:
            project(models, directions[:1], cache=False)
        walls.append(took.wall)
        cpus.append(took.cpu)
        ratios.append(read.cpu / took.cpu)
    for _ in range(2):
        with clock() as took:
            project(models, directions, cache=False)
        many.append(took.cpu)
    rounds = f"{models.last - models.first:,} rounds, {nbytes / 1e9:.2f} GB"
    page.add(
        Figure(
            topic,
            f"`project` over {rounds}, wall",
            median_and_range(walls, "s", 2),
        )
    )
    page.add(
        Figure(
            topic,
            f"`project` over {rounds}, CPU",
            median_and_range(cpus, "s", 2),
            "mapping the same files and reading them",
            _ratio(ratios),
        )
    )
    page.add(Figure(topic, f"{MANY} directions at once, CPU", median_and_range(many, "s", 2)))
    with clock() as first:
        project(models, directions[:1])
    with clock() as again:
        kept = project(models, directions[:1])
    page.add(
        Figure(
            topic,
            f"asked again, {kept.reused:,} rounds from kept values, CPU",
            f"{again.cpu:.3f} s ({first.cpu:.2f} s when they were kept)",
        )
    )


def _pieces(models: CaseModels) -> Iterator[Rows]:
    """Every row of the run where it is mapped."""
    rows = max(8, PIECE_BYTES // models.schema.nbytes)
    for steps in models.step_rows():
        for _, block in steps.blocks(models.schema, rows):
            yield block


def _in_lines(rows: Rows) -> Rows:
    flat = rows.reshape(-1)
    return flat[: flat.size - flat.size % ONES.size].reshape(-1, ONES.size)


def _ratio(values: list[float]) -> str:
    return f"{_middle(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@contextmanager
def _opened(path: Path) -> Iterator[CaseModels]:
    case = Case(path)
    with case.own():
        ingest_case(case)
        store = Store(case)
        try:
            yield CaseModels(case, store, store.rows("SELECT run FROM runs", {})[0][0])
        finally:
            store.close()


def main() -> int:
    """Runs this part alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    page = Page(command="tests/bench/projection_bench.py")
    work = Path(tempfile.mkdtemp(prefix="roundlog-projection-"))
    try:
        bench_projection(page, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if any(figure.holds is False for figure in page.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
