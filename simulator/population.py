"""Who is in a round's cohort, and what data do they hold?

The fleet is cut into 72 strata, 6 regions by 12 vendors. A region's attendance follows its
clock. A cohort's stratum counts are drawn first; the malicious devices in it then follow from
the hypergeometric law inside the one guilty vendor. Honest data come from archetypes: kinds of
device with queries of their own, a few of them replaced by new kinds every block of rounds.
In this world honest data do not differ from stratum to stratum.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Population, Scenario
from simulator.tasks import CLASSES, WIDTH, AssistantTask, Floats, Ints

REGIONS = ("africa", "asia-east", "asia-south", "europe", "north-america", "south-america")
REGION_SHARES = (0.10, 0.25, 0.30, 0.13, 0.12, 0.10)
# Local time at which attendance peaks, as a share of the day in UTC.
REGION_PEAKS = (0.85, 0.55, 0.65, 0.88, 0.20, 0.05)
VENDORS = tuple(f"vendor-{letter}" for letter in "abcdefghijkl")
# The shares of the eleven innocent vendors among themselves; the guilty one's is a setting.
VENDOR_SHARES = (0.23, 0.19, 0.13, 0.10, 0.08, 0.07, 0.055, 0.05, 0.04, 0.03, 0.025)
# How much a vendor's share differs between regions, as the sd of its logarithm.
REGIONAL_TASTE = 0.25
STRATA = tuple(f"{region}/{vendor}" for region in REGIONS for vendor in VENDORS)

Counts = NDArray[np.int64]


class Fleet:
    """The devices of one seed, by stratum."""

    def __init__(self, scenario: Scenario, randomness: Randomness) -> None:
        self.scenario, self._randomness = scenario, randomness
        settings = scenario.population
        rng = randomness.stream("population/fleet")
        self.guilty = int(rng.integers(len(VENDORS)))
        """Index of the one vendor whose devices the attacker may control."""
        innocent = np.array(VENDOR_SHARES) / sum(VENDOR_SHARES) * (1 - settings.guilty_share)
        vendors = np.insert(rng.permutation(innocent), self.guilty, settings.guilty_share)
        taste = REGIONAL_TASTE * rng.standard_normal((len(REGIONS), len(VENDORS)))
        shares = vendors * np.exp(taste)
        # The guilty vendor's share is exact in the fleet, whatever the regions' tastes are.
        shares *= np.array(REGION_SHARES)[:, None] / shares.sum(axis=1, keepdims=True)
        others = np.delete(np.arange(len(VENDORS)), self.guilty)
        shares[:, self.guilty] *= settings.guilty_share / shares[:, self.guilty].sum()
        shares[:, others] *= (1 - settings.guilty_share) / shares[:, others].sum()
        self.devices: Counts = np.rint(shares * settings.devices).astype(np.int64)
        """Devices of each stratum, shape (regions, vendors)."""
        self.controlled_at_most = round(scenario.fraction * settings.devices)
        """Devices that the attacker controls, all of the guilty vendor."""

    @property
    def guilty_strata(self) -> NDArray[np.int64]:
        """Indices of the guilty vendor's strata, one a region."""
        return np.arange(len(REGIONS)) * len(VENDORS) + self.guilty

    def attendance(self, rounds: NDArray[np.int64]) -> Floats:
        """Probability that a sampled device is of each stratum, shape (rounds, strata)."""
        day = rounds * self.scenario.seconds_per_round / 86_400
        swing = self.scenario.population.attendance_swing
        phase = 2 * np.pi * (day[:, None] - np.array(REGION_PEAKS))
        present = self.devices * (1 + swing * np.cos(phase))[:, :, None]
        flat: Floats = present.reshape(len(rounds), -1)
        flat /= flat.sum(axis=1, keepdims=True)
        return flat

    def cohorts(self, block: int) -> Counts:
        """Stratum counts of one block's cohorts, shape (BLOCK, strata); each row sums to K."""
        rng = self._randomness.stream("population/cohorts", block)
        rounds = np.arange(block * BLOCK, (block + 1) * BLOCK)
        return rng.multinomial(self.scenario.cohort.size, self.attendance(rounds))

    def malicious(self, block: int, counts: Counts, strength: Floats) -> Counts:
        """Devices of each cohort that the attacker controls and uses, m_t.

        Args:
            counts: Stratum counts, shape (BLOCK, strata).
            strength: Share of the controlled devices in use in each round, shape (BLOCK,).

        Returns:
            Hypergeometric given the guilty vendor's count in the cohort, shape (BLOCK,).
        """
        in_use = np.rint(self.controlled_at_most * strength).astype(np.int64)
        vendor = counts.reshape(len(counts), len(REGIONS), len(VENDORS))[:, :, self.guilty]
        total = int(self.devices[:, self.guilty].sum())
        rng = self._randomness.stream("adversary/cohorts", block)
        return rng.hypergeometric(in_use, total - in_use, vendor.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Renewal:
    """Some archetypes and their data: on the first block all of them, later the replaced ones."""

    indices: NDArray[np.int64]
    """Which archetypes, shape (a,)."""

    tokens: Ints
    """Their training queries, shape (a, queries, 8)."""

    labels: Ints
    """Their training labels, noise included, shape (a, queries)."""


class Archetypes:
    """Where honest data come from."""

    def __init__(
        self, settings: Population, task: AssistantTask, randomness: Randomness, *, stage: str
    ) -> None:
        """`stage` keeps the streams of the warm-up apart from those of the run."""
        self.settings, self._task, self._randomness = settings, task, randomness
        self._stage = stage

    def initial(self) -> Renewal:
        """Data of all archetypes as they stand at round 0."""
        rng = self._randomness.stream("archetypes/initial")
        return self._draw(rng, np.arange(self.settings.archetypes), 0)

    def renewal(self, block: int, round: int) -> Renewal:
        """Data of the archetypes that are new in this block, in the language of the round."""
        rng = self._randomness.stream(f"archetypes/{self._stage}", block)
        first = block * self.settings.renewed
        indices = (first + np.arange(self.settings.renewed)) % self.settings.archetypes
        return self._draw(rng, indices, round)

    def counts(self, block: int, devices: int) -> Counts:
        """Devices of each archetype in one block's cohorts, shape (BLOCK, archetypes)."""
        rng = self._randomness.stream(f"archetypes/{self._stage}/counts", block)
        equal = np.full(self.settings.archetypes, 1 / self.settings.archetypes)
        return rng.multinomial(devices, equal, size=BLOCK)

    def without(self, block: int, counts: Counts, leaving: Counts) -> Counts:
        """The counts less devices chosen at random, which act for the attacker instead.

        Args:
            counts: Devices of each archetype, shape (BLOCK, archetypes).
            leaving: How many leave in each round, shape (BLOCK,).
        """
        rng = self._randomness.stream("adversary/replaced", block)
        left = counts.copy()
        for number, gone in enumerate(leaving):
            up_to = np.cumsum(left[number])
            chosen = rng.choice(int(up_to[-1]), int(gone), replace=False)
            kinds = np.searchsorted(up_to, chosen, side="right")
            left[number] -= np.bincount(kinds, minlength=up_to.size)
        return left

    def _draw(self, rng: np.random.Generator, indices: NDArray[np.int64], round: int) -> Renewal:
        number, queries = indices.size, self.settings.queries
        alpha = np.full(CLASSES, self.settings.concentration)
        preferences = np.cumsum(rng.dirichlet(alpha, size=number), axis=1)
        uniform = rng.random((number, queries, 1))
        classes = (uniform > preferences[:, None, :-1]).sum(axis=2).astype(np.int32).reshape(-1)
        tokens = self._task.queries(rng, classes, self._task.late_share(round))
        labels = self._task.labels(rng, classes)
        return Renewal(
            indices, tokens.reshape(number, queries, WIDTH), labels.reshape(number, queries)
        )
