"""On which share of queries do two models answer differently, and how much of it is the attack's?

Two honest trainings of one task never end with the same model: other noise makes other weights,
and near a border between two answers that decides. So a share of differing answers means nothing
alone. It is read beside a control: the same share between two attack-free models that differ in
their noise only. What the attack adds is the excess over that control.

An excess has the interval of Bonferroni: each share's exact interval at half the error, and the
far ends subtracted. It is wide and assumes nothing about how the two shares depend on each other,
which they do: both are about the same queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.evaluation.statistics import Share
from forensics.probe import COVERAGE, binomial_interval
from roundlog.errors import QuestionError

Answers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Excess:
    """How much more often one pair of models differs than another."""

    value: float
    """Difference of the two shares; below 0 where the control differs more."""
    low: float
    high: float

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {"value": self.value, "low": self.low, "high": self.high, "coverage": COVERAGE}


def differing(one: Answers, other: Answers, where: NDArray[np.bool_] | None = None) -> Share:
    """How many of the queries the two models answer differently.

    Args:
        one, other: Answers to the same queries, shape (n,).
        where: Which queries count, shape (n,); all where it is not given.

    Raises:
        QuestionError: The answers are not to the same queries, or no query counts.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise QuestionError(
            f"answers of shapes {list(one.shape)} and {list(other.shape)} are not to the same "
            f"queries; ask both models the same ones"
        )
    unlike = one != other
    if where is not None:
        unlike = unlike[where]
    if not unlike.size:
        raise QuestionError("no query is left to compare answers on; draw more queries")
    return Share(int(unlike.sum()), unlike.size)


def excess(share: Share, control: Share, coverage: float = COVERAGE) -> Excess:
    """What a share has above its control, with an interval of at least the coverage."""
    each = 1 - (1 - coverage) / 2
    low, high = binomial_interval(share.k, share.n, each)
    control_low, control_high = binomial_interval(control.k, control.n, each)
    value = share.k / share.n - control.k / control.n
    return Excess(value, low - control_high, high - control_low)


def first_difference(one: Sequence[str], other: Sequence[str]) -> int | None:
    """The first place at which two lists of digests differ; None where they are the same.

    A list that ends early differs at its end.
    """
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))
