"""What tests of detectors share: series, and how long one runs until its first vote."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import gammaincinv, ndtri

from forensics.detectors import Block, Budget, Detector, Floats, State
from forensics.detectors.baseline import MINIMUM

Draw = Callable[[int], Floats]


@pytest.fixture(scope="session")
def standard() -> Floats:
    """20,000 shuffled normal quantiles: a null whose mean is 0 and whose deviation is 1."""
    n = 20_000
    values = np.random.default_rng(0).permutation(ndtri((np.arange(n) + 0.5) / n))
    return np.asarray(values / values.std(ddof=1), dtype=np.float64)


class Runs:
    """Runs of one detector over many series, each until its first vote."""

    CHUNK = 250

    @classmethod
    def lengths(
        cls, detector: Detector, state: State, draw: Draw, *, series: int, limit: int
    ) -> list[tuple[int, bool]]:
        """Rounds that each series was read, and whether a vote ended it, not the limit."""
        return [cls._one(detector, state, draw, limit) for _ in range(series)]

    @classmethod
    def _one(cls, detector: Detector, state: State, draw: Draw, limit: int) -> tuple[int, bool]:
        for begin in range(0, limit, cls.CHUNK):
            rounds = np.arange(begin, begin + cls.CHUNK)
            state, votes = detector.update(state, Block(rounds, draw(cls.CHUNK)))
            if votes:
                return votes[0].round + 1, True
        return limit, False

    @classmethod
    def average(
        cls,
        detector: Detector,
        null: Floats,
        run_length: int,
        draw: Draw,
        *,
        series: int,
        limit: int,
    ) -> tuple[float, float, float]:
        """Rounds an alarm with the 99.8 % interval of a Poisson count: low, measured, high.

        Rounds before the first score, where the null is empty, do not count.
        """
        state = detector.calibrate(null, Budget(alarms=1, rounds=run_length))
        silent = 0 if null.size else MINIMUM
        found = cls.lengths(detector, state, draw, series=series, limit=limit)
        rounds = sum(length - silent for length, _ in found)
        alarms = sum(voted for _, voted in found)
        assert alarms, "a measurement without an alarm says nothing about the upper end"
        low = rounds / float(gammaincinv(alarms + 1, 0.999))
        return low, rounds / alarms, rounds / float(gammaincinv(alarms, 0.001))


@pytest.fixture(scope="session")
def runs() -> type[Runs]:
    """See there."""
    return Runs
