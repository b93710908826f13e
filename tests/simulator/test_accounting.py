"""Does the accountant say what others say, and never less? Checked without its own grid."""

import math

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian, get_sigma_gaussian
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from simulator.privacy.accounting import (
    DELTA,
    PrivacyError,
    Setting,
    account,
    epsilon,
    noise_multiplier_for,
    participations,
)
from simulator.privacy.composition import epsilon_of_rounds
from simulator.privacy.gaussian import epsilon_of_releases
from simulator.privacy.losses import Direction, SampledRound, losses_of, spacing_for

# The reference: 10,000 of 3.4 billion devices in each of a million rounds.
RATE = 1e4 / 3.4e9
ROUNDS = 1_000_000

# (z, q, rounds, delta, grid of the other accountant): where its own rounding stays far below delta.
MODERATE = [
    (1.0, 0.01, 1_000, 1e-5, 1e-4),
    (0.5, 0.01, 1_000, 1e-5, 1e-3),
    (0.8, 0.001, 2_000, 1e-6, 1e-4),
    (5.0, 0.5, 100, 1e-6, 1e-4),
    (20.0, 0.01, 5_000, 1e-8, 1e-5),
]


def delta_by_contour(at: float, z: float, q: float, rounds: int) -> float:
    """delta(at) of removing a device, by a contour integral of the loss's moments; no grid.

    Alghamdi et al., "The saddle-point method in differential privacy", ICML 2023. Losses of
    rounds that happen with less than 1e-15 in the whole run are left out.
    """
    x = np.linspace(-14 * z, 1 - z * float(ndtri(1e-15 / rounds / q)), 4001)
    weight = np.exp(-((x / z) ** 2) / 2) / math.sqrt(2 * math.pi) / z * (x[1] - x[0])
    loss = np.log1p(q * np.expm1((2 * x - 1) / (2 * z * z)))
    weight = weight * np.exp(loss)

    def cumulant(t: complex) -> complex:
        return complex(rounds * np.log1p(np.sum(weight * np.expm1(t * loss))))

    line = np.exp(np.linspace(1, 6, 100))
    with np.errstate(over="ignore", invalid="ignore"):
        heights = [cumulant(t).real - t * at - math.log(t * (t + 1)) for t in line]
    saddle = float(line[int(np.nanargmin(heights))])
    step = 0.8
    points = saddle + 1j * np.arange(0, 5_000, step)
    values = [np.exp(cumulant(t) - t * at) / (t * (t + 1)) for t in points]
    return float((np.sum(values).real - values[0].real / 2) * step / math.pi)


def test_one_round_at_the_reference_noise_costs_a_tenth() -> None:
    assert epsilon(54.2) == pytest.approx(0.1, rel=0.001)
    assert noise_multiplier_for(0.1) == pytest.approx(54.2, abs=0.05)


def test_a_million_rounds_at_the_reference_cost_less_than_a_tenth_and_no_less_than_they_do() -> (
    None
):
    found = epsilon(0.73, rounds=ROUNDS, sampling_rate=RATE)
    assert found == pytest.approx(0.0428, rel=0.005)
    # An upper bound on epsilon: the true delta there is below, but barely.
    true = delta_by_contour(found, 0.73, RATE, ROUNDS)
    assert 0.99 * DELTA < true <= DELTA


def test_a_tenth_for_the_run_takes_noise_of_two_thirds() -> None:
    # 0.6704: the solver itself takes ten of these steps.
    assert epsilon(0.6704, rounds=ROUNDS, sampling_rate=RATE) <= 0.1
    assert epsilon(0.6695, rounds=ROUNDS, sampling_rate=RATE) > 0.1


def test_the_usual_fourier_accountant_is_far_off_at_the_reference() -> None:
    # Why composition tilts: untilted, rounding is as large as delta, and no grid serves both ends.
    usual = privacy_loss_distribution.from_gaussian_mechanism(0.73, sampling_prob=RATE)
    theirs = usual.self_compose(ROUNDS).get_epsilon_for_delta(DELTA)
    ours = epsilon(0.73, rounds=ROUNDS, sampling_rate=RATE)
    assert abs(theirs - ours) > 0.5 * ours


