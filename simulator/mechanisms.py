"""What does differential privacy do to the aggregate, and what may be claimed for it?

Every update is clipped to length C by its device. The server adds Gaussian noise of standard
deviation z·C to the sum, so z·C/K to the mean. The claim belongs to z and to what it covers:
z = 54.2 gives epsilon 0.1 (delta 1e-10) for each *round* without amplification by sampling;
z of about 0.73 gives the same for a *run* of a million rounds with amplification, by PLD
accounting. For other z the server claims nothing, and the record says so.
"""

import math

import numpy as np
from numpy.typing import NDArray

from roundlog.events import PrivacyMechanism
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Scenario

EPSILON = 0.1
DELTA = 1e-10

# (noise multiplier, what epsilon 0.1 covers with it); both from the literature's accountants.
CLAIMS = (
    (54.2, "each single round, without amplification by sampling; rounds compose"),
    (0.73, "the whole run of 1,000,000 rounds, with amplification by sampling (PLD accounting)"),
)


def central_noise(randomness: Randomness, block: int, elements: int) -> NDArray[np.float32]:
    """Standard normal numbers for one block of rounds, shape (BLOCK, elements)."""
    rng = randomness.stream("mechanism/central", block)
    return rng.standard_normal((BLOCK, elements), dtype=np.float32)


def claim(scenario: Scenario) -> PrivacyMechanism:
    """The mechanism as the operator states it in `run.opened`."""
    settings = scenario.mechanisms
    if settings.noise == "none":
        return PrivacyMechanism(name="none", clip=settings.clip)
    for multiplier, covers in CLAIMS:
        if math.isclose(settings.noise_multiplier, multiplier, rel_tol=0.01):
            return PrivacyMechanism(
                name="central_gaussian",
                clip=settings.clip,
                noise_multiplier=settings.noise_multiplier,
                epsilon=EPSILON,
                delta=DELTA,
                accounting=f"epsilon for {covers}",
            )
    return PrivacyMechanism(
        name="central_gaussian",
        clip=settings.clip,
        noise_multiplier=settings.noise_multiplier,
        accounting="no epsilon is claimed for this noise multiplier",
    )
