"""Where does every random number come from? From (seed, purpose, block), and nothing else.

Each purpose has a Philox key of its own, and each block of rounds a counter of its own, so a
number depends neither on what was drawn before it nor on how work is batched. An attack-free
twin therefore shares every honest stream with the attacked run of the same seed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 10
"""Rounds a block. Part of the meaning of a seed: another value gives other numbers."""


class Uniforms(Protocol):
    """Whatever gives uniform numbers of [0, 1): a numpy Generator, or `DeviceUniforms`."""

    def random(self, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Independent uniform numbers of that shape."""


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
        # The block stands above the 2^128 numbers that one stream may draw: none overlap.
        return np.random.Generator(np.random.Philox(key=self.key(purpose), counter=block << 128))

    def key(self, purpose: str) -> int:
        """The 128 bits that belong to a purpose."""
        key = self._keys.get(purpose)
        if key is None:
            text = f"roundlog.simulator/1\0{self.seed}\0{purpose}"
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
            self._keys[purpose] = key
        return key

    def of_devices(self, purpose: str, devices: NDArray[np.uint64]) -> "DeviceUniforms":
        """Numbers that belong to devices, the same whenever a device comes back."""
        return DeviceUniforms(self.key(purpose) & 0xFFFFFFFFFFFFFFFF, devices)


class DeviceUniforms:
    """Uniform numbers as a pure function of (key, device, position), for many devices at once.

    A generator a device would cost more than its training. So numbers are hashes of a counter:
    SplitMix64 of the device, the position and the key, as good as a simulation needs.

    Args:
        key: 64 bits.
        devices: Ids, shape (n,); a call's numbers are split evenly among them, in order.

    References:
        Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """

    def __init__(self, key: int, devices: NDArray[np.uint64]) -> None:
        with np.errstate(over="ignore"):
            self._roots = _mix(_mix(devices) ^ np.uint64(key))
        self._used = 0

    def random(self, size: int | tuple[int, ...]) -> NDArray[np.float64]:
        """Uniform numbers of that shape, whose first axis is a multiple of the devices."""
        shape = (size,) if isinstance(size, int) else size
        total = int(np.prod(shape))
        each = total // len(self._roots)
        steps = np.arange(self._used, self._used + each, dtype=np.uint64) + np.uint64(1)
        self._used += each
        with np.errstate(over="ignore"):
            bits = _mix(self._roots[:, None] + steps * np.uint64(0x9E3779B97F4A7C15))
        numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return numbers.reshape(shape)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64, wrapping around."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(31))
    return mixed


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
