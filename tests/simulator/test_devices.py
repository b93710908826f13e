"""Device fidelity: who is drawn, who reports, what each one sends, and what the record names."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from roundlog.artefact import LEVELS
from roundlog.cohort import INDEX_BITS, Ids, Membership, draw_members, indices_of, strata_of
from roundlog.errors import ScenarioError
from simulator.clients import LocalTraining, clip_
from simulator.federation import Block, Federation
from simulator.fidelity import Aggregate, Cohort, DeviceClients
from simulator.fleet import REGIONS, VENDORS, Fleet
from simulator.population import DeviceData
from simulator.randomness import Randomness, single_threaded
from simulator.scenario import Scenario, load
from simulator.server import quantise

SEED = 9
SIZE = 40

# A few devices of one step each, two of forty controlled from round 3 on.
FEW = (
    f"cohort.size={SIZE}",
    "population.devices=20000",
    "population.guilty_share=0.09",
    "population.archetypes=64",
    "model.warm_up=0",
    "population.queries=4",
    "client.steps=1",
    "client.batch=4",
    "mechanisms.noise=none",
    "fraction=0.04",
    "attack.onset=3",
    "rounds=10",
)
LOSSES = ("device.dropout=0.2", "device.over_selection=1.5", "device.pace=0.5")


def _few(*overrides: str) -> Scenario:
    return load("digits", [*FEW, *overrides])


def _run(*overrides: str, seed: int = SEED) -> list[Block]:
    return list(Federation(_few(*overrides), seed).blocks())


def _models(blocks: list[Block]) -> bytes:
    return b"".join(block.models.tobytes() for block in blocks)


def _cohorts(blocks: list[Block]) -> list[Cohort]:
    return [cohort for block in blocks for cohort in block.cohorts]


def _membership(cohort: Cohort) -> Membership:
    assert cohort.membership is not None
    return cohort.membership


def _clients(federation: Federation) -> DeviceClients:
    clients = federation.clients()
    assert isinstance(clients, DeviceClients)
    return clients


def _aggregate(federation: Federation, round: int, clip: float | None = None) -> Aggregate:
    """One round against W_0."""
    settings = federation.scenario.mechanisms
    with single_threaded():
        (found,) = _clients(federation).aggregates(
            round, torch.from_numpy(federation.start), clip or settings.clip
        )
    return found


def _attacked(federation: Federation, clip: float) -> tuple[int, Aggregate]:
    """The first round against W_0 in which two controlled devices are counted."""
    for round in range(100):
        found = _aggregate(federation, round, clip)
        if found.cohort.malicious >= 2:
            return round, found
    raise AssertionError(f"seed {federation.seed}: no round of 100 counts two malicious devices")


def test_counted_late_and_absent_devices_add_up_to_the_sampled() -> None:
    for cohort in _cohorts(_run(*LOSSES)):
        membership = _membership(cohort)
        lost = len(membership.no_shows) + len(membership.late)
        assert sum(membership.sampled) == 60
        assert cohort.counted + lost == 60
        assert set(membership.no_shows).isdisjoint(membership.late)
        # Late is who comes after enough others: nobody is, where too few report.
        assert cohort.counted == min(SIZE, 60 - len(membership.no_shows))
        assert cohort.failures == ()


def test_devices_drop_out_as_often_as_the_scenario_says() -> None:
    cohorts = _cohorts(_run("device.dropout=0.3", "device.over_selection=2", "rounds=50"))
    absent = sum(len(_membership(cohort).no_shows) for cohort in cohorts)
    trials = 50 * 80
    assert abs(absent - 0.3 * trials) < 4.5 * (trials * 0.3 * 0.7) ** 0.5, f"seed {SEED}"


def test_without_losses_everybody_sampled_is_counted() -> None:
    for cohort in _cohorts(_run()):
        assert cohort.counted == SIZE
        assert (_membership(cohort).no_shows, _membership(cohort).late) == ((), ())


def _lateness(pace: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each of 1,000 devices, its share of late arrivals in even and in odd rounds."""
    scenario = _few(
        "population.devices=1000",
        "fraction=0",
        "cohort.size=100",
        "device.over_selection=2",
        f"device.pace={pace}",
        "rounds=100",
    )
    federation = Federation(scenario, SEED)
    sizes = federation.fleet.devices
    number = {int(device): at for at, device in enumerate(_everybody(federation.fleet))}
    seen, late = np.zeros((2, len(number))), np.zeros((2, len(number)))
    for t, cohort in enumerate(_cohorts(list(federation.blocks()))):
        membership = _membership(cohort)
        ids = draw_members(membership.key, membership.draw, np.array(membership.sampled), sizes)
        at = np.array([number[int(device)] for device in ids])
        seen[t % 2, at] += 1
        late[t % 2, at[list(membership.late)]] += 1
    kept = seen.min(axis=0) >= 4
    assert kept.sum() > 500
    shares = late[:, kept] / seen[:, kept]
    return shares[0], shares[1]


