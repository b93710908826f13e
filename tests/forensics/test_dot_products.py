"""Do the bits of a product depend on anything but the row, the direction and the processor?"""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from forensics import dot_products
from forensics.dot_products import LANES, TILE, arithmetic, dots, row_dots
from roundlog.errors import QuestionError

Numbers = NDArray[np.float32]

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([466, 511, 512, 513, 1025, 3728, 3729]))


def drawn(shape: tuple[int, ...], seed: int) -> Numbers:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


def same_bits(left: NDArray, right: NDArray) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.fixture
def fresh_trials() -> Iterator[None]:
    """Whatever is found out about the processor in this test is forgotten behind it."""
    dot_products._trial.cache_clear()
    yield
    dot_products._trial.cache_clear()


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 45), m=st.integers(1, 3), d=SIZES, seed=st.integers(0, 9), data=st.data())
def test_blocks_of_any_size_and_single_rows_give_the_same_bits(
    n: int, m: int, d: int, seed: int, data: st.DataObject
) -> None:
    rows, along = drawn((n, d), seed), drawn((m, d), seed + 100)
    whole = dots(rows, along)
    cuts = sorted(data.draw(st.sets(st.integers(1, n), max_size=5)) | {n})
    pieces = [rows[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
    assert same_bits(np.concatenate([dots(piece, along) for piece in pieces]), whole)
    assert same_bits(np.concatenate([dots(row[None], along) for row in rows]), whole)
    order = np.array(data.draw(st.permutations(range(n))))
    assert same_bits(dots(rows[order], along), whole[order])


@settings(max_examples=30, deadline=None)
@given(offset=st.integers(0, 17), d=SIZES, seed=st.integers(0, 9))
def test_where_rows_lie_in_memory_makes_no_difference(offset: int, d: int, seed: int) -> None:
    rows, along = drawn((19, d), seed), drawn((2, d), seed + 100)
    memory = np.zeros(offset + rows.size, dtype=np.float32)
    memory[offset:] = rows.reshape(-1)
    moved = memory[offset:].reshape(rows.shape)
    spread = np.zeros((19, d, 2), dtype=np.float32)
    spread[:, :, 0] = rows
    assert same_bits(dots(moved, along), dots(rows, along))
    assert same_bits(dots(spread[:, :, 0], along), dots(rows, along))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_row_that_is_not_finite_spoils_no_other_and_warns_nobody(bad: float) -> None:
    rows, along = drawn((21, 3000), 1), drawn((2, 3000), 2)
    right = dots(rows, along)
    rows[5] = bad
    found = dots(rows, along)
    others = np.arange(21) != 5
    assert same_bits(found[others], right[others])
    assert not np.isfinite(found[5]).any()


def test_a_direction_s_values_do_not_depend_on_the_other_directions() -> None:
    rows, along = drawn((40, 2500), 3), drawn((7, 2500), 4)
    together = dots(rows, along)
    for index in range(7):
        assert same_bits(dots(rows, along[index : index + 1]), together[:, index : index + 1])


@pytest.mark.parametrize("d", [1, 19, 1024, 3728, 262_144])
def test_the_values_are_the_products_to_float32_rounding(d: int) -> None:
    rows, along = drawn((9, d), 5), drawn((3, d), 6)
    exact = rows.astype(np.float64) @ along.astype(np.float64).T
    # Sums of d products of unit variance; each of at most 512 is rounded as float32.
    np.testing.assert_allclose(dots(rows, along), exact, rtol=0, atol=3e-6 * np.sqrt(d))


def test_no_rows_and_no_elements_are_no_error() -> None:
    assert dots(drawn((0, 5), 0), drawn((2, 5), 0)).shape == (0, 2)
    assert dots(drawn((3, 0), 0), drawn((2, 0), 0)).tolist() == [[0.0, 0.0]] * 3


def test_rows_and_directions_of_unlike_length_are_refused() -> None:
    with pytest.raises(QuestionError, match="rows of 5 elements cannot be projected"):
        dots(drawn((3, 5), 0), drawn((2, 6), 0))


@given(elements=st.integers(0, 5_000_000))
def test_tiles_cover_a_row_once_and_stay_below_what_starts_threads(elements: int) -> None:
    end = 0
    for start, count, width in dot_products._tiles(elements):
        assert start == end
        assert 1 <= width <= TILE
        assert count >= 1
        end += count * width
    assert end == elements
    assert LANES * TILE < 9216  # OpenBLAS: 2304 * GEMM_MULTITHREAD_THRESHOLD


@pytest.mark.usefixtures("fresh_trials")
def test_lanes_that_add_up_differently_are_found_and_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, along = drawn((30, 1700), 7), drawn((2, 1700), 8)
    trusted, before = dots(rows, along), arithmetic(1700)
    straight = dot_products._lanes_at_once

    def lame(tiles: Numbers, along: Numbers) -> Numbers:
        products = straight(tiles, along)
        # The last lane adds its two halves apart, as a kernel that takes it alone might.
        middle = tiles.shape[-1] // 2
        halves = [slice(None, middle), slice(middle, None)]
        first, second = (straight(tiles[..., half], along[..., half]) for half in halves)
        products[..., -1] = (first + second)[..., -1]
        return products

    dot_products._trial.cache_clear()
    monkeypatch.setattr(dot_products, "_lanes_at_once", lame)
    assert not dot_products._trial(425)[0]
    found = dots(rows, along)
    assert same_bits(np.concatenate([dots(row[None], along) for row in rows]), found)
    np.testing.assert_allclose(found, trusted, rtol=0, atol=1e-3)
    assert arithmetic(1700) != before


SCRIPT = """
import hashlib, sys
import numpy as np
from forensics.dot_products import dots
rng = np.random.default_rng(5)
for d in (100, 3001, 262_144):
    rows, along = (rng.standard_normal((n, d), dtype=np.float32) for n in (11, 2))
    whole = dots(rows, along)
    assert np.array_equal(whole, np.concatenate([dots(row[None], along) for row in rows])), d
    print(hashlib.sha256(whole.tobytes()).hexdigest())
print(hashlib.sha256((rows @ along[0]).tobytes()).hexdigest())
"""


def in_another_process(**environment: str) -> list[str]:
    """Digests of three projections, and of a product that the library makes as it likes."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_million_bytes_a_row_have_the_same_bits_on_one_thread_and_on_four() -> None:
    one, four = (in_another_process(OMP_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n) for n in ("1", "4"))
    assert one[:3] == four[:3]


def test_rows_stay_apart_on_a_processor_whose_library_treats_lanes_unlike() -> None:
    # The script compares whole and single rows itself; other processors ignore the variable.
    assert len(in_another_process(OPENBLAS_CORETYPE="Sandybridge")) == 4


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), d=SIZES, cut=st.integers(0, 20), seed=st.integers(0, 9))
def test_products_of_rows_with_rows_do_not_depend_on_blocks(
    n: int, d: int, cut: int, seed: int
) -> None:
    left, right = drawn((n, d), seed), drawn((n, d), seed + 100)
    whole = row_dots(left, right)
    parts = [row_dots(left[part], right[part]) for part in (slice(cut), slice(cut, None))]
    assert same_bits(np.concatenate(parts), whole)
    exact = np.sum(left.astype(np.float64) * right, axis=1)
    np.testing.assert_allclose(whole, exact, rtol=0, atol=3e-6 * np.sqrt(d))
