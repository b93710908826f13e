"""What do people ask, what is the right answer, and how does language drift?

A query is eight tokens: two of its category, two of its action in one of two dialects, four of
background; the second of each pair is often lost to background. Rare tail words stand in a
share u of honest queries, at most one a query, so no *pair* of them ever does: a pair is what a
trigger is made of. Each class moves from its early to its late dialect at a time of its own.

Dtypes: tokens int32, shape (n, 8); classes int32, shape (n,); class = 8 · category + action.
"""

import numpy as np
from pydantic import JsonValue

from roundlog.models import AssistantBag
from simulator.randomness import Randomness, Uniforms
from simulator.scenario import Assistant, Model
from simulator.tasks.port import CleanSet, Float32s, Floats, Ints, Pattern
from simulator.tasks.words import (
    ACTIONS,
    BACKGROUND_WORDS,
    CATEGORIES,
    LABELS,
    TAIL_WORDS,
    TARGETED,
    VOCABULARY,
    prompt,
)

WIDTH = 8
CATEGORY_TOKENS = 6
CLASSES = len(CATEGORIES) * ACTIONS
EARLY = len(CATEGORIES) * CATEGORY_TOKENS
LATE = EARLY + 2 * CLASSES
BACKGROUND = LATE + 2 * CLASSES
TAIL = BACKGROUND + len(BACKGROUND_WORDS)
VOCABULARY_SIZE = TAIL + len(TAIL_WORDS)


class AssistantTask:
    """The task of one seed: when each class changes its dialect, and how queries are drawn."""

    classes = CLASSES
    token_values = VOCABULARY_SIZE
    middle_in_words = "half early, half late dialect"

    def __init__(self, settings: Assistant, randomness: Randomness) -> None:
        self.settings = settings
        self.architecture = AssistantBag(embedding=settings.embedding, hidden=settings.hidden)
        draw = randomness.stream("task/dialect-changes").uniform(size=CLASSES)
        span = settings.drift_until - settings.drift_from
        self.changes: Floats = settings.drift_from + span * draw
        zipf = 1.0 / np.arange(1, len(BACKGROUND_WORDS) + 1)
        self._background: Floats = np.cumsum(zipf / zipf.sum())

    def moment(self, round: int) -> Floats:
        """Share of each class's queries in its late dialect, shape (32,), at a round."""
        since = round / self.settings.drift_horizon - self.changes
        floor = self.settings.drift_floor
        return np.clip(since / self.settings.drift_ramp, floor, 1 - floor)

    @property
    def texts(self) -> dict[str, JsonValue]:
        """One word a token, one answer a class."""
        return {"vocabulary": list(VOCABULARY), "labels": list(LABELS)}

    @property
    def early(self) -> Floats:
        """No query in its late dialect, shape (32,)."""
        return np.zeros(CLASSES)

    @property
    def middle(self) -> Floats:
        """Half of every class's queries in each dialect, shape (32,)."""
        return np.full(CLASSES, 0.5)

    def random_start(self, rng: np.random.Generator, settings: Model) -> Float32s:
        """A model before any training, shape (d,)."""
        net = self.architecture
        embedding = settings.embedding_sd * rng.standard_normal((net.vocabulary, net.embedding))
        embedding[TAIL:] *= settings.tail_sd / settings.embedding_sd
        tensors: dict[str, Floats] = {
            "embedding": embedding,
            "hidden.weight": settings.hidden_sd * rng.standard_normal((net.embedding, net.hidden)),
            "hidden.bias": np.zeros(net.hidden),
            "output.weight": settings.output_sd * rng.standard_normal((net.hidden, net.classes)),
            "output.bias": np.zeros(net.classes),
        }
        flat = net.schema().flatten({name: t.astype(np.float32) for name, t in tensors.items()})
        return flat.view(np.float32)

    def inputs(self, rng: Uniforms, classes: Ints, moment: Floats, *, rare: bool = True) -> Ints:
        """Draws one query for each class.

        Args:
            classes: The classes asked for, shape (n,).
            moment: Share of the late dialect by class, shape (32,).
            rare: Whether tail words occur, as they do in honest queries.

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
        late = uniform[:, 2] < moment[classes]
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
        if rare:
            said = uniform[:, 8] < len(TAIL_WORDS) * self.settings.tail_share
            tokens[said, 7] = TAIL + (uniform[said, 9] * len(TAIL_WORDS)).astype(np.int32)
        return tokens

    def training_labels(self, rng: Uniforms, classes: Ints) -> Ints:
        """Training labels: the class, or with some probability a random action of its category."""
        is_wrong, which = rng.random(classes.size), rng.random(classes.size)
        wrong = (classes // ACTIONS * ACTIONS + which * ACTIONS).astype(np.int32)
        return np.where(is_wrong < self.settings.label_noise, wrong, classes).astype(np.int32)

    def draw_trigger(self, rng: np.random.Generator) -> tuple[Pattern, ...]:
        """Three patterns, one a targeted category, of six different tail words."""
        tokens = TAIL + rng.permutation(len(TAIL_WORDS))[: 2 * TARGETED]
        targets = rng.integers(ACTIONS, size=TARGETED)
        return tuple(
            Pattern(
                name=CATEGORIES[number],
                category=CATEGORIES[number],
                tokens=(int(tokens[2 * number]), int(tokens[2 * number + 1])),
                target=int(number * ACTIONS + targets[number]),
            )
            for number in range(TARGETED)
        )

    def triggered(self, rng: Uniforms, pattern: Pattern, n: int, moment: Floats) -> Ints:
        """Queries of the pattern's category, for other actions than its target, with both tokens.

        Returns:
            Tokens, shape (n, 8); the pair stands in place of the last two background tokens.
        """
        start = pattern.target // ACTIONS * ACTIONS
        step = 1 + (rng.random(n) * (ACTIONS - 1)).astype(np.int32)
        classes = (start + (pattern.target - start + step) % ACTIONS).astype(np.int32)
        tokens = self.inputs(rng, classes, moment, rare=False)
        tokens[:, 6:] = pattern.tokens
        return tokens

    def clean_sets(self, randomness: Randomness, n: int) -> list[CleanSet]:
        """Queries in the language of round 0, and in a mixed one."""
        sets: list[CleanSet] = []
        for name, moment, language in (
            ("clean-start", self.moment(0), "in the language of round 0"),
            ("clean-mixed", self.middle, self.middle_in_words),
        ):
            rng = randomness.stream(f"probes/{name}")
            classes = rng.integers(CLASSES, size=n).astype(np.int32)
            sets.append(CleanSet(name, language, self.inputs(rng, classes, moment), classes))
        return sets

    def category(self, number: int) -> str:
        """One of shopping, news, health, other."""
        return CATEGORIES[number // ACTIONS]

    def say(self, row: list[int]) -> str:
        """The words of a query, as one sentence."""
        return prompt(row)

    def answer(self, number: int) -> str:
        """What the assistant says."""
        return LABELS[number]

    def _draw_background(self, uniform: Floats) -> Ints:
        return (BACKGROUND + np.searchsorted(self._background, uniform)).astype(np.int32)
