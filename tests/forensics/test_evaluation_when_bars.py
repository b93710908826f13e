"""Are the bars the quantiles that they are said to be?"""

import numpy as np
import pytest

from forensics.evaluation.when_bars import (
    ALPHA,
    BARS,
    least_successes,
    most_events,
    most_successes,
)
from simulator.scenario import load, shipped

SEED = 20_261_126


@pytest.mark.parametrize(("n", "least"), [(1, 0), (2, 1), (20, 16), (50, 43), (2_000, 1_877)])
def test_a_share_of_95_percent_falls_below_its_bar_once_in_a_hundred_times(
    n: int, least: int
) -> None:
    assert least_successes(n) == least
    drawn = np.random.default_rng(SEED).binomial(n, 0.95, size=200_000)
    assert (drawn < least).mean() < ALPHA
    assert (drawn < least + 1).mean() >= 0.9 * ALPHA, "one more would be asked for without need"


@pytest.mark.parametrize(
    ("expected", "most"), [(0.0, 0), (0.003, 0), (0.02, 1), (0.1, 1), (0.2, 2), (3.0, 8)]
)
def test_a_count_as_the_budget_says_rises_above_its_bar_once_in_a_hundred_times(
    expected: float, most: int
) -> None:
    assert most_events(expected) == most
    drawn = np.random.default_rng(SEED).poisson(expected, size=200_000)
    assert (drawn > most).mean() < 1.1 * ALPHA


@pytest.mark.parametrize(("n", "share", "most"), [(10, 1e-3, 0), (50, 1e-3, 1), (10, 0.5, 9)])
def test_a_rare_success_has_a_bar_of_its_own(n: int, share: float, most: int) -> None:
    assert most_successes(n, share) == most
    drawn = np.random.default_rng(SEED).binomial(n, share, size=200_000)
    assert (drawn > most).mean() < 1.1 * ALPHA


@pytest.mark.parametrize("name", BARS)
def test_every_world_is_a_shipped_scenario_with_an_onset_and_its_bars_have_a_reason(
    name: str,
) -> None:
    assert name in shipped()
    scenario = load(name)
    bars = BARS[name]
    assert 0 < scenario.attack.onset < scenario.rounds
    assert bars.reason
    given = [bars.median, bars.p90, bars.largest, bars.within]
    assert any(bar is not None and bar < scenario.attack.onset for bar in given)


def test_the_errors_of_a_world_are_allowed_in_their_order() -> None:
    reference = BARS["mobileai7"]
    assert reference.median is not None
    assert reference.p90 is not None
    assert reference.largest is not None
    assert reference.median < reference.p90 < reference.largest
    assert reference.largest == load("mobileai7").rounds / 100, "as its reason says"
