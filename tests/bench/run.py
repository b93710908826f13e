"""`make bench`: every measurement of the house, in one run, written to one page."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from crossings_bench import bench_crossings
from federation_bench import bench_federation
from figures import Page
from ingest_bench import bench_embedded_ingest, bench_kafka_ingest
from kernel_bench import bench_kernel
from projection_bench import bench_projection
from reference_bench import bench_reference, bench_start
from refresh_bench import bench_refresh
from streams import SIZES
from zone_bench import bench_zones

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "kernel",
    "ingest",
    "kafka",
    "reference",
    "zones",
    "crossings",
    "refresh",
    "federation",
    "projection",
)


def main() -> int:
    """Measures, prints as it goes, writes the page; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/reference/benchmarks.md")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    options = parser.parse_args()
    page = Page(command="make bench")
    work = Path(tempfile.mkdtemp(prefix="roundlog-bench-"))
    try:
        measure(page, work, options.only)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if tuple(options.only) == PARTS:
        page.write(options.out)
        print(f"wrote {options.out}")
    missed = [figure for figure in page.figures if figure.holds is False]
    print(f"{len(page.figures)} figures, {len(missed)} bars missed")
    return 1 if missed else 0


def measure(page: Page, work: Path, parts: tuple[str, ...]) -> None:
    """Runs the chosen parts; each size's case serves the kernel and the ingest part."""
    for size in SIZES:
        folder = work / str(size.parameters)
        folder.mkdir()
        if {"kernel", "ingest"} & set(parts):
            bench_kernel(page, size, folder)
        if "ingest" in parts:
            bench_embedded_ingest(page, size, folder)
        if "kafka" in parts:
            bench_kafka_ingest(page, size, folder)
        shutil.rmtree(folder)
    if "reference" in parts:
        bench_start(page)
    whole = (
        ("reference", bench_reference),
        ("zones", bench_zones),
        ("crossings", bench_crossings),
        ("refresh", bench_refresh),
        ("federation", bench_federation),
        ("projection", bench_projection),
    )
    for part, bench in whole:
        if part in parts:
            folder = work / part
            folder.mkdir()
            bench(page, folder)
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
