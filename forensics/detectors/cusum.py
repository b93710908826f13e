"""Has the mean moved for good, however little? One-sided cumulative sums, one a slack.

S_t = max(0, S_{t-1} + z_t - k): small excesses over the slack k add up, and honest noise is
drawn back to 0. Of all charts with the same run length it is the fastest to see a shift of 2 k;
for another shift it is slower, so several slacks run beside each other.

A chart votes when its sum rises above the threshold, and again only after the sum has been back
at 0. The sum stops at twice the threshold, so that a chart which stood above it for 100,000
rounds of an attack is ready for the next one in the time that one excursion takes. While any of
its charts is raised, the detector learns nothing: an attack must not teach it what is normal. An
honest change of level raises a chart just so, and for good; then calibrate again.

References:
    Page, "Continuous inspection schemes", Biometrika 41, 1954.
    Moustakides, "Optimal stopping times for detecting changes in distributions", Annals of
    Statistics 14(4), 1986.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from forensics.detectors import baseline
from forensics.detectors.baseline import Baseline, Moments
from forensics.detectors.port import Block, Budget, Floats, State, Vote, identity
from forensics.detectors.run_length import cusum_threshold
from roundlog.errors import QuestionError

SLACKS = (0.05, 0.1, 0.25, 0.5)
"""Half the shifts that each chart sees best: 0.1, 0.2, 0.5 and 1 standard deviation a round."""

CEILING = 2.0
"""Thresholds at which a sum stops."""


class CusumState(State):
    """A baseline, and one sum a chart."""

    moments: Moments
    thresholds: tuple[float, ...]
    sums: tuple[float, ...]
    raised: tuple[bool, ...]


class Cusum:
    """Cumulative sums of standardised values.

    Args:
        slacks: k of each chart, in standard deviations, 0.01 to 1.
        two_sided: Also a chart a slack for a mean that falls.
        minimum: Values before the first score.
        memory: Values after which the baseline begins to forget.

    Raises:
        QuestionError: There is no slack, one stands there twice, or the baseline cannot be.
    """

    name = "cusum"
    version = "1"

    def __init__(
        self,
        slacks: Sequence[float] = SLACKS,
        *,
        two_sided: bool = False,
        minimum: int = baseline.MINIMUM,
        memory: int = baseline.MEMORY,
    ) -> None:
        if not slacks or len(set(slacks)) != len(slacks):
            raise QuestionError(
                f"slacks {list(slacks)} do not name charts: it takes one at least, each once"
            )
        baseline.check(minimum, memory)
        self._minimum, self._memory = minimum, memory
        sides = (("", 1.0), (" down", -1.0)) if two_sided else (("", 1.0),)
        self._charts = tuple(
            (f"cusum k={slack:g}{word}", sign, float(slack))
            for word, sign in sides
            for slack in slacks
        )

    @property
    def charts(self) -> tuple[str, ...]:
        """One a slack and side, as `cusum k=0.1` and `cusum k=0.1 down`."""
        return tuple(name for name, _, _ in self._charts)

    def calibrate(self, null: Floats, budget: Budget) -> CusumState:
        """See `Detector.calibrate`. Sums start at 0, however the null ended."""
        run_length = budget.run_length()
        return CusumState(
            detector=identity(self),
            charts=self.charts,
            run_length=run_length,
            moments=baseline.learnt(null, self._minimum, self._memory),
            thresholds=tuple(cusum_threshold(slack, run_length) for _, _, slack in self._charts),
            sums=(0.0,) * len(self._charts),
            raised=(False,) * len(self._charts),
        )

    def update(self, state: State, block: Block) -> tuple[CusumState, list[Vote]]:
        """See `Detector.update`."""
        before = CusumState.own(state, self)
        base = Baseline(before.moments, self._minimum, self._memory)
        sums, raised, thresholds = list(before.sums), list(before.raised), before.thresholds
        charts = list(enumerate(self._charts))
        votes: list[Vote] = []
        for number, value in block.after(before.round):
            score = base.score(value)
            if score is not None:
                for index, (chart, sign, slack) in charts:
                    total = sums[index] + sign * score - slack
                    threshold = thresholds[index]
                    if total <= 0:
                        total, raised[index] = 0.0, False
                    elif total > threshold:
                        if not raised[index]:
                            raised[index] = True
                            votes.append(
                                Vote(number, chart, total, threshold, 1 / before.run_length)
                            )
                        total = min(total, CEILING * threshold)
                    sums[index] = total
            if True not in raised:
                base.learn(value)
        after = before.advanced(
            round=block.newest(before.round),
            moments=base.moments(),
            sums=tuple(sums),
            raised=tuple(raised),
        )
        return after, votes

    def load(self, document: Mapping[str, JsonValue]) -> CusumState:
        """See `Detector.load`."""
        return CusumState.read(document, self)