def _everybody(fleet: Fleet) -> Ids:
    """Ids of all devices of a small fleet."""
    strata = np.repeat(np.arange(len(fleet.devices), dtype=np.uint64), fleet.devices)
    index = np.concatenate([np.arange(size, dtype=np.uint64) for size in fleet.devices])
    ids: Ids = (strata << np.uint64(INDEX_BITS)) | index
    return ids


def test_a_device_that_was_late_in_even_rounds_is_late_in_odd_rounds() -> None:
    even, odd = _lateness(0.8)
    assert np.corrcoef(even, odd)[0, 1] > 0.4, f"seed {SEED}"
    slow = even > np.quantile(even, 0.75)
    assert odd[slow].mean() > 1.5 * odd[~slow].mean(), f"seed {SEED}"


def test_without_a_pace_of_their_own_nobody_is_late_more_often_than_others() -> None:
    even, odd = _lateness(0.0)
    assert abs(np.corrcoef(even, odd)[0, 1]) < 4.5 / len(even) ** 0.5, f"seed {SEED}"


def test_a_cohort_names_its_failed_attempts_and_draws_again() -> None:
    cohorts = _cohorts(_run("device.dropout=0.5", "device.least=0.5", "rounds=30"))
    failed = [cohort for cohort in cohorts if cohort.failures]
    assert 5 < len(failed) < 30
    for t, cohort in enumerate(cohorts):
        assert cohort.counted >= 20
        assert _membership(cohort).draw == (t << 16) + len(cohort.failures)
        for failure in cohort.failures:
            assert failure.reported < 20
            want = f"{failure.reported} of 40 devices reported; a round needs 20"
            assert failure.reason == want


def test_a_round_that_keeps_failing_ends_the_run() -> None:
    with pytest.raises(
        ScenarioError, match=r"round 0 failed 100 times, at last because .*a round needs 40.*Lower"
    ):
        _run("device.dropout=0.9", "device.least=1")


def test_anybody_draws_the_same_cohort_from_the_membership_and_the_fleet() -> None:
    federation = Federation(_few(*LOSSES, "rounds=20"), SEED)
    sizes = federation.fleet.devices
    for block in federation.blocks():
        for cohort in block.cohorts:
            membership = Membership.from_bytes(_membership(cohort).to_bytes())
            assert membership == cohort.membership
            ids = membership.counted(sizes)
            assert np.unique(ids).size == ids.size == cohort.counted
            assert np.all(indices_of(ids) < sizes[strata_of(ids)])
            found = np.bincount(strata_of(ids), minlength=len(sizes))
            np.testing.assert_array_equal(found, cohort.strata)


def test_a_cohort_never_asks_for_more_devices_than_a_stratum_has() -> None:
    overrides = ("population.devices=1000", "population.app_versions=8", "cohort.size=400")
    federation = Federation(_few(*overrides, "fraction=0", "device.least=0.3"), SEED)
    sizes = federation.fleet.devices
    wanted = federation.fleet.cohorts(0, 400)
    assert np.any(wanted > sizes)
    (block,) = federation.blocks()
    for cohort in block.cohorts:
        assert np.all(cohort.strata <= sizes)
        assert cohort.counted < 400


def test_malicious_are_the_controlled_devices_that_are_counted() -> None:
    federation = Federation(_few(*LOSSES), SEED)
    (block,) = federation.blocks()
    for t, cohort in enumerate(block.cohorts):
        ids = _membership(cohort).counted(federation.fleet.devices)
        acting = federation.fleet.acting(ids, 1.0)
        assert cohort.malicious == (int(acting.sum()) if t >= 3 else 0)
        assert set(strata_of(ids[acting])) <= set(federation.fleet.guilty_strata)
    assert block.malicious[3:].mean() == pytest.approx(0.04 * SIZE, abs=1.6)
    assert block.malicious[3:].sum() > 0


