"""Do these numbers look as if every value were equally likely? A vector modulo 2^32, and its p.

A masked vector is uniform, so what it hides cannot be seen in it. A test cannot show that: it can
only fail to find a departure. It stands beside the same test on the unmasked vector, which fails
at once, and over many vectors its p-values are spread evenly themselves.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov

from roundlog.errors import QuestionError

RING = 2.0**32


@dataclass(frozen=True, slots=True)
class Uniformity:
    """One vector against the uniform distribution."""

    distance: float
    """Kolmogorov's D: largest distance between the two distribution functions, 0 to 1."""
    p: float
    """Probability of so large a distance, were the numbers uniform."""
    zeros: int
    """Elements that are 0."""
    n: int

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {"distance": self.distance, "p": self.p, "zeros": self.zeros, "n": self.n}


def uniformity(residues: NDArray[np.uint32]) -> Uniformity:
    """Kolmogorov's test of a vector of residues modulo 2^32, shape (n,).

    The p-value is the asymptotic one with Stephens's correction for n.

    Raises:
        QuestionError: The vector is empty.

    References:
        Stephens, "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without
        extensive tables", Journal of the Royal Statistical Society B 32(1), 1970.
    """
    n = residues.size
    if n == 0:
        raise QuestionError("an empty vector has no distribution")
    places = np.sort(residues.astype(np.float64)) / RING
    steps = np.arange(n + 1) / n
    distance = float(max((steps[1:] - places).max(), (places - steps[:-1]).max()))
    root = math.sqrt(n)
    p = float(kolmogorov(distance * (root + 0.12 + 0.11 / root)))
    return Uniformity(distance, p, int((residues == 0).sum()), n)


def evenness(values: NDArray[np.float64]) -> Uniformity:
    """The same test of numbers between 0 and 1, such as the p-values of many vectors.

    Raises:
        QuestionError: There is none, or one lies outside.
    """
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise QuestionError("evenness is asked of numbers between 0 and 1")
    return uniformity(np.minimum(np.rint(values * RING), RING - 1).astype(np.uint32))
