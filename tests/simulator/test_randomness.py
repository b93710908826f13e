"""Streams: a number belongs to (seed, purpose, block), or to a device, whatever else was drawn."""

import numpy as np
import pytest
import torch
from scipy import stats

from simulator.randomness import DeviceUniforms, Randomness, single_threaded


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    one, other = Randomness(3), Randomness(3)
    for block in range(50):
        other.stream("noise", block).random(17)
    np.testing.assert_array_equal(
        one.stream("noise", 9).random(5), other.stream("noise", 9).random(5)
    )


def test_blocks_in_any_order_give_the_same_numbers() -> None:
    forwards = [Randomness(1).stream("x", block).random(3) for block in range(4)]
    randomness = Randomness(1)
    backwards = [randomness.stream("x", block).random(3) for block in (3, 2, 1, 0)]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize(
    ("seed", "purpose", "block"), [(2, "noise", 0), (1, "counts", 0), (1, "noise", 1)]
)
def test_another_seed_purpose_or_block_gives_other_numbers(
    seed: int, purpose: str, block: int
) -> None:
    known = Randomness(1).stream("noise", 0).random(8)
    assert not np.array_equal(known, Randomness(seed).stream(purpose, block).random(8))


def test_one_block_never_reaches_into_the_next() -> None:
    here = Randomness(1).stream("noise", 0).bit_generator.state["state"]["counter"]
    there = Randomness(1).stream("noise", 1).bit_generator.state["state"]["counter"]
    np.testing.assert_array_equal(there - here, [0, 0, 1, 0])


def test_the_callers_thread_count_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with single_threaded():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


KEY = 0xFEDCBA9876543210
PINNED = [
    [8590891477659277, 503819269387228, 6923724956873304],
    [6966043920757635, 4263556547540719, 151475801608435],
]
DEVICES = np.arange(1_000, dtype=np.uint64) | np.uint64(5 << 40)


def test_a_devices_numbers_do_not_depend_on_who_is_drawn_beside_it() -> None:
    together = DeviceUniforms(KEY, DEVICES).random((1_000, 7))
    for at in (0, 17, 999):
        alone = DeviceUniforms(KEY, DEVICES[at : at + 1]).random((1, 7))
        np.testing.assert_array_equal(alone[0], together[at])
    order = np.random.default_rng(1).permutation(1_000)
    np.testing.assert_array_equal(
        DeviceUniforms(KEY, DEVICES[order]).random((1_000, 7)), together[order]
    )


def test_a_devices_numbers_go_on_from_call_to_call() -> None:
    whole = DeviceUniforms(KEY, DEVICES).random((1_000, 9))
    rng = DeviceUniforms(KEY, DEVICES)
    parts = [rng.random((1_000, 2)), rng.random(1_000).reshape(-1, 1), rng.random((1_000, 6))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_a_calls_numbers_are_split_evenly_among_devices() -> None:
    flat = DeviceUniforms(KEY, DEVICES).random(4_000)
    rows = DeviceUniforms(KEY, DEVICES).random((4_000, 1))
    deep = DeviceUniforms(KEY, DEVICES).random((1_000, 4, 1))
    np.testing.assert_array_equal(flat, rows.ravel())
    np.testing.assert_array_equal(flat, deep.ravel())
    np.testing.assert_array_equal(flat[4:8], DeviceUniforms(KEY, DEVICES[1:2]).random(4))


def test_devices_have_these_numbers_for_ever() -> None:
    """Part of the meaning of a seed: another rule would give every device other data."""
    found = DeviceUniforms(KEY, DEVICES[:2]).random((2, 3))
    assert (found * 2.0**53).astype(np.uint64).tolist() == PINNED


@pytest.mark.parametrize("axis", ["devices", "positions", "keys"])
def test_numbers_are_uniform_along_every_axis(axis: str) -> None:
    """Kolmogorov-Smirnov at 0.1 %, over numbers that differ in one argument alone."""
    count = 4_000 if axis == "keys" else 20_000
    if axis == "devices":
        found = DeviceUniforms(KEY, np.arange(count, dtype=np.uint64)).random(count)
    elif axis == "positions":
        found = DeviceUniforms(KEY, DEVICES[:1]).random(count)
    else:
        found = np.array([DeviceUniforms(key, DEVICES[:1]).random(1)[0] for key in range(count)])
    assert found.min() >= 0
    assert found.max() < 1
    assert stats.kstest(found, "uniform").pvalue > 0.001
    neighbours = np.corrcoef(found[1:], found[:-1])[0, 1]
    assert abs(neighbours) < 4.5 / count**0.5
    assert np.unique(found).size == count


def test_another_purpose_gives_a_device_other_numbers() -> None:
    randomness = Randomness(4)
    pace = randomness.of_devices("devices/pace", DEVICES).random(1_000)
    items = randomness.of_devices("devices/items", DEVICES).random(1_000)
    assert abs(np.corrcoef(pace, items)[0, 1]) < 4.5 / 1_000**0.5
    np.testing.assert_array_equal(
        Randomness(4).of_devices("devices/pace", DEVICES).random(1_000), pace
    )
    assert not np.array_equal(Randomness(5).of_devices("devices/pace", DEVICES).random(1_000), pace)


def test_devices_are_not_changed_by_drawing() -> None:
    before = DEVICES.copy()
    DeviceUniforms(KEY, DEVICES).random(1_000)
    np.testing.assert_array_equal(DEVICES, before)
