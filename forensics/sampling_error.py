"""Where would a crossing lie, had all queries of this kind been asked and not only these n?

A crossing that was read off n queries is exact for them. They are a sample, and the success of all
queries that carry the trigger crosses elsewhere. This is the interval for where: about the sample
of queries, not about models that were not asked.

For a level q and the exact interval [L(h), U(h)] of h hits in n, let

    h_low    the least h with U(h) >= q: fewer hits prove that all queries are below the level
    h_high   the least h with L(h) >= q: as many prove that all queries are at or above it

Every reading is monotone in the path, so the same reading taken at h_low and at h_high encloses
it. No correction for the many models is made. If a query that was won stayed won, hits / n would
be the distribution function of the models at which the queries are won, and this the interval of
its q-quantile between two order statistics, with no error but that of one binomial. Neighbouring
models err alike, because they are asked the same queries.

Queries do change sides from model to model, and then an end that is the extreme of many models
comes too early or too late. One end of `first` and one of `last` hang on a single model and are
safe; an exposed end goes to the isotonic reading, which averages:

    first       first at h_low                       isotonic or sustained at h_high, the earlier
    sustained   sustained or isotonic at h_low, the earlier             sustained at h_high
    last        isotonic at h_low                                       last at h_high
    isotonic    isotonic at h_low                                       isotonic at h_high

That is sound since first <= isotonic <= last on any path. How often the intervals hold is measured
by `forensics.evaluation.crossing_coverage`; it is no theorem. Patterns of unequal difficulty only
help: hits of queries that differ vary less than a binomial of the same mean.

In search mode the same looks are read at both levels, so the interval tells what these looks tell.

References:
    Clopper, Pearson, Biometrika 26(4), 1934: the interval of a proportion.
    Thompson, "On confidence ranges for the median and other expectation distributions for
    populations of unknown distribution form", Annals of Mathematical Statistics 7(3), 1936.
    Hoeffding, "On the distribution of the number of successes in independent trials", Annals of
    Mathematical Statistics 27(3), 1956: queries that differ.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forensics.levels import AsrPath, check_level, default_s, read_count
from forensics.probe import COVERAGE, binomial_interval
from forensics.search import Findings, Look, conclude
from roundlog.errors import QuestionError


@dataclass(frozen=True, slots=True)
class SamplingInterval:
    """Where one reading of one level lies for all queries of the kind that was asked."""

    low: int | None
    """t of a model; the first one where nothing excludes it. None: all queries do not reach the
    level either, or nothing can be said."""
    high: int | None
    """t of a model; None: open, it is not proved to be reached within the run."""
    coverage: float = COVERAGE

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {"low": self.low, "high": self.high, "coverage": self.coverage}

    def holds(self, t: int | None) -> bool:
        """Whether a crossing at t, or none at all, is what the interval allows."""
        if t is None:
            return self.high is None
        return self.low is not None and self.low <= t and (self.high is None or t <= self.high)

    def sentence(self) -> str:
        """The interval in words, to stand behind what is proved of the queries that were asked."""
        if self.low is None:
            found = "none either"
        elif self.high is None:
            found = f"not before {self.low}, or never"
        else:
            found = f"{self.low} to {self.high}"
        return f"had all such queries been asked: {found} ({self.coverage * 100:g} %)"


def hit_bounds(n: int, level: float, coverage: float = COVERAGE) -> tuple[int, int | None]:
    """h_low and h_high of a level for n queries; h_high is None where even n hits prove too little.

    Raises:
        QuestionError: No such level, or no query.
    """
    check_level(level)
    low = bisect_left(range(n), level, key=lambda hits: binomial_interval(hits, n, coverage)[1])
    high = bisect_left(
        range(n + 1), level, key=lambda hits: binomial_interval(hits, n, coverage)[0]
    )
    return low, high if high <= n else None


def path_intervals(
    path: AsrPath, level: float, s: int, coverage: float = COVERAGE
) -> Mapping[str, SamplingInterval]:
    """The interval of each reading of `forensics.levels`, by its name.

    Args:
        s: S of `sustained`. An S below the run's own default is taken as that for ends that prove
            the level reached: one model above it is then not enough.

    Raises:
        QuestionError: No such level, or S below one.
    """
    h_low, h_high = hit_bounds(path.n, level, coverage)
    low = read_count(path, h_low, s)
    # More than all hits are never reached: every end that proves something stays open.
    steady = max(s, default_s(len(path.hits)))
    high = read_count(path, path.n + 1 if h_high is None else h_high, steady)
    ends = {
        "first": (low.first, _earlier(high.isotonic, high.sustained)),
        "sustained": (_earlier(low.sustained, low.isotonic), high.sustained),
        "last": (low.isotonic, high.last),
        "isotonic": (low.isotonic, high.isotonic),
    }
    return {name: SamplingInterval(*both, coverage) for name, both in ends.items()}


def look_intervals(found: Findings, coverage: float = COVERAGE) -> Mapping[str, SamplingInterval]:
    """The interval of each reading in search mode, from the looks of one search alone.

    `sustained` and `isotonic` have the outer ends of the zones of the two levels. `any` has the
    nearest looks around its bracket that prove all queries below the level, and at or above it.

    Raises:
        QuestionError: There is no look.
    """
    looks = sorted(found.looks, key=lambda look: look.round)
    if not looks:
        raise QuestionError("no model was asked, so nothing can be said of other queries either")
    n = looks[0].n
    h_low, h_high = hit_bounds(n, found.level, coverage)
    below = conclude(looks, h_low / n).zone
    above = None if h_high is None else conclude(looks, h_high / n).zone
    closed = above is not None and above.closed_above
    zone = SamplingInterval(
        None if below is None else below.low, above.high if above and closed else None, coverage
    )
    low, high = _around(found, looks, h_low, h_high)
    return {
        "any": SamplingInterval(low, high, coverage),
        "sustained": zone,
        "isotonic": zone,
    }


def _around(
    found: Findings, looks: Sequence[Look], h_low: int, h_high: int | None
) -> tuple[int | None, int | None]:
    """Looks that enclose the bracket of `any` and prove what all queries do."""
    reached = [look.round for look in looks if look.hits >= h_low]
    if not reached:
        return None, None
    start = looks[0].round
    before, after = found.bracket or (start, start)
    if found.status == "never":
        before, after = reached[0], looks[-1].round
    excluded = [look.round for look in looks if look.round <= before and look.hits < h_low]
    proved = [
        look.round
        for look in looks
        if h_high is not None and look.round >= after and look.hits >= h_high
    ]
    return excluded[-1] if excluded else start, proved[0] if proved else None


def _earlier(one: int | None, other: int | None) -> int | None:
    """The lesser of two models; the one there is where the other is not reached."""
    return min((t for t in (one, other) if t is not None), default=None)
