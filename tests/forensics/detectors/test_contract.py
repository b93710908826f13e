"""Does every detector vote the same, live and over the past, stopped and started anywhere?"""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.detectors import (
    Block,
    Budget,
    Cusum,
    Detector,
    Floats,
    Glr,
    SequentialRanks,
    State,
    Vote,
)
from roundlog.encoding import canonical_json

DETECTORS: list[Detector] = [
    Cusum(minimum=20, memory=50),
    Cusum(slacks=(0.1, 0.5), two_sided=True, minimum=20),
    Glr(minimum=20),
    SequentialRanks(minimum=20),
]
by_name = pytest.mark.parametrize("detector", DETECTORS, ids=lambda each: "-".join(each.charts[:5]))

OFTEN = Budget(alarms=1, rounds=60)
"""A run length so short that excursions begin and end all the time."""

EMPTY = np.zeros(0)


def eventful(seed: int, rounds: int = 400) -> Block:
    """Noise, two attacks, and rounds without a value; some rounds are missing altogether."""
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, size=rounds)
    values[rounds // 3 : rounds // 2] += 4
    values[-rounds // 5 :] += 3
    values[rng.random(rounds) < 0.05] = np.nan
    return Block(np.sort(rng.choice(2 * rounds, size=rounds, replace=False)), values)


def restarted(detector: Detector, state: State) -> State:
    return detector.load(json.loads(canonical_json(state.document())))


@by_name
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_where_blocks_end_and_restarts_change_nothing(
    detector: Detector, seed: int, cuts: list[int]
) -> None:
    whole = eventful(seed)
    begin = detector.calibrate(EMPTY, OFTEN)
    expected, expected_votes = detector.update(begin, whole)
    state: State = begin
    votes: list[Vote] = []
    for low, high in pairwise([0, *sorted(cuts), whole.rounds.size]):
        part = Block(whole.rounds[low:high], whole.values[low:high])
        state, more = detector.update(restarted(detector, state), part)
        votes += more
    assert votes == expected_votes
    assert state == expected
    assert canonical_json(state.document()) == canonical_json(expected.document())


@by_name
def test_the_property_above_is_about_series_with_votes(detector: Detector) -> None:
    counts = [
        len(detector.update(detector.calibrate(EMPTY, OFTEN), eventful(s))[1]) for s in range(20)
    ]
    assert np.mean(counts) > 1, counts


@by_name
def test_a_round_at_a_time_is_the_same_as_all_at_once(detector: Detector) -> None:
    whole = eventful(7)
    state: State = detector.calibrate(EMPTY, OFTEN)
    expected = detector.update(state, whole)
    votes: list[Vote] = []
    for index in range(whole.rounds.size):
        one = slice(index, index + 1)
        state, more = detector.update(state, Block(whole.rounds[one], whole.values[one]))
        votes += more
    assert (state, votes) == expected


@by_name
def test_update_leaves_its_state_and_block_as_they_were(detector: Detector) -> None:
    whole = eventful(8)
    state = detector.calibrate(whole.values[:50], OFTEN)
    before, values = canonical_json(state.document()), whole.values.copy()
    first = detector.update(state, whole)
    assert canonical_json(state.document()) == before
    np.testing.assert_array_equal(whole.values, values)
    assert detector.update(state, whole) == first


@by_name
def test_rounds_without_a_value_are_passed_over(detector: Detector) -> None:
    whole = eventful(9)
    there = ~np.isnan(whole.values)
    state = detector.calibrate(EMPTY, OFTEN)
    _, votes = detector.update(state, whole)
    assert detector.update(state, Block(whole.rounds[there], whole.values[there]))[1] == votes


@by_name
def test_a_null_of_nan_is_an_empty_one(detector: Detector) -> None:
    assert detector.calibrate(np.full(9, np.nan), OFTEN) == detector.calibrate(EMPTY, OFTEN)


@by_name
def test_no_detector_votes_before_it_has_seen_the_minimum(detector: Detector) -> None:
    state = detector.calibrate(EMPTY, OFTEN)
    values: Floats = np.concatenate([np.zeros(10), np.full(10, 1e6)])
    _, votes = detector.update(state, Block(np.arange(20), values))
    assert votes == []


@by_name
def test_votes_name_the_detector_s_charts_and_their_budget(detector: Detector) -> None:
    state = detector.calibrate(EMPTY, OFTEN)
    _, votes = detector.update(state, eventful(10))
    assert votes
    assert {vote.chart for vote in votes} <= set(detector.charts)
    assert {vote.p for vote in votes} == {1 / 60}
    assert all(vote.round in eventful(10).rounds for vote in votes)
