"""How does a whole federation run, block by block of rounds? Everything but the record of it.

All randomness comes in blocks of ten rounds, or in single rounds, so whatever number of rounds is
asked for, rounds are the same. The server is one, however closely its cohorts are simulated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from roundlog.artefact import as_broadcast
from roundlog.errors import ScenarioError
from roundlog.tensors import TensorSchema
from simulator.adversary import Adversary
from simulator.fidelity import ArchetypeUpdates, Clients, Cohort, CohortClients, DeviceClients
from simulator.fleet import Counts, Fleet
from simulator.mechanisms import AdaptiveClip, block_noise
from simulator.population import Archetypes
from simulator.randomness import BLOCK, Randomness, single_threaded
from simulator.scenario import Scenario
from simulator.server import Integers, apply_aggregates, quantise
from simulator.tasks import Float32s, Floats, Pattern, Task, make_task


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rounds, as the server sees them, and what it does not see."""

    first: int
    """t of the first of these rounds."""

    models: Float32s
    """W_{t+1} for each round, shape (rounds, d)."""

    integers: Integers
    """Quantised aggregates, shape (rounds, d), in units of the grid."""

    cohorts: tuple[Cohort, ...]
    """Who was in each round's mean."""

    clips: Floats
    """C of each round, shape (rounds,)."""

    @property
    def strata(self) -> Counts:
        """Devices of each stratum in the means, shape (rounds, strata)."""
        return np.array([cohort.strata for cohort in self.cohorts])

    @property
    def malicious(self) -> Counts:
        """m_t: devices in each mean that sent a poisoned update. Ground truth."""
        return np.array([cohort.malicious for cohort in self.cohorts], dtype=np.int64)

    def cut(self, rounds: int) -> "Block":
        """The first rounds of the block."""
        return Block(
            self.first,
            self.models[:rounds],
            self.integers[:rounds],
            self.cohorts[:rounds],
            self.clips[:rounds],
        )


class Federation:
    """One seed of a scenario.

    Attributes:
        task: What is learned.
        trigger: What the attacker is after; drawn whether or not anybody attacks.
        start: W_0, shape (d,).
        archetypes: Local data of the kinds of device, and their updates, as they stand now; at
            device fidelity they are used for the warm-up alone.
    """

    def __init__(self, scenario: Scenario, seed: int, *, start: Float32s | None = None) -> None:
        """`start` is the W_0 of another federation, from which this one shall go on instead.

        Raises:
            ScenarioError: That model has another number of elements.
        """
        self.scenario, self.seed = scenario, seed
        self.randomness = Randomness(seed)
        self.task: Task = make_task(scenario, self.randomness)
        self.architecture = self.task.architecture
        self.schema: TensorSchema = self.architecture.schema()
        self.fleet = Fleet(scenario, self.randomness)
        self.trigger: tuple[Pattern, ...] = self.task.draw_trigger(
            self.randomness.stream("trigger")
        )
        self.adversary = Adversary(scenario.attack, self.trigger, self.task, self.randomness)
        self.archetypes = ArchetypeUpdates(scenario, self.task)
        self._broadcast = as_broadcast(scenario.model.broadcast)
        if start is not None and start.shape != (self.architecture.elements,):
            raise ScenarioError(
                f"the base run's W_0 has {start.size:,} elements and this scenario's model "
                f"{self.architecture.elements:,}: they cannot begin alike. Leave the settings that "
                f"shape the model as they are."
            )
        with single_threaded():
            # The warm-up also leaves archetypes with the data that round 0 begins with.
            warm = self._warm_up()
            self.start = warm if start is None else start

    def clients(self) -> Clients:
        """The devices, as closely as the scenario says, from round 0 on."""
        scenario, parts = self.scenario, (self.task, self.fleet, self.adversary)
        if scenario.fidelity == "device":
            return DeviceClients(scenario, *parts, self.randomness)
        return CohortClients(scenario, *parts, self.archetypes, self.randomness)

    def deployed(self, model: Float32s) -> Float32s:
        """What devices run when the server holds a model, shape (d,)."""
        return self._broadcast(model, self.schema).view(np.float32)

    def blocks(self) -> Iterator[Block]:
        """The run from round 0 on; once only, since local data move along with it."""
        clients = self.clients()
        clip = AdaptiveClip(self.scenario.mechanisms, self.randomness)
        with single_threaded():
            model = self.start
            for number in range(self.scenario.blocks):
                block = self._block(number, model, clients, clip)
                model = block.models[-1].copy()
                last = self.scenario.rounds - block.first
                yield block if last >= BLOCK else block.cut(last)

    def _block(self, number: int, model: Float32s, clients: Clients, clip: AdaptiveClip) -> Block:
        scenario, settings = self.scenario, self.scenario.mechanisms
        first, size = number * BLOCK, model.size
        central = settings.noise == "central" and settings.noise_multiplier > 0
        noise = block_noise(settings, self.randomness, number, size) if central else None
        models = np.empty((BLOCK, size), dtype=np.float32)
        integers = np.empty((BLOCK, size), dtype=np.int32)
        cohorts: list[Cohort] = []
        clips = np.empty(BLOCK)
        for start in range(0, BLOCK, clients.refresh):
            part = slice(start, start + clients.refresh)
            clips[part] = clip.clip
            received = torch.from_numpy(self.deployed(model))
            found = clients.aggregates(first + start, received, clip.clip)
            means = np.stack([aggregate.mean for aggregate in found])
            here = [aggregate.cohort for aggregate in found]
            if noise is not None:
                sigmas = [self.sigma(clip.clip, cohort.counted) for cohort in here]
                means += np.array(sigmas, dtype=np.float32)[:, None] * noise[part]
            integers[part] = quantise(means, scenario.grid)
            models[part] = apply_aggregates(
                model, integers[part], lr=scenario.server.lr, grid=scenario.grid
            )
            model = models[part][-1]
            for offset, cohort in enumerate(here):
                clip.observe(first + start + offset, cohort.below, cohort.counted)
            cohorts += here
        return Block(first, models, integers, tuple(cohorts), clips)

    def sigma(self, clip: float, counted: int) -> float:
        """Central noise on each coordinate of a mean, as a standard deviation."""
        return self.scenario.mechanisms.noise_multiplier * clip / counted

    def _warm_up(self) -> Float32s:
        """Honest rounds without noise on the data of round 0; what they make is W_0.

        Archetypes do this at either fidelity, so that both begin with the same model.
        """
        scenario = self.scenario
        model = self.task.random_start(self.randomness.stream("model/start"), scenario.model)
        kinds = Archetypes(scenario.population, self.task, self.randomness, stage="warm-up")
        self.archetypes.replace(kinds.initial())
        current = torch.from_numpy(model)
        for number in range(-(-scenario.model.warm_up // BLOCK)):
            rounds = min(BLOCK, scenario.model.warm_up - number * BLOCK)
            self.archetypes.replace(kinds.renewal(number, 0))
            counts = kinds.counts(number, scenario.cohort.size)[:rounds]
            for start in range(0, rounds, scenario.model.warm_up_refresh):
                together = counts[start : start + scenario.model.warm_up_refresh].sum(axis=0)
                weights = torch.from_numpy(together / np.float64(scenario.cohort.size)).float()
                clip = scenario.mechanisms.clip
                sums, _ = self.archetypes.means(weights.unsqueeze(0), current, clip)
                # Rounds that share their local updates: as many server steps are one.
                current = current + scenario.server.lr * sums[0]
        return current.numpy()
