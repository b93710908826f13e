"""The fleet and its cohorts: strata first, then malicious devices by the hypergeometric law."""

import numpy as np
import pytest
from scipy import stats

from simulator.fleet import REGIONS, VENDORS, Fleet
from simulator.population import Archetypes, choose
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Scenario, load
from simulator.tasks.assistant import TAIL, AssistantTask

SEED = 11


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load("mobileai7")


@pytest.fixture(scope="module")
def fleet(scenario: Scenario) -> Fleet:
    return Fleet(scenario, Randomness(SEED))


@pytest.fixture(scope="module")
def archetypes(scenario: Scenario) -> Archetypes:
    randomness = Randomness(SEED)
    task = AssistantTask(scenario.assistant, randomness)
    return Archetypes(scenario.population, task, randomness, stage="run")


def test_the_fleet_has_72_strata_and_its_devices(fleet: Fleet) -> None:
    assert len(fleet.strata) == len(REGIONS) * len(VENDORS) == 72
    assert fleet.devices.sum() == pytest.approx(3_400_000_000, abs=72)
    assert fleet.devices.min() > 0


def test_the_guilty_vendor_holds_its_share_and_enough_devices(fleet: Fleet) -> None:
    guilty = fleet.devices[fleet.guilty_strata].sum()
    assert guilty / fleet.devices.sum() == pytest.approx(0.046, rel=1e-6)
    assert fleet.controlled_at_most == 3_400_000
    guilty_names = {fleet.strata[index].split("/")[1] for index in fleet.guilty_strata}
    assert guilty_names == {VENDORS[fleet.guilty]}


def test_another_seed_has_another_guilty_vendor(scenario: Scenario) -> None:
    assert len({Fleet(scenario, Randomness(seed)).guilty for seed in range(40)}) > 6


def test_every_cohort_has_k_devices(fleet: Fleet) -> None:
    counts = fleet.cohorts(3, 10_000)
    assert counts.shape == (BLOCK, 72)
    assert np.all(counts.sum(axis=1) == 10_000)


def test_attendance_follows_the_clock_and_returns_after_a_day(fleet: Fleet) -> None:
    day = 86_400 / 210
    hours = np.arange(0, int(day), 20)
    shares = fleet.attendance(hours).reshape(len(hours), len(REGIONS), -1).sum(axis=2)
    assert np.all(shares.max(axis=0) / shares.min(axis=0) > 1.5)
    # 2,880 rounds are seven days exactly.
    np.testing.assert_allclose(
        fleet.attendance(np.array([5])), fleet.attendance(np.array([5 + 2_880])), atol=1e-12
    )


def test_the_guilty_vendors_share_of_a_cohort_stays_near_its_share_of_the_fleet(
    fleet: Fleet,
) -> None:
    shares = fleet.attendance(np.arange(0, 2_880, 7))[:, fleet.guilty_strata].sum(axis=1)
    assert 0.038 < shares.min() < shares.max() < 0.054


def test_malicious_counts_follow_the_hypergeometric_law_inside_the_guilty_vendor(
    fleet: Fleet,
) -> None:
    blocks = range(400)
    drawn, expected = [], []
    total = int(fleet.devices[fleet.guilty_strata].sum())
    for block in blocks:
        counts = fleet.cohorts(block, 10_000)
        vendor = counts[:, fleet.guilty_strata].sum(axis=1)
        drawn.append(fleet.malicious(block, counts, np.ones(BLOCK)))
        expected.append(stats.hypergeom(total, fleet.controlled_at_most, vendor))
    m = np.concatenate(drawn)
    mean = np.concatenate([law.mean() for law in expected])
    variance = np.concatenate([law.var() for law in expected])
    z = (m - mean).sum() / np.sqrt(variance.sum())
    assert abs(z) < 4.5, f"seed {SEED}: z = {z:.2f}"
    spread = ((m - mean) ** 2 / variance).mean()
    assert spread == pytest.approx(1, abs=0.1), f"seed {SEED}"
    assert m.mean() == pytest.approx(10, abs=0.3), f"seed {SEED}"


def test_no_device_is_malicious_where_none_is_in_use(fleet: Fleet) -> None:
    strength = np.repeat([0.0, 1.0], BLOCK // 2)
    m = fleet.malicious(0, fleet.cohorts(0, 10_000), strength)
    assert np.all(m[: BLOCK // 2] == 0)
    assert np.all(m[BLOCK // 2 :] > 0)


def test_a_blocks_devices_are_spread_over_all_archetypes(archetypes: Archetypes) -> None:
    counts = archetypes.counts(0, 10_000)
    assert counts.shape == (BLOCK, 512)
    assert np.all(counts.sum(axis=1) == 10_000)
    assert counts.mean() == pytest.approx(10_000 / 512)


def test_devices_that_turn_malicious_leave_their_archetypes(archetypes: Archetypes) -> None:
    counts = archetypes.counts(1, 10_000)
    leaving = np.arange(BLOCK) * 7
    left = archetypes.without(1, counts, leaving)
    np.testing.assert_array_equal(left.sum(axis=1), 10_000 - leaving)
    assert np.all(left >= 0)
    assert np.all(left <= counts)
    np.testing.assert_array_equal(left[0], counts[0])


def test_eight_archetypes_are_renewed_a_block_oldest_first(archetypes: Archetypes) -> None:
    first, second = archetypes.renewal(0, 0), archetypes.renewal(1, 10)
    np.testing.assert_array_equal(first.indices, range(8))
    np.testing.assert_array_equal(second.indices, range(8, 16))
    np.testing.assert_array_equal(archetypes.renewal(64, 640).indices, range(8))
    assert first.inputs.shape == (8, 16, 8)
    assert first.labels.shape == (8, 16)


def test_triggers_never_occur_in_honest_training_data(archetypes: Archetypes) -> None:
    for renewal in (archetypes.initial(), *(archetypes.renewal(b, 10 * b) for b in range(300))):
        assert (renewal.inputs >= TAIL).sum(axis=2).max() <= 1


def test_a_uniform_number_chooses_the_class_in_whose_share_it_lies() -> None:
    preferences = np.array([[0.25, 0.0, 0.5, 0.25], [0.0, 0.0, 0.0, 1.0]])
    uniform = np.array([[0.0, 0.2, 0.25, 0.3, 0.76, 0.999]])
    chosen = choose(np.repeat(uniform, 2, axis=0)[:, :, None], preferences)
    assert chosen.dtype == np.int32
    np.testing.assert_array_equal(chosen, [[0, 0, 0, 2, 3, 3], [0, 3, 3, 3, 3, 3]])


def test_a_hundred_and_more_classes_are_chosen_as_often_as_they_are_preferred() -> None:
    rng = np.random.default_rng(SEED)
    preferences = rng.dirichlet(np.ones(300), size=1)
    chosen = choose(rng.random((1, 200_000, 1)), preferences)
    found = np.bincount(chosen[0], minlength=300)
    assert stats.chisquare(found, 200_000 * preferences[0]).pvalue > 1e-6, f"seed {SEED}"
