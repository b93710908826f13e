"""How is W_0 made? From honest rounds, each of them once, however many share their updates."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simulator.federation import Federation
from simulator.fidelity import ArchetypeUpdates
from simulator.population import Archetypes
from simulator.randomness import BLOCK, Randomness, single_threaded
from simulator.scenario import Scenario
from simulator.tasks import Float32s, make_task

Small = Callable[..., Scenario]

SEED = 11
ROUNDS = 25

# Rounds of each server step. No step takes in rounds of two blocks, since devices are renewed
# between them, and the last block is cut short.
STEPS = {
    10: (10, 10, 5),
    7: (7, 3, 7, 3, 5),
    4: (4, 4, 2, 4, 4, 2, 4, 1),
    3: (3, 3, 3, 1, 3, 3, 3, 1, 3, 2),
    1: (1,) * ROUNDS,
}
refreshes = pytest.mark.parametrize("refresh", STEPS)


def _start(scenario: Scenario) -> Float32s:
    return Federation(scenario, SEED).start


def _by_steps(scenario: Scenario, steps: tuple[int, ...]) -> Float32s:
    """W_0 by its definition: a model, and the sum of so many rounds' means on top, step by step."""
    randomness = Randomness(SEED)
    task = make_task(scenario, randomness)
    updates = ArchetypeUpdates(scenario, task)
    kinds = Archetypes(scenario.population, task, randomness, stage="warm-up")
    size, clip = scenario.cohort.size, scenario.mechanisms.clip
    model = torch.from_numpy(task.random_start(randomness.stream("model/start"), scenario.model))
    updates.replace(kinds.initial())
    done = 0
    with single_threaded():
        for rounds in steps:
            block, first = divmod(done, BLOCK)
            if first == 0:
                updates.replace(kinds.renewal(block, 0))
            devices = kinds.counts(block, size)[first : first + rounds].sum(axis=0)
            weights = torch.from_numpy(devices / np.float64(size)).float()
            sums, _ = updates.means(weights.unsqueeze(0), model, clip)
            model = model + scenario.server.lr * sums[0]
            done += rounds
    assert done == scenario.model.warm_up
    return model.numpy()


@refreshes
def test_w0_is_what_so_many_rounds_a_server_step_make(small_with: Small, refresh: int) -> None:
    scenario = small_with(f"model.warm_up={ROUNDS}", f"model.warm_up_refresh={refresh}")
    np.testing.assert_array_equal(_start(scenario), _by_steps(scenario, STEPS[refresh]))


def test_left_out_ten_rounds_make_one_server_step(small_with: Small) -> None:
    scenario = small_with(f"model.warm_up={ROUNDS}")
    assert scenario.model.warm_up_refresh == 10
    np.testing.assert_array_equal(_start(scenario), _by_steps(scenario, STEPS[10]))


def _displacement(small_with: Small, rounds: int, refresh: int) -> NDArray[np.float64]:
    """How far the warm-up leads, in units of the server's step, where steps are as good as none."""
    lr = 1e-3
    scenario = small_with(
        f"model.warm_up={rounds}", f"model.warm_up_refresh={refresh}", f"server.lr={lr}"
    )
    untrained = _start(small_with("model.warm_up=0")).astype(np.float64)
    return (_start(scenario) - untrained) / lr


@refreshes
def test_every_round_counts_once(small_with: Small, refresh: int) -> None:
    found = _displacement(small_with, ROUNDS, refresh)
    singly = _displacement(small_with, ROUNDS, 1)
    length = np.linalg.norm(singly)
    assert np.linalg.norm(found - singly) < 0.01 * length, f"seed {SEED}"
    # One round more or less would be seen: it is a twenty-fifth of them.
    for rounds in (ROUNDS - 1, ROUNDS + 1):
        other = _displacement(small_with, rounds, refresh)
        assert np.linalg.norm(other - singly) > 0.03 * length, f"seed {SEED}"


def test_rounds_that_share_their_updates_make_another_model(small_with: Small) -> None:
    starts = [
        _start(small_with(f"model.warm_up={ROUNDS}", f"model.warm_up_refresh={refresh}"))
        for refresh in STEPS
    ]
    assert len({start.tobytes() for start in starts}) == len(STEPS)


@pytest.mark.parametrize("refresh", [10, 7])
def test_both_fidelities_begin_with_one_model(small_with: Small, refresh: int) -> None:
    settings = (f"model.warm_up={ROUNDS}", f"model.warm_up_refresh={refresh}")
    cohort, device = (
        _start(small_with(*settings, "cohort.size=1_000", f"fidelity={fidelity}"))
        for fidelity in ("cohort", "device")
    )
    np.testing.assert_array_equal(cohort, device)