@pytest.mark.parametrize(("z", "q", "rounds", "delta", "grid"), MODERATE)
def test_another_accountant_agrees_where_its_rounding_is_small(
    z: float, q: float, rounds: int, delta: float, grid: float
) -> None:
    other = privacy_loss_distribution.from_gaussian_mechanism(
        z, sampling_prob=q, value_discretization_interval=grid
    )
    theirs = other.self_compose(rounds).get_epsilon_for_delta(delta)
    assert epsilon(z, delta, rounds=rounds, sampling_rate=q) == pytest.approx(theirs, rel=0.002)


@pytest.mark.parametrize(("z", "q", "rounds", "delta", "grid"), MODERATE)
def test_renyi_accounting_is_looser(
    z: float, q: float, rounds: int, delta: float, grid: float
) -> None:
    event = SelfComposedDpEvent(PoissonSampledDpEvent(q, GaussianDpEvent(z)), rounds)
    renyi = RdpAccountant().compose(event).get_epsilon(delta)
    ours = epsilon(z, delta, rounds=rounds, sampling_rate=q)
    assert ours < renyi
    if z >= 5:  # where the loss is nearly Gaussian, and both are close
        assert renyi < 1.25 * ours


def test_a_finer_grid_only_tightens_and_by_little() -> None:
    for z, q, rounds, delta, _ in MODERATE:
        usual = epsilon(z, delta, rounds=rounds, sampling_rate=q)
        finer = epsilon(z, delta, rounds=rounds, sampling_rate=q, fineness=4)
        assert finer <= usual <= finer * 1.002


@pytest.mark.parametrize("z", [0.05, 0.73, 5.0, 54.2])
@pytest.mark.parametrize("delta", [1e-3, 1e-10])
def test_the_closed_form_is_another_library_s(z: float, delta: float) -> None:
    assert epsilon(z, delta) == pytest.approx(get_epsilon_gaussian(z, delta), rel=1e-9)
    found = noise_multiplier_for(2.0, delta)
    assert found == pytest.approx(get_sigma_gaussian(2.0, delta), rel=1e-4)
    assert epsilon(found, delta) <= 2.0


@pytest.mark.parametrize("rounds", [2, 30, 3_000])
@pytest.mark.parametrize("direction", ["remove", "add"])
def test_grid_and_power_give_the_gaussian_of_all_rounds_when_nearly_everybody_is_sampled(
    rounds: int, direction: Direction
) -> None:
    z, delta = 20.0, 1e-8
    sampled, spill = SampledRound(z, 1 - 1e-12), delta * 1e-4 / rounds / 2
    one = losses_of(sampled, direction, spacing_for(sampled, spill), spill)
    exact = epsilon_of_releases(z / math.sqrt(rounds), delta)
    assert epsilon_of_releases(z, delta, rounds) == exact
    assert exact <= epsilon_of_rounds(one, rounds, delta) <= 1.003 * exact


@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.3])
def test_one_round_on_the_grid_is_the_closed_form_of_a_sampled_round(q: float) -> None:
    z, delta = 0.8, 1e-11
    sampled, spill = SampledRound(z, q), delta * 1e-4 / 2
    one = losses_of(sampled, "remove", spacing_for(sampled, spill), spill)
    exact = epsilon(z, delta, sampling_rate=q)
    assert exact <= epsilon_of_rounds(one, 1, delta) * (1 + 1e-9)
    assert epsilon_of_rounds(one, 1, delta) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("direction", ["remove", "add"])
def test_a_grid_holds_all_probability(direction: Direction) -> None:
    for z, q in ((0.01, 0.1), (0.73, RATE), (54.2, 0.5)):
        sampled = SampledRound(z, q)
        one = losses_of(sampled, direction, spacing_for(sampled, 1e-15), 1e-15)
        assert one.masses.min() >= 0
        assert one.masses.sum() + one.infinite == pytest.approx(1, abs=1e-12)
        assert one.infinite <= 2e-15


CHEAP = settings(max_examples=15, deadline=None, derandomize=True)
NOISE = st.floats(0.8, 20)
SHARE = st.floats(1e-4, 0.2)
MANY = st.integers(2, 2_000)


