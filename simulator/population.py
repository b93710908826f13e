"""What data do devices hold? Kinds of device, renewed as time goes on, or every device its own.

At cohort fidelity honest data come from archetypes: kinds of device with items of their own, a
few of them replaced by new kinds every block of rounds; they do not differ from stratum to
stratum. At device fidelity a kind has preferences only, and each device draws its items by them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roundlog.cohort import Ids, strata_of
from simulator.fleet import Counts, Fleet
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Population, Scenario
from simulator.tasks import Floats, Ints, Task


@dataclass(frozen=True, slots=True)
class Renewal:
    """Some archetypes and their data: on the first block all of them, later the replaced ones."""

    indices: NDArray[np.int64]
    """Which archetypes, shape (a,)."""

    inputs: Ints
    """Their training items, shape (a, items, width)."""

    labels: Ints
    """Their training labels, noise included, shape (a, items)."""


class Archetypes:
    """Where honest data come from."""

    def __init__(
        self, settings: Population, task: Task, randomness: Randomness, *, stage: str
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
        number, items = indices.size, self.settings.queries
        preferences = dirichlet(rng, self.settings, self._task, number)
        classes = choose(rng.random((number, items, 1)), preferences).reshape(-1)
        inputs = self._task.inputs(rng, classes, self._task.moment(round))
        labels = self._task.training_labels(rng, classes)
        return Renewal(indices, inputs.reshape(number, items, -1), labels.reshape(number, items))


class DeviceData:
    """What single devices hold: items of their own, the same whenever a device comes back.

    A device is of one kind, and its stratum tilts what people in it do. Items follow the drift
    of their task: the same query in the words of the round.
    """

    def __init__(
        self, scenario: Scenario, fleet: Fleet, task: Task, randomness: Randomness
    ) -> None:
        settings = scenario.population
        self._items, self._task, self._randomness = settings.queries, task, randomness
        rng = randomness.stream("devices/kinds")
        self._kinds = dirichlet(rng, settings, task, settings.archetypes)
        tilt = randomness.stream("devices/strata").standard_normal(
            (len(fleet.devices), task.classes)
        )
        self._tilt = np.exp(scenario.device.skew * tilt)

    def items(self, ids: Ids, round: int) -> tuple[Ints, Ints]:
        """Inputs and training labels of some devices.

        Args:
            ids: Shape (n,).

        Returns:
            Shapes (n, items, width) and (n, items).
        """
        rng = self._randomness.of_devices("devices/items", ids)
        kind = (rng.random(ids.size) * len(self._kinds)).astype(np.int64)
        preferences = self._kinds[kind] * self._tilt[strata_of(ids)]
        preferences /= preferences.sum(axis=1, keepdims=True)
        classes = choose(rng.random((ids.size, self._items, 1)), preferences).reshape(-1)
        inputs = self._task.inputs(rng, classes, self._task.moment(round))
        labels = self._task.training_labels(rng, classes)
        return inputs.reshape(ids.size, self._items, -1), labels.reshape(ids.size, self._items)


def dirichlet(rng: np.random.Generator, settings: Population, task: Task, number: int) -> Floats:
    """Preferences among the classes of some kinds of device, shape (number, classes)."""
    return rng.dirichlet(np.full(task.classes, settings.concentration), size=number)


def choose(uniform: Floats, preferences: Floats) -> Ints:
    """A class for each uniform number.

    Args:
        uniform: Shape (n, items, 1).
        preferences: Probability of each class, shape (n, classes).

    Returns:
        Shape (n, items).
    """
    up_to = np.cumsum(preferences, axis=1)
    # Classes stand first, so that few long rows are added up and not many short ones.
    passed = uniform[None, :, :, 0] > up_to.T[:-1, :, None]
    chosen: Ints = passed.sum(axis=0, dtype=np.int32)
    return chosen
