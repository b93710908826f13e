"""How often does the interval of a crossing hold where all queries cross? On whole attacked runs.

`forensics.evaluation.crossing_coverage` says what is counted. Here a run is simulated with as many
queries of its trigger as a scenario allows, so that the scoring half, about 15,000, stands for all
of them. Each run is one path: seeds stand apart, and other paths would need other seeds.
"""

import argparse
import shutil
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from figures import Figure, Page

from forensics.crossings import LEVELS
from forensics.evaluation.crossing_coverage import (
    SIZE,
    CrossingCoverage,
    all_hits,
    crossing_coverage,
    disjoint_samples,
)
from forensics.levels import default_s
from forensics.probe import Prober
from forensics.rebuild import CaseModels
from forensics.trigger import load_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from simulator.run import simulate
from simulator.scenario import load

SEEDS = (101, 102)

# The most a scenario allows. Of three patterns' 30,000 half score: fifty samples of 300.
QUERIES = "probes.trigger_queries=10_000"


def measure_seed(seed: int, folder: Path) -> list[CrossingCoverage]:
    """Simulates, records and ingests one seed, and counts over its samples."""
    path, truth = folder / f"case-{seed}", folder / f"truth-{seed}.json"
    simulate(load("quickstart", [QUERIES]), seed, path, truth)
    probes, case = load_trigger(truth).scoring(), Case(path)
    with case.own():
        ingest_case(case)
        with closing(Store(case)) as store:
            models = CaseModels(case, store, store.rows("SELECT run FROM runs", {})[0][0])
            hits = all_hits(models, Prober(models.architecture), probes)
    shutil.rmtree(path)
    samples = disjoint_samples(probes.patterns, SIZE, np.random.default_rng(seed))
    return crossing_coverage(hits, samples, LEVELS, default_s(len(hits)))


def bench_crossings(page: Page, folder: Path, seeds: tuple[int, ...] = SEEDS) -> None:
    """The coverage table: a line for each level, mode and reading of each seed."""
    for seed in seeds:
        topic = f"Intervals of crossings, quickstart, seed {seed}, samples of {SIZE} queries"
        for row in measure_seed(seed, folder):
            page.add(
                Figure(
                    topic,
                    f"{row.level:.0%}, {row.mode}, {row.reading}: holds {_truth(row)}",
                    f"{row.held.k} of {row.held.n}; {row.early} early, {row.late} late; "
                    f"{_width(row)}",
                    bar=f"≥ {row.bar}",
                    holds=row.held.k >= row.bar,
                )
            )


def _truth(row: CrossingCoverage) -> str:
    """Where all queries cross."""
    if not row.truths:
        return "that it never is"
    if len(row.truths) > 1:
        return f"one of {len(row.truths)} from model {row.truths[0]:,} to {row.truths[-1]:,}"
    return f"model {row.truths[0]:,}"


def _width(row: CrossingCoverage) -> str:
    opened = f", {row.open} open" if row.open else ""
    if row.width is None:
        return f"none closed{opened}"
    return f"median width {row.width:,.0f} models{opened}"


def main() -> int:
    """Measures alone, on seeds of the caller's choice; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    page = Page(command="tests/bench/crossings_bench.py")
    bench_crossings(page, options.folder, tuple(options.seeds))
    return 1 if any(figure.holds is False for figure in page.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
