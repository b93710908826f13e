"""How unusual is this value, seen from all before it? Standardisation that starts itself.

A chart needs standard normal numbers. A window that is measured first and then left alone will
not do: its mean is off by 1/sqrt(n) standard deviations for ever, and a CUSUM with a slack of
0.05 sums that error up. Here each value is compared with all earlier ones: the residual
(x - mean) / (sd * sqrt(1 + 1/n)) has Student's t distribution with n - 1 degrees of freedom, and
goes through that distribution function to a normal score. For independent normal values, whatever
their mean and standard deviation, these scores are independent standard normal, from the first
on. How long the calibration was changes no false-alarm rate, only what can be seen.

What it costs:

* A shift of delta that begins after n values fades from the scores as the mean learns it: after j
  rounds delta * n / (n + j) is left. A shift that was there from the first value is not seen.
* Slow honest drift must not sum up to an alarm. So after `memory` values (tau) the mean and the
  variance forget exponentially with that time constant. A lasting shift then fades as
  exp(-j / tau): a fifth of it is gone after tau / 5 rounds, and a detector should have alarmed by
  then. From there on scores are correlated by -1 / (2 tau), which makes long sums smaller, so
  that false alarms become rarer and never more frequent.

Values that are not normal give scores that are not: heavy tails alarm too often
(`forensics.detectors.sequential_ranks` assumes nothing).

References:
    Brown, Durbin, Evans, "Techniques for testing the constancy of regression relationships over
    time", Journal of the Royal Statistical Society B 37(2), 1975.
    Hawkins, "Self-starting Cusum charts for location and scale", The Statistician 36(4), 1987.
"""

import math

from pydantic import BaseModel, ConfigDict
from scipy.special.cython_special import ndtri, stdtr

from forensics.detectors.port import Floats
from roundlog.errors import QuestionError

MINIMUM = 100
"""Values before the first score. Exactness needs three; with fewer than about a hundred the mean
is so uncertain that a shift fades before it can be seen."""

MEMORY = 20_000
"""Rounds. Long enough for the 1,500 to 3,000 that a shift of 0.1 sd takes to be found, and short
against the 100,000 over which honest training drifts."""

LIMIT = 37.0
"""Largest score, either way: beyond it a normal tail is below the smallest float."""


class Moments(BaseModel):
    """Mean and variance of the values so far, each with its weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int = 0
    """Values that were learnt."""
    mean: float = 0.0
    variance: float = 0.0
    """Weighted mean of squared distances from the mean: before the correction for their number."""
    concentration: float = 1.0
    """Sum of squared weights: 1 / count until the memory is full, then towards 1 / (2 tau - 1)."""


class Baseline:
    """A mean and a variance that learn; mutable, for the length of one block."""

    __slots__ = ("_concentration", "_count", "_mean", "_memory", "_minimum", "_variance")

    def __init__(self, moments: Moments, minimum: int, memory: int) -> None:
        self._count, self._mean = moments.count, moments.mean
        self._variance, self._concentration = moments.variance, moments.concentration
        self._minimum, self._memory = minimum, memory

    def moments(self) -> Moments:
        """What was learnt, to be put away."""
        return Moments(
            count=self._count,
            mean=self._mean,
            variance=self._variance,
            concentration=self._concentration,
        )

    def score(self, value: float) -> float | None:
        """The value as a standard normal score against all that were learnt; nothing is learnt.

        None until `minimum` values were learnt. Where they are all equal, any other value scores
        the limit; so does an infinity.
        """
        if self._count < self._minimum:
            return None
        weight = self._concentration
        distance = value - self._mean
        spread = math.sqrt(self._variance * (1 + weight) / (1 - weight))
        if spread == 0:
            return math.copysign(LIMIT, distance) if distance else 0.0
        # The lower tail, whatever the side: near 1 a distribution function has no digits left.
        tail = stdtr(1 / weight - 1, -abs(distance / spread))
        return math.copysign(min(-ndtri(tail), LIMIT), distance)

    def learn(self, value: float) -> None:
        """Takes one value in. One that would overflow the variance is left out."""
        share = 1 / min(self._count + 1, self._memory)
        distance = value - self._mean
        mean = self._mean + share * distance
        variance = (1 - share) * (self._variance + share * distance * distance)
        if not (math.isfinite(mean) and math.isfinite(variance)):
            return
        self._count += 1
        self._mean, self._variance = mean, variance
        rest = 1 - share
        self._concentration = rest * rest * self._concentration + share * share


def learnt(null: Floats, minimum: int, memory: int) -> Moments:
    """The moments after a calibration series, shape (n,); NaN is passed over."""
    baseline = Baseline(Moments(), minimum, memory)
    for value in null.tolist():
        if not math.isnan(value):
            baseline.learn(value)
    return baseline.moments()


def check(minimum: int, memory: int) -> None:
    """Refuses settings that give no variance, or forget before they know.

    Raises:
        QuestionError: `minimum` is below 3, or `memory` below `minimum`.
    """
    if not 3 <= minimum <= memory:
        raise QuestionError(
            f"a baseline with a minimum of {minimum} and a memory of {memory} values cannot "
            f"standardise: it needs 3 <= minimum <= memory"
        )
