"""Do the two fidelities simulate one federation? In law they should: where local procedures are
equal, a cohort's mean, its malicious count and the attack's path have one distribution.

The smallest worlds with power: cohorts of 50, one local step on four or ten items, digits of 2,410
weights (the assistant beside them), no noise. Single rounds are compared at one fixed model, 500 of
each fidelity from independent seeds, every 10 of them with kinds of device of their own. There are
2,048 kinds, so that sharing them adds 50/2,048 = 2.4 % to a variance, which 500 rounds do not
resolve. Paths are compared in pairs that share W_0, trigger and batches.

Each comparison states its level for the whole family of directions; seeds are fixed. Beside each
stands a control, a federation that differs in one setting, which the same statistic must reject.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from simulator.federation import Federation
from simulator.fidelity import Clients, CohortClients, DeviceClients
from simulator.randomness import BLOCK, Randomness, single_threaded
from simulator.scenario import Scenario, load

SEED = 1
SIZE, KINDS, BLOCKS = 50, 2_048, 50
DIRECTIONS = 20
LEVEL = 0.01
FIRST_SEED = {"cohort": 1_000, "device": 5_000}
# The same hours of the day, seven days apart: attendance is the same, cohorts are not.
FIRST_BLOCK = {"cohort": 0, "device": 288}

WORLD = (
    f"cohort.size={SIZE}",
    "population.devices=1000000",
    "population.guilty_share=0.09",
    "population.queries=4",
    "model.warm_up=0",
    "client.steps=1",
    "client.batch=4",
    "server.lr=1.0",
    "mechanisms.noise=none",
    "fraction=0.04",
    "attack.onset=0",
    "attack.renewal=1000000",
    "assistant.drift_horizon=1000000000",
    f"population.archetypes={KINDS}",
    f"population.renewed={KINDS}",
)
# A clip norm that leaves about half of the honest updates as they are, so that means feel it.
TASKS = {
    "digits": ("task=digits", "mechanisms.clip=0.38", "client.lr=0.2"),
    "assistant": ("task=assistant", "mechanisms.clip=2.2", "client.lr=2.0"),
}
tasks = pytest.mark.parametrize("task", list(TASKS))


@dataclass(frozen=True)
class Rounds:
    """Many rounds against one model, in blocks that share nothing."""

    means: NDArray[np.float32]
    """Shape (blocks, BLOCK, d)."""

    malicious: NDArray[np.int64]
    """m_t, shape (blocks * BLOCK,)."""

    guilty: NDArray[np.int64]
    """Devices of the guilty vendor in each cohort, shape (blocks * BLOCK,)."""

    below: NDArray[np.float64]
    """Share of updates that clipping left as they were, shape (blocks * BLOCK,)."""

    def along(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Projections of the means, shape (blocks, BLOCK, directions)."""
        projected: NDArray[np.float64] = self.means.astype(np.float64) @ directions.T
        return projected


@cache
def federation_of(task: str) -> Federation:
    """Task, fleet, adversary and W_0, which both fidelities share."""
    return Federation(load("digits", [*WORLD, *TASKS[task], "fidelity=cohort"]), SEED)


@cache
def rounds_of(task: str, fidelity: str, *overrides: str) -> Rounds:
    """BLOCKS blocks of one fidelity, perhaps with something different."""
    shared = federation_of(task)
    scenario = load("digits", [*WORLD, *TASKS[task], f"fidelity={fidelity}", *overrides])
    changed = Federation(scenario, SEED) if overrides else shared
    model = torch.from_numpy(shared.start)
    found = []
    with single_threaded():
        for number in range(BLOCKS):
            randomness = Randomness(FIRST_SEED[fidelity] + number)
            clients = clients_of(scenario, changed, randomness)
            begin = (FIRST_BLOCK[fidelity] + number) * BLOCK
            for first in range(begin, begin + BLOCK, clients.refresh):
                found += clients.aggregates(first, model, scenario.mechanisms.clip)
    guilty = shared.fleet.guilty_strata
    return Rounds(
        means=np.stack([each.mean for each in found]).reshape(BLOCKS, BLOCK, -1),
        malicious=np.array([each.cohort.malicious for each in found]),
        guilty=np.array([each.cohort.strata[guilty].sum() for each in found]),
        below=np.array([each.cohort.below for each in found]),
    )


