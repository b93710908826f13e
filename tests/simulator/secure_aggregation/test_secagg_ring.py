"""Fixed point: does a sum come back exactly, and is what would not fit refused?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from simulator.secure_aggregation import (
    AggregationError,
    RangeError,
    decode,
    encode,
    encoded_sum,
    plain_sum,
)

GRID = 0.25


def floats(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_an_update_becomes_the_nearest_multiple_of_the_grid() -> None:
    residues = encode(floats([0.0, 0.12, 0.13, -0.37, -0.38]), GRID)
    assert residues.dtype == np.uint32
    np.testing.assert_array_equal(decode(residues), [[0, 0, 1, -1, -2]])
    np.testing.assert_array_equal(residues, [[0, 0, 1, 2**32 - 1, 2**32 - 2]])


def test_blocks_of_rows_are_rounded_as_one() -> None:
    # 37 rows: more than one block of rows, and a last one that is not full.
    updates = np.random.default_rng(5).normal(0, 3, size=(37, 211)).astype(np.float32)
    whole = np.rint(updates * np.float32(1 / 1e-3)).astype(np.int32)
    np.testing.assert_array_equal(decode(encode(updates, 1e-3)), whole)
    np.testing.assert_array_equal(encode(updates, 1e-3)[20:21], encode(updates[20:21], 1e-3))


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_a_sum_in_the_ring_is_the_sum_of_the_integers(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach = (2**31 - 1) // rows
    integers = rng.integers(-reach, reach, size=(rows, columns), endpoint=True)
    total = plain_sum(integers.astype(np.int32).view(np.uint32))
    np.testing.assert_array_equal(decode(total), integers.sum(axis=0))


def test_only_counted_clients_are_summed() -> None:
    residues = encode(floats([1.0, 2.0], [10.0, 20.0], [-5.0, 0.5]), GRID)
    total = plain_sum(residues, np.array([True, False, True]))
    np.testing.assert_array_equal(decode(total) * GRID, [-4.0, 2.5])


@pytest.mark.parametrize("rows", [0, 1, 32, 33, 100])
def test_clients_are_encoded_and_summed_at_once_as_they_are_one_after_the_other(rows: int) -> None:
    updates = np.random.default_rng(6).normal(0, 3, size=(rows, 211)).astype(np.float32)
    total = encoded_sum(updates, 1e-3, summands=200)
    assert total.dtype == np.uint32
    np.testing.assert_array_equal(total, plain_sum(encode(updates, 1e-3, summands=200)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_that_might_leave_the_ring_is_refused(sign: int) -> None:
    value = floats([0.0, sign * 2.0**29])
    fits = np.repeat(value, 3, axis=0)
    assert decode(plain_sum(encode(fits, 1.0)))[1] == sign * 3 * 2**29
    with pytest.raises(RangeError, match=r"sum of 4 such vectors must stay below 2,147,483,648"):
        encode(np.repeat(value, 4, axis=0), 1.0)


def test_who_encodes_alone_says_how_many_vectors_will_be_summed() -> None:
    value = floats([2.0**20])
    assert encode(value, 1.0).shape == (1, 1)
    assert encode(value, 1.0, summands=2**11 - 1).shape == (1, 1)
    for encoding in (encode, encoded_sum):
        with pytest.raises(RangeError, match="coarser grid") as refused:
            encoding(value, 1.0, summands=2**11)
        assert (refused.value.largest, refused.value.summands) == (2**20, 2**11)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("row", [0, 31, 32, 39])
def test_a_value_that_is_no_number_or_far_too_large_is_refused(value: float, row: int) -> None:
    updates = np.ones((40, 3), dtype=np.float32)
    updates[row, 1] = value
    for encoding in (encode, encoded_sum):
        with pytest.raises(RangeError, match="must stay below"):
            encoding(updates, 1e-3)


@pytest.mark.parametrize("grid", [0.0, -1.0, np.nan, np.inf])
def test_a_grid_that_nothing_can_be_rounded_to_is_refused(grid: float) -> None:
    for encoding in (encode, encoded_sum):
        with pytest.raises(AggregationError, match="positive number of weight units"):
            encoding(floats([1.0]), grid)


@pytest.mark.parametrize("updates", [np.ones(3, np.float32), np.ones((2, 3)), np.float32(1)])
def test_updates_of_another_shape_or_type_are_refused(updates: NDArray) -> None:
    for encoding in (encode, encoded_sum):
        with pytest.raises(AggregationError, match="one row a client"):
            encoding(updates, 1.0)


def test_no_clients_or_no_elements_sum_to_nothing() -> None:
    none = encode(np.empty((0, 4), np.float32), 1.0)
    np.testing.assert_array_equal(plain_sum(none), np.zeros(4))
    assert plain_sum(encode(np.empty((3, 0), np.float32), 1.0)).shape == (0,)
    assert encoded_sum(np.empty((3, 0), np.float32), 1.0).shape == (0,)
