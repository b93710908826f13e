"""What does it mean that a model crossed a level? Four readings of one exact path of ASR.

    first       the least t with a_t >= q
    sustained   the least t with a >= q on all of [t, t + S)
    last        the least t with a >= q on all of [t, N]
    isotonic    where the monotone fit of a crosses q: one number, no S

ASR is not monotone in t: near a level it wanders back and forth, so these differ, and "the"
crossing does not exist. All four are computed in whole numbers (hits, not rates), hence exactly.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from roundlog.errors import QuestionError

DECIMALS = 6
"""Of a level: enough for any probe set, and sums over a million models stay below 2^63."""

SUSTAINED_MOST = 1_000
"""S in models where the run is long: about 2.4 days of the reference server's rounds."""

SUSTAINED_SHARE = 50
"""In a shorter run S is a fiftieth of it: 100 of 5,000 rounds."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AsrPath:
    """Hits of every model of a run.

    Attributes:
        first: t of the first model.
        hits: Shape (models,); model first + i had hits[i].
        n: Queries each was asked.
    """

    first: int
    hits: Counts
    n: int

    @property
    def last(self) -> int:
        """t of the last model."""
        return self.first + len(self.hits) - 1

    @property
    def asr(self) -> NDArray[np.float64]:
        """Attack success of every model, shape (models,)."""
        rates: NDArray[np.float64] = self.hits / self.n
        return rates


@dataclass(frozen=True, slots=True)
class Readings:
    """The crossings of one level, each the t of a model, or None where there is none."""

    first: int | None
    sustained: int | None
    last: int | None
    isotonic: int | None
    upward: int
    """How often the path steps from below the level to it or above."""


def check_level(level: float) -> Fraction:
    """The level as an exact number.

    Raises:
        QuestionError: Not above 0 and at most 1, or with more than six decimals.
    """
    if not (math.isfinite(level) and 0 < level <= 1):
        raise QuestionError(f"level {level} is no share of queries; give one above 0 and up to 1")
    exact = Fraction(Decimal(str(level)))
    if 10**DECIMALS % exact.denominator:
        raise QuestionError(f"level {level} has more than {DECIMALS} decimals; give fewer")
    return exact


def default_s(models: int) -> int:
    """S for a path of so many models."""
    return max(1, min(SUSTAINED_MOST, (models - 1) // SUSTAINED_SHARE))


def read_level(path: AsrPath, level: float, s: int) -> Readings:
    """Every crossing of a level on an exact path.

    Args:
        level: q, as a share of queries.
        s: S; a run that ends before t + S does not sustain t.

    Raises:
        QuestionError: No such level, or S below one.
    """
    q = check_level(level)
    # a_t >= q without a division: hits * denominator - n * numerator >= 0.
    return _read(path.first, path.hits * q.denominator - path.n * q.numerator, s)


def read_count(path: AsrPath, count: int, s: int) -> Readings:
    """The same for so many hits in place of a share; 0 hits are reached by every model.

    Raises:
        QuestionError: S below one.
    """
    return _read(path.first, path.hits - count, s)


def _read(start: int, excess: Counts, s: int) -> Readings:
    """The readings of the level that `excess` is counted from, its first model being `start`."""
    if s < 1:
        raise QuestionError(f"S is {s}; a level is sustained over at least one model")
    above = excess >= 0
    reached = np.flatnonzero(above)
    below = np.flatnonzero(~above)
    after_below = int(below[-1]) + 1 if below.size else 0
    return Readings(
        first=start + int(reached[0]) if reached.size else None,
        sustained=_offset(start, _sustained(above, s)),
        last=start + after_below if after_below < above.size else None,
        isotonic=_offset(start, _isotonic(excess)),
        upward=int(np.count_nonzero(above[1:] & ~above[:-1])),
    )


def _sustained(above: NDArray[np.bool_], s: int) -> int | None:
    if s > above.size:
        return None
    total = np.concatenate([[0], np.cumsum(above)])
    whole = np.flatnonzero(total[s:] - total[:-s] == s)
    return int(whole[0]) if whole.size else None


def _isotonic(excess: Counts) -> int | None:
    """Least t at which the monotone least-squares fit of the path reaches the level.

    The fit is at or above q exactly from the least minimiser of sum_{i < t} (a_i - q) on (the
    level sets of an isotonic regression are minimum cuts), which needs no rounding at all.

    References:
        Barlow, Bartholomew, Bremner, Brunk, "Statistical inference under order restrictions", 1972.
    """
    sums = np.concatenate([[0], np.cumsum(excess)])
    least = int(np.argmin(sums))
    return least if least < excess.size else None


def _offset(first: int, index: int | None) -> int | None:
    return None if index is None else first + index
