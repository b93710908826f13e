"""Is a push told apart by how it goes on?"""

import numpy as np
import pytest

from forensics.shape import FEWEST, Shape, find_shape

N = 2_000


def _shape(curve: np.ndarray, seed: int) -> Shape:
    found = find_shape(curve + np.random.default_rng(seed).standard_normal(len(curve)))
    assert found is not None
    return found


def _named(curve: np.ndarray, expected: str, tries: int = 10) -> int:
    return sum(_shape(curve, seed).name == expected for seed in range(tries))


def test_a_steady_push_is_steady() -> None:
    assert _named(np.full(N, 0.5), "steady") >= 9


def test_a_push_that_stops_is_stopped_where_it_stopped() -> None:
    curve = np.where(np.arange(N) < 1200, 0.5, 0.0)
    found = [_shape(curve, seed) for seed in range(10)]
    stopped = [one for one in found if one.name == "stopped"]
    assert len(stopped) >= 9
    assert sum(one.end_low <= 1200 <= one.end_high for one in stopped) >= len(stopped) - 2  # type: ignore[operator]
    assert np.median([abs(one.end - 1200) for one in stopped if one.end is not None]) <= 30


def test_a_waning_push_is_not_taken_for_a_stopped_one() -> None:
    assert _named(np.exp(-np.arange(N) / 700), "waning") >= 8


def test_waning_and_stopped_is_stopped() -> None:
    curve = np.where(np.arange(N) < 900, np.exp(-np.arange(N) / 1500), 0.0)
    found = [_shape(curve, seed) for seed in range(10)]
    assert sum(one.name == "stopped" for one in found) >= 9


def test_a_ramp_is_a_ramp_with_its_length() -> None:
    curve = np.minimum(1.0, np.arange(1, N + 1) / 800)
    found = [_shape(curve, seed) for seed in range(10)]
    ramps = [one for one in found if one.name == "ramp"]
    assert len(ramps) >= 9
    assert np.median([one.length for one in ramps if one.length]) == pytest.approx(800, rel=0.25)


@pytest.mark.parametrize(("period", "on"), [(100, 50), (36, 18), (300, 90)])
def test_on_and_off_is_pulsed_with_its_period_and_duty(period: int, on: int) -> None:
    curve = np.where(np.arange(N) % period < on, 0.8, 0.0)
    found = [_shape(curve, seed) for seed in range(10)]
    pulsed = [one for one in found if one.name == "pulsed"]
    assert len(pulsed) >= 9
    assert np.median([one.period for one in pulsed if one.period]) == pytest.approx(
        period, rel=0.03
    )
    assert np.median([one.duty for one in pulsed if one.duty]) == pytest.approx(
        on / period, abs=0.08
    )


def test_without_any_push_nothing_elaborate_is_seen() -> None:
    names = [_shape(np.zeros(N), seed).name for seed in range(10)]
    assert names.count("steady") + names.count("stopped") >= 9


def test_criteria_say_how_near_the_others_are() -> None:
    told = _shape(np.full(N, 0.5), 1).criteria
    assert set(told) == {"steady", "waning", "ramp", "pulsed", "stopped"}
    assert told["steady"] == 0.0
    assert min(told.values()) == 0.0
    assert told["pulsed"] > 5


def test_few_values_have_no_shape() -> None:
    assert find_shape(np.ones(FEWEST - 1)) is None
