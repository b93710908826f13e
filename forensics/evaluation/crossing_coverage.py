"""How often does the interval of a crossing hold where all queries cross? k of n samples.

Many thousand queries of one trigger stand for all of them: their path's crossings are the truth.
They are cut into disjoint samples, each with every pattern's share as in a trigger file, and each
sample is asked for its intervals, in exact mode and in search mode, as an investigator would be
who had these queries only.

The samples of one run share its path and no query, so k of n is about the sampling of queries on
this path; other paths need other runs. A sample is drawn from a finite lot, which makes its error
smaller by sqrt(1 - size / all): by 1 % for 300 of 15,000, by 3 % for 300 of 6,000.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from forensics.evaluation.statistics import Share
from forensics.levels import AsrPath, read_level
from forensics.probe import COVERAGE, Prober
from forensics.rebuild import CaseModels
from forensics.sampling_error import SamplingInterval, look_intervals, path_intervals
from forensics.search import search_level
from forensics.trigger import ProbeSet
from roundlog.errors import QuestionError

SIZE = 300
"""Queries of a sample: what is left for scoring of a trigger file of 600."""

EXACT = ("first", "sustained", "last", "isotonic")
SEARCH = ("any", "sustained", "isotonic")

REFUSED = 0.01
"""A true coverage fails the bar so often."""

Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CrossingCoverage:
    """One reading of one level over all samples."""

    level: float
    mode: str
    """`exact` or `search`."""
    reading: str
    truths: tuple[int, ...]
    """t of the crossing of all queries, empty where they never cross; for `any` each of their
    upward crossings, one of which the interval must hold."""
    held: Share
    """Samples whose interval holds it."""
    early: int
    """Samples whose interval ends before it."""
    late: int
    """Samples whose interval begins after it."""
    width: float | None
    """Median width in models of those that are closed; None where none is."""
    open: int
    """Samples whose interval is open above."""
    coverage: float

    @property
    def bar(self) -> int:
        """The least k that a true coverage passes 99 times in 100."""
        return least_held(self.held.n, self.coverage)

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "level": self.level,
            "mode": self.mode,
            "reading": self.reading,
            "truths": list(self.truths),
            "held": self.held.document(),
            "early": self.early,
            "late": self.late,
            "width": self.width,
            "open": self.open,
            "coverage": self.coverage,
            "bar": self.bar,
        }


def least_held(n: int, coverage: float = COVERAGE) -> int:
    """The 1 % quantile of a binomial of n with the coverage."""
    return int(np.argmax(bdtr(np.arange(n + 1), n, coverage) >= REFUSED))


def all_hits(models: CaseModels, prober: Prober, probes: ProbeSet) -> Hits:
    """Hits of every model on every query, shape (models, queries), a byte each.

    Raises:
        LogGapError: A model cannot be rebuilt.
        TriggerError: The probes do not fit the model.
    """
    found = np.empty((models.last - models.first + 1, len(probes)), dtype=np.bool_)
    for ts, block in models.blocks(models.first, models.last):
        at = int(ts[0]) - models.first
        found[at : at + len(ts)] = prober.hits(block, probes)
    return found


def disjoint_samples(
    patterns: Sequence[str], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """As many disjoint samples as there are whole ones; each pattern is dealt out evenly.

    Args:
        patterns: The pattern of each query.
        size: Queries of a sample, about: the shares of patterns are rounded.

    Returns:
        Places of each sample's queries.

    Raises:
        QuestionError: There are fewer queries than one sample needs.
    """
    count = len(patterns) // size if size > 0 else 0
    if count == 0:
        raise QuestionError(
            f"{len(patterns)} queries make no sample of {size}; simulate with more of them, such "
            f"as --set probes.trigger_queries=4000"
        )
    names = np.array(patterns)
    dealt: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
    for name in dict.fromkeys(patterns):
        mine = rng.permutation(np.flatnonzero(names == name))
        each = len(mine) // count
        for place, sample in enumerate(dealt):
            sample.append(mine[place * each : (place + 1) * each])
    return [np.concatenate(sample) for sample in dealt]


def crossing_coverage(
    hits: Hits,
    samples: Sequence[NDArray[np.int64]],
    levels: Sequence[float],
    s: int,
    *,
    coverage: float = COVERAGE,
) -> list[CrossingCoverage]:
    """How often the samples' intervals hold the crossings of all queries.

    Args:
        hits: Shape (models, queries); the first model is number 0.
        samples: Places of each sample's queries, as `disjoint_samples` deals them.
        s: S of `sustained`, of the samples and of all queries.
        coverage: Of the intervals; another one than 95 % is the control that must miss.

    Raises:
        QuestionError: No such level or S, or no sample.
    """
    if not samples:
        raise QuestionError("coverage is counted over samples, and there is none")
    whole = AsrPath(0, hits.sum(axis=1), hits.shape[1])
    paths = [AsrPath(0, hits[:, sample].sum(axis=1), len(sample)) for sample in samples]
    return [row for level in levels for row in _of_level(whole, paths, level, s, coverage)]


def _of_level(
    whole: AsrPath, paths: Sequence[AsrPath], level: float, s: int, coverage: float
) -> Iterator[CrossingCoverage]:
    read = read_level(whole, level, s)
    truths = {name: _listed(getattr(read, name)) for name in EXACT}
    exact = [path_intervals(path, level, s, coverage) for path in paths]
    for name in EXACT:
        yield _counted(level, "exact", name, truths[name], [told[name] for told in exact])
    truths["any"] = _upward(whole, level)
    looked = [_search(path, level, coverage) for path in paths]
    for name in SEARCH:
        yield _counted(level, "search", name, truths[name], [told[name] for told in looked])


def _listed(truth: int | None) -> tuple[int, ...]:
    return () if truth is None else (truth,)


def _upward(path: AsrPath, level: float) -> tuple[int, ...]:
    """Models at or above a level that follow one below it; the first one where it is above."""
    above = path.asr >= level
    steps = above & ~np.concatenate([[False], above[:-1]])
    return tuple((path.first + np.flatnonzero(steps)).tolist())


def _search(path: AsrPath, level: float, coverage: float) -> Mapping[str, SamplingInterval]:
    found = search_level(lambda t: int(path.hits[t]), path.n, level, path.first, path.last)
    return look_intervals(found, coverage)


def _counted(
    level: float,
    mode: str,
    reading: str,
    truths: tuple[int, ...],
    told: Sequence[SamplingInterval],
) -> CrossingCoverage:
    held = sum(any(one.holds(truth) for truth in truths or (None,)) for one in told)
    early = sum(one.high is not None and all(one.high < truth for truth in truths) for one in told)
    widths = [one.high - one.low for one in told if one.low is not None and one.high is not None]
    return CrossingCoverage(
        level=level,
        mode=mode,
        reading=reading,
        truths=truths,
        held=Share(held, len(told)),
        early=early,
        late=len(told) - held - early,
        width=float(np.median(widths)) if widths else None,
        open=sum(one.high is None for one in told),
        coverage=told[0].coverage,
    )