def clients_of(scenario: Scenario, federation: Federation, randomness: Randomness) -> Clients:
    """Devices whose every random number is new, in an unchanged federation."""
    parts = (federation.task, federation.fleet, federation.adversary)
    if scenario.fidelity == "device":
        return DeviceClients(scenario, *parts, randomness)
    return CohortClients(scenario, *parts, federation.archetypes, randomness)


def directions_of(task: str) -> NDArray[np.float64]:
    """Unit vectors, shape (1 + DIRECTIONS, d): the backdoor first, then random ones."""
    federation = federation_of(task)
    clip = federation.scenario.mechanisms.clip
    backdoor = np.zeros(federation.schema.elements)
    moves = federation.adversary.updates(torch.from_numpy(federation.start), 0, clip)
    backdoor[federation.adversary.elements] = moves.mean(axis=0)
    drawn = np.random.default_rng(SEED).standard_normal((DIRECTIONS, backdoor.size))
    found = np.vstack([backdoor, drawn])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def p_of_means(one: Rounds, other: Rounds, directions: NDArray[np.float64]) -> float:
    """Smallest p of Welch's t-tests between means of blocks, times the number of directions."""
    here, there = one.along(directions).mean(axis=1), other.along(directions).mean(axis=1)
    p = stats.ttest_ind(here, there, equal_var=False).pvalue
    return float(p.min() * len(directions))


def p_of_variances(one: Rounds, other: Rounds, directions: NDArray[np.float64]) -> float:
    """Smallest p of two-sided F-tests between rounds' variances, times the number of directions."""
    here = one.along(directions).reshape(-1, len(directions)).var(axis=0, ddof=1)
    there = other.along(directions).reshape(-1, len(directions)).var(axis=0, ddof=1)
    law = stats.f(BLOCKS * BLOCK - 1, BLOCKS * BLOCK - 1)
    p = 2 * np.minimum(law.sf(here / there), law.cdf(here / there))
    return float(p.min() * len(directions))


def p_of_whole_variances(one: Rounds, other: Rounds) -> float:
    """Of Welch's t-test between blocks' values of the squared distance to the overall mean."""
    spreads = []
    for rounds in (one, other):
        centre = rounds.means.mean(axis=(0, 1), dtype=np.float64)
        spreads.append(((rounds.means - centre) ** 2).sum(axis=2).mean(axis=1))
    return float(stats.ttest_ind(*spreads, equal_var=False).pvalue)


def p_of_counts(one: Rounds, other: Rounds) -> float:
    """Chi-square between two samples of m_t; counts that are rare in both are put together."""
    most = int(max(one.malicious.max(), other.malicious.max()))
    table = np.array([np.bincount(each.malicious, minlength=most + 1) for each in (one, other)])
    common = table.sum(axis=0) >= 10
    kept = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
    return float(stats.chi2_contingency(kept[:, kept.sum(axis=0) > 0]).pvalue)


def p_of_law(rounds: Rounds, total: int, controlled: int) -> float:
    """Chi-square of m_t against its law given each cohort's devices of the guilty vendor.

    Rounds differ in that number, so expected counts are sums; the test errs on the safe side.
    """
    most = int(rounds.malicious.max())
    present, times = np.unique(rounds.guilty, return_counts=True)
    law = stats.hypergeom(total, controlled, present[:, None])
    expected = times @ law.pmf(np.arange(most + 1))
    observed = np.bincount(rounds.malicious, minlength=most + 1).astype(np.float64)
    last = int(np.flatnonzero(expected >= 5).max())
    observed = np.append(observed[:last], observed[last:].sum())
    expected = np.append(expected[:last], len(rounds.malicious) - expected[:last].sum())
    return float(stats.chisquare(observed, expected).pvalue)


@tasks
def test_the_mean_has_one_expectation(task: str) -> None:
    p = p_of_means(rounds_of(task, "cohort"), rounds_of(task, "device"), directions_of(task))
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}"


