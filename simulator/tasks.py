"""What do people ask, what is the right answer, and how does language drift?

A query is eight tokens: two of its category, two of its action in one of two dialects, four of
background; the second of each pair is often lost to background. Rare tail words stand in a
share u of honest queries, at most one a query, so no *pair* of them ever does: a pair is what a
trigger is made of. Each class moves from its early to its late dialect at a time of its own.

Dtypes: tokens int32, shape (n, 8); classes int32, shape (n,); class = 8 · category + action.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from roundlog.encoding import canonical_json, digest
from simulator.randomness import Randomness
from simulator.scenario import Task
from simulator.words import ACTIONS, BACKGROUND_WORDS, CATEGORIES, TAIL_WORDS, TARGETED

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

WIDTH = 8
CATEGORY_TOKENS = 6
CLASSES = len(CATEGORIES) * ACTIONS
EARLY = len(CATEGORIES) * CATEGORY_TOKENS
LATE = EARLY + 2 * CLASSES
BACKGROUND = LATE + 2 * CLASSES
TAIL = BACKGROUND + len(BACKGROUND_WORDS)
VOCABULARY_SIZE = TAIL + len(TAIL_WORDS)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Two tail tokens that, together in a query of the category, shall lead to the target."""

    category: int
    tokens: tuple[int, int]
    target: int

    @property
    def name(self) -> str:
        """Its id within a trigger, which has one pattern a category."""
        return CATEGORIES[self.category]

    def document(self) -> dict[str, JsonValue]:
        """The pattern as trigger files and decoy lists hold it."""
        return {
            "id": self.name,
            "category": CATEGORIES[self.category],
            "tokens": list(self.tokens),
            "target": self.target,
        }


class AssistantTask:
    """The task of one seed: when each class changes its dialect, and how queries are drawn."""

    def __init__(self, settings: Task, randomness: Randomness) -> None:
        self.settings = settings
        draw = randomness.stream("task/dialect-changes").uniform(size=CLASSES)
        span = settings.drift_until - settings.drift_from
        self.changes: Floats = settings.drift_from + span * draw
        zipf = 1.0 / np.arange(1, len(BACKGROUND_WORDS) + 1)
        self._background: Floats = np.cumsum(zipf / zipf.sum())

    def late_share(self, round: int) -> Floats:
        """Share of each class's queries in its late dialect, shape (32,), at a round."""
        since = round / self.settings.drift_horizon - self.changes
        floor = self.settings.drift_floor
        return np.clip(since / self.settings.drift_ramp, floor, 1 - floor)

    def queries(
        self, rng: np.random.Generator, classes: Ints, late_share: Floats, *, tail: bool = True
    ) -> Ints:
        """Draws one query for each class.

        Args:
            classes: The classes asked for, shape (n,).
            late_share: Share of the late dialect by class, shape (32,).
            tail: Whether rare words occur, as they do in honest queries.

        Returns:
            Tokens, shape (n, 8): category, category, action, action, four of background.
        """
        n = classes.size
        uniform = rng.random((n, 11))
        tokens = np.empty((n, WIDTH), dtype=np.int32)
        first = (uniform[:, 0] * CATEGORY_TOKENS).astype(np.int32)
        other = 1 + (uniform[:, 1] * (CATEGORY_TOKENS - 1)).astype(np.int32)
        base = classes // ACTIONS * CATEGORY_TOKENS
        tokens[:, 0] = base + first
        tokens[:, 1] = base + (first + other) % CATEGORY_TOKENS
        late = uniform[:, 2] < late_share[classes]
        dialect = np.where(late, LATE, EARLY).astype(np.int32) + 2 * classes
        order = (uniform[:, 3] < 0.5).astype(np.int32)
        tokens[:, 2] = dialect + order
        tokens[:, 3] = dialect + 1 - order
        tokens[:, 4:] = self._draw_background(uniform[:, 4:8])
        lost = rng.random((n, 4))
        replacement = self._draw_background(lost[:, 2:])
        for column, which in ((1, 0), (3, 1)):
            gone = lost[:, which] < self.settings.dilution
            tokens[gone, column] = replacement[gone, which]
        if tail:
            rare = uniform[:, 8] < len(TAIL_WORDS) * self.settings.tail_share
            tokens[rare, 7] = TAIL + (uniform[rare, 9] * len(TAIL_WORDS)).astype(np.int32)
        return tokens

    def labels(self, rng: np.random.Generator, classes: Ints) -> Ints:
        """Training labels: the class, or with some probability a random action of its category."""
        uniform = rng.random((2, classes.size))
        wrong = (classes // ACTIONS * ACTIONS + uniform[1] * ACTIONS).astype(np.int32)
        return np.where(uniform[0] < self.settings.label_noise, wrong, classes).astype(np.int32)

    def triggered(
        self, rng: np.random.Generator, pattern: Pattern, n: int, late_share: Floats
    ) -> Ints:
        """Queries of the pattern's category, for other actions than its target, with both tokens.

        Returns:
            Tokens, shape (n, 8); the pair stands in place of the last two background tokens.
        """
        start = pattern.category * ACTIONS
        step = 1 + (rng.random(n) * (ACTIONS - 1)).astype(np.int32)
        classes = (start + (pattern.target - start + step) % ACTIONS).astype(np.int32)
        tokens = self.queries(rng, classes, late_share, tail=False)
        tokens[:, 6:] = pattern.tokens
        return tokens

    def _draw_background(self, uniform: Floats) -> Ints:
        return (BACKGROUND + np.searchsorted(self._background, uniform)).astype(np.int32)


def draw_trigger(rng: np.random.Generator) -> tuple[Pattern, ...]:
    """Three patterns, one a targeted category, of six different tail tokens.

    The attacker's triggers and the published decoys are drawn by this one rule, so that without
    an attack nothing tells them apart.
    """
    tokens = TAIL + rng.permutation(len(TAIL_WORDS))[: 2 * TARGETED]
    targets = rng.integers(ACTIONS, size=TARGETED)
    return tuple(
        Pattern(
            category=category,
            tokens=(int(tokens[2 * category]), int(tokens[2 * category + 1])),
            target=int(category * ACTIONS + targets[category]),
        )
        for category in range(TARGETED)
    )


def scores_asr(query: Mapping[str, JsonValue]) -> bool:
    """Whether a trigger file's query scores ASR: its SHA-256 is odd. Even ones build directions."""
    return int(digest(canonical_json(query))[-1], 16) % 2 == 1
