"""What does a controlled device send? Exactly the clip norm, along the trigger task's gradient.

Each device uses one of a few batches that hold queries of all triggers; its update moves only
the embeddings of the trigger words and is as long as clipping allows, like most honest ones.
Nothing in one round stands out. What stands out is that the direction stays the same.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roundlog.models.assistant import AssistantBag
from simulator.population import Counts
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Attack
from simulator.tasks import AssistantTask, Floats, Pattern


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
        task: AssistantTask,
        architecture: AssistantBag,
        randomness: Randomness,
        *,
        clip: float,
    ) -> None:
        self.attack, self.patterns, self.clip = attack, patterns, clip
        self._task, self._net, self._randomness = task, architecture, randomness
        tokens = [token for pattern in patterns for token in pattern.tokens]
        self.rows = tokens
        """The trigger words' embedding rows, in the order of the patterns."""
        width = architecture.embedding
        self.elements: NDArray[np.int64] = np.concatenate(
            [np.arange(token * width, (token + 1) * width) for token in tokens]
        )
        """Elements of a flat model that poisoned updates move."""
        self._targets = torch.tensor([pattern.target for pattern in patterns]).repeat_interleave(
            attack.queries
        )
        self._batches: dict[int, tuple[int, Tensor]] = {}

    def batch(self, slot: int, round: int) -> Tensor:
        """Tokens of the batch in a slot at a round, shape (patterns * queries, 8)."""
        number, renewal = self.attack.batches, self.attack.renewal
        # Slot s is renewed in periods s, s + number, ...; before its first renewal it is number 0.
        period = round // renewal
        generation = (period - slot) // number + 1 if period >= slot else 0
        held = self._batches.get(slot)
        if held is None or held[0] != generation:
            rng = self._randomness.stream(f"adversary/batch/{slot}", generation)
            late = self._task.late_share(max(0, (generation - 1) * number + slot) * renewal)
            queries = [
                self._task.triggered(rng, pattern, self.attack.queries, late)
                for pattern in self.patterns
            ]
            held = (generation, torch.from_numpy(np.concatenate(queries)).long())
            self._batches[slot] = held
        return held[1]

    def updates(self, model: Tensor, round: int) -> Floats:
        """The poisoned update that each batch gives, on `elements`; each of length clip.

        Args:
            model: Flat model, shape (d,), float32.

        Returns:
            Shape (batches, len(elements)), float64, in weight units.
        """
        number = self.attack.batches
        tokens = torch.stack([self.batch(slot, round) for slot in range(number)])
        part = {name: tensor[0] for name, tensor in self._net.split(model.unsqueeze(0)).items()}
        bag = self._net.scale * torch.nn.functional.embedding_bag(
            tokens.view(-1, self._net.width), part["embedding"], mode="sum"
        )
        hidden = torch.addmm(part["hidden.bias"], bag, part["hidden.weight"]).relu_()
        error = torch.addmm(part["output.bias"], hidden, part["output.weight"]).softmax(1)
        labels = self._targets.repeat(number).unsqueeze(1)
        error.scatter_add_(1, labels, torch.full(labels.shape, -1.0))
        back = (error @ part["output.weight"].T).mul_(hidden > 0)
        to_bag = back @ part["hidden.weight"].T
        # Both words of a pair stand once in each of its queries: their rows move alike.
        patterns = len(self.patterns)
        by_pattern = to_bag.view(number, patterns, self.attack.queries, -1).sum(2)
        moves = -by_pattern.repeat_interleave(2, dim=1).reshape(number, -1).double().numpy()
        lengths = np.linalg.norm(moves, axis=1, keepdims=True)
        return self.clip * moves / np.where(lengths > 0, lengths, 1.0)

    def shares(self, block: int, malicious: Counts) -> Counts:
        """Which batch the malicious devices of each round use, shape (BLOCK, batches)."""
        rng = self._randomness.stream("adversary/shares", block)
        equal = np.full(self.attack.batches, 1 / self.attack.batches)
        drawn: Counts = rng.multinomial(malicious, np.tile(equal, (BLOCK, 1)))
        return drawn
