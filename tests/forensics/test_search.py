"""Does the search say what is true, with few questions?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forensics.levels import AsrPath, read_level
from forensics.search import (
    BUDGET,
    COARSE,
    Findings,
    Look,
    conclude,
    evenly,
    margin,
    search_level,
)
from roundlog.errors import QuestionError

N = 300
ROUNDS = 5_000


def _search(hits: NDArray[np.int64], level: float, n: int = N) -> Findings:
    asked: list[int] = []

    def ask(t: int) -> int:
        assert t not in asked, f"model {t} is asked twice"
        asked.append(t)
        return int(hits[t])

    found = search_level(ask, n, level, 0, len(hits) - 1)
    assert asked == [look.round for look in found.looks]
    return found


def _wandering(rng: np.random.Generator, rounds: int = ROUNDS) -> AsrPath:
    """The pilots' path: a logistic climb, wandering of sd 0.015 over 300 rounds, 300 probes."""
    t = np.arange(rounds + 1)
    middle, width = rng.uniform(0.3, 0.6) * rounds, rng.uniform(0.04, 0.08) * rounds
    trend = 0.99 / (1 + np.exp(-(t - middle) / width))
    keep = np.exp(-1 / 300)
    noise = rng.standard_normal(rounds + 1) * 0.015 * np.sqrt(1 - keep**2)
    wander = np.empty(rounds + 1)
    wander[0] = 0
    for i in range(1, rounds + 1):
        wander[i] = keep * wander[i - 1] + noise[i]
    share = np.clip(trend + wander * 2 * np.sqrt(trend * (1 - trend)), 0, 1)
    return AsrPath(0, np.rint(share * N).astype(np.int64), N)


@settings(max_examples=150, deadline=None)
@given(
    hits=st.lists(st.integers(0, N), min_size=1, max_size=400),
    level=st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0]),
)
def test_every_claim_holds_on_any_path_whatever(hits: list[int], level: float) -> None:
    a = np.array(hits) / N
    found = _search(np.array(hits, dtype=np.int64), level)
    assert len(found.looks) <= BUDGET
    if found.status == "at_start":
        assert a[0] >= level
    if found.status == "never":
        assert all(look.asr < level for look in found.looks)
    if found.bracket is not None:
        low, high = found.bracket
        assert a[low] < level <= a[high]
        crossings = np.flatnonzero((a[1:] >= level) & (a[:-1] < level)) + 1
        assert any(low < t <= high for t in crossings)
    if found.zone is not None:
        zone, d = found.zone, margin(level)
        assert zone.low <= zone.high
        for look in found.looks:
            if zone.closed_below and look.round <= zone.low:
                assert look.asr < level - d
            if zone.closed_above and look.round >= zone.high:
                assert look.asr >= level + d


def test_the_zone_holds_the_sustained_and_the_isotonic_crossing_of_pilot_like_paths() -> None:
    rng = np.random.default_rng(20)
    for level in (0.1, 0.5):
        held, widths = 0, []
        for _ in range(40):
            path = _wandering(rng)
            exact, found = read_level(path, level, 100), _search(path.hits, level)
            assert found.zone is not None
            assert exact.sustained is not None
            assert exact.isotonic is not None
            inside = [
                found.zone.low < t <= found.zone.high for t in (exact.sustained, exact.isotonic)
            ]
            held += all(inside)
            widths.append((found.zone.high - found.zone.low) / ROUNDS)
        assert held >= 38, f"level {level}: {held} of 40"
        assert np.median(widths) <= 0.08


def test_the_bracket_ends_at_neighbouring_models() -> None:
    path = _wandering(np.random.default_rng(4))
    found = _search(path.hits, 0.5)
    assert found.bracket is not None
    assert found.bracket[1] - found.bracket[0] == 1


def test_a_long_run_is_narrowed_to_a_handful_of_models() -> None:
    path = _wandering(np.random.default_rng(5), 110_000)
    found = _search(path.hits, 0.5)
    assert found.bracket is not None
    assert found.zone is not None
    assert found.bracket[1] - found.bracket[0] <= 4
    assert found.zone.high - found.zone.low <= 0.08 * 110_000


def test_a_run_that_never_reaches_the_level_is_searched_and_says_never() -> None:
    found = _search(np.full(ROUNDS + 1, 3, dtype=np.int64), 0.1)
    assert (found.status, found.bracket, found.zone, found.estimate) == ("never", None, None, None)
    assert len(found.looks) == BUDGET


def test_a_run_that_begins_above_says_so() -> None:
    found = _search(np.full(100, 200, dtype=np.int64), 0.5)
    assert (found.status, found.bracket) == ("at_start", None)


def test_a_level_that_is_lost_again_leaves_the_zone_open_above() -> None:
    hits = np.zeros(1_001, dtype=np.int64)
    hits[400:700] = 250
    found = _search(hits, 0.5)
    assert found.zone is not None
    assert not found.zone.closed_above
    assert found.zone.high == 1_000
    assert found.bracket == (399, 400)


@pytest.mark.parametrize("models", [1, 2, 3, 19, 20, 21, 39])
def test_a_short_run_is_asked_completely_and_no_model_twice(models: int) -> None:
    hits = np.linspace(0, N, models).astype(np.int64)
    found = _search(hits, 0.5)
    assert len(found.looks) <= models
    if models > 1:
        assert found.bracket is not None
        assert found.bracket[1] - found.bracket[0] == 1


def test_the_scan_comes_first_and_covers_both_ends() -> None:
    found = _search(np.zeros(ROUNDS + 1, dtype=np.int64), 0.5)
    scan = [look.round for look in found.looks[:COARSE]]
    assert scan == evenly(0, ROUNDS, COARSE)
    assert (scan[0], scan[-1], len(set(scan))) == (0, ROUNDS, COARSE)


def test_the_conclusion_depends_on_the_answers_and_not_on_their_order() -> None:
    found = _search(_wandering(np.random.default_rng(6)).hits, 0.5)
    again = conclude(tuple(reversed(found.looks)), 0.5)
    assert (again.bracket, again.zone, again.status) == (found.bracket, found.zone, found.status)


def test_an_answer_is_told_as_soon_as_it_is_there() -> None:
    told: list[Look] = []
    found = search_level(lambda t: t, 100, 0.5, 0, 100, on_look=told.append)
    assert tuple(told) == found.looks


def test_nothing_can_be_searched_where_there_is_no_model() -> None:
    with pytest.raises(QuestionError, match="no model to ask"):
        search_level(lambda t: 0, N, 0.5, 5, 4)
