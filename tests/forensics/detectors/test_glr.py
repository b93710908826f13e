"""Does the likelihood ratio look at the windows it says, and alarm no more often than theory?"""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import gammaincinv

from forensics.detectors import Block, Budget, Floats, Glr
from forensics.detectors.glr import KEPT, LENGTHS, LEVELS, REARM, _Windows
from forensics.detectors.run_length import glr_run_length

EMPTY = np.zeros(0)
LONGEST = LENGTHS[-1][1]


def lengths(scores: int) -> list[int]:
    """The windows that end with the n-th score, from their definition."""
    found = set(range(1, min(KEPT, scores) + 1))
    for level in range(1, LEVELS):
        spacing = 1 << level
        newest_first = [scores - start for start in range(0, scores, spacing)][::-1]
        found.update(newest_first[KEPT // 2 : KEPT])
    return sorted(found)


def block(values: Floats, begin: int = 0) -> Block:
    return Block(np.arange(begin, begin + values.size), values)


def level_of(window: int) -> int:
    return next(level for level, (_, longest) in enumerate(LENGTHS) if window <= longest)


@pytest.mark.parametrize("scores", [1, 2, 7, 8, 9, 100, 1_023, 1_024, 17_000])
def test_a_score_is_the_largest_standardised_sum_for_its_window_s_threshold(scores: int) -> None:
    values = np.random.default_rng(scores).normal(size=scores)
    thresholds = tuple(np.linspace(5.0, 3.0, LEVELS).tolist())
    windows = _Windows(0, 0.0, ((0.0,),) * LEVELS)
    for value in values.tolist():
        found = windows.add(value, thresholds)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    candidates = [
        ((sums[-1] - sums[scores - window]) / math.sqrt(window), thresholds[level_of(window)])
        for window in lengths(scores)
    ]
    expected = max(candidates, key=lambda each: each[0] / each[1])
    assert found == pytest.approx(expected, abs=1e-9)


def test_windows_reach_from_one_round_to_16_384_without_a_wide_gap() -> None:
    for scores in (50_000, 50_001, 65_536, 65_537):
        found = lengths(scores)
        assert found[:8] == list(range(1, 9))
        assert found[-1] in range(LONGEST - LONGEST // 8, LONGEST + 1)
        assert len(found) == 52
        ratios = np.array(found[8:]) / np.array(found[7:-1])
        assert ratios.max() <= 1.5


def test_its_state_is_small_enough_to_be_stored_with_every_round() -> None:
    detector = Glr()
    state = detector.calibrate(EMPTY, Budget())
    state, _ = detector.update(state, block(np.random.default_rng(2).normal(size=17_000)))
    assert sum(map(len, state.levels)) == KEPT * LEVELS
    assert len(state.model_dump_json()) < 3_000


@pytest.mark.parametrize(("run_length", "steps"), [(500, 1_000), (5_000, 2_000)])
def test_a_simulated_chart_runs_at_least_as_long_as_theory_says(
    run_length: int, steps: int
) -> None:
    seed, replicates = 3, 600
    rng = np.random.default_rng(seed)
    thresholds = np.array(Glr().calibrate(EMPTY, Budget(1, run_length)).thresholds)
    sums = np.zeros((steps + 1, replicates))
    quiet, exposure = np.ones(replicates, dtype=bool), 0
    for n in range(1, steps + 1):
        sums[n] = sums[n - 1] + rng.normal(size=replicates)
        windows = np.array(lengths(n))
        scores = (sums[n] - sums[n - windows]) / np.sqrt(windows)[:, None]
        exposure += int(quiet.sum())
        limits = thresholds[[level_of(window) for window in windows]]
        quiet &= (scores <= limits[:, None]).all(axis=0)
    alarms = replicates - int(quiet.sum())
    found = exposure / alarms
    # Or longer: an octave cannot spend its part before it has a window, which at run lengths as
    # short as these matters.
    assert exposure / float(gammaincinv(alarms, 0.001)) > run_length, f"seed {seed}: {found:.0f}"
    assert found < 2.5 * run_length, f"seed {seed}: {found:.0f}"


def test_without_a_shift_the_detector_runs_at_least_as_long_as_its_budget_says(runs: Any) -> None:
    seed = 4
    rng = np.random.default_rng(seed)
    _, average, high = runs.average(
        Glr(), EMPTY, 500, lambda n: rng.normal(7, 3, size=n), series=30, limit=2_500
    )
    assert high > 500, f"seed {seed}: {average:.0f} rounds"
    assert average < 2_000, f"seed {seed}: {average:.0f} rounds"


def test_each_octave_spends_the_same_part_of_the_budget() -> None:
    thresholds = Glr().calibrate(EMPTY, Budget()).thresholds
    assert list(thresholds) == sorted(thresholds, reverse=True)
    rates = [
        1 / glr_run_length(at, *ends, spacing=1 << level)
        for level, (at, ends) in enumerate(zip(thresholds, LENGTHS, strict=True))
    ]
    assert rates == pytest.approx([1e-7 / LEVELS] * LEVELS, rel=2e-3)


@pytest.mark.parametrize(("shift", "series"), [(1.0, 60), (0.25, 40), (0.1, 25)])
def test_any_shift_is_found_at_most_half_as_late_again_as_by_the_cusum_made_for_it(
    shift: float, series: int, standard: Floats, runs: Any
) -> None:
    seed = 5
    rng = np.random.default_rng(seed)
    detector = Glr()
    state = detector.calibrate(standard, Budget(alarms=1, rounds=10_000))
    found = runs.lengths(
        detector, state, lambda n: rng.normal(shift, 1, size=n), series=series, limit=10_000
    )
    cusum = {1.0: 15, 0.25: 144, 0.1: 608}[shift]
    delay = np.mean([rounds for rounds, _ in found])
    assert delay <= 1.5 * cusum, f"seed {seed}: {delay:.1f} rounds"


def test_a_persistent_attack_alarms_once_and_teaches_nothing(standard: Floats) -> None:
    rng = np.random.default_rng(6)
    detector = Glr()
    state = detector.calibrate(standard, Budget())
    state, votes = detector.update(state, block(rng.normal(1.0, 1, size=8_000)))
    assert len(votes) == 1
    assert votes[0].score > votes[0].threshold
    assert votes[0].threshold in state.thresholds
    assert votes[0].p == 1 / state.run_length
    assert state.raised
    assert state.moments.count == standard.size + votes[0].round


def test_it_begins_anew_once_its_score_has_fallen_below_half_the_threshold(
    standard: Floats,
) -> None:
    detector = Glr()
    state = detector.calibrate(standard, Budget())
    state, votes = detector.update(state, block(np.full(20, 3.0)))
    assert len(votes) == 1
    learnt = state.moments.count
    round_, states = 20, [state]
    while states[-1].raised:
        state, votes = detector.update(states[-1], block(np.zeros(1), round_))
        states.append(state)
        round_ += 1
        assert votes == []
    # Before that round the window from the chart's beginning still stood out by half. It is one
    # of the grid's, or nearly.
    score = states[-2].total / math.sqrt(states[-2].scores)
    threshold = state.thresholds[level_of(states[-2].scores)]
    assert score == pytest.approx(REARM * threshold, rel=0.15)
    assert (state.scores, state.total) == (0, 0.0)
    assert state.moments.count == learnt + 1
    _, votes = detector.update(state, block(np.full(20, 3.0), round_))
    assert len(votes) == 1