@CHEAP
@given(z=NOISE, q=SHARE, rounds=MANY, more=st.floats(1.05, 3))
def test_epsilon_falls_with_noise_and_rises_with_sampling_and_rounds(
    z: float, q: float, rounds: int, more: float
) -> None:
    here = epsilon(z, 1e-7, rounds=rounds, sampling_rate=q)
    assert epsilon(z * more, 1e-7, rounds=rounds, sampling_rate=q) <= here
    assert epsilon(z, 1e-7, rounds=rounds, sampling_rate=q * more) >= here
    assert epsilon(z, 1e-7, rounds=math.ceil(rounds * more), sampling_rate=q) >= here
    assert epsilon(z, 1e-8, rounds=rounds, sampling_rate=q) >= here
    assert here <= epsilon(z, 1e-7, rounds=rounds)


@settings(CHEAP, max_examples=6)
@given(target=st.floats(0.05, 5), q=SHARE, rounds=MANY)
def test_the_solver_keeps_the_promise_and_wastes_little_noise(
    target: float, q: float, rounds: int
) -> None:
    z = noise_multiplier_for(target, 1e-7, rounds=rounds, sampling_rate=q)
    assert epsilon(z, 1e-7, rounds=rounds, sampling_rate=q) <= target
    assert epsilon(z * 0.995, 1e-7, rounds=rounds, sampling_rate=q) > target * 0.999


def test_knowing_the_membership_costs_what_composition_says() -> None:
    found = account(Setting("central", 0.73, 10_000, 3_400_000_000, ROUNDS))
    assert found.participations.expected == pytest.approx(2.94, abs=0.01)
    assert (found.participations.typical, found.participations.high) == (3, 14)
    known = get_epsilon_gaussian(0.73 / math.sqrt(3), DELTA)
    assert found.epsilon_run_membership_known == pytest.approx(known, rel=1e-9)
    assert known == pytest.approx(17.42, rel=1e-3)
    cost = found.membership_cost
    assert cost == found.epsilon_run_membership_known / found.epsilon_run
    assert found.epsilon_run < found.epsilon_run_membership_known


def test_a_device_known_in_every_round_pays_for_every_round() -> None:
    assert epsilon(10, rounds=100) == pytest.approx(epsilon(1), rel=1e-12)
    assert participations(100, 1.0).typical == participations(100, 1.0).high == 100


def test_local_noise_adds_up_for_outsiders_and_not_for_the_server() -> None:
    local = account(Setting("local", 1.0, 400, 1_000_000, 500), 1e-7)
    central = account(Setting("central", 20.0, 400, 1_000_000, 500), 1e-7)
    assert local.epsilon_run == central.epsilon_run
    assert local.epsilon_run_against_server == epsilon(1.0, 1e-7)
    assert central.epsilon_run_against_server is None


def test_publishing_a_count_spends_privacy_as_a_second_coordinate() -> None:
    both = Setting("central", 20.0, 10, 100, 5, count_noise=20.0)
    assert both.seen_multiplier == pytest.approx(20 / math.sqrt(2))
    assert Setting("central", 20.0, 10, 100, 5, count_noise=0.0).seen_multiplier == 0


@pytest.mark.parametrize(
    "setting",
    [
        Setting("none", 54.2, 10, 1_000, 50),
        Setting("central", 0.0, 10, 1_000, 50),
        Setting("local", 0.0, 10, 1_000, 50),
    ],
)
def test_without_noise_nothing_is_promised(setting: Setting) -> None:
    found = account(setting)
    assert math.isinf(found.epsilon_round)
    assert math.isinf(found.epsilon_run)
    assert found.membership_cost is None


def test_numbers_out_of_their_domain_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(PrivacyError, match="delta must be above 0 and below 1, not 0"):
        epsilon(1.0, 0.0)
    with pytest.raises(PrivacyError, match="not -1"):
        epsilon(-1.0)
    with pytest.raises(PrivacyError, match="at least one round, not 0"):
        epsilon(1.0, rounds=0)
    with pytest.raises(PrivacyError, match=r"at most 1, not 1\.5"):
        epsilon(1.0, sampling_rate=1.5)
    with pytest.raises(PrivacyError, match="epsilon must be above 0 and finite, not 0"):
        noise_multiplier_for(0)
    with pytest.raises(PrivacyError, match="cohort of 20 must hold between 1 and 10 devices"):
        Setting("central", 1.0, 20, 10, 5)
    with pytest.raises(PrivacyError, match="at least one round, not 0"):
        Setting("central", 1.0, 2, 10, 0)
    with pytest.raises(PrivacyError, match="noise must be finite"):
        Setting("central", math.inf, 2, 10, 5)
