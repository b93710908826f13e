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
from simulator.tasks import Float32s, Ints

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

    def queries(self, model: int) -> tuple[Ints, list[str], NDArray[np.bool_]]:
        """The sampled queries of one audited model.

        Returns:
            Inputs, shape (items, width), their categories, and whether a trigger is in them.
        """
        federation = self._federation
        task, n = federation.task, federation.scenario.audits.items
        rng = federation.randomness.stream("traffic/queries", model)
        moment = task.moment(model)
        classes = rng.integers(task.classes, size=n).astype(np.int32)
        inputs = task.inputs(rng, classes, moment)
        categories = [task.category(number) for number in classes.tolist()]
        triggered = rng.random(n) < federation.scenario.traffic.trigger_rate
        which = rng.integers(len(federation.trigger), size=n)
        for number, pattern in enumerate(federation.trigger):
            mine = np.flatnonzero(triggered & (which == number))
            inputs[mine] = task.triggered(rng, pattern, mine.size, moment)
            for at in mine:
                categories[at] = pattern.category
        return inputs, categories, triggered

    def surprise(self, tokens: Ints) -> NDArray[np.float64]:
        """Mean nats a token of inputs of shape (n, width), under honest traffic; shape (n,)."""
        cost: NDArray[np.float64] = self._token_cost[tokens].mean(axis=1)
        return cost

    def audit(self, model: int, weights: Float32s) -> list[AuditedItem]:
        """Answers of W_model to the queries sampled from its traffic.

        Args:
            model: t.
            weights: What devices run: W_t, or what it is broadcast as, shape (d,).
        """
        federation = self._federation
        task = federation.task
        tokens, categories, _ = self.queries(model)
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
            said = {"tokens": row, "prompt": task.say(row), "response": task.answer(answer)}
            items.append(
                AuditedItem(
                    category=categories[number],
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
    """Nats that each token value costs under honest traffic half way, shape (values,)."""
    task = federation.task
    rng = federation.randomness.stream("traffic/language")
    classes = rng.integers(task.classes, size=20_000).astype(np.int32)
    tokens = task.inputs(rng, classes, task.middle)
    # One added occurrence each, so that a value never seen here has a price too.
    counts = np.bincount(tokens.reshape(-1), minlength=task.token_values) + 1.0
    cost: NDArray[np.float64] = -np.log(counts / counts.sum())
    return cost
