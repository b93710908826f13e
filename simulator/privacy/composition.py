"""What do many rounds cost together? A power of a distribution, accurate far out in its tail.

The usual way raises the Fourier transform of the loss to the number of rounds. Rounding then
leaves an error of about 1e-16 · rounds in every mass, which for a million rounds is as large as
the delta that is asked for: Google's `dp-accounting` 0.6.0 answers 0.058, 1.18 and 0.056 for noise
multipliers 0.72, 0.73 and 0.74 (grid 3e-5, our reference setting). So the distribution is tilted
first: masses are multiplied by e^(theta·loss), with the theta that moves their mean to where
epsilon lies. The power of the tilted masses is accurate there, and tilting is undone afterwards.

References:
    Koskela, Jälkö and Honkela, "Computing tight differential privacy guarantees using FFT",
    AISTATS 2020 (the Fourier accountant).
    Wilson and Keich, "Accurate pairwise convolutions of non-negative vectors via FFT",
    Computational Statistics & Data Analysis 101, 2016 (tilting).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq, minimize_scalar

from simulator.privacy.losses import LossGrid

Array = NDArray[np.float64]

# Tilted mass that may lie outside the window; it is a share of delta, and is added to it.
OUTSIDE = 1e-8
# Tilting all the way to the tightest bound wakes losses that are far beyond epsilon and would need
# a wide window. From 0.4 to 1 epsilon stays the same to 1.3e-4 of it at the reference setting (a
# million rounds, z = 0.67; 4e-5 at z = 0.73) and to 1e-9 for a thousand rounds.
TILT = 0.75
LARGEST_EXPONENT = 700.0


def epsilon_of_rounds(one: LossGrid, rounds: int, delta: float) -> float:
    """The smallest epsilon of independent rounds with this loss, at a delta; inf if none is."""
    lost = -math.expm1(rounds * math.log1p(-one.infinite))
    if lost >= delta:
        return math.inf
    powers = _Cumulants(one, rounds)
    theta, highest = powers.tightest(math.log(delta - lost))
    if highest <= 0:
        return 0.0
    theta *= TILT
    losses, masses, outside = powers.tilted_power(theta)
    shift = powers(theta)

    def excess(epsilon: float) -> float:
        above = losses > epsilon
        untilt = np.exp(np.minimum(shift - theta * losses[above], LARGEST_EXPONENT))
        mass = masses[above] * untilt * -np.expm1(epsilon - losses[above])
        return lost + float(mass.sum()) + outside - delta

    if excess(0.0) <= 0:
        return 0.0
    if excess(highest) >= 0:
        # The Chernoff bound itself, which rounding puts below what the masses say.
        return highest
    return float(brentq(excess, 0.0, highest, rtol=1e-9))


class _Cumulants:
    """rounds · log E[e^(theta·loss)], and what follows from it."""

    def __init__(self, one: LossGrid, rounds: int) -> None:
        kept = one.masses > 0
        self.one, self.rounds = one, rounds
        self.points = one.lowest + np.flatnonzero(kept)
        self.losses: Array = np.asarray(self.points * one.spacing, dtype=np.float64)
        self.log_masses: Array = np.log(one.masses[kept])

    def __call__(self, theta: float) -> float:
        exponents = self.log_masses + theta * self.losses
        most = float(exponents.max())
        return self.rounds * (most + math.log(float(np.exp(exponents - most).sum())))

    def tightest(self, log_delta: float) -> tuple[float, float]:
        """The theta with the smallest Chernoff bound on epsilon, and that bound."""

        def bound(log_theta: float) -> float:
            theta = math.exp(log_theta)
            return (self(theta) - log_delta) / theta

        deviation = math.sqrt(float(np.exp(self.log_masses) @ self.losses**2))
        widest = self.rounds * max(float(self.losses[-1]), self.one.spacing)
        # Between a loss that is certain in every round and one that is nearly constant.
        bounds = (math.log(1e-3 / widest), math.log(1e3 / deviation))
        found = minimize_scalar(bound, bounds=bounds, method="bounded", options={"xatol": 1e-3})
        return math.exp(found.x), float(found.fun)

    def tilted_power(self, theta: float) -> tuple[Array, Array, float]:
        """Losses and tilted masses of all rounds, and what delta may miss beside them."""
        rounds, spacing = self.rounds, self.one.spacing
        tilted = np.exp(self.log_masses + theta * self.losses - self(theta) / rounds)
        mean = float(tilted @ self.losses)
        deviation = math.sqrt(rounds * float(tilted @ (self.losses - mean) ** 2)) + spacing
        low, high = self._window(theta, rounds * mean, deviation)
        start = math.floor(low / spacing)
        length = next_fast_len(math.ceil(high / spacing) - start + 1, real=True)
        # Circular convolution: whatever lies outside the window folds back into it.
        folded = np.bincount(self.points % length, weights=tilted, minlength=length)
        transform = rfft(folded)
        size, angle = np.abs(transform), np.angle(transform)
        power = irfft(size**rounds * np.exp(1j * (rounds * angle)), n=length)
        points = start + np.arange(length)
        masses = np.maximum(power[points % length], 0.0)
        beyond = OUTSIDE * math.exp(min(self(theta) - theta * high, LARGEST_EXPONENT))
        return points * spacing, masses, beyond

    def _window(self, theta: float, mean: float, deviation: float) -> tuple[float, float]:
        """Losses outside which at most `OUTSIDE` of the tilted mass lies, on either side."""
        here, price = self(theta), -math.log(OUTSIDE)
        low, high = -math.inf, math.inf
        for step in 2.0 ** np.arange(-4, 9) / deviation:
            high = min(high, (self(theta + step) - here + price) / step)
            low = max(low, -(self(theta - step) - here + price) / step)
        return min(low, mean - deviation), max(high, mean + deviation)
