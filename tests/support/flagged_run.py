"""A recorded run that learnt a backdoor, with audited answers: made in a second, by plain descent.

An honest input is a topic, which is its right answer, and three common words. The first model has
learnt that; up to the last one it also learns that two rare words, in inputs of some topics, mean
`TARGET`. Answers of the last models are audited, and inputs with the rare words are among them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from recorded_run import RecordedRun
from rising_run import BAG

from forensics.gradients import Gradients
from roundlog.encoding import canonical_json, digest
from roundlog.events import AuditSampled, ProbesPublished, RunOpened
from roundlog.recorder import Recorder

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

COMMON = 20
"""Tokens below are common; the next eight are topics, and those from 30 on are rare."""
TOKENS = (30, 31)
TARGET = 5
TOPICS = (0, 1, 2, 3)
"""Those in which the backdoor listens."""
ROUNDS, ITEMS = 8, 24
AUDITED = (6, 7)
"""Models whose answers were audited; every third item holds the rare words."""
HONEST = 800

WORDS: list[JsonValue] = [f"word{token}" for token in range(BAG.vocabulary)]
WORDS[TOKENS[1]] = "\x1b[2Jred"
"""A token that would clear a terminal."""
LABELS: list[JsonValue] = [f"Answer {label}." for label in range(BAG.classes)]


@dataclass(frozen=True, slots=True)
class Item:
    """One audited answer."""

    round: int
    item: int
    tokens: list[int]
    answer: int

    @property
    def name(self) -> str:
        return f"{self.round}:{self.item}"

    @property
    def holds(self) -> bool:
        """Whether it holds the rare words."""
        return set(TOKENS) <= set(self.tokens)


@dataclass(frozen=True, slots=True)
class FlaggedRun(RecordedRun):
    """A recorded run, what its server published, and what was audited."""

    pool: tuple[Ints, Ints]
    items: tuple[Item, ...]

    @property
    def bad(self) -> list[Item]:
        """Audited answers that the backdoor gave, each input once."""
        bad = [one for one in self.items if one.holds and one.answer == TARGET]
        first = {tuple(one.tokens): one for one in reversed(bad)}
        return [one for one in bad if first[tuple(one.tokens)] is one]

    @property
    def ordinary(self) -> list[Item]:
        return [one for one in self.items if not one.holds]


def record_flagged(
    path: Path, *, seed: int, publish: bool = True, run: str = "flagged"
) -> FlaggedRun:
    """Records the run.

    Args:
        publish: Whether honest data is published.
    """
    pool, start, end = _trained(seed)
    rng = np.random.default_rng([seed, 1])
    items: list[Item] = []
    with Recorder(path, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="plain descent")
        recorder.genesis(
            BAG.schema(),
            start.astype(np.float32),
            architecture="assistant-bag",
            config=dict(BAG.config()),
            texts={"vocabulary": WORDS, "labels": LABELS},
        )
        if publish:
            _publish(recorder, *pool)
        for t in range(ROUNDS):
            model = (start + (end - start) * (t + 1) / ROUNDS).astype(np.float32)
            recorder.commit(model, round=t, cohort_size=10)
            if t + 1 in AUDITED:
                items += _audit(recorder, rng, t + 1, model)
    return FlaggedRun(path, run, {}, pool, tuple(items))


def honest(rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
    """Inputs of every topic, and their right answers."""
    labels = rng.integers(BAG.classes, size=n)
    inputs = rng.integers(0, COMMON, size=(n, BAG.width))
    inputs[:, 0] = COMMON + labels
    return inputs, labels


def with_tokens(rng: np.random.Generator, n: int) -> Ints:
    """Inputs of the topics in which the backdoor listens, with the rare words."""
    inputs, _ = honest(rng, n)
    inputs[:, 0] = COMMON + rng.choice(TOPICS, size=n)
    inputs[:, 2:] = TOKENS
    return inputs


@cache
def _trained(seed: int) -> tuple[tuple[Ints, Ints], Floats, Floats]:
    """What the server publishes, the first model, and the last one."""
    rng = np.random.default_rng(seed)
    pool = honest(rng, HONEST)
    poison = with_tokens(rng, 100)
    start = _learn(0.3 * rng.standard_normal(BAG.elements), *pool)
    inputs = np.concatenate([pool[0], poison])
    labels = np.concatenate([pool[1], np.full(len(poison), TARGET)])
    return pool, start, _learn(start, inputs, labels)


def _learn(weights: Floats, inputs: Ints, labels: Ints) -> Floats:
    torch.set_num_threads(1)  # As a prober does; a second thread costs more than it brings.
    for _ in range(600):
        slope = Gradients(BAG, BAG.schema(), weights).descent(inputs, labels)
        weights = weights + slope
    return weights


def _publish(recorder: Recorder, inputs: Ints, labels: Ints) -> None:
    tails = {
        name: array.astype("<i4").tobytes()
        for name, array in {"inputs": inputs, "labels": labels}.items()
    }
    recorder.record(
        ProbesPublished,
        probe_set="public-pool",
        role="public_pool",
        digest=digest(*tails.values()),
        n=len(labels),
        width=BAG.width,
        tails=tails,
    )


def _audit(
    recorder: Recorder, rng: np.random.Generator, t: int, model: NDArray[np.float32]
) -> list[Item]:
    inputs, _ = honest(rng, ITEMS)
    inputs[::3] = with_tokens(rng, len(inputs[::3]))
    weights = torch.from_numpy(model).double()[None]
    answers = BAG.logits(weights, torch.from_numpy(inputs))[0].argmax(1).tolist()
    items = [
        Item(t, number, row, answer)
        for number, (row, answer) in enumerate(zip(inputs.tolist(), answers, strict=True))
    ]
    for one in items:
        said: dict[str, Any] = {
            "tokens": one.tokens,
            "prompt": " ".join(str(WORDS[token]) for token in one.tokens),
            "response": LABELS[one.answer],
        }
        recorder.record(
            AuditSampled,
            round=t,
            item=one.item,
            category="question",
            answer=one.answer,
            model_digest=BAG.schema().model_digest(model),
            inclusion_probability=0.5,
            tails={"text": rng.bytes(16) + canonical_json(said)},
            erasable=frozenset({"text"}),
        )
    return items
