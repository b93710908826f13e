"""The server: integer sums on a grid, one step, a filter that sees nothing, an honest claim."""

import numpy as np
import pytest

from simulator.federation import Federation
from simulator.mechanisms import block_noise, claim
from simulator.randomness import Randomness
from simulator.scenario import Scenario, load
from simulator.server import NormFilter, apply_aggregates, quantise


def test_an_aggregate_is_the_nearest_multiple_of_the_grid() -> None:
    aggregate = np.array([0.0, 0.12, 0.13, -0.37, -0.38], dtype=np.float32)
    np.testing.assert_array_equal(quantise(aggregate, 0.25), [0, 0, 1, -1, -2])


def test_the_recorded_models_are_integer_steps_on_the_grid(federation: Federation) -> None:
    scenario = federation.scenario
    step = scenario.server.lr * scenario.grid
    total = np.zeros(federation.start.size, dtype=np.int64)
    before = federation.start
    for block in federation.blocks():
        for model, integers in zip(block.models, block.integers, strict=True):
            found = (model.astype(np.float64) - before) / step
            np.testing.assert_array_equal(np.rint(found), integers)
            assert np.abs(found - integers).max() < 0.01
            total += integers
            before = model
    # Sums are exact whatever their order; only the model's float32 rounding is not.
    np.testing.assert_allclose(before - federation.start, step * total, atol=1e-5)


def test_models_of_a_block_are_the_models_of_its_rounds_one_by_one() -> None:
    rng = np.random.default_rng(2)
    start = rng.standard_normal(50).astype(np.float32)
    integers = rng.integers(-9, 9, size=(10, 50)).astype(np.int32)
    together = apply_aggregates(start, integers, lr=0.25, grid=0.01)
    model = start
    for number in range(10):
        model = apply_aggregates(model, integers[number : number + 1], lr=0.25, grid=0.01)[0]
        np.testing.assert_array_equal(together[number], model)


def test_noise_has_the_standard_deviation_that_the_mechanism_states(small: Scenario) -> None:
    settings = small.mechanisms
    noise = np.concatenate(
        [block_noise(settings, Randomness(1), block, 3_728) for block in range(20)]
    )
    assert noise.std() == pytest.approx(1, abs=0.005)
    assert abs(noise.mean()) < 0.006
    assert small.sigma == 54.2 * 1.0 / 10_000


@pytest.mark.parametrize(
    ("multiplier", "epsilon", "covers"),
    [
        (54.2, 0.1, "each single round, without amplification"),
        (0.73, 9.28, "each single round, without amplification"),
        (0.0, None, "nothing is promised"),
    ],
)
def test_the_claim_says_what_epsilon_covers(
    multiplier: float, epsilon: float | None, covers: str
) -> None:
    mechanism = claim(load("quickstart", [f"mechanisms.noise_multiplier={multiplier}"]))
    assert mechanism.name == "central_gaussian"
    assert mechanism.epsilon == (None if epsilon is None else pytest.approx(epsilon, rel=0.01))
    assert covers in (mechanism.accounting or "")


def test_without_noise_nothing_is_claimed_and_the_grid_is_fine() -> None:
    scenario = load("quickstart", ["mechanisms.noise=none"])
    assert claim(scenario).name == "none"
    assert scenario.sigma == 0
    assert scenario.grid < 1e-6
    assert scenario.mechanisms.clip / scenario.grid < 2**24


def test_a_federation_without_noise_runs_on_its_fine_grid() -> None:
    scenario = load(
        "quickstart",
        ["mechanisms.noise=none", "model.warm_up=0", "population.archetypes=32", "rounds=20"],
    )
    blocks = list(Federation(scenario, 1).blocks())
    assert sum(len(block.models) for block in blocks) == 20
    assert 0 < np.abs(blocks[0].integers).max() < 2**24


def test_the_norm_filter_knows_only_the_past() -> None:
    norms = np.random.default_rng(0).normal(10, 1, size=400)
    whole = NormFilter()
    scores = [whole.score(float(norm)) for norm in norms]
    half = NormFilter()
    assert scores[:200] == [half.score(float(norm)) for norm in norms[:200]]
    assert scores[0] is None
    assert scores[-1] is not None


def test_the_norm_filter_sees_an_aggregate_that_really_is_too_long() -> None:
    norms = np.random.default_rng(0).normal(10, 0.1, size=400)
    known = NormFilter()
    scores = [known.score(float(norm)) or 0.0 for norm in norms]
    assert np.mean(np.array(scores) > 2.29) < 0.03
    assert (known.score(11.0) or 0.0) > 5


def test_the_norm_filter_is_powerless_against_the_attack() -> None:
    seed, rates = 31, []
    for fraction in (0.01, 0.0):
        overrides = [f"fraction={fraction}", "attack.onset=200", "rounds=1000"]
        federation = Federation(load("quickstart", overrides), seed)
        known = NormFilter()
        norms = np.concatenate(
            [
                np.linalg.norm(block.integers * federation.scenario.grid, axis=1)
                for block in federation.blocks()
            ]
        )
        scores = [known.score(float(norm)) or 0.0 for norm in norms]
        rates.append(float(np.mean(np.array(scores[200:]) > 2.29)))
    power, false_alarms = rates
    # 800 rounds at one in a hundred: the difference of two rates has sd 0.005.
    assert abs(power - false_alarms) < 0.02, f"seed {seed}: {power} against {false_alarms}"
    assert false_alarms < 0.03, f"seed {seed}"
