"""How does the outcome depend on a setting? Many seeds of many scenarios, each scored the same.

Finished points are kept (`api.lab.campaign`), so a sweep may be killed at any moment and goes on
when it is asked for again; points that another sweep has in common with it are not run twice.
The table depends on the points and the code alone: not on the workers, nor on what was kept.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from api.documents import Document
from api.lab.cache import POINT, code_digest
from api.lab.campaign import Order, carry_out
from api.lab.figure import draw_sweep
from api.lab.plan import Point, Variation, plan
from api.parameters import ParameterError
from api.records import Progress, silent
from forensics.evaluation.scoring import LEVELS, crossing_key
from forensics.evaluation.statistics import summarise
from roundlog.encoding import digest
from simulator.scenario import load

MEASURES = ("asr", "highest", "accuracy", "lowest_accuracy", "cpu_seconds")
REACHED = tuple(crossing_key(level) for level in LEVELS)

TABLE_COLUMNS = (
    "asr", "asr_low", "asr_high", "asr_n", "accuracy", "lowest_accuracy", "highest", "exact",
    "floor", *REACHED, "first_model", "last_model", "rounds", "malicious", "rejected", "devices",
    "run", "probe_digest", "accuracy_set", "simulate_cpu_seconds", "cpu_seconds",
)  # fmt: skip
"""Of a score, what a flat table holds."""

RowSink = Callable[[Document], None]


@dataclass(frozen=True)
class Sweep:
    """What is asked for.

    Attributes:
        source: A shipped scenario's name, or the path of a TOML file.
        overrides: `KEY=VALUE` for every point.
        over: Keys and the values that they take; see `api.lab.plan.plan`.
        rounds: Every run stops after so many.
        workers: Processes; by default one a core.
        cache: Where finished points are kept; by default `api.lab.cache.default_folder()`.
        keep: A folder in which cases and truth files stay.
    """

    source: str
    seeds: Sequence[int]
    overrides: Sequence[str] = ()
    over: Sequence[Variation] = ()
    grid: bool = False
    twin: bool = False
    rounds: int | None = None
    workers: int | None = None
    cache: Path | None = None
    keep: Path | None = None


def run_sweep(sweep: Sweep, *, progress: Progress = silent, row: RowSink | None = None) -> Document:
    """Runs what is not known yet, and puts all of it together.

    Args:
        row: Called with each row as it is known, in the order in which points end.

    Returns:
        `scenario`, `code`, `over`, `seeds`, `rounds`; `rows`, one a point and seed, in the order
        of the plan; `summary`, one a point; `errors`, one a point and seed that failed.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: The sweep makes no sense, or the rounds are more than a scenario has.
    """
    points = plan(sweep.source, sweep.overrides, sweep.over, grid=sweep.grid, twin=sweep.twin)
    for point in points:
        if sweep.rounds is not None and not 0 < sweep.rounds <= point.scenario.rounds:
            raise ParameterError(
                f"--rounds {sweep.rounds:,} is not allowed: {point.label} has "
                f"{point.scenario.rounds:,} rounds"
            )
    pairs = [(point, seed) for point in points for seed in sweep.seeds]
    places = [place for place in range(len(points)) for _ in sweep.seeds]
    answers: list[Document | None] = [None] * len(pairs)
    errors: dict[int, str] = {}
    for index, answer, error in carry_out(
        [
            Order(
                point.scenario,
                seed,
                sweep.rounds,
                None if sweep.keep is None else sweep.keep / case_name(point, seed),
            )
            for point, seed in pairs
        ],
        workers=sweep.workers,
        cache=sweep.cache,
        progress=progress,
    ):
        answers[index] = answer
        if answer is None:
            errors[index] = error or "no answer"
        elif row is not None:
            row(_row(*pairs[index], answer))
    rows = [
        _row(*pairs[index], answer) for index, answer in enumerate(answers) if answer is not None
    ]
    measured = [place for place, answer in zip(places, answers, strict=True) if answer is not None]
    base = load(sweep.source, sweep.overrides)
    return {
        "scenario": {"name": base.name, "digest": base.digest(), "table": base.table()},
        "code": code_digest(POINT),
        "over": {one.key: list(one.values) for one in sweep.over},
        "grid": sweep.grid,
        "seeds": list(sweep.seeds),
        "rounds": sweep.rounds,
        "rows": rows,
        "summary": _summary(points, rows, measured),
        "errors": [
            {"point": pairs[index][0].settings, "seed": pairs[index][1], "error": error}
            for index, error in sorted(errors.items())
        ],
    }


def case_name(point: Point, seed: int) -> str:
    """The folder of a kept case: readable, and different for different scenarios."""
    words = [f"{key}={value}" for key, value in point.settings.items()] or [point.scenario.name]
    readable = re.sub(r"[^A-Za-z0-9=._-]+", "_", ",".join(words))[:60]
    return f"{readable}-{digest(point.scenario.digest().encode())[:8]}-seed{seed}"


def _row(point: Point, seed: int, answer: Document) -> Document:
    return {"point": point.settings, **point.columns, "twin": point.twin, "seed": seed, **answer}


def _summary(
    points: Sequence[Point], rows: Sequence[Document], places: Sequence[int]
) -> list[Document]:
    """Statistics over the seeds of every point that has any; `places` names each row's point."""
    numbers = dict.fromkeys(MEASURES, pl.Float64) | dict.fromkeys(REACHED, pl.Int64)
    columns: dict[str, Sequence[Any]] = {name: [row[name] for row in rows] for name in numbers}
    table = pl.DataFrame({"place": places, **columns}, schema={"place": pl.Int64, **numbers})
    summary: list[Document] = []
    for found in summarise(table, ["place"], MEASURES, REACHED):
        point = points[int(str(found.pop("place")))]
        summary.append({"point": point.settings, **point.columns, "twin": point.twin, **found})
    return summary


def table_of(document: Document) -> pl.DataFrame:
    """A sweep's rows as a flat table: varied keys, twin, seed, and the score's numbers."""
    rows: list[Document] = document["rows"]
    names = [*document["over"], "twin", "seed", *TABLE_COLUMNS]
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], strict=False) for name in names}
    )


def write_files(document: Document, folder: Path) -> dict[str, str]:
    """Writes `sweep.parquet`, `sweep.csv`, `sweep.png` and `sweep.svg`.

    Returns:
        The files by their format. The parquet file also holds each row's sampled path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = table_of(document)
    files = {kind: folder / f"sweep.{kind}" for kind in ("parquet", "csv")}
    table.write_csv(files["csv"])
    paths = [row["path"] for row in document["rows"]]
    kinds: dict[str, Any] = {"models": pl.Int64, "asr": pl.Float64, "accuracy": pl.Float64}
    table.with_columns(
        pl.Series(f"path_{name}", [path[name] for path in paths], dtype=pl.List(kind))
        for name, kind in kinds.items()
    ).write_parquet(files["parquet"])
    drawn = draw_sweep(document, folder / "sweep")
    return {kind: str(path) for kind, path in {**files, **drawn}.items()}
