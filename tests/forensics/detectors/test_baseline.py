"""Are scores standard normal from the first on, and what does a memory cost?"""

import math

import numpy as np
import pytest
from scipy.special import kolmogorov, ndtr, ndtri, stdtr

from forensics.detectors.baseline import LIMIT, MEMORY, Baseline, Moments, check, learnt
from forensics.detectors.port import Floats
from roundlog.errors import QuestionError


def scores(values: Floats, minimum: int = 3, memory: int = MEMORY) -> Floats:
    baseline = Baseline(Moments(), minimum, memory)
    found = []
    for value in values.tolist():
        score = baseline.score(value)
        if score is not None:
            found.append(score)
        baseline.learn(value)
    return np.array(found)


def test_a_score_is_the_recursive_residual_through_student_s_distribution() -> None:
    values = np.random.default_rng(1).normal(5, 3, size=30)
    expected = []
    for n in range(3, 30):
        past = values[:n]
        t = (values[n] - past.mean()) / past.std(ddof=1) * math.sqrt(n / (n + 1))
        expected.append(ndtri(stdtr(n - 1, t)))
    np.testing.assert_allclose(scores(values), expected, rtol=1e-9)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1e6, 1e-3), (-3.0, 1e9)])
def test_scores_are_independent_and_standard_normal_whatever_the_values_are(
    mean: float, deviation: float
) -> None:
    rng = np.random.default_rng(2)
    # Short series only: here an estimated mean and deviation would hurt the most.
    rows = np.array([scores(rng.normal(mean, deviation, size=43)) for _ in range(150)])
    flat = np.sort(rows.ravel())
    n = flat.size
    distance = np.abs(ndtr(flat) - (np.arange(n) + 0.5) / n).max() + 0.5 / n
    assert kolmogorov(distance * math.sqrt(n)) > 0.001
    # The sum of a series' scores is what a CUSUM sees: a common error would make it wide.
    sums = rows.sum(axis=1) / math.sqrt(rows.shape[1])
    assert 0.75 < sums.var(ddof=1) < 1.3


def test_a_fixed_calibration_window_would_make_those_sums_wide() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(150, 140))
    window, rest = values[:, :100], values[:, 100:]
    fixed = (rest - window.mean(axis=1, keepdims=True)) / window.std(axis=1, ddof=1, keepdims=True)
    # 1 + 40 / 100: the control that the test above can fail.
    assert (fixed.sum(axis=1) / math.sqrt(40)).var(ddof=1) > 1.3


def test_there_is_no_score_before_the_minimum() -> None:
    assert scores(np.random.default_rng(3).normal(size=100), minimum=100).size == 0
    assert scores(np.random.default_rng(3).normal(size=101), minimum=100).size == 1


def test_a_calibration_counts_as_rounds_that_were_read() -> None:
    values = np.random.default_rng(4).normal(size=200)
    after = Baseline(learnt(values[:150], 3, MEMORY), 3, MEMORY)
    assert after.score(values[150]) == scores(values)[147]


def test_a_missing_value_teaches_nothing() -> None:
    values = np.array([1.0, np.nan, 2.0, 4.0])
    assert learnt(values, 3, MEMORY) == learnt(values[[0, 2, 3]], 3, MEMORY)


def test_a_lasting_shift_fades_with_the_memory() -> None:
    memory, shift = 1_000, 0.5
    rng = np.random.default_rng(5)
    null = rng.normal(size=4_000)
    noise = rng.normal(size=3_000)
    faded = scores(np.concatenate([null, noise + shift]), memory=memory)[-3_000:]
    without = scores(np.concatenate([null, noise]), memory=memory)[-3_000:]
    left = (faded - without) / shift
    for rounds in (memory // 5, memory, 2 * memory):
        at = left[rounds - 20 : rounds + 20].mean()
        # The shift widens the deviation a little as well, which takes some percent off.
        assert at == pytest.approx(math.exp(-rounds / memory), abs=0.08)


def test_slow_drift_does_not_sum_up_once_the_memory_is_full() -> None:
    rng = np.random.default_rng(6)
    n, memory = 12_000, 1_000
    drift = 1e-4 * np.arange(n)
    with_memory = scores(rng.normal(size=n) + drift, memory=memory)[-6_000:].mean()
    rng = np.random.default_rng(6)
    without = scores(rng.normal(size=n) + drift, memory=n)[-6_000:].mean()
    # Steady state: the mean lags by drift * memory = 0.1; without forgetting by half the ramp.
    assert with_memory == pytest.approx(0.1, abs=0.05)
    assert without > 0.3


def test_the_weight_of_a_mean_that_forgets_is_that_of_an_exponential_window() -> None:
    moments = learnt(np.random.default_rng(7).normal(size=3_000), 3, 100)
    assert moments.count == 3_000
    assert moments.concentration == pytest.approx(1 / (2 * 100 - 1), rel=1e-9)
    until_full = learnt(np.random.default_rng(7).normal(size=100), 3, 100)
    assert until_full.concentration == pytest.approx(1 / 100, rel=1e-12)


def test_where_all_values_are_equal_any_other_scores_the_limit() -> None:
    baseline = Baseline(learnt(np.full(10, 2.5), 3, MEMORY), 3, MEMORY)
    assert [baseline.score(value) for value in (2.5, 2.6, 2.4)] == [0.0, LIMIT, -LIMIT]


def test_an_infinity_scores_the_limit_and_teaches_nothing() -> None:
    baseline = Baseline(learnt(np.arange(10.0), 3, MEMORY), 3, MEMORY)
    before = baseline.moments()
    assert [baseline.score(math.inf), baseline.score(-math.inf)] == [LIMIT, -LIMIT]
    for value in (math.inf, -math.inf, 1.7e308):
        baseline.learn(value)
    assert baseline.moments() == before


def test_far_values_keep_their_digits() -> None:
    # Both tails: the upper one would be 1 - 1e-16 without care, and its score infinite.
    baseline = Baseline(learnt(np.random.default_rng(8).normal(size=5_000), 3, MEMORY), 3, MEMORY)
    high, low = baseline.score(20.0), baseline.score(-20.0)
    assert high is not None
    assert low is not None
    assert 18 < high < 20.5
    assert high == pytest.approx(-low, rel=0.01)


@pytest.mark.parametrize(("minimum", "memory"), [(2, 100), (100, 99)])
def test_a_baseline_that_cannot_standardise_is_refused(minimum: int, memory: int) -> None:
    with pytest.raises(QuestionError, match="3 <= minimum <= memory"):
        check(minimum, memory)
