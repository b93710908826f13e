"""How is the privacy loss of one sampled round distributed, never better than it is?

The loss is log P(x)/Q(x) for what the server releases, x; P with the device, Q without it (or the
other way round). It is put on a grid by connecting the dots: the mass between two grid points
moves to both of them so that its P-mass and its Q-mass stay what they are. That dominates the true
distribution, also after composition; so every epsilon from it is an upper bound.

References:
    Doroshenko, Ghazi, Kamath, Kumar and Manurangsi, "Connect the dots: tighter discrete
    approximations of privacy loss distributions", PETS 2022.
    Zhu, Dong and Wang, "Optimal accounting of differential privacy via characteristic function",
    AISTATS 2022, for the pair of distributions that dominates a sampled Gaussian.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from simulator.privacy.gaussian import log_probability_out

Array = NDArray[np.float64]
Direction = Literal["remove", "add"]

# What connecting the dots adds to the variance of one round is at most spacing²/4; with an eighth
# of the standard deviation that is 0.4 % of the variance, 0.2 % of epsilon.
POINTS_PER_DEVIATION = 8
# Where losses reach far beyond their deviation, a coarser grid: looser, but still an upper bound.
MAX_POINTS = 2**20
# Above this loss 1 - q is nothing beside e^loss, not even in the last digit that counts.
FAR = 32.0
# e^loss up to which a double holds it; beyond, all mass goes to the upper point.
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class SampledRound:
    """A device enters a round with probability q; the sum carries noise of z clip norms."""

    noise_multiplier: float
    """z, above 0."""

    sampling_rate: float
    """q, in (0, 1)."""

    def loss(self, x: Array) -> Array:
        """log P/Q at x, in units of the clip norm along the device's own direction."""
        inside = math.log(self.sampling_rate) + (2 * x - 1) / (2 * self.noise_multiplier**2)
        return np.logaddexp(log_probability_out(self.sampling_rate), inside)

    def x_of(self, loss: Array) -> Array:
        """Where the loss is this; -inf where it is below log(1 - q), which no x reaches."""
        q = self.sampling_rate
        near = np.expm1(np.minimum(loss, FAR)) / q + 1
        with np.errstate(divide="ignore"):
            near = np.log(np.maximum(near, 0.0))
        # Log of the density ratio of noise that contains the device for certain.
        certain = np.where(loss < FAR, near, loss - math.log(q))
        return np.asarray(self.noise_multiplier**2 * certain + 0.5, dtype=np.float64)

    def masses(self, x: Array) -> tuple[Array, Array]:
        """Probability between neighbouring x (ascending): noise around 0, and around 1."""
        return _between(x / self.noise_multiplier), _between((x - 1) / self.noise_multiplier)

    def reach(self, spill: float) -> float:
        """An x above which at most 2 · spill lies, with the device or without."""
        with_device = 1 - self.noise_multiplier * float(ndtri(min(spill / self.sampling_rate, 0.5)))
        return max(with_device, -self.noise_multiplier * float(ndtri(spill)))


@dataclass(frozen=True)
class LossGrid:
    """Masses on the points (lowest + i) · spacing, and the mass of an infinite loss."""

    spacing: float
    lowest: int
    masses: Array
    infinite: float

    @property
    def losses(self) -> Array:
        """The grid points, shape of `masses`."""
        points = self.lowest + np.arange(len(self.masses))
        return np.asarray(points * self.spacing, dtype=np.float64)


def spacing_for(sampled: SampledRound, spill: float, fineness: float = 1.0) -> float:
    """A grid spacing for a round; a larger fineness makes it that much smaller."""
    z = sampled.noise_multiplier
    x = np.linspace(-9 * z, sampled.reach(spill), 20_001)
    loss = sampled.loss(x)
    outside, inside = sampled.masses(x)
    mass = (1 - sampled.sampling_rate) * outside + sampled.sampling_rate * inside
    deviation = math.sqrt(float(np.sum(mass * loss[1:] ** 2)))
    wanted = deviation / POINTS_PER_DEVIATION
    return max(wanted, float(loss[-1] - loss[0]) / MAX_POINTS) / fineness


def losses_of(
    sampled: SampledRound, direction: Direction, spacing: float, spill: float
) -> LossGrid:
    """The loss of one round on a grid.

    Args:
        direction: Whether the neighbour lacks the device ("remove") or has one more ("add").
        spacing: In nats.
        spill: Probability that may be moved to an infinite loss (remove), or up to the lowest
            grid point (add); at most twice that is moved.
    """
    q = sampled.sampling_rate
    top = float(sampled.loss(np.array(sampled.reach(spill))))
    low, high = log_probability_out(q), top
    if direction == "add":
        low, high = -high, -low
    lowest, highest = math.floor(low / spacing), math.ceil(high / spacing)
    edges = np.asarray(np.arange(lowest, highest + 1) * spacing, dtype=np.float64)
    growth = np.expm1(np.minimum(edges[:-1], LARGEST_EXPONENT))
    # All written so that nothing of the size of 1 cancels: q may be a billionth.
    if direction == "remove":
        x = sampled.x_of(edges)
        outside, inside = sampled.masses(x)
        mass = (1 - q) * outside + q * inside
        excess = q * inside - (growth + q) * outside
        beyond = sampled.masses(np.array([x[-1], np.inf]))
        infinite, raised = float((1 - q) * beyond[0][0] + q * beyond[1][0]), 0.0
    else:
        x = sampled.x_of(-edges)
        outside, inside = (one[::-1] for one in sampled.masses(x[::-1]))
        mass = outside
        excess = q * (growth + 1) * (outside - inside) - growth * outside
        infinite, raised = 0.0, float(sampled.masses(np.array([x[0], np.inf]))[0][0])
    # `excess` is P-mass less e^(lower point) times Q-mass: what has to go to the upper point.
    up = np.clip(excess / -math.expm1(-spacing), 0.0, mass)
    masses = np.append(mass - up, 0.0)
    masses[1:] += up
    masses[0] += raised
    return LossGrid(spacing, lowest, masses, infinite)


def _between(x: Array) -> Array:
    """Standard normal probability between neighbouring points, precise in both tails."""
    low, high = x[:-1], x[1:]
    right = low > 0
    return np.asarray(np.where(right, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))
