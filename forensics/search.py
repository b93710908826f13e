"""Around which models does the attack cross a level, when there is no time to ask them all?

At most 40 models a level: a coarse scan of 20, then the two edges of the zone are halved down to
a 400th of the run, what is left goes to the widest gaps in and around it, and at last to the
bracket. It answers with

    a bracket   its lower end reads below the level, its upper end at or above: so an upward
                crossing lies in it. That is proved; that it is the first or the sustained one
                is not, and with dozens of crossings it mostly is not.
    a zone      every scanned model up to `low` lies below q - d, every one from `high` on at or
                above q + d, d = 0.06 * 2 * sqrt(q (1 - q)), four times what ASR wanders. What may
                be claimed about the sustained and the isotonic crossing, and no proof: models
                in between were not asked.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from forensics.levels import check_level
from roundlog.errors import QuestionError

BUDGET = 40
"""Models that may be asked for one level."""

COARSE = 20
"""Of these, evenly spaced ones at the start: finer than the climb of any attack seen so far."""

FINEST = 400
"""Edges of the zone are halved down to this share of the run: ASR wanders over longer times."""

MARGIN = 0.06
"""d as a share of the widest binomial spread."""


@dataclass(frozen=True, slots=True)
class Look:
    """One model that was asked, and why it."""

    round: int
    """t of the model."""

    hits: int
    n: int

    why: str
    """`coarse scan`, `lower edge`, `upper edge`, `widest gap`, `bracket`."""

    @property
    def asr(self) -> float:
        return self.hits / self.n

    def document(self) -> dict[str, object]:
        return {
            "round": self.round,
            "asr": self.asr,
            "hits": self.hits,
            "n": self.n,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Zone:
    """Where the sustained and the isotonic crossing may be claimed to lie."""

    low: int
    high: int
    closed_below: bool
    """Whether `low` itself and all before it read below q - d; else it is the first model."""
    closed_above: bool
    """Whether `high` itself and all after it read at or above q + d; else it is the last one."""

    def document(self) -> dict[str, object]:
        return {
            "low": self.low,
            "high": self.high,
            "closed_below": self.closed_below,
            "closed_above": self.closed_above,
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """What a set of looks says about one level."""

    level: float
    status: str
    """`crossed`, `at_start`, or `never` (no model that was asked reached it)."""

    bracket: tuple[int, int] | None
    """(low, high); None unless crossed."""

    zone: Zone | None
    """None where never reached."""

    estimate: int | None
    """Where the monotone fit of these looks reaches the level: the best single guess."""

    looks: tuple[Look, ...]
    """Every reading it rests on, in the order in which they were asked."""


def search_level(
    ask: Callable[[int], int],
    n: int,
    level: float,
    first: int,
    last: int,
    *,
    on_look: Callable[[Look], None] | None = None,
) -> Findings:
    """Asks at most 40 models between `first` and `last`.

    The models that are asked depend on nothing but the answers, so the same record gives the
    same search.

    Args:
        ask: Hits of model t, of n queries; asked once for each t.
        on_look: Called after every answer.

    Raises:
        QuestionError: No such level, or no models.
    """
    check_level(level)
    if last < first:
        raise QuestionError("there is no model to ask")
    looks: list[Look] = []
    run = last - first

    def look(t: int, why: str) -> None:
        looks.append(Look(t, ask(t), n, why))
        if on_look is not None:
            on_look(looks[-1])

    for t in evenly(first, last, COARSE):
        look(t, "coarse scan")
    finest = max(1, run // FINEST)
    # A bracket at most a few times as wide as the finest gap is halved down to one model by these.
    for_bracket = math.ceil(math.log2(finest)) + 3
    while len(looks) < BUDGET - for_bracket and (step := _zone_step(looks, level, finest)):
        look(*step)
    while len(looks) < BUDGET and (middle := _middle(_bracket(_sorted(looks), level))) is not None:
        look(middle, "bracket")
    while len(looks) < BUDGET and (step := _zone_step(looks, level, finest)):
        look(*step)
    return conclude(looks, level)


def conclude(looks: Sequence[Look], level: float) -> Findings:
    """What these looks say; a pure function of them, so that a log can be concluded again."""
    ordered = _sorted(looks)
    if not any(_reaches(one, level) for one in ordered):
        return Findings(level, "never", None, None, None, tuple(looks))
    at_start = _reaches(ordered[0], level)
    below, above = _edges(ordered, level)
    zone = Zone(
        low=ordered[max(below, 0)].round,
        high=ordered[min(above, len(ordered) - 1)].round,
        closed_below=below >= 0,
        closed_above=above < len(ordered),
    )
    return Findings(
        level=level,
        status="at_start" if at_start else "crossed",
        bracket=None if at_start else _bracket(ordered, level),
        zone=zone,
        estimate=_estimate(ordered, level),
        looks=tuple(looks),
    )


def evenly(first: int, last: int, count: int) -> list[int]:
    """Up to `count` different t from `first` to `last`, both inside, evenly spaced."""
    if last - first < count:
        return list(range(first, last + 1))
    return [first + (last - first) * index // (count - 1) for index in range(count)]


def margin(level: float) -> float:
    """d: how far beyond the level a reading must lie to count for the zone, as a share."""
    return MARGIN * 2 * math.sqrt(level * (1 - level))


def _reaches(look: Look, level: float) -> bool:
    # hits / n and the level are both the nearest floats of their values: equal where those are.
    return look.asr >= level


def _sorted(looks: Sequence[Look]) -> list[Look]:
    return sorted(looks, key=lambda look: look.round)


def _edges(ordered: Sequence[Look], level: float) -> tuple[int, int]:
    """Index of the last of the low looks, −1 for none; and of the first of the high ones."""
    d = margin(level)
    below = 0
    while below < len(ordered) and ordered[below].asr < level - d:
        below += 1
    above = len(ordered)
    while above > 0 and ordered[above - 1].asr >= level + d:
        above -= 1
    return below - 1, above


def _bracket(ordered: Sequence[Look], level: float) -> tuple[int, int] | None:
    """The narrowest pair of neighbouring looks that holds an upward crossing, the earliest of
    equals."""
    pairs = [
        (after.round - before.round, before.round, after.round)
        for before, after in pairwise(ordered)
        if not _reaches(before, level) and _reaches(after, level)
    ]
    return min(pairs)[1:] if pairs else None


def _middle(bracket: tuple[int, int] | None) -> int | None:
    if bracket is None or bracket[1] - bracket[0] < 2:
        return None
    return sum(bracket) // 2


def _zone_step(looks: Sequence[Look], level: float, finest: int) -> tuple[int, str] | None:
    """The next model to ask for the sake of the zone, and why; None where nothing is open."""
    ordered = _sorted(looks)
    if not any(_reaches(one, level) for one in ordered):
        # Never reached so far: a short visit above the level hides best in the widest gap.
        return _halve(ordered, range(len(ordered) - 1), "widest gap")
    below, above = _edges(ordered, level)
    edges = {}
    if 0 <= below < len(ordered) - 1:
        edges[below] = "lower edge"
    if 0 < above < len(ordered):
        edges.setdefault(above - 1, "upper edge")
    wide = [gap for gap in edges if _width(ordered, gap) > finest]
    if wide:
        gap = max(wide, key=lambda one: (_width(ordered, one), -one))
        return _halve(ordered, [gap], edges[gap])
    around = range(max(below - 1, 0), min(above + 1, len(ordered) - 1))
    return _halve(ordered, around, "widest gap")


def _halve(ordered: Sequence[Look], gaps: Sequence[int], why: str) -> tuple[int, str] | None:
    gap = max(gaps, key=lambda one: (_width(ordered, one), -one), default=None)
    if gap is None or _width(ordered, gap) < 2:
        return None
    return (ordered[gap].round + ordered[gap + 1].round) // 2, why


def _width(ordered: Sequence[Look], gap: int) -> int:
    return ordered[gap + 1].round - ordered[gap].round


def _estimate(ordered: Sequence[Look], level: float) -> int | None:
    """Where the monotone fit of the looks reaches the level: see `forensics.levels`."""
    sums = [0.0]
    for one in ordered:
        sums.append(sums[-1] + one.asr - level)
    least = sums.index(min(sums))
    return ordered[least].round if least < len(ordered) else None
