"""What does the server do with a cohort's mean? Noise, a grid, one step, one filter.

The mean with its noise is rounded to a grid of a quarter of the noise's standard deviation, so
aggregates are integers and their sums are exact in any order. The filter asks the only
question that secure aggregation leaves: is the aggregate longer than aggregates usually are?
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.tasks import Float32s

Integers = NDArray[np.int32]

# Six hours of rounds. A longer memory knows the standard deviation better, but honest updates
# grow and shrink as language drifts: with 500 rounds the filter rejects three times as often,
# attack or no attack.
MEMORY_ROUNDS = 100


def quantise(aggregate: Float32s, grid: float) -> Integers:
    """The nearest multiples of the grid, as integers, of the same shape."""
    nearest: Integers = np.rint(aggregate * np.float32(1 / grid)).astype(np.int32)
    return nearest


def apply_aggregates(model: Float32s, integers: Integers, *, lr: float, grid: float) -> Float32s:
    """The models after each of some rounds.

    Args:
        model: W_t, shape (d,).
        integers: Quantised aggregates of rounds t, t+1, ..., shape (rounds, d).

    Returns:
        W_{t+1}, W_{t+2}, ..., shape (rounds, d).
    """
    step = np.float32(lr * grid)
    models = integers.astype(np.float32)
    models *= step
    models[0] += model
    for number in range(1, len(models)):
        models[number] += models[number - 1]
    return models


@dataclass
class NormFilter:
    """How long is this aggregate beside those before it, in their standard deviations?

    Mean and variance are exponentially weighted over past rounds only, so that a score never
    depends on what came later. Noise dominates the norm; one cohort's poison hardly moves it.
    """

    memory: int = MEMORY_ROUNDS
    _rounds: int = 0
    _mean: float = 0.0
    _square: float = 0.0

    def score(self, norm: float) -> float | None:
        """Standard deviations above the usual norm; None while too few rounds are known."""
        found: float | None = None
        if self._rounds >= self.memory // 2:
            variance = self._square - self._mean**2
            found = (norm - self._mean) / math.sqrt(variance) if variance > 0 else None
        self._rounds += 1
        weight = 1 / min(self._rounds, self.memory)
        self._mean += weight * (norm - self._mean)
        self._square += weight * (norm**2 - self._square)
        return found