@pytest.mark.parametrize("strength", [0.0, 0.37, 1.0])
def test_exactly_the_controlled_share_of_the_fleet_can_act(strength: float) -> None:
    fleet = Federation(_few(), SEED).fleet
    acting = fleet.acting(_everybody(fleet), strength)
    assert fleet.controlled_at_most == 800
    assert acting.sum() == round(800 * strength)


def test_more_strength_only_adds_devices() -> None:
    fleet = Federation(_few(), SEED).fleet
    everybody = _everybody(fleet)
    before = fleet.acting(everybody, 0.0)
    for strength in np.linspace(0, 1, 21):
        now = fleet.acting(everybody, float(strength))
        assert not np.any(before & ~now)
        before = now


def test_the_attack_free_twin_shares_every_bit_until_onset() -> None:
    noisy = ("mechanisms.noise=local", "mechanisms.noise_multiplier=0.5", *LOSSES)
    (attacked,), (twin,) = _run(*noisy), _run(*noisy, "fraction=0")
    first = 3 + int(np.flatnonzero(attacked.malicious[3:])[0])
    assert attacked.models[:first].tobytes() == twin.models[:first].tobytes()
    assert attacked.models[first].tobytes() != twin.models[first].tobytes()
    assert [c.membership for c in attacked.cohorts] == [c.membership for c in twin.cohorts]
    assert not twin.malicious.any()


@pytest.mark.parametrize("noise", ["none", "local", "central"])
def test_secure_aggregation_changes_no_bit(noise: str) -> None:
    overrides = (
        "cohort.size=16",
        "device.dropout=0.15",
        "device.over_selection=1.4",
        "attack.onset=0",
        "rounds=5",
        f"mechanisms.noise={noise}",
    )
    secure = _run(*overrides, "secure_aggregation=true")
    plain = _run(*overrides, "secure_aggregation=false")
    assert _models(secure) == _models(plain)
    np.testing.assert_array_equal(secure[0].integers, plain[0].integers)
    assert _cohorts(secure) != []
    assert [c.membership for c in _cohorts(secure)] == [c.membership for c in _cohorts(plain)]
    assert sum(len(_membership(cohort).no_shows) for cohort in _cohorts(secure)) > 0
    assert secure[0].malicious.sum() > 0


@pytest.mark.parametrize(
    "losses",
    [
        ("device.dropout=0.6", "device.least=0.4"),
        ("device.dropout=0.3", "device.over_selection=3", "device.pace=1"),
    ],
    ids=["dropouts", "stragglers"],
)
def test_secure_aggregation_bears_every_loss_that_the_server_accepts(
    losses: tuple[str, ...],
) -> None:
    overrides = ("cohort.size=12", "rounds=3", *losses)
    secure = _run(*overrides, "secure_aggregation=true")
    plain = _run(*overrides, "secure_aggregation=false")
    assert _models(secure) == _models(plain)
    assert [c.failures for c in _cohorts(secure)] == [c.failures for c in _cohorts(plain)]
    for cohort in _cohorts(secure):
        lost = len(_membership(cohort).no_shows) + len(_membership(cohort).late)
        assert lost > 0.35 * sum(_membership(cohort).sampled)


def test_the_mean_is_what_its_members_sent() -> None:
    """Trained anew one by one, and clipped; a controlled device sends its slot's update."""
    federation = Federation(_few(*LOSSES, "attack.onset=0"), SEED)
    scenario, network = federation.scenario, federation.architecture
    clip, model = 0.2, torch.from_numpy(federation.start)
    round, aggregate = _attacked(federation, clip)
    data = DeviceData(scenario, federation.fleet, federation.task, federation.randomness)
    training = LocalTraining(network, lr=scenario.client.lr, steps=1, batch=4)
    poison = federation.adversary.updates(model, round, clip)
    np.testing.assert_allclose(np.linalg.norm(poison, axis=1), clip, rtol=1e-9)
    ids = _membership(aggregate.cohort).counted(federation.fleet.devices)
    total = np.zeros(network.elements)
    for at in range(ids.size):
        alone = ids[at : at + 1]
        if federation.fleet.acting(alone, 1.0)[0]:
            total[federation.adversary.elements] += poison[federation.adversary.slots(alone)[0]]
            continue
        inputs, labels = data.items(alone, round)
        features = network.features(torch.from_numpy(inputs).long())
        update = training.updates(model, features, torch.from_numpy(labels).long())
        clip_(update, clip)
        total += update[0].double().numpy()
    np.testing.assert_allclose(aggregate.mean, total / ids.size, atol=1e-7)


