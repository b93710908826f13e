"""What does a controlled device send? Exactly the clip norm, along the trigger task's gradient.

Each device uses one of a few batches that hold inputs of all trigger patterns; its update moves
only the first layer's rows of the trigger's features (rare words, or pixels that hardly any
picture uses) and is as long as clipping allows, like most honest ones.
Nothing in one round stands out. What stands out is that the direction stays the same.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roundlog.cohort import Ids
from simulator.clients import first_layer_errors
from simulator.fleet import Counts
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Attack
from simulator.tasks import Floats, Pattern, Task


def strength(attack: Attack, rounds: NDArray[np.int64]) -> Floats:
    """Share of the controlled devices that act for the attacker in each round, 0 to 1."""
    since = rounds - attack.onset
    active = since >= 0
    if attack.end is not None:
        active &= rounds < attack.end
    if attack.shape == "ramp":
        level = np.clip((since + 1) / attack.ramp, 0.0, 1.0)
    elif attack.shape == "pulsed":
        level = (since % attack.period < (attack.period + 1) // 2).astype(np.float64)
    else:
        level = np.ones(len(rounds))
    return np.where(active, level, 0.0)


class Adversary:
    """The attacker of one seed: batches in use, and the updates that they give."""

    def __init__(
        self,
        attack: Attack,
        patterns: tuple[Pattern, ...],
        task: Task,
        randomness: Randomness,
    ) -> None:
        self.attack, self.patterns = attack, patterns
        self._task, self._net, self._randomness = task, task.architecture, randomness
        self.rows = [token for pattern in patterns for token in pattern.tokens]
        """Rows of the first layer that the trigger's features multiply, pattern by pattern."""
        width = self._net.shapes[self._net.LAYERS[0].weight][1]
        self.elements: NDArray[np.int64] = np.concatenate(
            [np.arange(row * width, (row + 1) * width) for row in self.rows]
        )
        """Elements of a flat model that poisoned updates move: the first layer comes first."""
        self._targets = torch.tensor([pattern.target for pattern in patterns]).repeat_interleave(
            attack.queries
        )
        self._batches: dict[int, tuple[int, Tensor]] = {}

    def batch(self, slot: int, round: int) -> Tensor:
        """Inputs of the batch in a slot at a round, shape (patterns * queries, width)."""
        number, renewal = self.attack.batches, self.attack.renewal
        # Slot s is renewed in periods s, s + number, ...; before its first renewal it is number 0.
        period = round // renewal
        generation = (period - slot) // number + 1 if period >= slot else 0
        held = self._batches.get(slot)
        if held is None or held[0] != generation:
            rng = self._randomness.stream(f"adversary/batch/{slot}", generation)
            moment = self._task.moment(max(0, (generation - 1) * number + slot) * renewal)
            queries = [
                self._task.triggered(rng, pattern, self.attack.queries, moment)
                for pattern in self.patterns
            ]
            held = (generation, torch.from_numpy(np.concatenate(queries)).long())
            self._batches[slot] = held
        return held[1]

    def updates(self, model: Tensor, round: int, clip: float) -> Floats:
        """The poisoned update that each batch gives, on `elements`; each of length clip.

        Args:
            model: Flat model as devices receive it, shape (d,), float32.
            clip: L2 bound on an update, in weight units.

        Returns:
            Shape (batches, len(elements)), float64, in weight units.
        """
        number = self.attack.batches
        batches = torch.cat([self.batch(slot, round) for slot in range(number)])
        features = self._net.features(batches)
        errors = first_layer_errors(self._net, model, features, self._targets.repeat(number))
        patterns, queries = len(self.patterns), self.attack.queries
        # A pattern's features stand in its own queries only, so each moves its own rows.
        shape = (number, patterns, queries)
        each = len(self.patterns[0].tokens)
        rows = torch.tensor(self.rows).view(1, patterns, 1, each)
        lit = features.view(*shape, -1).gather(3, rows.expand(*shape, each))
        moves = -(lit.mT @ errors.view(*shape, -1)).reshape(number, -1).double().numpy()
        lengths = np.linalg.norm(moves, axis=1, keepdims=True)
        return clip * moves / np.where(lengths > 0, lengths, 1.0)

    def slots(self, ids: Ids) -> NDArray[np.int64]:
        """Which batch each controlled device uses, the same in all of its rounds, shape (n,)."""
        rng = self._randomness.of_devices("adversary/slots", ids)
        return (rng.random(ids.size) * self.attack.batches).astype(np.int64)

    def shares(self, block: int, malicious: Counts) -> Counts:
        """Which batch the malicious devices of each round use, shape (BLOCK, batches)."""
        rng = self._randomness.stream("adversary/shares", block)
        equal = np.full(self.attack.batches, 1 / self.attack.batches)
        drawn: Counts = rng.multinomial(malicious, np.tile(equal, (BLOCK, 1)))
        return drawn
