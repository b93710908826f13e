"""Where do masks and keys come from? X25519 for pairs, SHA-256 for purposes, AES-CTR for length.

The primitives are those of Bonawitz et al. 2017, section 7: Diffie-Hellman composed with a hash
for key agreement (the hash also takes in the purpose that a secret serves), and AES in counter
mode to expand a seed of 32 bytes to a mask of any length. Every seed serves one purpose once, so
the nonce is zero.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simulator.secure_aggregation.ring import Residues

SEED_SIZE = 32
"""Bytes of a seed, of a key, and of an agreed secret."""

MASK = b"mask"
"""Purpose of a pair's secret: the mask that one adds and the other takes away."""

CHANNEL = b"channel"
"""Purpose of a pair's other secret: the key under which they send each other shares."""

_NONCE = bytes(12)

Agree = Callable[[X25519PrivateKey, bytes, bytes], bytes]
"""(own private key, own public key, the other's public key) -> the pair's secret."""


def derive(secret: bytes, purpose: bytes) -> bytes:
    """A seed for one purpose, 32 bytes, that says nothing about the secret or other seeds."""
    return hashlib.sha256(b"roundlog.secure_aggregation/1 " + purpose + b"\0" + secret).digest()


def expand(seed: bytes, words: int) -> Residues:
    """The mask that a seed stands for, shape (words,), uniform to whoever lacks the seed."""
    # GCM's ciphertext of zeros is the key stream of AES-CTR, and this one call is three times as
    # fast as setting up a CTR context. The tag that GCM appends is left out.
    stream = AESGCM(seed).encrypt(_NONCE, _zeros(4 * words), None)
    # Little-endian by decree, so that a seed means one mask on every machine.
    return np.frombuffer(stream, dtype="<u4", count=words).astype(np.uint32, copy=False)


def agree(private: X25519PrivateKey, public: bytes, other: bytes) -> bytes:
    """The secret of a pair, 32 bytes: both ends compute the same (`public` is not needed)."""
    return private.exchange(_public(other))


class BothEnds:
    """`agree` for clients who all live in one process: each pair's secret is computed once.

    The two ends of a pair compute the same 32 bytes, which is what key agreement means, so the
    second end may be handed what the first one computed. That halves the cost of a simulated
    round, most of which is X25519. No message differs, as a test shows. Masks are cheap, and each
    end expands them for itself. A server must not hold this object; it computes what it may
    compute with `agree`.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, bytes], bytes] = {}

    def __call__(self, private: X25519PrivateKey, public: bytes, other: bytes) -> bytes:
        pair = (public, other) if public < other else (other, public)
        secret = self._waiting.pop(pair, None)
        if secret is None:
            secret = self._waiting[pair] = agree(private, public, other)
        return secret


# A public key is read once for all its neighbours who agree with it.
_public = lru_cache(maxsize=4096)(X25519PublicKey.from_public_bytes)


@lru_cache(maxsize=4)
def _zeros(size: int) -> bytes:
    return bytes(size)
