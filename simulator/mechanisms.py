"""What does differential privacy do to updates, and what may be claimed for it?

Every update is clipped to length C by its device. The server adds Gaussian noise of standard
deviation z·C to the sum (central), or every device adds it to its own update (local). What is
claimed is epsilon for each single *round*, without amplification by sampling: it holds whatever
is known about who took part. `simulator.privacy` accounts for whole runs.
"""

import math

import numpy as np
from numpy.typing import NDArray

from roundlog.events import PrivacyMechanism
from simulator.privacy.accounting import DELTA, Setting, epsilon
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Mechanisms, Scenario

COVERS = "epsilon for each single round, without amplification by sampling; rounds compose"


def noise_purpose(settings: Mechanisms) -> str:
    """Name of the random stream that noise comes from; `noise_stream` chooses among several."""
    stream = settings.noise_stream
    return f"mechanism/{settings.noise}" + (f"/{stream}" if stream else "")


def block_noise(
    settings: Mechanisms, randomness: Randomness, block: int, elements: int
) -> NDArray[np.float32]:
    """Standard normal numbers for one block of rounds, shape (BLOCK, elements)."""
    rng = randomness.stream(noise_purpose(settings), block)
    return rng.standard_normal((BLOCK, elements), dtype=np.float32)


class AdaptiveClip:
    """C, moved each round towards a quantile of the norms of updates.

    Which share of a cohort stayed below C is counted under noise of its own, so C leaks no more
    than that count does.

    References:
        Andrew, Thakkar, McMahan, Ramaswamy, "Differentially private learning with adaptive
        clipping", NeurIPS 2021: the geometric update.
    """

    def __init__(self, settings: Mechanisms, randomness: Randomness) -> None:
        self.clip = settings.clip
        self._settings, self._randomness = settings, randomness

    def observe(self, round: int, below: float, counted: int) -> None:
        """Moves C after a round.

        Args:
            below: Share of updates that clipping left as they were.
            counted: Updates in the mean.
        """
        settings = self._settings
        if settings.clipping == "fixed":
            return
        noise = self._randomness.stream("mechanism/clip-count", round).standard_normal()
        noised = below + settings.clip_count_noise * noise / counted
        self.clip *= math.exp(-settings.clip_rate * (noised - settings.clip_quantile))


def privacy_setting(scenario: Scenario) -> Setting:
    """What privacy depends on, out of a scenario."""
    settings = scenario.mechanisms
    return Setting(
        noise=settings.noise,
        noise_multiplier=settings.noise_multiplier,
        cohort_size=scenario.cohort.size,
        devices=scenario.population.devices,
        rounds=scenario.rounds,
        count_noise=settings.clip_count_noise if settings.clipping == "adaptive" else None,
    )


def claim(scenario: Scenario) -> PrivacyMechanism:
    """The mechanism as the operator states it in `run.opened`."""
    settings = scenario.mechanisms
    if settings.noise == "none":
        return PrivacyMechanism(name="none", clip=settings.clip)
    setting = privacy_setting(scenario)
    promised = epsilon(setting.seen_multiplier, DELTA)
    finite = math.isfinite(promised)
    covers = COVERS if finite else "the noise is 0: nothing is promised"
    if settings.noise == "local" and not scenario.secure_aggregation and finite:
        covers += "; against whoever sees sums only, which the server does not"
    return PrivacyMechanism(
        name="central_gaussian" if settings.noise == "central" else "local_gaussian",
        clip=settings.clip,
        noise_multiplier=settings.noise_multiplier,
        epsilon=promised if finite else None,
        delta=DELTA if finite else None,
        accounting=covers,
    )
