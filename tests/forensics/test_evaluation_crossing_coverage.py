"""Do intervals of crossings hold as often as they say, and does the count see it when not?"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rising_run import logistic, record_rising
from scipy.stats import binom
from wandering_queries import Hits, wandering_hits

from forensics.evaluation.crossing_coverage import (
    SIZE,
    all_hits,
    crossing_coverage,
    disjoint_samples,
    least_held,
)
from forensics.levels import AsrPath, read_count
from forensics.probe import Prober
from forensics.sampling_error import hit_bounds
from roundlog.errors import QuestionError

LEVELS = (0.1, 0.5, 0.9)
RUNS = range(40, 45)
SAMPLES = 30 * len(RUNS)

# The middling run; queries that flicker each for itself on a climb that takes the whole run.
SETTINGS: dict[str, dict[str, Any]] = {
    "wandering": {},
    "flickering": {"width": 0.4, "own": 0.5, "common": 0.0, "memory": 5.0},
}


@cache
def _run(kind: str, seed: int) -> Hits:
    return wandering_hits(seed, models=300, queries=9_000, **SETTINGS[kind])


def _samples(seed: int) -> list[np.ndarray]:
    return disjoint_samples(("a",) * 9_000, SIZE, np.random.default_rng(seed))


@pytest.mark.parametrize(("kind", "s"), [("wandering", 20), ("flickering", 20), ("flickering", 1)])
def test_the_intervals_hold_as_often_as_they_say(kind: str, s: int) -> None:
    held: dict[tuple[float, str, str], list[int]] = {}
    for seed in RUNS:
        for row in crossing_coverage(_run(kind, seed), _samples(seed), LEVELS, s):
            held.setdefault((row.level, row.mode, row.reading), []).append(row.held.k)
    assert len(held) == 7 * len(LEVELS)
    short = {key: sum(ks) for key, ks in held.items() if sum(ks) < least_held(SAMPLES)}
    assert not short, f"seeds {RUNS}: of {SAMPLES}, below {least_held(SAMPLES)}"


def test_the_control_at_half_the_coverage_holds_about_half() -> None:
    held = {"first": 0, "sustained": 0, "last": 0, "isotonic": 0}
    for seed in RUNS:
        rows = crossing_coverage(_run("wandering", seed), _samples(seed), (0.5,), 20, coverage=0.5)
        for row in rows:
            if row.mode == "exact":
                held[row.reading] += row.held.k
                assert row.early + row.late + row.held.k == row.held.n
                assert row.coverage == 0.5
    for reading, k in held.items():
        assert least_held(SAMPLES, 0.5) <= k < 0.75 * SAMPLES, (
            f"{reading}: {k} of {SAMPLES}, seeds {RUNS}"
        )
        assert k < least_held(SAMPLES)


def test_where_queries_flicker_only_the_averaging_end_holds() -> None:
    low, _ = hit_bounds(SIZE, 0.5)
    pointwise, held, seeds = 0, 0, range(2)
    for seed in seeds:
        hits = wandering_hits(
            seed, models=1_500, queries=9_000, width=0.7, own=0.9, common=0.0, memory=2.0
        )
        samples = _samples(seed)
        rows = crossing_coverage(hits, samples, (0.5,), 40)
        last = next(row for row in rows if row.reading == "last")
        held += last.held.k
        for sample in samples:
            begins = read_count(AsrPath(0, hits[:, sample].sum(axis=1), SIZE), low, 40).last
            pointwise += begins is not None and begins <= last.truths[0]
    # One end alone should be passed by one sample in forty, and is by one in six.
    assert pointwise < least_held(60, 0.975), f"{pointwise} of 60, seeds {seeds}"
    assert held >= least_held(60), f"{held} of 60, seeds {seeds}"


def test_samples_are_disjoint_and_deal_every_pattern_evenly() -> None:
    patterns = ("news",) * 900 + ("health",) * 310 + ("shopping",) * 90
    samples = disjoint_samples(patterns, 300, np.random.default_rng(3))
    assert len(samples) == 4
    every = np.concatenate(samples)
    assert len(set(every.tolist())) == len(every)
    for sample in samples:
        names = [patterns[place] for place in sample]
        assert [names.count(name) for name in ("news", "health", "shopping")] == [225, 77, 22]


def test_fewer_queries_than_a_sample_are_refused() -> None:
    with pytest.raises(QuestionError, match="299 queries make no sample of 300"):
        disjoint_samples(("a",) * 299, 300, np.random.default_rng(0))
    with pytest.raises(QuestionError, match="there is none"):
        crossing_coverage(np.zeros((5, 10), dtype=np.bool_), [], (0.5,), 1)


def test_a_level_that_no_sample_and_no_query_reaches_is_held_open() -> None:
    hits = np.zeros((200, 900), dtype=np.bool_)
    samples = disjoint_samples(("a",) * 900, 300, np.random.default_rng(0))
    for row in crossing_coverage(hits, samples, (0.5,), 4):
        assert (row.truths, row.held.k, row.open, row.width) == ((), 3, 3, None)


def test_a_sample_that_crosses_where_all_queries_do_not_counts_as_early() -> None:
    hits = np.zeros((200, 900), dtype=np.bool_)
    hits[100:, :300] = True
    rows = crossing_coverage(hits, [np.arange(300), np.arange(300, 600)], (0.5,), 4)
    for row in rows:
        assert (row.held.k, row.early, row.late) == (1, 1, 0)


@pytest.mark.parametrize("n", [20, 50, 200, 2_000])
def test_the_bar_is_the_one_per_cent_quantile(n: int) -> None:
    assert least_held(n) == binom.ppf(0.01, n, 0.95)
    assert least_held(n, 0.5) == binom.ppf(0.01, n, 0.5)


def test_the_hits_of_a_recorded_run_are_those_of_its_models(tmp_path: Path) -> None:
    rising = record_rising(tmp_path / "case", logistic(60, middle=0.4, width=0.1), seed=5)
    probes = rising.trigger.scoring()
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        hits = all_hits(models, prober, probes)
        assert hits.shape == (61, len(probes))
        for t in (0, 25, 60):
            assert (hits[t] == prober.hits(models.model(t)[None], probes)[0]).all()
    samples = disjoint_samples(probes.patterns, len(probes) // 2, np.random.default_rng(1))
    rows = crossing_coverage(hits, samples, (0.5,), 2)
    assert all(row.document()["bar"] == least_held(2) for row in rows)
    assert {row.held.n for row in rows} == {2}
