"""What do clients and the server say to each other, and in how many bytes?

Sizes count what a plain binary encoding would send: 4 bytes for a client's number, keys and
shares as they are, 4 bytes an element of a masked vector. Framing and transport are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NUMBER_SIZE = 4
"""Bytes of a client's number."""

ELEMENT_SIZE = 4
"""Bytes of one element of a masked vector."""


@dataclass(frozen=True)
class Advertisement:
    """One client's two public keys."""

    mask_key: bytes
    """Masks are agreed with it. Its private half is shared, and opened if the client is lost."""

    channel_key: bytes
    """Shares travel under it. Its private half never leaves the client."""

    @property
    def size(self) -> int:
        """Bytes on the way."""
        return len(self.mask_key) + len(self.channel_key)


@dataclass(frozen=True)
class Question:
    """What the server asks one client at unmasking: which secret of which neighbour."""

    counted: frozenset[int]
    """Neighbours whose masked vector arrived: their self-mask is to be taken out."""

    lost: frozenset[int]
    """Neighbours who shared keys but sent no vector: their pairwise masks are to be taken out."""

    @property
    def size(self) -> int:
        """Bytes on the way."""
        return NUMBER_SIZE * (len(self.counted) + len(self.lost))


@dataclass(frozen=True)
class Answer:
    """One client's shares of its neighbours' secrets, by the neighbour's number."""

    self_seeds: Mapping[int, bytes]
    """Shares of the seeds of self-masks, of neighbours who are counted."""

    mask_keys: Mapping[int, bytes]
    """Shares of private mask keys, of neighbours who were lost."""

    @property
    def size(self) -> int:
        """Bytes on the way."""
        shares = (*self.self_seeds.values(), *self.mask_keys.values())
        return sum(NUMBER_SIZE + len(share) for share in shares)


def parcels_size(parcels: Mapping[int, bytes]) -> int:
    """Bytes of encrypted shares on the way, each with the number of who gets or sent it."""
    return sum(NUMBER_SIZE + len(parcel) for parcel in parcels.values())
