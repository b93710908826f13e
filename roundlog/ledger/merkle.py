"""Which single digest stands for a sealed segment? The Merkle tree hash of RFC 6962.

Leaves and nodes are hashed with different prefixes, so a node can never pass for a leaf.
A leaf here is the exact head of one event; that head names the digest of its side bytes.

References:
    Laurie, Langley, Kasper, "Certificate Transparency", RFC 6962, section 2.1.
"""

import hashlib
from collections.abc import Iterable

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf), 32 bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """A growing tree: O(log n) memory, because full subtrees are merged as leaves arrive."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[tuple[int, bytes]] = []  # (leaves below, hash), largest first
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Adds one leaf (the exact bytes, not their hash)."""
        self.size += 1
        width, top = 1, leaf_hash(leaf)
        while self._peaks and self._peaks[-1][0] == width:
            _, left = self._peaks.pop()
            width, top = 2 * width, node_hash(left, top)
        self._peaks.append((width, top))

    def root(self) -> str:
        """The tree hash, 64 hex digits; of no leaves, SHA-256 of nothing."""
        if not self._peaks:
            return EMPTY_ROOT.hex()
        top = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            top = node_hash(left, top)
        return top.hex()
