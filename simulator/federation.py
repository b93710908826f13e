"""How does a whole federation run, block by block of rounds? Everything but the record of it.

All randomness comes in blocks of ten rounds, so whatever number of rounds is asked for, rounds
are the same. Local updates are computed against the model at the start of each refresh (ten
rounds by default, one for the literal protocol): models move so slowly that the story does
not change, and the simulation is several times faster.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from roundlog.models.assistant import AssistantBag
from roundlog.tensors import TensorSchema
from simulator.adversary import Adversary, strength
from simulator.clients import LocalTraining
from simulator.mechanisms import central_noise
from simulator.population import Archetypes, Counts, Fleet
from simulator.randomness import BLOCK, Randomness, single_threaded
from simulator.scenario import Scenario
from simulator.server import Float32s, Integers, apply_aggregates, quantise
from simulator.tasks import TAIL, AssistantTask, Pattern, draw_trigger


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rounds, as the server sees them, and what it does not see."""

    first: int
    """t of the first of these rounds."""

    models: Float32s
    """W_{t+1} for each round, shape (rounds, d)."""

    integers: Integers
    """Quantised aggregates, shape (rounds, d), in units of the grid."""

    strata: Counts
    """Devices of each stratum in the cohorts, shape (rounds, strata)."""

    malicious: Counts
    """m_t: devices of the cohort that sent a poisoned update, shape (rounds,). Ground truth."""


class Federation:
    """One seed of a scenario.

    Attributes:
        trigger: What the attacker is after; drawn whether or not anybody attacks.
        start: W_0, shape (d,).
        training: Local data of the archetypes as they stand now, and their updates.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.randomness = Randomness(seed)
        self.architecture = AssistantBag()
        self.schema: TensorSchema = self.architecture.schema()
        self.task = AssistantTask(scenario.task, self.randomness)
        self.fleet = Fleet(scenario, self.randomness)
        self.trigger: tuple[Pattern, ...] = draw_trigger(self.randomness.stream("trigger"))
        self.adversary = Adversary(
            scenario.attack,
            self.trigger,
            self.task,
            self.architecture,
            self.randomness,
            clip=scenario.mechanisms.clip,
        )
        self.training = LocalTraining(
            self.architecture,
            scenario.population.archetypes,
            scenario.population.queries,
            lr=scenario.client.lr,
            clip=scenario.mechanisms.clip,
        )
        self._archetypes = Archetypes(scenario.population, self.task, self.randomness, stage="run")
        with single_threaded():
            self.start = self._warm_up(self._random_start())

    def blocks(self) -> Iterator[Block]:
        """The run from round 0 on; once only, since local data move along with it."""
        with single_threaded():
            model = self.start
            for number in range(self.scenario.blocks):
                block = self._block(number, model)
                model = block.models[-1].copy()
                last = self.scenario.rounds - block.first
                yield block if last >= BLOCK else _cut(block, last)

    def _block(self, number: int, model: Float32s) -> Block:
        scenario, settings = self.scenario, self.scenario.population
        first = number * BLOCK
        rounds = np.arange(first, first + BLOCK)
        self.training.replace(self._archetypes.renewal(number, first))
        strata = self.fleet.cohorts(number)
        counts = self._archetypes.counts(number, scenario.cohort.size)
        acting = strength(scenario.attack, rounds)
        attacked = scenario.fraction > 0 and bool(acting.any())
        malicious = np.zeros(BLOCK, dtype=np.int64)
        if attacked:
            malicious = self.fleet.malicious(number, strata, acting)
            counts = self._archetypes.without(number, counts, malicious)
            shares = self.adversary.shares(number, malicious)
        weights = torch.from_numpy(counts / np.float64(scenario.cohort.size)).float()
        sigma = np.float32(scenario.sigma)
        noise = central_noise(self.randomness, number, model.size) if sigma else None
        models = np.empty((BLOCK, model.size), dtype=np.float32)
        integers = np.empty((BLOCK, model.size), dtype=np.int32)
        for start in range(0, BLOCK, settings.refresh):
            part = slice(start, start + settings.refresh)
            current = torch.from_numpy(model)
            mean = (weights[part] @ self.training.updates(current)).numpy()
            if attacked:
                moves = self.adversary.updates(current, first + start)
                poison = shares[part] @ moves / scenario.cohort.size
                mean[:, self.adversary.elements] += poison.astype(np.float32)
            if noise is not None:
                mean += sigma * noise[part]
            integers[part] = quantise(mean, scenario.grid)
            models[part] = apply_aggregates(
                model, integers[part], lr=scenario.server.lr, grid=scenario.grid
            )
            model = models[part][-1]
        return Block(first, models, integers, strata, malicious)

    def _random_start(self) -> Float32s:
        rng = self.randomness.stream("model/start")
        net, settings = self.architecture, self.scenario.model
        embedding = settings.embedding_sd * rng.standard_normal((net.vocabulary, net.embedding))
        embedding[TAIL:] *= settings.tail_sd / settings.embedding_sd
        tensors: dict[str, NDArray[np.float64]] = {
            "embedding": embedding,
            "hidden.weight": settings.hidden_sd * rng.standard_normal((net.embedding, net.hidden)),
            "hidden.bias": np.zeros(net.hidden),
            "output.weight": settings.output_sd * rng.standard_normal((net.hidden, net.classes)),
            "output.bias": np.zeros(net.classes),
        }
        flat = self.schema.flatten({name: t.astype(np.float32) for name, t in tensors.items()})
        return flat.view(np.float32)

    def _warm_up(self, model: Float32s) -> Float32s:
        """Honest rounds without noise on the data of round 0; what they make is W_0."""
        scenario = self.scenario
        kinds = Archetypes(scenario.population, self.task, self.randomness, stage="warm-up")
        self.training.replace(kinds.initial())
        current = torch.from_numpy(model)
        for number in range(-(-scenario.model.warm_up // BLOCK)):
            rounds = min(BLOCK, scenario.model.warm_up - number * BLOCK)
            self.training.replace(kinds.renewal(number, 0))
            counts = kinds.counts(number, scenario.cohort.size)[:rounds].sum(axis=0)
            weights = torch.from_numpy(counts / np.float64(scenario.cohort.size)).float()
            # Ten rounds share their local updates, so ten server steps are one.
            current = current + scenario.server.lr * (weights @ self.training.updates(current))
        return current.numpy()


def _cut(block: Block, rounds: int) -> Block:
    return Block(
        block.first,
        block.models[:rounds],
        block.integers[:rounds],
        block.strata[:rounds],
        block.malicious[:rounds],
    )
