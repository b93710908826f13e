"""Does the interval enclose what it must on any path, and is it the textbook's on smooth ones?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.levels import AsrPath, read_level
from forensics.probe import binomial_interval
from forensics.sampling_error import (
    SamplingInterval,
    hit_bounds,
    look_intervals,
    path_intervals,
)
from forensics.search import Findings, Look, conclude, search_level
from roundlog.errors import QuestionError

N = 40
READINGS = ("first", "sustained", "last", "isotonic")

hit_lists = st.lists(st.integers(0, N), min_size=1, max_size=150)
levels = st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0])


def _path(*hits: int, n: int = N, first: int = 0) -> AsrPath:
    return AsrPath(first, np.array(hits, dtype=np.int64), n)


def _search(hits: list[int], level: float) -> Findings:
    return search_level(hits.__getitem__, N, level, 0, len(hits) - 1)


@pytest.mark.parametrize("n", [1, 7, 40, 284])
@pytest.mark.parametrize("level", [0.01, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("coverage", [0.5, 0.95])
def test_the_bounds_are_the_least_hits_whose_intervals_reach_the_level(
    n: int, level: float, coverage: float
) -> None:
    ends = [binomial_interval(hits, n, coverage) for hits in range(n + 1)]
    low = next(hits for hits in range(n + 1) if ends[hits][1] >= level)
    high = next((hits for hits in range(n + 1) if ends[hits][0] >= level), None)
    assert hit_bounds(n, level, coverage) == (low, high)


def test_the_bounds_of_a_median_are_the_textbook_s_order_statistics() -> None:
    # Conover, "Practical Nonparametric Statistics": for n = 20 the median lies between the 6th and
    # the 15th of the ordered values with 95.9 %.
    assert hit_bounds(20, 0.5) == (6, 15)


def test_few_queries_neither_exclude_one_per_cent_nor_prove_a_hundred() -> None:
    assert hit_bounds(284, 0.01)[0] == 0
    assert hit_bounds(1_000, 0.01)[0] > 0
    assert hit_bounds(284, 1.0) == (284, None)


def test_where_won_queries_stay_won_it_is_the_order_statistics_interval_of_the_quantile() -> None:
    rng = np.random.default_rng(11)
    won_at = np.sort(rng.integers(0, 900, N))
    path = _path(*np.searchsorted(won_at, np.arange(1_000), side="right"))
    low, high = hit_bounds(N, 0.5)
    assert high is not None
    expected = SamplingInterval(int(won_at[low - 1]), int(won_at[high - 1]))
    assert path_intervals(path, 0.5, 20) == dict.fromkeys(READINGS, expected)


@given(hits=hit_lists, level=levels, s=st.integers(1, 9))
def test_every_interval_encloses_the_reading_of_the_path_it_was_read_off(
    hits: list[int], level: float, s: int
) -> None:
    path = _path(*hits, first=5)
    read = read_level(path, level, s)
    intervals = path_intervals(path, level, s)
    assert tuple(intervals) == READINGS
    for name, interval in intervals.items():
        reached = getattr(read, name)
        if reached is None:
            assert interval.high is None
        else:
            assert interval.holds(reached), (name, interval, reached)


@given(hits=hit_lists, level=levels, s=st.integers(1, 9))
def test_more_certainty_never_makes_an_interval_narrower(
    hits: list[int], level: float, s: int
) -> None:
    wide, narrow = (path_intervals(_path(*hits), level, s, coverage) for coverage in (0.99, 0.6))
    for name in READINGS:
        outer, inner = wide[name], narrow[name]
        if inner.low is not None:
            assert outer.low is not None
            assert outer.low <= inner.low
        if outer.high is not None:
            assert inner.high is not None
            assert inner.high <= outer.high


def test_one_model_that_stands_out_ends_no_interval() -> None:
    # 30 of 40 prove all queries above one half, 10 prove them below: neither once is enough.
    up = _path(*[0] * 50, 30, *[18] * 100, *[40] * 100)
    down = _path(*[0] * 100, *[22] * 100, 10, *[40] * 100)
    assert hit_bounds(N, 0.5) == (14, 27)
    assert path_intervals(up, 0.5, 5)["first"] == SamplingInterval(50, 151)
    assert path_intervals(up, 0.5, 1)["sustained"].high == 151
    assert path_intervals(down, 0.5, 5)["last"] == SamplingInterval(100, 201)
    assert path_intervals(down, 0.5, 150)["sustained"] == SamplingInterval(100, None)


def test_a_level_that_was_held_and_lost_again_has_a_closed_first_and_no_last() -> None:
    intervals = path_intervals(_path(*[0] * 100, *[40] * 100, *[0] * 200), 0.5, 5)
    assert intervals["first"] == intervals["sustained"] == SamplingInterval(100, 100)
    assert intervals["last"].high is None


def test_a_level_that_is_nearly_reached_leaves_the_interval_open() -> None:
    intervals = path_intervals(_path(0, 0, *[19] * 50), 0.5, 5)
    assert intervals == dict.fromkeys(READINGS, SamplingInterval(2, None))


def test_a_level_that_is_far_away_is_excluded_for_all_queries() -> None:
    intervals = path_intervals(_path(*[2] * 50), 0.5, 5)
    assert intervals == dict.fromkeys(READINGS, SamplingInterval(None, None))


def test_the_interval_in_words() -> None:
    tail = " (95 %)"
    start = "had all such queries been asked: "
    assert SamplingInterval(7, 9).sentence() == f"{start}7 to 9{tail}"
    assert SamplingInterval(7, None).sentence() == f"{start}not before 7, or never{tail}"
    assert SamplingInterval(None, None).sentence() == f"{start}none either{tail}"
    assert SamplingInterval(7, 9, 0.5).document() == {"low": 7, "high": 9, "coverage": 0.5}


@pytest.mark.parametrize(
    ("interval", "held", "missed"),
    [
        (SamplingInterval(7, 9), [7, 8, 9], [6, 10, None]),
        (SamplingInterval(7, None), [7, 10**6, None], [6]),
        (SamplingInterval(None, None), [None], [0, 7]),
    ],
)
def test_an_interval_holds_what_lies_inside(
    interval: SamplingInterval, held: list[int | None], missed: list[int | None]
) -> None:
    assert [interval.holds(t) for t in held] == [True] * len(held)
    assert [interval.holds(t) for t in missed] == [False] * len(missed)


@given(hits=hit_lists, level=levels)
def test_in_search_mode_the_looks_at_the_ends_prove_what_all_queries_do(
    hits: list[int], level: float
) -> None:
    found = _search(hits, level)
    low, high = hit_bounds(N, level)
    intervals = look_intervals(found)
    for interval in intervals.values():
        if interval.low:
            assert hits[interval.low] < low
        if interval.high is not None:
            assert high is not None
            assert hits[interval.high] >= high
        if interval.low is None:
            assert all(look.hits < low for look in found.looks)
    if found.bracket is not None:
        assert _encloses(intervals["any"], *found.bracket)
    if found.zone is not None:
        assert _encloses(intervals["sustained"], found.zone.low, found.zone.high)
        assert intervals["sustained"] == intervals["isotonic"]


def _encloses(interval: SamplingInterval, low: int, high: int) -> bool:
    return (
        interval.low is not None
        and interval.low <= low
        and (interval.high is None or high <= interval.high)
    )


def test_a_search_that_begins_above_may_begin_below_with_all_queries() -> None:
    found = _search([22] * 50 + [40] * 50, 0.5)
    assert found.status == "at_start"
    told = look_intervals(found)["any"]
    assert told.low == 0
    assert told.high is not None
    assert told.high >= 50


def test_a_search_that_came_near_says_from_where_on_it_cannot_exclude_the_level() -> None:
    near, far = _search([0] * 50 + [19] * 50, 0.5), _search([0] * 50 + [5] * 50, 0.5)
    assert (near.status, far.status) == ("never", "never")
    told = look_intervals(near)["any"]
    assert told.low is not None
    assert 40 <= told.low < 50
    assert told.high is None
    assert look_intervals(far)["any"] == SamplingInterval(None, None)


def test_looks_that_close_nothing_above_leave_the_interval_open() -> None:
    looks = [Look(t, hits, N, "coarse scan") for t, hits in enumerate([0, 0, 22, 24, 26])]
    assert look_intervals(conclude(looks, 0.5))["sustained"] == SamplingInterval(1, None)


def test_what_is_no_level_or_no_look_is_refused() -> None:
    with pytest.raises(QuestionError, match="is no share of queries"):
        hit_bounds(N, 1.5)
    with pytest.raises(QuestionError, match="at least one model"):
        path_intervals(_path(0, 9), 0.5, 0)
    with pytest.raises(QuestionError, match="no model was asked"):
        look_intervals(conclude([], 0.5))