def test_a_device_holds_the_same_items_whenever_it_comes_back() -> None:
    federation = Federation(_few(), SEED)
    fleet = federation.fleet
    data = DeviceData(federation.scenario, fleet, federation.task, federation.randomness)
    ids = _everybody(fleet)[::100]
    inputs, labels = data.items(ids, 0)
    backwards, backwards_labels = data.items(ids[::-1], 700)
    np.testing.assert_array_equal(backwards[::-1], inputs)
    np.testing.assert_array_equal(backwards_labels[::-1], labels)
    assert np.unique(inputs.reshape(len(ids), -1), axis=0).shape[0] == len(ids)


@pytest.mark.parametrize(("skew", "differ"), [(0.0, False), (1.5, True)])
def test_skew_makes_strata_differ(skew: float, differ: bool) -> None:
    federation = Federation(_few(f"device.skew={skew}"), SEED)
    fleet = federation.fleet
    data = DeviceData(federation.scenario, fleet, federation.task, federation.randomness)
    largest = np.argsort(fleet.devices)[-2:].astype(np.uint64)
    shares = []
    for stratum in largest:
        ids = (stratum << np.uint64(INDEX_BITS)) | np.arange(900, dtype=np.uint64)
        shares.append(np.bincount(data.items(ids, 0)[1].ravel(), minlength=10) / 3_600)
    assert bool(np.abs(shares[0] - shares[1]).max() > 0.08) is differ, f"seed {SEED}: {shares}"


def test_local_noise_is_every_honest_devices_own() -> None:
    """On a mean it has sqrt(honest) / counted times one device's; an attacker adds none."""
    local = ("mechanisms.noise=local", "mechanisms.noise_multiplier=2", "attack.onset=0")
    round, found = _attacked(Federation(_few(*local), SEED), 0.2)
    quiet = _aggregate(Federation(_few("attack.onset=0"), SEED), round, 0.2)
    assert found.cohort.membership == quiet.cohort.membership
    honest = SIZE - found.cohort.malicious
    noise = found.mean.astype(np.float64) - quiet.mean
    # 2,410 numbers know a standard deviation to 1.4 %.
    assert noise.std() == pytest.approx(2 * 0.2 * honest**0.5 / SIZE, rel=0.06), f"seed {SEED}"
    assert abs(noise.mean()) < 4.5 * noise.std() / noise.size**0.5


def test_another_noise_stream_changes_the_noise_and_nothing_else() -> None:
    local = ("mechanisms.noise=local", "mechanisms.noise_multiplier=0.5")
    one, other = (_run(*local, f"mechanisms.noise_stream={stream}")[0] for stream in (0, 1))
    assert one.models.tobytes() != other.models.tobytes()
    assert [c.membership for c in one.cohorts] == [c.membership for c in other.cohorts]


def test_what_devices_send_is_as_fine_as_the_ring_allows() -> None:
    clients = _clients(Federation(_few(*LOSSES), SEED))
    noisy = _clients(Federation(_few("mechanisms.noise=local", "mechanisms.noise_multiplier=3"), 1))
    for grid, reach in ((clients.ring_grid(0.5), 0.5 * 60), (noisy.ring_grid(0.5), 0.5 * 25 * 40)):
        assert np.log2(grid) % 1 == 0
        assert 2**29 < reach / grid <= 2**30


@pytest.mark.parametrize("begin", [0.02, 3.0])
@pytest.mark.parametrize("quantile", [0.3, 0.7])
def test_adaptive_clipping_finds_its_quantile_from_either_side(
    begin: float, quantile: float
) -> None:
    blocks = _run(
        "mechanisms.clipping=adaptive",
        f"mechanisms.clip={begin}",
        f"mechanisms.clip_quantile={quantile}",
        "mechanisms.clip_rate=0.5",
        "mechanisms.clip_count_noise=1.0",
        "server.lr=0.01",
        "fraction=0",
        "rounds=60",
    )
    clips = np.concatenate([block.clips for block in blocks])
    below = np.array([cohort.below for cohort in _cohorts(blocks)])
    assert clips[0] == begin
    # 30 rounds of 40 devices know a share to 1.4 %.
    assert below[30:].mean() == pytest.approx(quantile, abs=0.06), f"seed {SEED}"
    assert 0.2 < clips[-1] < 0.8
    assert np.all(np.diff(np.log(clips[:5])) * (1 if begin < 0.3 else -1) > 0)


