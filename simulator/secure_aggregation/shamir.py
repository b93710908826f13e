"""How do k holders keep a secret of which fewer than t know nothing? Polynomials modulo a prime.

A secret of 32 bytes is cut into 18 limbs of 15 bits. Each limb is the constant term of a random
polynomial of degree t - 1 modulo 65,521, and holder x keeps the values at x. Any t values give
the polynomial; t - 1 values fit every secret equally well.

65,521 is the largest prime below 2^16: a value travels in two bytes, and products of two values
summed over t terms stay exact in float64 up to t = 2^21, so that all shares of a client are one
matrix product at the speed of BLAS.

References:
    Shamir, "How to share a secret", Communications of the ACM 22(11), 1979.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulator.secure_aggregation.errors import RefusedError
from simulator.secure_aggregation.masks import SEED_SIZE, derive, expand

PRIME = 65_521

LIMB_BITS = 15
LIMBS = -(-8 * SEED_SIZE // LIMB_BITS)

SHARE_SIZE = 2 * LIMBS
"""Bytes of one holder's share of one secret."""

Values = NDArray[np.int64]

_WEIGHTS = 1 << np.arange(LIMB_BITS, dtype=np.int64)

# 32-bit words from here on are drawn again: below it every remainder is equally frequent.
_FAIR = 2**32 // PRIME * PRIME


def share(secrets: Sequence[bytes], *, threshold: int, holders: int, seed: bytes) -> list[bytes]:
    """Split secrets among holders.

    Args:
        secrets: Each 32 bytes.
        threshold: How many holders recover a secret; at most `holders`.
        holders: They keep the values at 1, 2, ..., `holders`; fewer than `PRIME`.
        seed: 32 bytes, used for nothing else: the random coefficients come from it.

    Returns:
        What each holder keeps: `SHARE_SIZE` bytes for each secret, in their order.

    Raises:
        RefusedError: The threshold cannot be met, or there are too many holders.
    """
    if not 1 <= threshold <= holders < PRIME:
        raise RefusedError(
            f"a threshold of {threshold} among {holders} holders was asked for; it must be at "
            f"least 1, and no more than the holders, of whom there are fewer than {PRIME:,}. "
            f"Nothing was shared. Take both from `graph.plan`."
        )
    constant = np.concatenate([_limbs(secret) for secret in secrets])
    others = _coefficients(seed, (threshold - 1) * constant.size).reshape(-1, constant.size)
    coefficients = np.vstack([constant, others]).astype(np.float64)
    values = (_powers(holders, threshold) @ coefficients).astype(np.int64) % PRIME
    rows = values.astype("<u2")
    return [row.tobytes() for row in rows]


def recover(shares: dict[int, bytes], *, threshold: int) -> bytes:
    """The secret that some holders' shares belong to.

    Args:
        shares: By the holder's point (1, 2, ...): `SHARE_SIZE` bytes each. The first `threshold`
            of them, in the order of points, are used.

    Raises:
        RefusedError: There are fewer shares than the threshold, or they belong to no secret.
    """
    if len(shares) < threshold:
        raise RefusedError(
            f"{threshold} shares recover this secret and {len(shares)} are there: they say "
            f"nothing about it. Wait for more holders."
        )
    points = sorted(shares)[:threshold]
    values = np.array([np.frombuffer(shares[x], dtype="<u2") for x in points], dtype=np.int64)
    return _secret(_at_zero(np.array(points, dtype=np.int64)) @ values % PRIME)


def _at_zero(points: Values) -> Values:
    """Weights that turn a polynomial's values at some points into its value at 0 (Lagrange).

    The weight of x is the product over the other points y of y / (y - x).
    """
    product = 1
    differences = np.ones_like(points)
    for at, point in enumerate(points.tolist()):
        product = product * point % PRIME
        factor = (point - points) % PRIME
        factor[at] = 1
        differences = differences * factor % PRIME
    denominators = (points * differences % PRIME).tolist()
    inverses = np.array([pow(value, -1, PRIME) for value in denominators], dtype=np.int64)
    return product * inverses % PRIME


@lru_cache(maxsize=16)
def _powers(holders: int, threshold: int) -> NDArray[np.float64]:
    """x^0, x^1, ..., x^(threshold - 1) modulo the prime for each holder x, as float64."""
    points = np.arange(1, holders + 1, dtype=np.int64)
    powers = np.ones((threshold, holders), dtype=np.int64)
    for exponent in range(1, threshold):
        powers[exponent] = powers[exponent - 1] * points % PRIME
    return np.ascontiguousarray(powers.T, dtype=np.float64)


def _coefficients(seed: bytes, count: int) -> Values:
    """Uniform values modulo the prime, exactly: words that would favour some are drawn again."""
    found = np.empty(0, dtype=np.int64)
    attempt = 0
    while found.size < count:
        # One word in 2^16 or so is not fair; 16 more than needed nearly always suffice.
        words = expand(derive(seed, b"coefficients %d" % attempt), count - found.size + 16)
        found = np.concatenate([found, words[words < _FAIR].astype(np.int64) % PRIME])
        attempt += 1
    return found[:count]


def _limbs(secret: bytes) -> Values:
    bits = np.unpackbits(np.frombuffer(secret, dtype=np.uint8), bitorder="little")
    padded = np.zeros(LIMBS * LIMB_BITS, dtype=np.int64)
    padded[: bits.size] = bits
    limbs: Values = padded.reshape(LIMBS, LIMB_BITS) @ _WEIGHTS
    return limbs


def _secret(limbs: Values) -> bytes:
    bits = (limbs[:, None] >> np.arange(LIMB_BITS)) & 1
    flat = bits.ravel().astype(np.uint8)
    if limbs.max() >= 1 << LIMB_BITS or flat[8 * SEED_SIZE :].any():
        raise RefusedError(
            "these shares lie on a polynomial that belongs to no secret: at least one was "
            "damaged, or belongs to another secret. Nothing was recovered; fail the round."
        )
    return np.packbits(flat[: 8 * SEED_SIZE], bitorder="little").tobytes()
