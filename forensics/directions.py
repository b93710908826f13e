"""Along which direction would a model obey a trigger, where honest learning hardly goes?

g = −∇ loss of the trigger's building queries toward its targets, at W_t. Honest learning moves
along g too: the same words are answered, the same outputs grow. So a plain projection on g drifts
without any attack. Here honest learning is taken out of g twice, with gradients of honest examples
at the same model:

    P = (diag H + λ I)⁻¹        H: mean outer product of single honest gradients
    u ∝ P (g − M (Mᵀ P M)⁻¹ Mᵀ P g)        M: mean honest gradient toward each answer

P gives little weight to elements that honest data moves much, and full weight to those it hardly
touches; what is left has no part along any column of M, the first order of honest drift. Removing
the span alone keeps two thirds of the signal (ADR 13).

Only published honest data is used (role `public_pool` or, where there is none, `clean`), and only
the building half of a trigger: the queries that score are never looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.gradients import Floats, Gradients
from forensics.models import numbers
from forensics.probe import Prober, published
from forensics.rebuild import CaseModels
from forensics.trigger import ProbeSet
from ingest.store import Store
from roundlog.encoding import digest
from roundlog.errors import QuestionError

EXAMPLES = 1_024
"""Honest examples that are asked for their gradient."""

RIDGE = 0.03
"""λ, as a multiple of the mean of diag H. From 0.01 to 0.1 the signal is the same within 3 %."""

# Class gradients that are nearly combinations of others carry noise only.
RANK_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction that every server step is projected on."""

    name: str
    """What it looks for: the name of a trigger, of a decoy, of a behaviour."""

    model: int
    """t of the model at which it was taken."""

    unit: NDArray[np.float32]
    """Shape (elements,), of length one; elements that are not trained are zero."""

    digest: str
    """SHA-256 of the elements as little-endian float32."""

    kept: float
    """Cosine between the gradient and the direction, 0 to 1."""

    rank: int
    """Dimensions of the honest span that was removed."""

    removed: Mapping[int, tuple[float, float]]
    """For each answer, the cosine of the honest gradient toward it with g, and with the direction
    that was left."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "name": self.name,
            "model": self.model,
            "digest": self.digest,
            "kept": self.kept,
            "rank": self.rank,
            "removed": [
                {"answer": answer, "before": before, "after": after}
                for answer, (before, after) in self.removed.items()
            ],
        }


class Honest:
    """What honest data asks of one model, and directions with that taken out.

    Args:
        models: Of the run.
        prober: Knows the architecture.
        sets: Honest examples with their labels; see `honest_sets`.
        t: The model.

    Raises:
        RoundlogError: The model cannot be rebuilt, or the sets do not fit it.
    """

    def __init__(
        self, models: CaseModels, prober: Prober, sets: Sequence[ProbeSet], t: int
    ) -> None:
        weights = numbers(models.model(t)[None], models.schema)[0]
        self.model = t
        self._gradients = Gradients(prober.architecture, models.schema, weights)
        inputs = np.concatenate([one.inputs for one in sets])
        labels = np.concatenate([one.targets for one in sets])
        some = np.linspace(0, len(labels) - 1, min(EXAMPLES, len(labels))).astype(np.int64)
        chosen = labels[some]
        answers = np.unique(chosen)
        squares, means = np.zeros(len(weights)), np.zeros((len(answers), len(weights)))
        for which, gradients in self._gradients.single(inputs[some], chosen):
            squares += np.square(gradients).sum(axis=0) / len(some)
            np.add.at(means, np.searchsorted(answers, chosen[which]), gradients)
        if not squares.any():
            raise QuestionError(
                f"honest examples have no gradient at model {t}: it fits them all exactly"
            )
        self._weight = 1.0 / (squares + RIDGE * squares[squares > 0].mean())
        self._answers = [int(answer) for answer in answers]
        self._means = means / np.bincount(np.searchsorted(answers, chosen))[:, None]
        # An orthonormal basis of the span in the metric of P, so that removing it is one product.
        scaled = self._means * np.sqrt(self._weight)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        _, sizes, rows = np.linalg.svd(
            scaled / np.where(lengths > 0, lengths, 1), full_matrices=False
        )
        self._span = rows[sizes > RANK_TOLERANCE * sizes[0]]

    def direction(self, wanted: ProbeSet) -> Direction:
        """The direction toward the answers that a set of inputs wants.

        Raises:
            TriggerError: No inputs, or they do not fit the model.
            QuestionError: The model gives those answers so surely that no gradient is left.
        """
        gradient = self._gradients.descent(wanted.inputs, wanted.targets)
        root = np.sqrt(self._weight)
        scaled = root * gradient
        left = root * (scaled - self._span.T @ (self._span @ scaled))
        length = float(np.linalg.norm(left))
        if not length > 0:
            raise QuestionError(
                f"model {self.model} has no gradient toward {wanted.name!r}; take the direction "
                f"at an earlier model"
            )
        return self._made(wanted, gradient, left, len(self._span))

    def plain(self, wanted: ProbeSet) -> Direction:
        """The gradient itself, nothing taken out: the control that fails."""
        gradient = self._gradients.descent(wanted.inputs, wanted.targets)
        return self._made(wanted, gradient, gradient, 0)

    def _made(self, wanted: ProbeSet, gradient: Floats, left: Floats, rank: int) -> Direction:
        unit = (left / np.linalg.norm(left)).astype(np.float32)
        return Direction(
            name=wanted.name,
            model=self.model,
            unit=unit,
            digest=digest(unit.astype("<f4").tobytes()),
            kept=_cosine(gradient, left),
            rank=rank,
            removed={
                answer: (_cosine(mean, gradient), _cosine(mean, left))
                for answer, mean in zip(self._answers, self._means, strict=True)
            },
        )


def honest_sets(models: CaseModels, store: Store) -> list[ProbeSet]:
    """The honest examples that the server published.

    Raises:
        QuestionError: It published none.
    """
    for role in ("public_pool", "clean"):
        if sets := published(models.case, store, models.run, role):
            return sets
    raise QuestionError(
        f"run {models.run!r} published no honest data (probes.published in the role public_pool or "
        f"clean); without it a direction cannot be told from honest learning"
    )


def _cosine(a: Floats, b: Floats) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
