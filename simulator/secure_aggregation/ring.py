"""How do real numbers become elements of a ring in which masks hide them? Fixed point, mod 2^32.

An update is rounded to multiples of a grid, and the multiples are kept modulo 2^32 in two's
complement. Sums in the ring are exact in any order, and a uniform mask added to a residue leaves
a uniform residue, which is what secure aggregation rests on. A sum is read back without error as
long as it stays below 2^31 in size; `encode` refuses what could leave that range.

The same encoding serves a federation without secure aggregation (`plain_sum`), so switching it on
changes who sees what, and not one bit of the sum.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulator.secure_aggregation.errors import AggregationError, RangeError

Residues = NDArray[np.uint32]

LIMIT = 2**31
"""Sums must be smaller than this in size: half of the ring is for negative ones."""

# Rows that are rounded at a time: 32 x 2,410 float32 are 308 kB and stay in a core's cache.
_ROWS = 32


def encode(updates: NDArray[np.float32], grid: float, *, summands: int | None = None) -> Residues:
    """The nearest multiples of a grid, as residues modulo 2^32.

    Rounds as `simulator.server.quantise` does: half to even, after a product in float32, so
    beyond 2^24 multiples what is nearest is known to float32's 24 bits only.

    Args:
        updates: Shape (n, d), in weight units.
        grid: Distance of two multiples, in weight units; more than 0.
        summands: How many such vectors will be summed; n where it is not given.

    Returns:
        Shape (n, d).

    Raises:
        RangeError: `summands` times the largest multiple reaches 2^31, or a value is not finite.
        AggregationError: The grid is not a positive number, or `updates` is not float32 (n, d).
    """
    _check(updates, grid)
    integers = np.empty(updates.shape, dtype=np.int32)
    for rows, part in _rounded(updates, grid, summands):
        integers[rows] = part
    return integers.view(np.uint32)


def encoded_sum(
    updates: NDArray[np.float32], grid: float, *, summands: int | None = None
) -> Residues:
    """`plain_sum` of what `encode` gives for the same arguments, shape (d,).

    Faster than these two, since no client's residues pass through the caches again.

    Raises:
        RangeError: As `encode`.
        AggregationError: As `encode`.
    """
    _check(updates, grid)
    total = np.zeros(updates.shape[1], dtype=np.uint32)
    for _, part in _rounded(updates, grid, summands):
        total += plain_sum(part.view(np.uint32))
    return total


def _check(updates: NDArray[np.float32], grid: float) -> None:
    if updates.ndim != 2 or updates.dtype != np.float32:
        raise AggregationError(
            f"updates must be float32 of shape (clients, elements), and are {updates.dtype} of "
            f"shape {updates.shape}; nothing was encoded. Give one row a client."
        )
    if not 0 < grid < np.inf:
        raise AggregationError(
            f"the grid must be a positive number of weight units, and is {grid}; nothing can be "
            f"rounded to it. Take a fraction of the noise's standard deviation."
        )


def _rounded(
    updates: NDArray[np.float32], grid: float, summands: int | None
) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """Some rows at a time, and what they are rounded to: memory that the next step overwrites.

    Whether everything may be summed is known, and raised, after the last rows.
    """
    number, elements = updates.shape
    scale = np.float32(1 / grid)
    scaled = np.empty((min(number, _ROWS), elements), dtype=np.float32)
    integers = np.empty(scaled.shape, dtype=np.int32)
    largest = 0.0
    for start in range(0, number, _ROWS):
        rows = slice(start, start + _ROWS)
        part = updates[rows]
        nearest, whole = scaled[: len(part)], integers[: len(part)]
        # A value that is not a number, or too large for an int32, warns where it is scaled or cast;
        # the check below refuses it by name.
        with np.errstate(invalid="ignore", over="ignore"):
            np.multiply(part, scale, out=nearest)
            np.rint(nearest, out=nearest)
            if nearest.size:
                reach = np.maximum(nearest.max(), -nearest.min())  # keeps what is not a number
                largest = float(np.maximum(largest, reach))
            np.copyto(whole, nearest, casting="unsafe")
        yield rows, whole
    summands = number if summands is None else summands
    if not largest * max(summands, 1) < LIMIT:
        raise RangeError(largest=largest, summands=summands, limit=LIMIT)


def decode(total: Residues) -> NDArray[np.int32]:
    """The signed sum that a residue stands for, of the same shape, in multiples of the grid."""
    return total.view(np.int32)


def plain_sum(residues: Residues, counted: NDArray[np.bool_] | None = None) -> Residues:
    """The sum modulo 2^32 of some clients' residues, by somebody who sees them all.

    Args:
        residues: Shape (n, d).
        counted: Which clients to sum, shape (n,); all where it is not given.

    Returns:
        Shape (d,).
    """
    chosen = residues if counted is None else residues[counted]
    total: Residues = np.add.reduce(chosen, axis=0, dtype=np.uint32)
    return total
