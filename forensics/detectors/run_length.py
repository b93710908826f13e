"""Which threshold gives how many false alarms? Average run lengths, from theory.

The average run length is the expected number of rounds until a chart that starts at zero alarms,
on independent standard normal scores. Nothing here looks at data, so no threshold can have been
tuned on the run that it judges.

The CUSUM's is exact: L(u), from a sum u on, solves Page's integral equation
L(u) = 1 + L(0) Phi(k - u) + integral over 0..h of L(x) phi(x - u + k) dx, here on the nodes of a
Gauss-Legendre rule. The kernel is smooth, so two nodes a unit are enough. The linear system loses
about log10 L of its sixteen digits, so beyond 10^8 Siegmund's approximation goes on from there:
by then its ratio to the exact value has become constant. The generalised likelihood ratio's run
length is an asymptotic formula.

Thresholds are rounded up to 1/10,000, so that two machines whose linear algebra differs in the
last digits get the same one.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from roundlog.errors import QuestionError

NODES = 2.0
"""Nodes a unit of the sum; with twice as many nothing changes but what rounding makes of it."""

EXACT = 1e8
"""The longest run length that is solved for; a longer one is extrapolated from it."""

SHORTEST, LONGEST = 10.0, 1e15
"""Run lengths that have a threshold here. A shorter one is no alarm, and nobody waits for a longer
one."""

LOWEST = 2.5
"""The lowest threshold of a standardised sum."""

OVERSHOOT = 1.166
"""Twice the mean excess of a normal random walk over a boundary: Siegmund's rho."""


def cusum_run_length(slack: float, threshold: float, shift: float = 0.0) -> float:
    """Rounds until a one-sided CUSUM that starts at 0 exceeds its threshold, on average.

    Args:
        slack: k, subtracted from each score.
        threshold: h, above 0.
        shift: Mean of the scores; 0 gives the time between false alarms, above it the delay.

    References:
        Page, "Continuous inspection schemes", Biometrika 41, 1954.
        Crowder, "A simple method for studying run-length distributions of exponentially weighted
        moving average charts", Technometrics 29(4), 1987 (the quadrature).
    """
    nodes, weights = np.polynomial.legendre.leggauss(max(64, math.ceil(NODES * threshold)))
    nodes, weights = threshold / 2 * (nodes + 1), threshold / 2 * weights
    starts = np.concatenate([[0.0], nodes])
    drift = slack - shift
    steps = nodes[None, :] - starts[:, None] + drift
    moves = np.empty((starts.size, starts.size))
    moves[:, 0] = ndtr(drift - starts)
    moves[:, 1:] = weights * np.exp(-0.5 * steps * steps) / math.sqrt(2 * math.pi)
    lengths = np.linalg.solve(np.eye(starts.size) - moves, np.ones(starts.size))
    return float(lengths[0])


def siegmund_run_length(slack: float, threshold: float, shift: float = 0.0) -> float:
    """The same by Siegmund's approximation: an independent check, and where a search begins.

    References:
        Siegmund, "Sequential Analysis: Tests and Confidence Intervals", Springer 1985, (2.56).
    """
    drift, height = shift - slack, threshold + OVERSHOOT
    if drift == 0:
        return height * height
    exponent = -2 * drift * height
    return (math.expm1(exponent) - exponent) / (2 * drift * drift)


@lru_cache(maxsize=256)
def cusum_threshold(slack: float, run_length: float) -> float:
    """The threshold at which a one-sided CUSUM has this average run length, or a little more.

    Raises:
        QuestionError: The run length is outside 10 to 10^15, or the slack outside 0.01 to 1.
    """
    if not 0.01 <= slack <= 1:
        raise QuestionError(
            f"a CUSUM with a slack of {slack} has no threshold here: a slack is half the shift "
            f"that it sees best, in standard deviations. Choose one from 0.01 to 1"
        )
    _check(run_length)
    ratio = 1.0
    if run_length > EXACT:
        ratio = siegmund_run_length(slack, cusum_threshold(slack, EXACT)) / EXACT
    high = 1.0
    while siegmund_run_length(slack, high) < ratio * run_length:
        high *= 2
    near = _solve(partial(siegmund_run_length, slack), ratio * run_length, 0.0, high)
    if run_length > EXACT:
        return _rounded_up(near)
    # Siegmund's threshold is off by 0.14 at most, at a slack of 1 and 10 rounds.
    low, high = near - 0.2, near + 0.2
    return _rounded_up(_solve(partial(cusum_run_length, slack), run_length, low, high))


def glr_run_length(threshold: float, shortest: int, longest: int, spacing: int = 1) -> float:
    """Rounds until the largest standardised sum of recent scores exceeds its threshold.

    That is, of (sum of the last w scores) / sqrt(w) over every w from `shortest` to `longest`, or
    those that begin at a multiple of `spacing`. The rates of several ranges of windows add up.

    A sum that is above the threshold stays there for a while as its end moves, and as its
    beginning does; nu corrects for either moving in steps. Siegmund and Venkatraman have steps of
    one round at both sides, and two-sided alarms: half the run length.

    References:
        Siegmund, Venkatraman, "Using the generalized likelihood ratio statistic for sequential
        detection of a change-point", Annals of Statistics 23(1), 1995.
    """
    windows = np.arange(shortest, longest + 1, dtype=np.float64)
    drift = threshold / np.sqrt(windows)
    corrected = _overshoot(drift) * _overshoot(drift * math.sqrt(spacing)) / (windows * windows)
    density = math.exp(-0.5 * threshold * threshold) / math.sqrt(2 * math.pi)
    return 4 / (threshold**3 * density * math.fsum(corrected.tolist()))


@lru_cache(maxsize=256)
def glr_threshold(run_length: float, shortest: int, longest: int, spacing: int = 1) -> float:
    """The threshold at which windows of these lengths have this average run length, or more.

    At least 2.5: below, where windows are longer than the run length, the formula means nothing.

    Raises:
        QuestionError: The run length is outside 10 to 10^15.
    """
    _check(run_length)
    run_length_at = partial(glr_run_length, shortest=shortest, longest=longest, spacing=spacing)
    if run_length_at(LOWEST) >= run_length:
        return LOWEST
    return _rounded_up(_solve(run_length_at, run_length, LOWEST, 10.0))


def _overshoot(x: np.ndarray) -> np.ndarray:
    """Siegmund's nu(x), to 1 % (Siegmund, Yakir, "The Statistics of Gene Mapping", 2007)."""
    half = x / 2
    density = np.exp(-0.5 * half * half) / math.sqrt(2 * math.pi)
    nu: np.ndarray = (ndtr(half) - 0.5) / half / (half * ndtr(half) + density)
    return nu


def _solve(
    run_length_at: Callable[[float], float], wanted: float, low: float, high: float
) -> float:
    return float(brentq(lambda at: math.log(run_length_at(at) / wanted), low, high, xtol=1e-6))


def _rounded_up(threshold: float) -> float:
    return math.ceil(threshold * 1e4) / 1e4


def _check(run_length: float) -> None:
    if not SHORTEST <= run_length <= LONGEST:
        raise QuestionError(
            f"no threshold keeps an average run length of {run_length:g} rounds; from "
            f"{SHORTEST:g} to {LONGEST:g} there is one. Change the budget: its run length is "
            f"rounds * charts / alarms"
        )
