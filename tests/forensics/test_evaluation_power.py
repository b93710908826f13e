"""Does a known signal get its known power, and no signal the power of a coin?"""

import numpy as np
import pytest
from scipy.special import ndtr

from forensics.evaluation.power import area, curve, operating_point, pool, shift
from roundlog.errors import QuestionError

ROUNDS = 20_000


def scores(seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, size=ROUNDS)


def test_power_and_false_alarms_are_counted_at_the_threshold_with_exact_intervals() -> None:
    point = operating_point(np.array([0.5, 3.0, 2.0, 2.4]), np.array([2.3, 3.1, 0.0, 0.1]), 2.29)
    assert (point.power.k, point.power.n) == (2, 4)
    assert (point.false_alarms.k, point.false_alarms.n) == (2, 4)
    assert (point.only_attacked, point.only_twin) == (1, 1)
    document = point.document()
    assert document["threshold"] == 2.29
    assert document["power"]["low"] == pytest.approx(0.0676, abs=1e-4)  # type: ignore[index]
    assert document["power"]["high"] == pytest.approx(0.9324, abs=1e-4)  # type: ignore[index]


def test_a_score_that_equals_the_threshold_raises_no_alarm() -> None:
    point = operating_point(np.array([2.29]), np.array([2.2900001]), 2.29)
    assert (point.power.k, point.false_alarms.k) == (0, 1)


@pytest.mark.parametrize("signal", [0.0, 0.5, 2.0])
def test_the_area_of_a_planted_signal_is_the_textbook_s(signal: float) -> None:
    found = area(scores(1, signal), scores(2))
    # Two normal distributions apart by d: the area is the normal distribution at d / sqrt 2.
    assert found == pytest.approx(float(ndtr(signal / 2**0.5)), abs=0.012), "seeds 1 and 2"
    assert shift(scores(1, signal), scores(2)) == pytest.approx(signal, abs=0.05)


def test_ties_count_half_in_the_area() -> None:
    assert area(np.array([1.0, 1.0]), np.array([1.0, 1.0, 1.0])) == 0.5
    assert area(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)


def test_the_curve_of_no_signal_is_the_diagonal_and_of_a_perfect_test_the_corner() -> None:
    flat = curve(scores(3), scores(4))
    assert np.abs(flat.power - flat.false_alarms).max() < 0.02, "seeds 3 and 4"
    perfect = curve(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    assert perfect.power[1:].min() == 1.0
    assert (flat.false_alarms[0], flat.false_alarms[-1], flat.power[-1]) == (0.0, 1.0, 1.0)


def test_the_curve_s_area_is_the_probability_of_a_higher_score() -> None:
    attacked, twin = scores(5, 1.0), scores(6)
    drawn = curve(attacked, twin)
    assert np.trapezoid(drawn.power, drawn.false_alarms) == pytest.approx(
        area(attacked, twin), abs=0.002
    )
    assert (np.diff(drawn.power) >= 0).all()


def test_seeds_are_pooled_round_by_round_at_one_threshold() -> None:
    one = operating_point(np.array([3.0, 0.0]), np.array([0.0, 0.0]), 2.0)
    two = operating_point(np.array([3.0]), np.array([3.0]), 2.0)
    both = pool([one, two])
    assert (both.power.k, both.power.n, both.false_alarms.k) == (2, 3, 1)
    assert (both.only_attacked, both.only_twin) == (1, 0)
    other = operating_point(np.array([3.0]), np.array([3.0]), 2.5)
    with pytest.raises(QuestionError, match="one threshold only"):
        pool([one, other])


def test_rounds_that_are_not_the_same_ones_are_refused() -> None:
    with pytest.raises(QuestionError, match="3 attacked rounds beside 2 of the twin"):
        operating_point(np.zeros(3), np.zeros(2), 1.0)
    with pytest.raises(QuestionError, match="all finite"):
        area(np.array([1.0, np.nan]), np.zeros(2))
    with pytest.raises(QuestionError, match="at least one round a side"):
        curve(np.zeros(0), np.zeros(2))


def test_a_shift_of_values_that_do_not_vary_is_refused() -> None:
    with pytest.raises(QuestionError, match="values that vary"):
        shift(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
