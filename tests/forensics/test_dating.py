"""Does a dated rise lie where it is said to lie, as often as it is said?"""

import math

import numpy as np
import pytest
from scipy.stats import binom

from forensics.dating import (
    COVERAGE,
    DROP,
    FEWEST,
    date_change,
    difference_profile,
    p_value,
    spread,
)


def _series(rng: np.random.Generator, n: int, at: int | None, shift: float) -> np.ndarray:
    values = rng.standard_normal(n)
    if at is not None:
        values[at:] += shift
    return values


def _brute(values: np.ndarray, at: int) -> float:
    """Standardised difference of means, as a textbook has it."""
    before, behind = values[:at], values[at:]
    return float((behind.mean() - before.mean()) / math.sqrt(1 / len(before) + 1 / len(behind)))


def test_the_profile_is_the_difference_of_means_at_every_place() -> None:
    values = _series(np.random.default_rng(1), 90, 50, 1.0)
    profile = difference_profile(values)
    places = range(FEWEST, len(values) - FEWEST + 1)
    assert len(profile) == len(places)
    expected = [_brute(values, place) for place in places]
    np.testing.assert_allclose(profile, expected, atol=1e-12)


def test_a_plain_step_is_dated_to_the_value() -> None:
    values = np.concatenate([np.zeros(300), np.ones(200)])
    values += 1e-3 * np.random.default_rng(2).standard_normal(500)
    change = date_change(values)
    assert change is not None
    assert (change.index, change.low, change.high, change.members) == (300, 300, 300, 1)
    assert change.p < 1e-100


@pytest.mark.parametrize(("shift", "n", "at"), [(0.3, 4000, 1500), (1.5, 800, 300)])
def test_the_set_covers_as_often_as_it_says(shift: float, n: int, at: int) -> None:
    rng = np.random.default_rng(7)
    tries = 400
    found = [date_change(_series(rng, n, at, shift)) for _ in range(tries)]
    covered = sum(one is not None and one.low <= at <= one.high for one in found)
    # The 1 % quantile of a set that covers exactly as often as claimed.
    assert covered >= binom.ppf(0.01, tries, COVERAGE)
    errors = [abs(one.index - at) for one in found if one is not None]
    assert np.median(errors) <= max(1, 2 / shift**2)


def test_a_narrower_set_would_not_cover() -> None:
    """The control: with a drop of a fifth the claim fails, so the test above can."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        values = _series(rng, 800, 300, 1.0)
        profile = difference_profile(values / spread(values))
        likelihood = 0.5 * np.square(np.maximum(profile, 0))
        inside = np.flatnonzero(likelihood >= likelihood.max() - DROP / 5) + FEWEST
        covered += inside[0] <= 300 <= inside[-1]
    assert covered < binom.ppf(0.01, 400, COVERAGE)


def test_the_drop_solves_its_equation() -> None:
    assert (1 - math.exp(-DROP)) ** 2 == pytest.approx(COVERAGE)


@pytest.mark.parametrize("n", [500, 3000])
def test_without_a_change_p_values_are_on_the_safe_side(n: int) -> None:
    rng = np.random.default_rng(11)
    tries = 600
    values = [date_change(_series(rng, n, None, 0.0)) for _ in range(tries)]
    p = np.array([1.0 if one is None else one.p for one in values])
    for level in (0.2, 0.05, 0.01):
        assert (p <= level).sum() <= binom.ppf(0.99, tries, level)
    # And not so safe that nothing would ever be found.
    assert (p <= 0.2).mean() > 0.08


def test_a_fall_is_no_onset() -> None:
    change = date_change(_series(np.random.default_rng(3), 1000, 500, -2.0))
    assert change is None or change.p > 0.01


def test_the_spread_does_not_take_the_change_for_noise() -> None:
    values = _series(np.random.default_rng(4), 4000, 2000, 3.0)
    assert values.std() > 1.7
    assert spread(values) == pytest.approx(1.0, rel=0.05)


def test_the_answer_does_not_depend_on_the_unit() -> None:
    values = _series(np.random.default_rng(5), 600, 200, 0.8)
    one, other = date_change(values), date_change(1e-3 * values + 7)
    assert one is not None
    assert other is not None
    assert (one.index, one.low, one.high) == (other.index, other.low, other.high)
    assert one.shift == pytest.approx(other.shift)
    assert one.p == pytest.approx(other.p, rel=1e-6)


@pytest.mark.parametrize("values", [np.zeros(100), np.ones(2 * FEWEST), np.arange(5.0)])
def test_nothing_is_dated_where_nothing_can_be(values: np.ndarray) -> None:
    assert date_change(values) is None


def test_one_value_has_no_spread() -> None:
    with pytest.raises(ValueError, match="not known"):
        spread(np.ones(1))


def test_p_values_fall_with_the_statistic_and_rise_with_the_length() -> None:
    assert p_value(1.0, 1000) == 1.0
    falling = [p_value(statistic, 1000) for statistic in (2.0, 3.0, 4.0, 6.0, 10.0)]
    assert falling == sorted(falling, reverse=True)
    assert p_value(4.0, 100_000) > p_value(4.0, 1000)
