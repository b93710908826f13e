"""Has the mean risen, by whatever amount, at whatever time? A generalised likelihood ratio.

For a shift of unknown size that began w rounds ago the logarithm of the likelihood ratio is half
the square of (sum of the last w scores) / sqrt(w). The chart looks at 52 windows from 1 to 16,384
rounds: the last eight, and then four an octave.

There are many more short windows side by side than long ones, so one threshold for all would be
set by the short ones, and a shift of 0.1 standard deviations found half as late again as need be.
Instead each octave may spend the same part of the budget: the rates of false alarms add up, so
the whole keeps it, and the longer the window, the lower the threshold.

A window's sum is the difference of two running sums, so only old running sums are kept, and the
older, the fewer: on level j those of every 2^j-th round, the newest eight. A window therefore
begins at the nearest round that its level kept. Which one that is depends on the number of scores
alone, so a restart changes nothing. 96 numbers stand in the state.

The chart votes when a level rises above its threshold, with the score and threshold of the level
that stands out most. It is ready again once all are below half of theirs, and begins anew then,
with no window that reaches back into the excursion. While it is raised the baseline learns nothing.

References:
    Siegmund, Venkatraman, "Using the generalized likelihood ratio statistic for sequential
    detection of a change-point", Annals of Statistics 23(1), 1995.
    Lai, "Sequential changepoint detection in quality control and dynamical systems", Journal of
    the Royal Statistical Society B 57(4), 1995 (windows, and grids of them).
    Dümbgen, Spokoiny, "Multiscale testing of qualitative hypotheses", Annals of Statistics 29(1),
    2001 (a threshold for each scale).
"""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from forensics.detectors import baseline
from forensics.detectors.baseline import Baseline, Moments
from forensics.detectors.port import Block, Budget, Floats, State, Vote, identity
from forensics.detectors.run_length import glr_threshold

KEPT = 8
"""Running sums a level. The windows of one level are then 1/8 to 1/4 of their length apart."""

LEVELS = 12
LENGTHS = (
    (1, KEPT),
    *(((KEPT << level - 1) + 1, KEPT << level) for level in range(1, LEVELS)),
)
"""Shortest and longest window of each level: up to 16,384 rounds, over which a shift of 0.05
standard deviations sums up to 6.4."""

REARM = 0.5
"""Share of every threshold below which the chart is ready again."""


class GlrState(State):
    """A baseline, and the running sums that windows can begin at."""

    moments: Moments
    thresholds: tuple[float, ...]
    """One a level."""
    raised: bool = False
    scores: int = 0
    """Scores since the chart began."""
    total: float = 0.0
    """Their sum."""
    levels: tuple[tuple[float, ...], ...]
    """On level j the newest eight running sums of every 2^j-th score, newest first."""


class Glr:
    """Standardised window sums, each octave with a threshold of its own.

    Args:
        minimum: Values before the first score.
        memory: Values after which the baseline begins to forget.

    Raises:
        QuestionError: The baseline cannot be.
    """

    name = "glr"
    version = "1"
    charts: tuple[str, ...] = ("glr",)

    def __init__(self, *, minimum: int = baseline.MINIMUM, memory: int = baseline.MEMORY) -> None:
        baseline.check(minimum, memory)
        self._minimum, self._memory = minimum, memory

    def calibrate(self, null: Floats, budget: Budget) -> GlrState:
        """See `Detector.calibrate`. No window reaches back into the null."""
        run_length = budget.run_length()
        return GlrState(
            detector=identity(self),
            charts=self.charts,
            run_length=run_length,
            moments=baseline.learnt(null, self._minimum, self._memory),
            thresholds=tuple(
                glr_threshold(run_length * LEVELS, shortest, longest, 1 << level)
                for level, (shortest, longest) in enumerate(LENGTHS)
            ),
            levels=((0.0,),) * LEVELS,
        )

    def update(self, state: State, block: Block) -> tuple[GlrState, list[Vote]]:
        """See `Detector.update`."""
        before = GlrState.own(state, self)
        base = Baseline(before.moments, self._minimum, self._memory)
        windows = _Windows(before.scores, before.total, before.levels)
        raised, thresholds = before.raised, before.thresholds
        votes: list[Vote] = []
        for number, value in block.after(before.round):
            score = base.score(value)
            if score is not None:
                largest, threshold = windows.add(score, thresholds)
                if raised:
                    if largest < REARM * threshold:
                        raised, windows = False, _Windows(0, 0.0, ((0.0,),) * LEVELS)
                elif largest > threshold:
                    raised = True
                    votes.append(Vote(number, "glr", largest, threshold, 1 / before.run_length))
            if not raised:
                base.learn(value)
        after = before.advanced(
            round=block.newest(before.round),
            moments=base.moments(),
            raised=raised,
            scores=windows.scores,
            total=windows.total,
            levels=tuple(map(tuple, windows.levels)),
        )
        return after, votes

    def load(self, document: Mapping[str, JsonValue]) -> GlrState:
        """See `Detector.load`."""
        return GlrState.read(document, self)


class _Windows:
    """Running sums; mutable, for the length of one block."""

    __slots__ = ("_starts", "levels", "scores", "total")

    def __init__(self, scores: int, total: float, levels: tuple[tuple[float, ...], ...]) -> None:
        self.scores, self.total = scores, total
        self.levels = [list(level) for level in levels]
        self._starts = [self._begins(level) for level in range(LEVELS)]

    def add(self, score: float, thresholds: tuple[float, ...]) -> tuple[float, float]:
        """Takes one score in.

        Returns:
            The largest standardised sum, for its threshold, of the windows that end with this
            score; and that threshold.
        """
        before = self.scores
        self.scores += 1
        self.total += score
        total, found, limit = self.total, -math.inf, 1.0
        for starts, scales, threshold in zip(self._starts, _SCALES, thresholds, strict=True):
            if not starts:
                break
            largest = -math.inf
            # The newest sum of a level with n ages lies 1 to n scores back.
            for start, scale in zip(starts, scales[before % len(scales)], strict=False):
                scaled = (total - start) * scale
                if scaled > largest:
                    largest = scaled
            if largest * limit > found * threshold:
                found, limit = largest, threshold
        for level, sums in enumerate(self.levels):
            if self.scores % (1 << level):
                break
            sums.insert(0, total)
            del sums[KEPT:]
            self._starts[level] = self._begins(level)
        return found, limit

    def _begins(self, level: int) -> list[float]:
        """Where windows begin: the newer half's windows are those of the level below already."""
        return self.levels[level][KEPT // 2 if level else 0 :]


def _scales(level: int) -> tuple[tuple[float, ...], ...]:
    """1 / sqrt(length) of the windows of a level, for each age of its newest running sum."""
    spacing = 1 << level
    places = range(KEPT // 2 if level else 0, KEPT)
    return tuple(
        tuple(1 / math.sqrt(age + place * spacing) for place in places)
        for age in range(1, spacing + 1)
    )


_SCALES = tuple(map(_scales, range(LEVELS)))
