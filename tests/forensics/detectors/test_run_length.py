"""Are average run lengths those that others published, and do thresholds lead back to them?"""

import math

import numpy as np
import pytest
from scipy.special import gammaincinv

import forensics.detectors.run_length as theory
from forensics.detectors.run_length import (
    cusum_run_length,
    cusum_threshold,
    glr_run_length,
    glr_threshold,
    siegmund_run_length,
)
from roundlog.errors import QuestionError


@pytest.mark.parametrize(
    ("slack", "threshold", "two_sided"),
    [
        # Lucas, Crosier, Technometrics 24(3), 1982, table 1.
        (0.5, 4.0, 168.0),
        (0.5, 5.0, 465.0),
        # Montgomery, "Introduction to Statistical Quality Control", table of k and h for 370.
        (0.25, 8.01, 370.0),
        (0.5, 4.77, 370.0),
        (0.75, 3.34, 370.0),
        (1.0, 2.52, 370.0),
    ],
)
def test_run_lengths_are_the_published_ones(
    slack: float, threshold: float, two_sided: float
) -> None:
    # Two charts, one a side, that cannot both be far up: twice the rate.
    found = cusum_run_length(slack, threshold) / 2
    assert found == pytest.approx(two_sided, rel=0.01)


@pytest.mark.parametrize(("shift", "delay"), [(0.5, 38.0), (1.0, 10.4), (2.0, 4.01), (3.0, 2.57)])
def test_delays_are_the_published_ones(shift: float, delay: float) -> None:
    # Lucas, Crosier 1982, k = 0.5, h = 5, from zero; the other side adds nothing to speak of.
    assert cusum_run_length(0.5, 5.0, shift) == pytest.approx(delay, rel=0.01)


@pytest.mark.parametrize(("shift", "delay"), [(1.0, 15), (0.7, 27), (0.25, 144), (0.1, 608)])
def test_the_delays_at_10_000_rounds_are_those_of_the_pilots(shift: float, delay: float) -> None:
    slack = shift / 2
    found = cusum_run_length(slack, cusum_threshold(slack, 1e4), shift)
    assert found == pytest.approx(delay, rel=0.07)


@pytest.mark.parametrize("run_length", [10.0, 500.0, 1e4, 1e6, 8e7])
@pytest.mark.parametrize("slack", [0.05, 0.1, 0.25, 0.5, 1.0])
def test_a_threshold_leads_back_to_its_run_length_or_a_little_more(
    slack: float, run_length: float
) -> None:
    found = cusum_run_length(slack, cusum_threshold(slack, run_length))
    assert run_length * (1 - 1e-5) <= found <= run_length * 1.0003