def test_fixed_clipping_stays() -> None:
    (block,) = _run("mechanisms.clip=0.4")
    np.testing.assert_array_equal(block.clips, 0.4)


def test_versions_of_the_app_split_every_vendor_by_halves() -> None:
    federation = Federation(_few("population.app_versions=3", "population.devices=10000000"), SEED)
    fleet = federation.fleet
    assert len(fleet.strata) == len(REGIONS) * len(VENDORS) * 3 == len(set(fleet.strata))
    assert fleet.strata[:3] == tuple(f"africa/vendor-a/v{n}" for n in (3, 2, 1))
    versions = fleet.devices.reshape(-1, 3) / fleet.devices.reshape(-1, 3).sum(axis=1)[:, None]
    np.testing.assert_allclose(versions, np.tile([4 / 7, 2 / 7, 1 / 7], (72, 1)), atol=1e-4)
    guilty = {fleet.strata[at].split("/")[1] for at in fleet.guilty_strata}
    assert (len(guilty), len(fleet.guilty_strata)) == (1, 18)


def test_one_version_stands_in_no_name() -> None:
    fleet = Federation(_few(), SEED).fleet
    assert len(fleet.strata) == 72
    assert all(name.count("/") == 1 for name in fleet.strata)


def _vendor_shares(*overrides: str) -> NDArray[np.float64]:
    """Attendance by vendor over a day of rounds, shape (412, 12)."""
    fleet = Fleet(_few("seconds_per_round=210", *overrides), Randomness(SEED))
    shares = fleet.attendance(np.arange(412)).reshape(412, len(REGIONS), len(VENDORS), -1)
    found: NDArray[np.float64] = shares.sum(axis=(1, 3))
    return found


def test_vendors_come_and_go_in_the_course_of_a_day_where_they_swing() -> None:
    still = _vendor_shares("population.attendance_swing=0")
    swinging = _vendor_shares("population.attendance_swing=0", "population.vendor_swing=0.5")
    np.testing.assert_allclose(still / still[0], 1, atol=1e-12)
    assert np.all(swinging.max(axis=0) / swinging.min(axis=0) > 1.5)
    assert np.unique(swinging.argmax(axis=0)).size == len(VENDORS)


@pytest.fixture(scope="module")
def quantised() -> Federation:
    return Federation(_few("model.broadcast=int4", "attack.onset=0"), SEED)


def test_what_devices_run_has_fifteen_levels_a_channel(quantised: Federation) -> None:
    deployed = quantised.schema.unflatten(quantised.deployed(quantised.start))
    master = quantised.schema.unflatten(quantised.start)
    for name, weights in deployed.items():
        if weights.ndim < 2:
            np.testing.assert_array_equal(weights, master[name])
            continue
        for channel in weights.T:
            assert np.unique(channel).size <= 2 * LEVELS + 1
        assert np.unique(master[name][:, 0]).size > 2 * LEVELS + 1


def test_local_training_starts_from_what_devices_run(quantised: Federation) -> None:
    (block,) = quantised.blocks()
    clip = quantised.scenario.mechanisms.clip
    means = []
    for model in (quantised.deployed(quantised.start), quantised.start):
        with single_threaded():
            (found,) = _clients(quantised).aggregates(0, torch.from_numpy(model), clip)
        means.append(quantise(found.mean, quantised.scenario.grid))
    np.testing.assert_array_equal(means[0], block.integers[0])
    assert not np.array_equal(means[1], block.integers[0])
    # The server adds the mean to its own weights, not to those of 4 bits.
    step = quantised.scenario.server.lr * quantised.scenario.grid
    moved = block.models[0] - quantised.start
    np.testing.assert_allclose(moved, block.integers[0] * step, atol=1e-6)


@pytest.mark.parametrize("rounds", [1, 7, 10, 13])
def test_fewer_rounds_are_the_beginning_of_more(rounds: int) -> None:
    more, fewer = _run(*LOSSES, "rounds=20"), _run(*LOSSES, f"rounds={rounds}")
    assert len(_cohorts(fewer)) == rounds
    assert _models(fewer) == _models(more)[: len(_models(fewer))]
    assert [c.membership for c in _cohorts(fewer)] == [
        c.membership for c in _cohorts(more)[:rounds]
    ]


def test_a_seed_decides_everything() -> None:
    assert _models(_run(*LOSSES)) == _models(_run(*LOSSES))
    assert _models(_run(*LOSSES)) != _models(_run(*LOSSES, seed=SEED + 1))
