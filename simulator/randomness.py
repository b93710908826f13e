"""Where does every random number come from? From (seed, purpose, block), and nothing else.

Each purpose has a Philox key of its own, and each block of rounds a counter of its own, so a
number depends neither on what was drawn before it nor on how work is batched. An attack-free
twin therefore shares every honest stream with the attacked run of the same seed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

BLOCK = 10
"""Rounds a block. Part of the meaning of a seed: another value gives other numbers."""


class Randomness:
    """The streams of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._keys: dict[str, int] = {}

    def stream(self, purpose: str, block: int = 0) -> np.random.Generator:
        """The numbers for one purpose in one block, always from their beginning.

        Args:
            purpose: What the numbers are for; any text.
            block: Which block, from 0.
        """
        key = self._keys.get(purpose)
        if key is None:
            text = f"roundlog.simulator/1\0{self.seed}\0{purpose}"
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
            self._keys[purpose] = key
        # The block stands above the 2^128 numbers that one stream may draw: none overlap.
        return np.random.Generator(np.random.Philox(key=key, counter=block << 128))


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch, whatever the environment says, so that float sums have one order.

    The caller's setting is restored at the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
