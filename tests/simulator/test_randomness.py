"""Streams: a number belongs to (seed, purpose, block), whatever else was drawn."""

import numpy as np
import pytest
import torch

from simulator.randomness import Randomness, single_threaded


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
