"""Does the set of rounds hold the onset as often as it says? Thousands of onsets, made by hand.

Twenty full runs cannot tell 95 % from 85 %. So shifts as large as attacked runs showed them are
added to what attack-free twins recorded, from a random round on, in random windows as long as the
rounds that attacked runs were dated from. The noise is the record's own; only the step is ours.

Two onsets that are made near each other in one twin see the same noise, so many replicates of few
rounds are not independent: how many there are at most is told beside their number. A real attack's
shift is no step, which only full runs can show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forensics.dating import FEWEST, Floats, date_change
from forensics.onset import SIGNIFICANT
from roundlog.errors import QuestionError

EDGE = 0.1
"""Share of a window, at either end, in which no shift begins."""

SETTLED = 50.0
"""Values that must stand on each side of a shift, times its square. A rise is then about seven
standard errors large, so that it is found at all; with half of that one in five is not."""

NEIGHBOURHOOD = 12.0
"""Values whose noise decides about a shift, times its square: nine of ten estimates lie as near."""


@dataclass(frozen=True, slots=True)
class Shift:
    """What one attacked run showed."""

    signal: float
    """Rise of the mean, in standard deviations of one round."""
    rounds: int
    """That it was dated from."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """How many made onsets were dated rightly."""

    n: int
    independent: int
    """Of them at most, by the rounds that they were made from."""
    covered: int
    median_error: float
    """In units of 2 (sd / mean)², of each one's own shift."""
    p90_error: float
    """In the same unit."""
    median_width: float
    """Rounds from the first to the last of a set, both inside."""
    left_out: int
    """Attacked runs whose shift was too small, or dated from too few rounds, to be put in."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "n": self.n,
            "independent": self.independent,
            "covered": self.covered,
            "median_error": self.median_error,
            "p90_error": self.p90_error,
            "median_width": self.median_width,
            "left_out": self.left_out,
        }


def replicate(series: Sequence[Floats], shifts: Sequence[Shift], n: int, seed: int) -> Replicates:
    """Dates `n` shifts put into recorded series.

    Args:
        series: Of attack-free twins, each of unit spread, shape (rounds,); used in turn.
        shifts: Of attacked runs; each replicate draws one.
        seed: Of all choices.

    Raises:
        QuestionError: No series, or no shift that fits into one.
    """
    shortest = min((len(one) for one in series), default=0)
    usable = [one for one in shifts if _fits(one, shortest)]
    if not usable or n < 1:
        raise QuestionError(
            f"no replicate can be made of {len(series)} series of at least {shortest} rounds and "
            f"{len(shifts)} shifts: a shift needs {SETTLED:g} / shift² values on each side. "
            f"Evaluate more rounds, or a stronger attack"
        )
    rng = np.random.default_rng(seed)
    covered = 0
    errors, widths = np.empty(n), np.empty(n)
    for number in range(n):
        shift = usable[int(rng.integers(len(usable)))]
        values, true = _made(series[number % len(series)], shift, rng)
        change = date_change(values)
        if change is None or change.p > SIGNIFICANT:
            errors[number], widths[number] = math.inf, math.inf
            continue
        covered += change.low <= true <= change.high
        errors[number] = abs(change.index - true) * shift.signal**2 / 2
        widths[number] = change.high - change.low + 1
    near = NEIGHBOURHOOD / float(np.median([shift.signal for shift in usable])) ** 2
    return Replicates(
        n=n,
        independent=max(1, min(n, int(sum(map(len, series)) / max(1.0, near)))),
        covered=covered,
        median_error=float(np.quantile(errors, 0.5, method="higher")),
        p90_error=float(np.quantile(errors, 0.9, method="higher")),
        median_width=float(np.quantile(widths, 0.5, method="higher")),
        left_out=len(shifts) - len(usable),
    )


def _window(shift: Shift, rounds: int) -> int:
    return min(shift.rounds, rounds)


def _edge(shift: Shift, window: int) -> int:
    """Values at either end of a window that a shift leaves alone."""
    return max(FEWEST, math.ceil(EDGE * window), math.ceil(SETTLED / shift.signal**2))


def _fits(shift: Shift, rounds: int) -> bool:
    window = _window(shift, rounds)
    return shift.signal > 0 and 2 * _edge(shift, window) < window


def _made(recorded: Floats, shift: Shift, rng: np.random.Generator) -> tuple[Floats, int]:
    """A window with a shift in it, and the index at which the shift begins."""
    window = _window(shift, len(recorded))
    start = int(rng.integers(len(recorded) - window + 1))
    values = recorded[start : start + window].copy()
    edge = _edge(shift, window)
    true = int(rng.integers(edge, window - edge))
    values[true:] += shift.signal
    return values, true
