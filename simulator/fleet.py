"""Which devices are there, who of them attends when, and whom does the attacker control?

The fleet is cut into strata: 6 regions by 12 vendors, and by versions of the app where a scenario
has several. A region's attendance follows its clock. All controlled devices are of one vendor:
the first ones, by index, of each of its strata.
"""

import numpy as np
from numpy.typing import NDArray

from roundlog.cohort import Ids, indices_of, strata_of
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Scenario
from simulator.tasks import Floats

REGIONS = ("africa", "asia-east", "asia-south", "europe", "north-america", "south-america")
REGION_SHARES = (0.10, 0.25, 0.30, 0.13, 0.12, 0.10)
# Local time at which attendance peaks, as a share of the day in UTC.
REGION_PEAKS = (0.85, 0.55, 0.65, 0.88, 0.20, 0.05)
VENDORS = tuple(f"vendor-{letter}" for letter in "abcdefghijkl")
# The shares of the eleven innocent vendors among themselves; the guilty one's is a setting.
VENDOR_SHARES = (0.23, 0.19, 0.13, 0.10, 0.08, 0.07, 0.055, 0.05, 0.04, 0.03, 0.025)
# How much a vendor's share differs between regions, as the sd of its logarithm.
REGIONAL_TASTE = 0.25

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
        versions = 0.5 ** np.arange(settings.app_versions)
        by_version = shares[:, :, None] * versions / versions.sum()
        self.strata = stratum_names(settings.app_versions)
        """Names of the strata: region, vendor, and version where there are several."""
        self.devices: Counts = np.rint(by_version * settings.devices).astype(np.int64).reshape(-1)
        """Devices of each stratum, shape (strata,)."""
        vendor = np.tile(np.repeat(np.arange(len(VENDORS)), settings.app_versions), len(REGIONS))
        self.guilty_strata: Counts = np.flatnonzero(vendor == self.guilty)
        """Indices of the guilty vendor's strata."""
        self.controlled_at_most = round(scenario.fraction * settings.devices)
        """Devices that the attacker controls, all of the guilty vendor."""
        self._peaks = randomness.stream("population/vendor-peaks").random(len(VENDORS))

    def attendance(self, rounds: NDArray[np.int64]) -> Floats:
        """Probability that a sampled device is of each stratum, shape (rounds, strata)."""
        settings = self.scenario.population
        day = rounds * self.scenario.seconds_per_round / 86_400
        phase = 2 * np.pi * (day[:, None] - np.array(REGION_PEAKS))
        devices = self.devices.reshape(len(REGIONS), len(VENDORS), -1)
        present = devices * (1 + settings.attendance_swing * np.cos(phase))[:, :, None, None]
        if settings.vendor_swing:
            turn = 2 * np.pi * (day[:, None] - self._peaks)
            present *= (1 + settings.vendor_swing * np.cos(turn))[:, None, :, None]
        flat: Floats = present.reshape(len(rounds), -1)
        flat /= flat.sum(axis=1, keepdims=True)
        return flat

    def cohorts(self, block: int, size: int) -> Counts:
        """Stratum counts of one block's cohorts, shape (BLOCK, strata); each row sums to size."""
        rng = self._randomness.stream("population/cohorts", block)
        rounds = np.arange(block * BLOCK, (block + 1) * BLOCK)
        return rng.multinomial(size, self.attendance(rounds))

    def malicious(self, block: int, counts: Counts, strength: Floats) -> Counts:
        """Devices of each cohort that the attacker controls and uses, m_t.

        Args:
            counts: Stratum counts, shape (BLOCK, strata).
            strength: Share of the controlled devices in use in each round, shape (BLOCK,).

        Returns:
            Hypergeometric given the guilty vendor's count in the cohort, shape (BLOCK,).
        """
        in_use = np.rint(self.controlled_at_most * strength).astype(np.int64)
        total = int(self.devices[self.guilty_strata].sum())
        rng = self._randomness.stream("adversary/cohorts", block)
        return rng.hypergeometric(in_use, total - in_use, counts[:, self.guilty_strata].sum(axis=1))

    def acting(self, ids: Ids, strength: float) -> NDArray[np.bool_]:
        """Which devices act for the attacker, shape (n,).

        Args:
            ids: Devices, shape (n,).
            strength: Share of the controlled devices in use, 0 to 1.
        """
        in_use = np.zeros(len(self.devices), dtype=np.int64)
        in_use[self.guilty_strata] = self._split(round(self.controlled_at_most * strength))
        found: NDArray[np.bool_] = indices_of(ids) < in_use[strata_of(ids)]
        return found

    def _split(self, controlled: int) -> Counts:
        """Controlled devices of each guilty stratum: in proportion, and exact in all."""
        sizes = self.devices[self.guilty_strata]
        up_to = np.rint(np.cumsum(sizes) * (controlled / sizes.sum())).astype(np.int64)
        split: Counts = np.diff(up_to, prepend=0)
        return split


def stratum_names(app_versions: int) -> tuple[str, ...]:
    """Names of all strata, in the order of their counts."""
    names = [f"{region}/{vendor}" for region in REGIONS for vendor in VENDORS]
    if app_versions == 1:
        return tuple(names)
    return tuple(f"{name}/v{n}" for name in names for n in range(app_versions, 0, -1))
