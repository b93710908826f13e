"""Are the four readings of a level what their definitions say, on paths made by hand?"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from forensics.levels import AsrPath, Readings, check_level, default_s, read_level
from roundlog.errors import QuestionError

N = 10


def _path(*hits: int, first: int = 0) -> AsrPath:
    return AsrPath(first, np.array(hits, dtype=np.int64), N)


def _naive(path: AsrPath, level: float, s: int) -> tuple[int | None, int | None, int | None]:
    """First, sustained and last, word by word from their definitions."""
    a = {path.first + i: hits / path.n for i, hits in enumerate(path.hits.tolist())}
    ts = sorted(a)
    first = next((t for t in ts if a[t] >= level), None)
    sustained = next(
        (t for t in ts if t + s - 1 in a and all(a[t + k] >= level for k in range(s))), None
    )
    last = next((t for t in ts if all(a[u] >= level for u in ts if u >= t)), None)
    return first, sustained, last


def test_a_clean_step_has_one_crossing_under_every_reading() -> None:
    assert read_level(_path(0, 0, 0, 9, 9, 9, 9), 0.5, 2) == Readings(3, 3, 3, 3, 1)


def test_wandering_separates_the_readings() -> None:
    #            t: 0  1  2  3  4  5  6  7  8  9 10 11
    path = _path(0, 6, 0, 6, 6, 0, 6, 6, 6, 4, 9, 9)
    assert read_level(path, 0.5, 2) == Readings(first=1, sustained=3, last=10, isotonic=6, upward=4)
    assert read_level(path, 0.5, 3).sustained == 6


def test_a_level_that_is_never_reached_has_no_reading() -> None:
    assert read_level(_path(0, 4, 4, 0), 0.5, 1) == Readings(None, None, None, None, 0)


def test_a_level_that_is_left_again_has_no_last_crossing() -> None:
    read = read_level(_path(0, 9, 9, 0), 0.5, 2)
    assert (read.first, read.sustained, read.last) == (1, 1, None)


def test_a_run_that_begins_above_crosses_at_its_first_model() -> None:
    assert read_level(_path(9, 9, first=7), 0.5, 1) == Readings(7, 7, 7, 7, 0)


def test_a_window_that_the_end_of_the_run_cuts_off_sustains_nothing() -> None:
    read = read_level(_path(0, 0, 9, 9), 0.5, 3)
    assert (read.last, read.sustained) == (2, None)


def test_a_rate_equal_to_the_level_reaches_it() -> None:
    for hits, n, level in ((30, 300, 0.1), (1, 3, 0.333333), (29, 100, 0.29), (9, 10, 0.9)):
        path = AsrPath(0, np.array([0, hits], dtype=np.int64), n)
        assert read_level(path, level, 1).first == 1, (hits, n, level)


@given(
    hits=st.lists(st.integers(0, N), min_size=1, max_size=60),
    level=st.sampled_from([0.1, 0.3, 0.5, 0.55, 0.9, 1.0]),
    s=st.integers(1, 9),
)
def test_readings_follow_their_definitions_on_any_path(
    hits: list[int], level: float, s: int
) -> None:
    path = _path(*hits, first=3)
    read = read_level(path, level, s)
    assert (read.first, read.sustained, read.last) == _naive(path, level, s)
    steps = sum(a / N < level <= b / N for a, b in pairwise(hits))
    assert read.upward == steps


@given(
    hits=st.lists(st.integers(0, N), min_size=1, max_size=60),
    # No mean of at most 60 tenths equals these levels, so rounding cannot decide.
    level=st.sampled_from([0.123457, 0.500001, 0.876543]),
)
def test_the_isotonic_reading_is_that_of_the_monotone_fit(hits: list[int], level: float) -> None:
    fit = isotonic_regression(np.array(hits) / N).x
    reached = np.flatnonzero(fit >= level)
    expected = int(reached[0]) if reached.size else None
    assert read_level(_path(*hits), level, 1).isotonic == expected


def test_a_pool_whose_mean_is_the_level_counts_from_its_first_model() -> None:
    assert read_level(_path(0, 6, 4, 9), 0.5, 1).isotonic == 1


@pytest.mark.parametrize("level", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_what_is_no_share_is_no_level(level: float) -> None:
    with pytest.raises(QuestionError, match="is no share of queries"):
        check_level(level)


def test_a_level_finer_than_any_probe_set_is_refused() -> None:
    with pytest.raises(QuestionError, match="more than 6 decimals"):
        check_level(0.1234567)


def test_s_must_hold_a_model() -> None:
    with pytest.raises(QuestionError, match="at least one model"):
        read_level(_path(0, 9), 0.5, 0)


def test_s_is_a_thousand_models_or_a_fiftieth_of_a_shorter_run() -> None:
    assert [default_s(n) for n in (110_001, 5_001, 30)] == [1_000, 100, 1]


def test_sums_of_the_longest_run_stay_exact() -> None:
    hits = np.full(1_000_000, 100_000, dtype=np.int64)
    hits[:500_000] = 0
    assert read_level(AsrPath(0, hits, 100_000), 0.999999, 1_000).isotonic == 500_000