@tasks
def test_the_mean_has_one_covariance(task: str) -> None:
    cohort, device = rounds_of(task, "cohort"), rounds_of(task, "device")
    p = p_of_variances(cohort, device, directions_of(task))
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}"
    p = p_of_whole_variances(cohort, device)
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}, over all coordinates"


def test_another_clip_norm_is_told_apart() -> None:
    cohort, device = (
        rounds_of("digits", "cohort"),
        rounds_of("digits", "device", "mechanisms.clip=0.5"),
    )
    assert p_of_means(cohort, device, directions_of("digits")) < LEVEL
    assert p_of_variances(cohort, device, directions_of("digits")) < LEVEL
    assert p_of_whole_variances(cohort, device) < LEVEL


def test_a_population_that_differs_between_strata_is_told_apart_by_its_covariance() -> None:
    cohort, device = rounds_of("digits", "cohort"), rounds_of("digits", "device", "device.skew=1.5")
    assert p_of_variances(cohort, device, directions_of("digits")) < LEVEL
    assert p_of_whole_variances(cohort, device) < LEVEL


def test_malicious_counts_have_one_law() -> None:
    p = p_of_counts(rounds_of("digits", "cohort"), rounds_of("digits", "device"))
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}"


@pytest.mark.parametrize("fidelity", ["cohort", "device"])
def test_malicious_counts_are_hypergeometric_inside_the_guilty_vendor(fidelity: str) -> None:
    fleet, rounds = federation_of("digits").fleet, rounds_of("digits", fidelity)
    p = p_of_law(rounds, int(fleet.devices[fleet.guilty_strata].sum()), fleet.controlled_at_most)
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}"


def test_fewer_controlled_devices_are_told_apart() -> None:
    cohort, fewer = (
        rounds_of("digits", "cohort"),
        rounds_of("digits", "device", "fraction=0.032"),
    )
    fleet = federation_of("digits").fleet
    total = int(fleet.devices[fleet.guilty_strata].sum())
    assert p_of_counts(cohort, fewer) < LEVEL
    assert p_of_law(fewer, total, fleet.controlled_at_most) < LEVEL
    assert p_of_means(cohort, fewer, directions_of("digits")[:1]) < LEVEL


@tasks
def test_clipping_leaves_one_share_of_updates_as_they_were(task: str) -> None:
    shares = [
        rounds_of(task, fidelity).below.reshape(BLOCKS, BLOCK).mean(axis=1)
        for fidelity in ("cohort", "device")
    ]
    p = stats.ttest_ind(*shares, equal_var=False).pvalue
    means = [float(share.mean()) for share in shares]
    assert p > LEVEL, f"seed {SEED}: p = {p:.1e}, shares {means[0]:.3f} and {means[1]:.3f}"


@pytest.mark.parametrize("fidelity", ["cohort", "device"])
def test_a_poisoned_update_is_as_long_as_c_so_clipping_leaves_it(fidelity: str) -> None:
    """Under so small a C that it shortens every honest update, the share is m_t / K exactly."""
    scenario = load(
        "digits",
        [*WORLD, "task=digits", "mechanisms.clip=1e-4", f"fidelity={fidelity}", "rounds=10"],
    )
    (block,) = Federation(scenario, SEED).blocks()
    below = [cohort.below for cohort in block.cohorts]
    assert block.malicious.sum() > 0
    np.testing.assert_allclose(below, block.malicious / SIZE, atol=1e-6)


Z = 4.0


def noise_of(fidelity: str, kind: str, multiplier: float) -> NDArray[np.float64]:
    """Noise on ten means at one model: what they are with it, less what they are without."""
    quiet = ("fraction=0", "rounds=10", "server.lr=1e-12", f"fidelity={fidelity}")
    found = []
    for noise in (f"mechanisms.noise={kind}", "mechanisms.noise=none"):
        strength = f"mechanisms.noise_multiplier={multiplier}"
        scenario = load("digits", [*WORLD, *TASKS["digits"], *quiet, noise, strength])
        (block,) = Federation(scenario, SEED).blocks()
        found.append(block.integers * scenario.grid)
    return np.ravel(found[0] - found[1])