@pytest.mark.parametrize("slack", [0.05, 0.1, 0.25, 0.5])
def test_more_nodes_change_nothing(slack: float, monkeypatch: pytest.MonkeyPatch) -> None:
    threshold = cusum_threshold(slack, 8e7)
    found = cusum_run_length(slack, threshold)
    monkeypatch.setattr(theory, "NODES", 2 * theory.NODES)
    assert cusum_run_length(slack, threshold) == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("slack", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("run_length", [1e4, 1e7])
def test_siegmund_s_approximation_agrees(slack: float, run_length: float) -> None:
    threshold = cusum_threshold(slack, run_length)
    assert siegmund_run_length(slack, threshold) == pytest.approx(run_length, rel=0.01)


def test_a_walk_without_drift_has_siegmund_s_limit() -> None:
    limit = siegmund_run_length(0.5, 10.0, shift=0.5)
    assert limit == pytest.approx(11.166**2)
    assert siegmund_run_length(0.5, 10.0, shift=0.5 + 1e-4) == pytest.approx(limit, rel=1e-2)
    assert cusum_run_length(0.5, 10.0, shift=0.5) == pytest.approx(limit, rel=1e-2)


@pytest.mark.parametrize("slack", [0.1, 0.5])
def test_beyond_what_the_linear_system_can_solve_thresholds_go_on_evenly(slack: float) -> None:
    decades = [cusum_threshold(slack, 10.0**power) for power in range(6, 14)]
    steps = np.diff(decades)
    # ln 10 / (2 k) more for each decade, across the seam at 10^8 as well.
    np.testing.assert_allclose(steps, math.log(10) / (2 * slack), atol=5e-3)
    assert cusum_run_length(slack, cusum_threshold(slack, 1e9)) == pytest.approx(1e9, rel=1e-3)


@pytest.mark.parametrize("slack", [0.1, 0.5])
def test_a_simulated_cusum_runs_as_long_as_theory_says(slack: float) -> None:
    replicates, run_length = 3_000, 500
    threshold = cusum_threshold(slack, run_length)
    rng = np.random.default_rng(11)
    sums, exposure = np.zeros(replicates), 0
    while sums.size:
        exposure += sums.size
        sums = np.maximum(0.0, sums + rng.normal(size=sums.size) - slack)
        sums = sums[sums <= threshold]
    # 3,000 alarms, Poisson but for the rounds that a sum needs to climb.
    low, high = (exposure / float(gammaincinv(replicates, p)) for p in (0.999, 0.001))
    assert low < run_length < high


@pytest.mark.parametrize("run_length", [500.0, 1e4, 1e6, 1e12])
def test_a_threshold_of_the_likelihood_ratio_leads_back_to_its_run_length(
    run_length: float,
) -> None:
    threshold = glr_threshold(run_length, 1, 16_384)
    assert run_length <= glr_run_length(threshold, 1, 16_384) <= run_length * 1.002


def test_rates_of_ranges_of_windows_add_up() -> None:
    parts = [(1, 8), (9, 100), (101, 16_384)]
    rate = sum(1 / glr_run_length(5.0, *part) for part in parts)
    assert 1 / rate == pytest.approx(glr_run_length(5.0, 1, 16_384))


def test_windows_longer_than_the_run_have_the_lowest_threshold() -> None:
    assert glr_threshold(500.0, 8_193, 16_384) == theory.LOWEST
    assert glr_run_length(theory.LOWEST, 8_193, 16_384) > 500


def test_one_window_of_one_round_alarms_as_often_as_a_normal_value_is_large() -> None:
    # 1 / P(Z > 5) = 3.49e6; the asymptotic tail phi(b) / b and nu's 1 % are what is off.
    assert glr_run_length(5.0, 1, 1) == pytest.approx(3.49e6, rel=0.06)


def test_the_likelihood_ratio_s_sum_over_windows_is_their_integral() -> None:
    # Siegmund, Venkatraman 1995, for two sides: sqrt(2 pi) exp(b^2 / 2) / (b * integral of
    # x nu(x)^2 from 0 to infinity). A finite longest window leaves out x below b / sqrt(longest).
    b = 6.0
    x = np.linspace(b / math.sqrt(16_384), b, 200_001)
    integrand = x * theory._overshoot(x) ** 2
    integral = float(np.sum((integrand[1:] + integrand[:-1]) / 2) * (x[1] - x[0]))
    two_sided = math.sqrt(2 * math.pi) * math.exp(b * b / 2) / (b * integral)
    # The sum holds the windows of 1 to 3 rounds that an integral cannot: some percent more alarms.
    assert 2 * two_sided == pytest.approx(glr_run_length(b, 1, 16_384), rel=0.15)


@pytest.mark.parametrize("run_length", [9.0, 1e16, math.nan])
def test_run_lengths_without_a_threshold_are_refused(run_length: float) -> None:
    with pytest.raises(QuestionError, match=r"no threshold keeps .* Change the budget"):
        cusum_threshold(0.5, run_length)
    with pytest.raises(QuestionError, match=r"no threshold keeps .* Change the budget"):
        glr_threshold(run_length, 1, 100)


@pytest.mark.parametrize("slack", [0.0, -0.1, 1.5, math.nan])
def test_slacks_without_a_threshold_are_refused(slack: float) -> None:
    with pytest.raises(QuestionError, match=r"Choose one from 0\.01 to 1"):
        cusum_threshold(slack, 1e4)
