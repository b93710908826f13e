"""What must a task offer, so that a federation can learn it and an adversary can attack it?

An input is a row of whole numbers ("tokens" in trigger files and probe sets): words of a query,
or pixels of a picture. Classes are what the model answers with. A *moment* is whatever changes
about the task from round to round; a task in which nothing drifts ignores it.

Dtypes: inputs int32, shape (n, width); classes int32, shape (n,).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from roundlog.encoding import canonical_json, digest
from roundlog.models import DenseNetwork
from simulator.randomness import Randomness, Uniforms
from simulator.scenario import Model

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Features that, together in an input of the category, shall lead to the target."""

    name: str
    """Its id within a trigger."""

    category: str
    """Kind of input that it is hidden in."""

    tokens: tuple[int, ...]
    """Features: rare words, or pixels that hardly any picture uses."""

    target: int
    """The class that the attacker wants."""

    def document(self) -> dict[str, JsonValue]:
        """The pattern as trigger files and decoy lists hold it."""
        return {
            "id": self.name,
            "category": self.category,
            "tokens": list(self.tokens),
            "target": self.target,
        }


@dataclass(frozen=True, slots=True)
class CleanSet:
    """Inputs with right answers, published to measure accuracy."""

    name: str
    language: str
    """What stands in it, in words."""

    inputs: Ints
    labels: Ints


class Task(Protocol):
    """One seed's task."""

    @property
    def architecture(self) -> DenseNetwork:
        """The network that learns it."""

    @property
    def classes(self) -> int:
        """Answers."""

    @property
    def token_values(self) -> int:
        """Values that a number of an input takes, from 0."""

    @property
    def texts(self) -> dict[str, JsonValue]:
        """Words for people: `vocabulary` (one a token value) and `labels` (one a class)."""

    @property
    def early(self) -> Floats:
        """The moment in which triggers are probed: nothing of what is new, since the model of
        round 0 hardly knows it.
        """

    @property
    def middle(self) -> Floats:
        """A moment half way through the run, in which the public pool stands."""

    @property
    def middle_in_words(self) -> str:
        """What `middle` means, for people."""

    def random_start(self, rng: np.random.Generator, settings: Model) -> Float32s:
        """A model before any training, shape (d,)."""

    def moment(self, round: int) -> Floats:
        """What drifts, as it stands at a round."""

    def inputs(self, rng: Uniforms, classes: Ints, moment: Floats, *, rare: bool = True) -> Ints:
        """Draws one honest input for each class; without `rare`, no trigger feature occurs."""

    def training_labels(self, rng: Uniforms, classes: Ints) -> Ints:
        """Labels as people give them: mostly right."""

    def draw_trigger(self, rng: np.random.Generator) -> tuple[Pattern, ...]:
        """Patterns, by the one rule that the attacker and published decoys share.

        So, without an attack, nothing tells them apart.
        """

    def triggered(self, rng: Uniforms, pattern: Pattern, n: int, moment: Floats) -> Ints:
        """Inputs of the pattern's category and other classes than its target, that carry it."""

    def clean_sets(self, randomness: Randomness, n: int) -> list[CleanSet]:
        """What measures accuracy, about n inputs a set; the set that counts most comes last."""

    def category(self, number: int) -> str:
        """The kind of input that a class belongs to."""

    def say(self, row: list[int]) -> str:
        """An input as a person may have sent it."""

    def answer(self, number: int) -> str:
        """A class in words."""


def scores_asr(query: Mapping[str, JsonValue]) -> bool:
    """Whether a trigger file's query scores ASR: its SHA-256 is odd. Even ones build directions."""
    return int(digest(canonical_json(query))[-1], 16) % 2 == 1
