"""Does a test on single rounds tell attacked rounds from honest ones? Power against false alarms.

The test is the server's own: a score a round, as recorded, and a threshold. Power is the share of
attacked rounds above it, false alarms the share of the attack-free twin's same rounds. Both have
exact intervals, which take rounds as independent: noise dominates an aggregate's norm, and each
round draws its own.

The curve looks at every threshold there is, so nothing is tuned. Its area is the probability that
an attacked round scores above an honest one, ties counted half; 0.5 is a coin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forensics.evaluation.statistics import Share
from ingest.store import Store
from roundlog.errors import QuestionError

Floats = NDArray[np.float64]

CURVE = 200
"""Points of a curve: a picture's width. Between them it is straight."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A test at one threshold."""

    threshold: float
    power: Share
    """Attacked rounds above the threshold."""
    false_alarms: Share
    """The twin's same rounds above it."""
    only_attacked: int
    """Rounds above it under attack alone."""
    only_twin: int
    """Rounds above it in the twin alone."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "threshold": self.threshold,
            "power": self.power.document(),
            "false_alarms": self.false_alarms.document(),
            "only_attacked": self.only_attacked,
            "only_twin": self.only_twin,
        }


@dataclass(frozen=True, eq=False)
class Curve:
    """Power against false alarms over all thresholds, from (0, 0) to (1, 1)."""

    false_alarms: Floats
    power: Floats

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "false_alarms": [round(value, 6) for value in self.false_alarms.tolist()],
            "power": [round(value, 6) for value in self.power.tolist()],
        }


def norm_scores(store: Store, run: str) -> pl.DataFrame:
    """Columns `round`, `norm` (weight units) and `score` (standard deviations, null at first)."""
    sql = (resources.files("forensics") / "sql" / "norm_scores.sql").read_text()
    return store.query(sql, {"run": run})


def operating_point(attacked: Floats, twin: Floats, threshold: float) -> OperatingPoint:
    """The test at one threshold.

    Args:
        attacked: Scores of the attacked rounds, shape (rounds,).
        twin: Scores of the same rounds of the twin, shape (rounds,).

    Raises:
        QuestionError: The rounds are not the same ones, or there are none.
    """
    _check(attacked, twin, paired=True)
    fired, quiet = attacked > threshold, twin > threshold
    return OperatingPoint(
        threshold=threshold,
        power=Share(int(fired.sum()), fired.size),
        false_alarms=Share(int(quiet.sum()), quiet.size),
        only_attacked=int((fired & ~quiet).sum()),
        only_twin=int((quiet & ~fired).sum()),
    )


def curve(attacked: Floats, twin: Floats, points: int = CURVE) -> Curve:
    """The curve at evenly spaced false-alarm rates, by linear interpolation.

    Raises:
        QuestionError: There are no scores, or one is not finite.
    """
    _check(attacked, twin)
    thresholds = np.unique(np.concatenate([attacked, twin]))[::-1]
    # Shares at or above each threshold, from the highest on, with the corner before it.
    power, alarms = (
        np.concatenate([[0.0], 1 - np.searchsorted(np.sort(scores), thresholds) / scores.size])
        for scores in (attacked, twin)
    )
    grid = np.linspace(0, 1, points + 1)
    return Curve(grid, np.interp(grid, alarms, power))


def area(attacked: Floats, twin: Floats) -> float:
    """Probability that an attacked round scores above one of the twin's, ties counted half.

    Raises:
        QuestionError: There are no scores, or one is not finite.

    References:
        Mann, Whitney, "On a test of whether one of two random variables is stochastically larger
        than the other", Annals of Mathematical Statistics 18(1), 1947.
    """
    _check(attacked, twin)
    ordered = np.sort(twin)
    below = np.searchsorted(ordered, attacked, side="left")
    up_to = np.searchsorted(ordered, attacked, side="right")
    return float((below + up_to).sum() / (2 * attacked.size * twin.size))


def shift(attacked: Floats, twin: Floats) -> float:
    """How far the mean moved, in the twin's standard deviations: the effect size of the attack.

    Raises:
        QuestionError: There are fewer than two scores, or they do not vary.
    """
    _check(attacked, twin)
    deviation = float(twin.std(ddof=1)) if twin.size > 1 else 0.0
    if deviation == 0:
        raise QuestionError("a shift in standard deviations needs values that vary")
    return float(attacked.mean() - twin.mean()) / deviation


def pool(points: Sequence[OperatingPoint]) -> OperatingPoint:
    """The rounds of several seeds as one, at the threshold that they share.

    Raises:
        QuestionError: There is none, or the thresholds differ.
    """
    if len({point.threshold for point in points}) != 1:
        raise QuestionError("rounds are pooled at one threshold only, and of at least one seed")
    return OperatingPoint(
        threshold=points[0].threshold,
        power=_sum([point.power for point in points]),
        false_alarms=_sum([point.false_alarms for point in points]),
        only_attacked=sum(point.only_attacked for point in points),
        only_twin=sum(point.only_twin for point in points),
    )


def _sum(shares: Sequence[Share]) -> Share:
    return Share(sum(share.k for share in shares), sum(share.n for share in shares))


def _check(attacked: Floats, twin: Floats, *, paired: bool = False) -> None:
    finite = bool(np.isfinite(attacked).all() and np.isfinite(twin).all())
    if not attacked.size or not twin.size or not finite:
        raise QuestionError("a test is judged on scores of at least one round a side, all finite")
    if paired and attacked.shape != twin.shape:
        raise QuestionError(
            f"{attacked.size} attacked rounds beside {twin.size} of the twin; they must be the "
            f"same rounds, or a later round is compared with an earlier one"
        )
