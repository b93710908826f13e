"""What does one measured figure look like, and how does the page of figures come about?"""

import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the page: a measured value beside the limit it is held against."""

    topic: str
    what: str
    value: str
    limit: str = ""
    ratio: str = ""
    bar: str = ""
    holds: bool | None = None
    """Whether the bar is met; None where the figure only reports."""


@dataclass(slots=True)
class Clock:
    """CPU and wall seconds of a block, of this process and its ended children."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def clock() -> Iterator[Clock]:
    """Measures the block; read the result after it."""
    result = Clock()
    cpu, wall = cpu_seconds(), time.perf_counter()
    yield result
    result.cpu, result.wall = cpu_seconds() - cpu, time.perf_counter() - wall


def cpu_seconds() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def median_and_range(values: list[float], unit: str, digits: int = 1) -> str:
    """`12.3 ms (11.9–13.0)`: median, smallest and largest."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if len(ordered) == 1:
        return f"{middle:,.{digits}f} {unit}"
    return f"{middle:,.{digits}f} {unit} ({ordered[0]:,.{digits}f}–{ordered[-1]:,.{digits}f})"


@dataclass(slots=True)
class Page:
    """Collects figures, prints them as they come, and writes the page."""

    command: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        self.figures.append(figure)
        mark = {True: "holds", False: "MISSED", None: ""}[figure.holds]
        beside = f" | limit {figure.limit}" if figure.limit else ""
        ratio = f" | ratio {figure.ratio}" if figure.ratio else ""
        bar = f" | bar {figure.bar} {mark}" if figure.bar else ""
        print(
            f"{figure.topic}: {figure.what}: {figure.value}{beside}{ratio}{bar}",
            flush=True,
        )

    def write(self, path: Path) -> None:
        """Writes the Markdown page."""
        machine = (
            f"Machine: {platform.machine()}, {os.cpu_count()} cores, {cpu_name()}, Python "
            f"{platform.python_version()}. Numeric libraries on one thread."
        )
        lines = [
            "# Measurements",
            "",
            f"Written by `{self.command}`; do not edit. Absolute times depend on the machine and",
            "on whoever shares it: read the ratios, whose two sides were measured in one run.",
            "",
            machine,
        ]
        topic = ""
        for figure in self.figures:
            if figure.topic != topic:
                topic = figure.topic
                lines += [
                    "",
                    f"## {topic}",
                    "",
                    "| what | measured | limit, same run | ratio | bar | |",
                    "|---|---|---|---|---|---|",
                ]
            mark = {True: "holds", False: "**missed**", None: ""}[figure.holds]
            lines.append(
                f"| {figure.what} | {figure.value} | {figure.limit} | {figure.ratio} | "
                f"{figure.bar} | {mark} |"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def cpu_name() -> str:
    """The processor as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def anonymous_peak_mib() -> float:
    """Anonymous memory of this process now, MiB: what cannot be given back by dropping files."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1024
    return 0.0
