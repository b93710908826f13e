"""How is a recorded step multiplied with a direction, so that nothing but the two decides the bits?

A sum of float32 products depends on the order in which it is made, and numeric libraries choose
that order by the shape of the whole call, by the number of threads, and by what the processor can
do. Here every row is cut into the same tiles whatever stands around it. The tiles of sixteen rows
at a time are multiplied by one matrix-vector product, always of that shape; the tiles' float32
results are added in float64, one after the other. So blocks of any size, one row alone, and any
number of processes or threads give the same bits. Another processor may give others.

Several rows at once, because memory delivers several streams faster than one: one dot product
after the other reads at 0.6 to 0.7 of the speed at which memory can be read, this at 0.8 to 0.9
(`tests/bench/projection_bench.py`).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from roundlog.encoding import digest
from roundlog.errors import QuestionError

Floats = NDArray[np.float64]
Numbers = NDArray[np.float32]

LANES = 16
"""Rows in one product."""

# OpenBLAS starts threads, each with a sum of its own, for matrices of 9,216 elements and more, and
# for dot products of more than 10,000. 16 × 512 stays below both, whatever the environment says.
TILE = 512
"""Elements of a row in one product, at most."""

FEW_TILES = 16
"""Up to so many are added one by one, which is faster and the same."""

TRIAL_ROWS = 64
"""Rows that a processor is tried with: two orders of adding agree on all of them by no chance."""


def dots(rows: Numbers, directions: Numbers) -> Floats:
    """<row, direction> for every pair.

    Args:
        rows: Shape (n, d). A row's results never depend on the rows beside it.
        directions: Shape (m, d).

    Returns:
        Shape (n, m), in the units of rows times directions. NaN where a row holds NaN.

    Raises:
        QuestionError: The two disagree on d.
    """
    return MatchedFilter(directions).dots(rows)


class MatchedFilter:
    """Directions laid out once, for many blocks of rows; what `dots` says holds.

    Args:
        directions: Shape (m, d).
    """

    def __init__(self, directions: Numbers) -> None:
        along = _plain(directions)
        self._m, self._elements = along.shape
        self._stretches = [
            (slice(start, start + count * width), count, width, _tiled(along, start, count, width))
            for start, count, width in _tiles(self._elements)
        ]

    def dots(self, rows: Numbers) -> Floats:
        """As the function of that name.

        Raises:
            QuestionError: The rows are of another length than the directions.
        """
        rows = _plain(rows)
        n, elements = rows.shape
        if elements != self._elements:
            raise QuestionError(
                f"rows of {elements:,} elements cannot be projected on directions of "
                f"{self._elements:,}; both follow the model's schema, buffers included"
            )
        if n < LANES:
            padded = np.zeros((LANES, elements), dtype=np.float32)
            padded[:n] = rows
            return self._whole(padded)[:n]
        left = n % LANES
        values = self._whole(rows[: n - left])
        if not left:
            return values
        # Some rows twice, with the same result: cheaper than a copy of those that are left.
        return np.concatenate([values, self._whole(rows[-LANES:])[-left:]])

    def _whole(self, rows: Numbers) -> Floats:
        """Of a multiple of `LANES` rows."""
        if not self._stretches:
            return np.zeros((len(rows), self._m))
        groups = rows.reshape(len(rows) // LANES, LANES, self._elements)
        sums = []
        # A step that is not finite gives a value that says so; it is no reason for a warning.
        with np.errstate(all="ignore"):
            for here, count, width, along in self._stretches:
                # (groups, tiles, 1, lanes, width): from memory once for all directions.
                tiles = groups[:, :, here].reshape(len(groups), LANES, count, 1, width)
                products = _products(tiles.transpose(0, 2, 3, 1, 4), along)
                sums.append(_sum_of_tiles(products))
            total = sums[0] if len(sums) == 1 else sums[0] + sums[1]
        return total.swapaxes(1, 2).reshape(len(rows), self._m)


def row_dots(left: Numbers, right: Numbers) -> Floats:
    """<left, right> of every row with the row in its place, shape (n,).

    Args:
        left: Shape (n, d).
        right: Shape (n, d).
    """
    left, right = _plain(left), _plain(right)
    total = np.zeros(len(left))
    with np.errstate(all="ignore"):
        for start, count, width in _tiles(left.shape[1]):
            here = slice(start, start + count * width)
            shape = (len(left), count, width)
            products = np.vecdot(left[:, here].reshape(shape), right[:, here].reshape(shape))
            total += _sum_of_tiles(products)
    return total


def arithmetic(elements: int) -> str:
    """Digest of how this processor and library add up rows of so many elements.

    Where it is the same, so are the results, bit for bit.
    """
    widths = [width for _, _, width in _tiles(elements)]
    return digest(*(_trial(width)[1] for width in widths))


def _plain(rows: Numbers) -> Numbers:
    # Strides that BLAS does not take would be multiplied by another loop, with other sums.
    return np.ascontiguousarray(rows, dtype=np.float32)


def _tiles(elements: int) -> list[tuple[int, int, int]]:
    """(start, tiles, width) of at most two stretches, whose tiles differ in width by one."""
    count = -(-elements // TILE)
    if count == 0:
        return []
    width, wider = divmod(elements, count)
    stretches = [(0, wider, width + 1), (wider * (width + 1), count - wider, width)]
    return [stretch for stretch in stretches if stretch[1]]


def _tiled(directions: Numbers, start: int, count: int, width: int) -> Numbers:
    """Tiles of directions as a product takes them, shape (count, m, width)."""
    here = directions[:, start : start + count * width]
    return np.ascontiguousarray(here.reshape(len(directions), count, width).swapaxes(0, 1))


def _sum_of_tiles(products: Numbers) -> Floats:
    """Over axis 1, in float64, from the first tile to the last.

    Not `sum`, which may add pairs of pairs, of whatever the whole array holds.
    """
    if products.shape[1] > FEW_TILES:
        running: Floats = np.add.accumulate(products, axis=1, dtype=np.float64)
        return running[:, -1]
    total = products[:, 0].astype(np.float64)
    for tile in range(1, products.shape[1]):
        total += products[:, tile]
    return total


def _products(tiles: Numbers, along: Numbers) -> Numbers:
    """Shape (groups, tiles, directions, lanes), float32."""
    if _trial(tiles.shape[-1])[0]:
        return _lanes_at_once(tiles, along)
    products: Numbers = np.vecdot(tiles, along[:, :, None])
    return products


def _lanes_at_once(tiles: Numbers, along: Numbers) -> Numbers:
    products: Numbers = np.matmul(tiles, along[..., None])[..., 0]
    return products


@lru_cache(maxsize=256)
def _trial(width: int) -> tuple[bool, bytes]:
    """Whether all lanes add up alike for tiles of this width, and the sums themselves.

    No library promises it, and OpenBLAS for processors with AVX but without FMA (Sandy Bridge,
    Excavator) breaks it at some widths; rows are multiplied one by one there.
    """
    rng = np.random.default_rng(width)
    rows = rng.standard_normal((TRIAL_ROWS, width), dtype=np.float32)
    along = rng.standard_normal((1, 1, width), dtype=np.float32)
    # Every row in every lane, beside other rows, at other distances and alignments.
    found = [
        np.roll(_in_lanes(np.roll(rows, shift, axis=0), along, gap=shift), -shift)
        for shift in range(LANES)
    ]
    alike = all(one.tobytes() == found[0].tobytes() for one in found)
    sums = found[0] if alike else np.vecdot(rows, along[0, 0])
    return alike, sums.tobytes()


def _in_lanes(rows: Numbers, along: Numbers, *, gap: int) -> Numbers:
    count, width = rows.shape
    wide = np.zeros((count, width + gap), dtype=np.float32)
    wide[:, gap:] = rows
    tiles = wide[:, gap:].reshape(count // LANES, 1, 1, LANES, width)
    return _lanes_at_once(tiles, along).reshape(count)
