"""How wrong may dating and watching be, and when has a claim failed? Numbers fixed before any run.

A bar is a stated coverage or budget, the law of the error, or what pilots on other seeds reached.
Where a claim is about a share, twenty runs cannot tell 95 % from 90 %; so it fails only below what
a true share of 95 % would give once in a hundred times.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import bdtr, pdtr

from forensics.dating import COVERAGE

ALPHA = 0.01
"""How often a claim that is true is said to fail: once in a hundred times, each."""

NEARLY_ALL = 0.85
"""Share of runs, 17 of 20, below which a claim about nearly all of them fails in any case; the
coverage of a set, which is stated exactly, has the quantile alone."""

WIDEST = 0.99
"""Coverage of replicates above which a set is wider than it says."""

MEDIAN_ERROR = 1.0
"""Median error of replicates, in units of 2 (sd / mean)²: the law of the likeliest place."""

SUCCESS_MEDIAN, SUCCESS_LARGEST = 0.01, 0.1
"""Success of the attack at the alarm. Below 1 % a decoy does as well; at 10 % people suspect it."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What errors of dating may be in one world, in rounds; None where nothing is claimed."""

    median: float | None = None
    p90: float | None = None
    largest: float | None = None
    within: int | None = None
    """Nearly every error is at most so large."""
    reason: str = ""


BARS: Mapping[str, Bars] = {
    "mobileai7": Bars(
        median=90,
        p90=600,
        largest=1_100,
        reason="Pilots: signal 0.14 to 0.18, so median about 2 / 0.16² = 78 and p90 about "
        "12 / 0.14² = 612; measured 43, 282 and at most 370 in 22 runs. 1,100 is 1 % of the run.",
    ),
    "quickstart": Bars(
        within=10, reason="Pilots: signal above 1.5, so p90 about 12 / 1.5² = 5; twice that."
    ),
    "digits": Bars(
        median=12,
        within=20,
        reason="Pilots dated 0.1 % within 4 to 11 rounds; nearly all within twice the worst.",
    ),
}
"""By the shipped scenario's name; another scenario, or one with other settings, has none."""


def least_successes(n: int, share: float = COVERAGE) -> int:
    """The 1 % quantile of a binomial count: fewer come once in a hundred times, or more rarely."""
    return next(k for k in range(n + 1) if bdtr(k, n, share) >= ALPHA)


def most_events(expected: float) -> int:
    """The 99 % quantile of a Poisson count."""
    k = 0
    while pdtr(k, expected) < 1 - ALPHA:
        k += 1
    return k


def most_successes(n: int, share: float) -> int:
    """The 99 % quantile of a binomial count."""
    return next(k for k in range(n + 1) if bdtr(k, n, share) >= 1 - ALPHA)
