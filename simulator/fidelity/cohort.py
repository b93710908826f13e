"""What is a cohort's mean, without its devices? Counts of archetypes, times their updates.

A cohort of ten thousand out of billions is a multinomial draw of kinds of device: its mean costs
as much at any population. Local updates are computed against the model at the start of each
refresh (ten rounds by default, one for the literal protocol): models move so slowly that the
story does not change, and the simulation is several times faster.
"""

import math

import numpy as np
import torch
from torch import Tensor

from simulator.adversary import Adversary, strength
from simulator.clients import LocalTraining, clip_
from simulator.fidelity.port import Aggregate, Cohort
from simulator.fleet import Counts, Fleet
from simulator.mechanisms import block_noise
from simulator.population import Archetypes, Renewal
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Scenario
from simulator.tasks import Float32s, Task


class ArchetypeUpdates:
    """Local data of all archetypes as they stand now, and means of their clipped updates."""

    def __init__(self, scenario: Scenario, task: Task) -> None:
        number, items = scenario.population.archetypes, scenario.population.queries
        client = scenario.client
        self.network = task.architecture
        self._training = LocalTraining(
            self.network, lr=client.lr, steps=client.steps, batch=client.batch
        )
        self._features = torch.zeros(number, items, self.network.feature_rows)
        self._labels = torch.zeros(number, items, dtype=torch.int64)

    def replace(self, renewal: Renewal) -> None:
        """Gives some archetypes new data."""
        at = torch.from_numpy(renewal.indices)
        self._features[at] = self.network.features(torch.from_numpy(renewal.inputs))
        self._labels[at] = torch.from_numpy(renewal.labels).long()

    def means(self, weights: Tensor, model: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        """Weighted sums of the archetypes' clipped updates.

        Args:
            weights: Weight of each archetype, shape (rounds, archetypes).
            model: Flat model that devices received, shape (d,), float32.

        Returns:
            The sums, shape (rounds, d), and the weight of updates that clipping left as they
            were, shape (rounds,).
        """
        size = self._training.chunk
        sums = torch.zeros(len(weights), self.network.elements)
        below = torch.zeros(len(weights))
        for start in range(0, len(self._labels), size):
            part = slice(start, start + size)
            updates = self._training.updates(model, self._features[part], self._labels[part])
            norms = clip_(updates, clip)
            sums.addmm_(weights[:, part], updates)
            below.addmv_(weights[:, part], (norms <= clip).float())
        return sums, below


class CohortClients:
    """Cohort fidelity, as `Clients`."""

    def __init__(
        self,
        scenario: Scenario,
        task: Task,
        fleet: Fleet,
        adversary: Adversary,
        updates: ArchetypeUpdates,
        randomness: Randomness,
    ) -> None:
        self.scenario, self.refresh = scenario, scenario.population.refresh
        self._fleet, self._adversary, self._updates = fleet, adversary, updates
        self._randomness = randomness
        self._archetypes = Archetypes(scenario.population, task, randomness, stage="run")
        self._noise: Float32s | None = None

    def aggregates(self, first: int, model: Tensor, clip: float) -> list[Aggregate]:
        """As `Clients.aggregates`."""
        scenario, size = self.scenario, self.scenario.cohort.size
        if first % BLOCK == 0:
            self._begin(first // BLOCK)
        rows = slice(first % BLOCK, first % BLOCK + self.refresh)
        sums, below = self._updates.means(self._weights[rows], model, clip)
        means = sums.numpy()
        if self._shares is not None:
            moves = self._adversary.updates(model, first, clip)
            poison = self._shares[rows] @ moves / size
            means[:, self._adversary.elements] += poison.astype(np.float32)
        if self._noise is not None:
            # Independent noise of K devices is sqrt(K) times one device's, and the mean K-th of it.
            sigma = scenario.mechanisms.noise_multiplier * clip / math.sqrt(size)
            means += np.float32(sigma) * self._noise[rows]
        malicious = self._malicious[rows]
        return [
            Aggregate(
                mean=means[number],
                cohort=Cohort(
                    strata=self._strata[rows][number],
                    counted=size,
                    malicious=int(malicious[number]),
                    below=float(below[number]) + int(malicious[number]) / size,
                ),
            )
            for number in range(self.refresh)
        ]

    def _begin(self, block: int) -> None:
        """Draws a block's cohorts, and who in them acts for the attacker."""
        scenario = self.scenario
        first, size = block * BLOCK, scenario.cohort.size
        self._updates.replace(self._archetypes.renewal(block, first))
        self._strata: Counts = self._fleet.cohorts(block, size)
        counts = self._archetypes.counts(block, size)
        acting = strength(scenario.attack, np.arange(first, first + BLOCK))
        self._malicious: Counts = np.zeros(BLOCK, dtype=np.int64)
        self._shares: Counts | None = None
        if scenario.fraction > 0 and acting.any():
            self._malicious = self._fleet.malicious(block, self._strata, acting)
            counts = self._archetypes.without(block, counts, self._malicious)
            self._shares = self._adversary.shares(block, self._malicious)
        self._weights = torch.from_numpy(counts / np.float64(size)).float()
        if scenario.mechanisms.noise == "local":
            elements = self._updates.network.elements
            self._noise = block_noise(scenario.mechanisms, self._randomness, block, elements)