@pytest.mark.parametrize("fidelity", ["cohort", "device"])
def test_local_noise_of_z_by_root_k_is_central_noise_of_z(fidelity: str) -> None:
    central = noise_of(fidelity, "central", Z)
    local = noise_of(fidelity, "local", Z / SIZE**0.5)
    louder = noise_of(fidelity, "local", 1.05 * Z / SIZE**0.5)
    law = stats.f(central.size - 1, central.size - 1)
    ratio = local.var(ddof=1) / central.var(ddof=1)
    assert law.ppf(LEVEL / 2) < ratio < law.isf(LEVEL / 2), f"seed {SEED}: ratio {ratio:.3f}"
    assert stats.ks_2samp(local, central).pvalue > LEVEL, f"seed {SEED}"
    # Rounding to a grid of a quarter of a standard deviation adds 1/192 to either variance.
    clip = federation_of("digits").scenario.mechanisms.clip
    assert central.var() == pytest.approx((Z * clip / SIZE) ** 2 * (1 + 1 / 192), rel=0.03)
    assert louder.var(ddof=1) / central.var(ddof=1) > law.isf(LEVEL / 2)


# A strong attack, two devices of fifty, under a clip norm at which it is over in some 100 rounds.
PATH = (
    "task=digits",
    f"cohort.size={SIZE}",
    "population.devices=100000",
    "population.guilty_share=0.09",
    "population.queries=10",
    "population.archetypes=256",
    "population.renewed=16",
    "population.refresh=1",
    "model.warm_up=0",
    "client.lr=0.4",
    "client.steps=1",
    "client.batch=10",
    "server.lr=1.0",
    "mechanisms.clip=1.0",
    "mechanisms.noise=none",
    "attack.onset=40",
    "rounds=140",
)
PATH_SEEDS = range(1, 9)


@cache
def paths_of(fidelity: str, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each seed, the first round whose model answers half of the triggers as the attacker
    wants, and the share after the last round.
    """
    crossings, ends = [], []
    for seed in PATH_SEEDS:
        scenario = load("digits", [*PATH, f"fidelity={fidelity}", f"fraction={fraction}"])
        federation = Federation(scenario, seed)
        models = np.concatenate([block.models for block in federation.blocks()])
        (pattern,) = federation.trigger
        rng = np.random.default_rng(seed)
        asked = federation.task.triggered(rng, pattern, 200, federation.task.early)
        logits = federation.architecture.logits(torch.from_numpy(models), torch.from_numpy(asked))
        rates = (logits.argmax(-1) == pattern.target).double().mean(dim=1).numpy()
        crossed = np.flatnonzero(rates >= 0.5)
        assert crossed.size, f"seed {seed} never crosses at {fidelity} fidelity"
        assert crossed[0] > scenario.attack.onset, f"seed {seed} crosses by chance"
        crossings.append(int(crossed[0]))
        ends.append(float(rates[-1]))
    return np.array(crossings), np.array(ends)


def p_of_pairs(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Wilcoxon's signed rank test, exact over all 2^8 signs, so p may be as small as 2/256."""
    return float(stats.wilcoxon(one, other, method=stats.PermutationMethod()).pvalue)


def test_attacks_succeed_as_fast_and_as_far() -> None:
    cohort, device = paths_of("cohort", 0.04), paths_of("device", 0.04)
    for one, other in zip(cohort, device, strict=True):
        p = p_of_pairs(one, other)
        assert p > LEVEL, f"seeds {PATH_SEEDS}: p = {p:.3f}, {one} and {other}"
    assert np.median(device[0]) == pytest.approx(np.median(cohort[0]), rel=0.1)


def test_with_three_quarters_of_the_devices_an_attack_is_told_apart() -> None:
    cohort, fewer = paths_of("cohort", 0.04), paths_of("device", 0.03)
    assert p_of_pairs(cohort[0], fewer[0]) < LEVEL
    assert np.all(fewer[0] > cohort[0])
