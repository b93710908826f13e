"""What do several seeds say together? Median and range, a mean's interval, k of n.

A spread over seeds is about the experiment: another seed draws other devices, other data and
another trigger. It does not hold what a single run's own interval holds, the sampling of queries.

The t interval assumes that the mean of the seeds is near enough to normal; attack success close
to 0 or 1 is skewed, so the median and the range stand beside it and are what to read first.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from scipy.special import stdtrit

from forensics.probe import COVERAGE, binomial_interval
from roundlog.errors import QuestionError

FEWEST = 3
"""Seeds from which on a mean has an interval: with two, t has one degree of freedom and the
interval is wider than anything that could be learnt from it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One measure over seeds."""

    n: int
    """Seeds that have a value."""
    median: float
    min: float
    max: float
    mean: float
    mean_low: float | None
    """Lower end of the mean's t interval; None below three seeds."""
    mean_high: float | None

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {**asdict(self), "coverage": COVERAGE}


@dataclass(frozen=True, slots=True)
class Share:
    """k of n seeds."""

    k: int
    n: int

    def document(self) -> dict[str, object]:
        """What the doors answer; the interval is Clopper and Pearson's."""
        low, high = binomial_interval(self.k, self.n)
        return {
            "k": self.k,
            "n": self.n,
            "share": self.k / self.n,
            "low": low,
            "high": high,
            "coverage": COVERAGE,
        }


def spread(values: Sequence[float], coverage: float = COVERAGE) -> Spread:
    """Median, range and mean of the seeds' values, in the unit of the values.

    Raises:
        QuestionError: There is no value, or one is not finite.

    References:
        Student, "The probable error of a mean", Biometrika 6(1), 1908.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise QuestionError("a spread needs at least one value, and finite ones only")
    mean = float(numbers.mean())
    low = high = None
    if numbers.size >= FEWEST:
        error = float(numbers.std(ddof=1)) / math.sqrt(numbers.size)
        reach = float(stdtrit(numbers.size - 1, 1 - (1 - coverage) / 2)) * error
        low, high = mean - reach, mean + reach
    return Spread(
        n=int(numbers.size),
        median=float(np.median(numbers)),
        min=float(numbers.min()),
        max=float(numbers.max()),
        mean=mean,
        mean_low=low,
        mean_high=high,
    )


def summarise(
    table: pl.DataFrame, by: Sequence[str], measures: Sequence[str], reached: Sequence[str]
) -> list[dict[str, object]]:
    """One row a group of a table of scores, in the order in which groups first occur.

    Args:
        table: One row a seed.
        by: Columns that make a group.
        measures: Columns of numbers; a seed without a value is left out of its spread.
        reached: Columns of models, null where a level was not crossed: also given as k of n.

    Returns:
        For each group its key columns, `seeds`, a spread for each measure and each reached column
        (None where no seed has a value), and `<column>_share` for each reached column.
    """
    groups = table.partition_by(list(by), maintain_order=True) if by else [table]
    return [_group(group, by, measures, reached) for group in groups if group.height]


def _group(
    group: pl.DataFrame, by: Sequence[str], measures: Sequence[str], reached: Sequence[str]
) -> dict[str, object]:
    row: dict[str, object] = {name: group[name][0] for name in by}
    row["seeds"] = group.height
    for name in [*measures, *reached]:
        values = group[name].drop_nulls().to_list()
        row[name] = spread(values).document() if values else None
    for name in reached:
        row[f"{name}_share"] = Share(group[name].count(), group.height).document()
    return row
