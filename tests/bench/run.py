"""`make bench`: every measurement of the house, in one run, written to one page."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from figures import Page
from kernel_bench import bench_kernel
from streams import SIZES

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measures, prints as it goes, writes the page; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/reference/benchmarks.md")
    parser.add_argument("--work", type=Path, default=None, help="folder for cases, kept if given")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="roundlog-bench-"))
    page = Page(command="make bench")
    try:
        for size in SIZES:
            folder = work / str(size.parameters)
            folder.mkdir(parents=True, exist_ok=True)
            bench_kernel(page, size, folder)
            shutil.rmtree(folder)
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    page.write(options.out)
    missed = [figure for figure in page.figures if figure.holds is False]
    print(f"{len(page.figures)} figures, {len(missed)} bars missed; wrote {options.out}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
