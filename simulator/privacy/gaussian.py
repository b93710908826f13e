"""What does one release under Gaussian noise cost, exactly?

Neighbouring data sets differ by one device, added or removed; its update has length at most C, and
the noise on the sum has standard deviation z·C. C cancels: everything here is a function of z, the
noise multiplier. Several releases to the same device are one release with z/sqrt(their number),
since Gaussians add (Dong, Roth and Su, "Gaussian differential privacy", JRSS-B 84(1), 2022).

Not promised: anything for noise that is not Gaussian, or that is rounded before it is added.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr


def log_delta(epsilon: float | NDArray[np.float64], noise_multiplier: float) -> NDArray[np.float64]:
    """Natural logarithm of the smallest delta that holds with an epsilon; -inf where it is 0.

    References:
        Balle and Wang, "Improving the Gaussian mechanism for differential privacy: analytical
        calibration and optimal denoising", ICML 2018, theorem 8.
    """
    middle, half = np.multiply(epsilon, noise_multiplier), 1 / (2 * noise_multiplier)
    above = log_ndtr(half - middle)
    below = epsilon + log_ndtr(-half - middle)
    with np.errstate(divide="ignore"):
        # Rounding may put the difference of two equal numbers on the wrong side of 0.
        return np.asarray(above + np.log(-np.expm1(np.minimum(below - above, 0.0))))


def epsilon_of_releases(noise_multiplier: float, delta: float, releases: int = 1) -> float:
    """The smallest epsilon of so many releases that all hold the device; no sampling.

    Args:
        noise_multiplier: z of each release; with 0 nothing is promised, and epsilon is infinite.
        delta: In (0, 1).
        releases: 0 costs nothing.
    """
    if releases == 0:
        return 0.0
    if noise_multiplier == 0:
        return math.inf
    together = noise_multiplier / math.sqrt(releases)
    target = math.log(delta)
    if log_delta(0.0, together) <= target:
        return 0.0
    # Above this Chernoff bound (zCDP with rho = 1/(2 z²)) delta cannot lie.
    rho = 1 / (2 * together**2)
    highest = rho + 2 * math.sqrt(-rho * target)
    return float(
        brentq(lambda one: max(float(log_delta(one, together)), -1e300) - target, 0.0, highest)
    )


def epsilon_of_sampled_round(noise_multiplier: float, delta: float, sampling_rate: float) -> float:
    """The smallest epsilon of one round that a device enters with a probability, unseen.

    Removing a device costs more than adding one for every epsilon above 0, so its formula is the
    answer: delta(epsilon) = q · delta_Gauss(log(1 + (e^epsilon - 1)/q)).

    References:
        Balle, Barthe and Gaboardi, "Privacy amplification by subsampling: tight analyses via
        couplings and divergences", NeurIPS 2018, theorem 8.
    """
    if delta >= sampling_rate:
        return 0.0
    inner = epsilon_of_releases(noise_multiplier, delta / sampling_rate)
    return float(np.logaddexp(log_probability_out(sampling_rate), math.log(sampling_rate) + inner))


def log_probability_out(sampling_rate: float) -> float:
    """log(1 - q), also for q = 1."""
    return math.log1p(-sampling_rate) if sampling_rate < 1 else -math.inf
