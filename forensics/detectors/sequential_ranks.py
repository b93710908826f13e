"""Are late values too high, whatever their distribution? Bets on sequential ranks.

The CUSUM and the GLR keep their budget only as far as the values are normal. This detector's
budget needs nothing but exchangeability: without an attack every order of the values is equally
likely. The price is a longer delay.

Let R_n be the rank of the n-th value among the first n. Under exchangeability R_n is uniform on
1..n, and independent of the earlier ranks. A bet on a rise by theta pays what it is worth on
average if the rank is a normal value's that rose by theta,

    e_n = n * integral over u from (R_n - 1)/n to R_n/n of exp(theta q(u) - theta^2 / 2) du
        = n * (Phi(q(R_n/n) - theta) - Phi(q((R_n - 1)/n) - theta)),   q = Phi^-1,

and the n possible payments add up to n exactly, so its mean is 1 given the past. The sum
M_n = e_n (M_{n-1} + 1) then has M_n - n as a martingale, and so has its average over several
theta. At the alarm, the first time that M is at least A, the expected time therefore equals
the expected M, which is at least A: the average run length is no shorter than the threshold.

Nothing may make a payment larger than that. So ties count as if the new value were the smallest of
them, and no randomness is needed. And keeping all values, which a state cannot hold, is not
replaced by keeping some: ranks among a fixed reference are not independent (if the reference
happens to be low, every later rank is high), nor are those in a sliding window. Instead the first
4,096 values are kept, and of the later ones only how many fell between which two of them. Those in
the same gap as a new value count as above it. The rank is thus never overstated, and understated
by half of one part in 4,096 on average: no payment is larger than the exact one, and the proof
stands.

After the first alarm the guarantee is approximate, because values of the excursion are not taken
in. Honest drift is not exchangeable, and is found in the end: nothing is forgotten here. An
excursion ends when M is below half the threshold; the sums then begin again at 0.

References:
    Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change
    detection", arXiv:2203.03532, 2022.
    Gordon, Pollak, "An efficient sequential nonparametric scheme for detecting a change of
    distribution", Annals of Statistics 22(2), 1994 (Shiryaev-Roberts on sequential ranks).
    Barndorff-Nielsen, "On the limit behaviour of extreme order statistics", Annals of Mathematical
    Statistics 34(3), 1963 (independence of sequential ranks).
"""

import math
from bisect import bisect_left
from collections.abc import Mapping

from pydantic import JsonValue
from scipy.special.cython_special import ndtr, ndtri

from forensics.detectors import baseline
from forensics.detectors.port import Block, Budget, Floats, State, Vote, identity
from roundlog.errors import QuestionError

THETAS = (0.1, 0.25, 0.5, 1.0)
"""Shifts that are bet on, in standard deviations of a normal value, with equal stakes."""

RESOLUTION = 4_096
"""Values that are kept. More would make no bet better: a gap holds 1/4,096 of the values, which
moves a middle value's normal score by 0.0003 on average."""

NO_GAPS = (0,) * (RESOLUTION + 1)

REARM = 0.5
"""Share of the threshold below which the chart is ready again."""


class RanksState(State):
    """The values so far, and what each bet's sum has come to."""

    count: int = 0
    """Values that were taken in."""
    kept: tuple[float, ...] = ()
    """The first of them, ascending."""
    gaps: tuple[int, ...] = NO_GAPS
    """Where the later ones fell, as a Fenwick tree over the gaps between the kept ones."""
    sums: tuple[float, ...] = (0.0,) * len(THETAS)
    """M of each theta."""
    raised: bool = False


class SequentialRanks:
    """An e-detector for a rise, without an assumption on the distribution.

    Args:
        minimum: Values before the first bet.

    Raises:
        QuestionError: `minimum` is below 1.
    """

    name = "sequential-ranks"
    version = "1"
    charts: tuple[str, ...] = ("sequential ranks",)

    def __init__(self, *, minimum: int = baseline.MINIMUM) -> None:
        if minimum < 1:
            raise QuestionError(
                f"a first bet after {minimum} values is on nothing; a rank needs one value before"
            )
        self._minimum = minimum

    def calibrate(self, null: Floats, budget: Budget) -> RanksState:
        """See `Detector.calibrate`. The threshold is the run length itself."""
        past = _Past((), NO_GAPS, 0)
        for value in null.tolist():
            past.learn(past.place(value), value)
        return RanksState(
            detector=identity(self),
            charts=self.charts,
            run_length=budget.run_length(),
            count=past.count,
            kept=tuple(past.kept),
            gaps=tuple(past.gaps),
        )

    def update(self, state: State, block: Block) -> tuple[RanksState, list[Vote]]:
        """See `Detector.update`."""
        before = RanksState.own(state, self)
        past = _Past(before.kept, before.gaps, before.count)
        sums, raised, threshold = list(before.sums), before.raised, before.run_length
        # No sum may overflow during a long attack, nor take longer to fall than it took to rise.
        ceiling = min(threshold * threshold, 1e300)
        votes: list[Vote] = []
        for number, value in block.after(before.round):
            place = past.place(value)
            if past.count >= self._minimum:
                payments = _payments(past.below(place) + 1, past.count + 1)
                sums = [
                    min(payment * (total + 1), ceiling)
                    for payment, total in zip(payments, sums, strict=True)
                ]
                mean = sum(sums) / len(sums)
                if raised:
                    if mean < REARM * threshold:
                        raised, sums = False, [0.0] * len(THETAS)
                elif mean >= threshold:
                    raised = True
                    votes.append(Vote(number, self.charts[0], mean, threshold, 1 / threshold))
            if not raised:
                past.learn(place, value)
        after = before.advanced(
            round=block.newest(before.round),
            count=past.count,
            kept=tuple(past.kept),
            gaps=tuple(past.gaps),
            sums=tuple(sums),
            raised=raised,
        )
        return after, votes

    def load(self, document: Mapping[str, JsonValue]) -> RanksState:
        """See `Detector.load`."""
        return RanksState.read(document, self)


def _payments(rank: int, among: int) -> list[float]:
    """What each theta's bet pays for a rank from 1 to `among`; the mean over all ranks is 1."""
    # Upper tails, since a bet on a rise is decided there: near 1 a distribution function has no
    # digits left.
    low, high = -ndtri((among - rank + 1) / among), -ndtri((among - rank) / among)
    return [among * (ndtr(theta - low) - ndtr(theta - high)) for theta in THETAS]


class _Past:
    """The values so far, coarsened beyond the first; mutable, for the length of one block."""

    __slots__ = ("count", "gaps", "kept")

    def __init__(self, kept: tuple[float, ...], gaps: tuple[int, ...], count: int) -> None:
        self.kept, self.gaps, self.count = list(kept), list(gaps), count

    def place(self, value: float) -> int:
        """Kept values below this one."""
        return bisect_left(self.kept, value)

    def below(self, place: int) -> int:
        """All values that are certainly below one with this place."""
        total, gaps, index = place, self.gaps, place
        while index > 0:
            total += gaps[index]
            index &= index - 1
        return total

    def learn(self, place: int, value: float) -> None:
        """Takes a value in at its place. NaN and infinities are left out."""
        if not math.isfinite(value):
            return
        self.count += 1
        if len(self.kept) < RESOLUTION:
            self.kept.insert(place, value)
            return
        # The gap below the kept value `place` is number `place + 1`; above all of them there is
        # one that is below nothing, and needs no number.
        index = place + 1
        while index <= RESOLUTION:
            self.gaps[index] += 1
            index += index & -index
