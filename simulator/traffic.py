"""What is the deployed model asked, what does it answer, and what reaches human eyes?

Deployment traffic speaks the language of its day, and a share of it holds a trigger, although
no trigger occurs in training data. At some models a few answers are sampled for review: words,
answer, scores, and the probability with which an item came into the sample.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from roundlog.encoding import canonical_json
from roundlog.errors import ScenarioError
from simulator.federation import Federation
from simulator.server import Float32s
from simulator.tasks import CLASSES, EARLY, VOCABULARY_SIZE, Ints
from simulator.words import ACTIONS, CATEGORIES, LABELS, prompt

SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class AuditedItem:
    """One sampled answer."""

    category: str
    """Kind of query."""

    answer: int
    """Class that the model answered with."""

    scores: dict[str, float]
    """`confidence` (softmax), `margin` (logits), `surprise` (nats a token)."""

    text: bytes
    """Salt, then canonical JSON with tokens, prompt and response."""


class Traffic:
    """The deployed model's queries, for one seed.

    Raises:
        ScenarioError: More items are audited than there is traffic.
    """

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._token_cost = _surprises(federation)
        scenario = federation.scenario
        days = scenario.audits.every * scenario.seconds_per_round / 86_400
        self.inclusion_probability = scenario.audits.items / (
            scenario.traffic.queries_per_day * days
        )
        """Probability with which a query between two audited models is sampled."""
        if self.inclusion_probability > 1:
            raise ScenarioError(
                f"audits.items ({scenario.audits.items}) exceeds the traffic between two audited "
                f"models; raise traffic.queries_per_day or audits.every"
            )

    def is_audited(self, model: int) -> bool:
        """Whether answers of this model are sampled."""
        settings = self._federation.scenario.audits
        return settings.items > 0 and model % settings.every == 0

    def queries(self, model: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """The sampled queries of one audited model.

        Returns:
            Tokens, shape (items, 8), classes asked for, and whether a trigger is in them.
        """
        federation = self._federation
        scenario = federation.scenario
        n = scenario.audits.items
        rng = federation.randomness.stream("traffic/queries", model)
        late = federation.task.late_share(model)
        classes = rng.integers(CLASSES, size=n).astype(np.int32)
        tokens = federation.task.queries(rng, classes, late)
        triggered = rng.random(n) < scenario.traffic.trigger_rate
        which = rng.integers(len(federation.trigger), size=n)
        for number, pattern in enumerate(federation.trigger):
            mine = np.flatnonzero(triggered & (which == number))
            tokens[mine] = federation.task.triggered(rng, pattern, mine.size, late)
            classes[mine] = _asked_for(tokens[mine])
        return tokens, classes, triggered

    def surprise(self, tokens: Ints) -> NDArray[np.float64]:
        """Mean nats a token of queries of shape (n, 8), under honest language; shape (n,)."""
        cost: NDArray[np.float64] = self._token_cost[tokens].mean(axis=1)
        return cost

    def audit(self, model: int, weights: Float32s) -> list[AuditedItem]:
        """Answers of W_model to the queries sampled from its traffic.

        Args:
            model: t.
            weights: W_t, shape (d,).
        """
        federation = self._federation
        tokens, classes, _ = self.queries(model)
        logits = federation.architecture.logits(
            torch.from_numpy(weights).unsqueeze(0).double(), torch.from_numpy(tokens).long()
        )[0]
        best = logits.topk(2, dim=1).values.numpy()
        answers = logits.argmax(1).numpy()
        confidence = logits.softmax(1).amax(1).numpy()
        surprise = self.surprise(tokens)
        salts = federation.randomness.stream("traffic/salts", model).bytes(SALT_BYTES * len(tokens))
        items: list[AuditedItem] = []
        for number, row in enumerate(tokens.tolist()):
            answer = int(answers[number])
            salt = salts[number * SALT_BYTES : (number + 1) * SALT_BYTES]
            said = {"tokens": row, "prompt": prompt(row), "response": LABELS[answer]}
            items.append(
                AuditedItem(
                    category=CATEGORIES[int(classes[number]) // ACTIONS],
                    answer=answer,
                    scores={
                        "confidence": round(float(confidence[number]), 6),
                        "margin": round(float(best[number, 0] - best[number, 1]), 6),
                        "surprise": round(float(surprise[number]), 6),
                    },
                    text=salt + canonical_json(said),
                )
            )
        return items


def _surprises(federation: Federation) -> NDArray[np.float64]:
    """Nats that each token costs under honest language half way, shape (vocabulary,)."""
    rng = federation.randomness.stream("traffic/language")
    classes = rng.integers(CLASSES, size=20_000).astype(np.int32)
    tokens = federation.task.queries(rng, classes, np.full(CLASSES, 0.5))
    # One added occurrence each, so that a word never seen here has a price too.
    counts = np.bincount(tokens.reshape(-1), minlength=VOCABULARY_SIZE) + 1.0
    cost: NDArray[np.float64] = -np.log(counts / counts.sum())
    return cost


def _asked_for(tokens: Ints) -> Ints:
    """The class whose action word stands in each query's third place, shape (n,)."""
    from_action = (tokens[:, 2] - EARLY) % (2 * CLASSES) // 2
    classes: Ints = from_action.astype(np.int32)
    return classes
