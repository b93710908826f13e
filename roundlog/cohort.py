"""Who was sampled into a round? A draw that anybody repeats from its seed, sizes and counts.

A server that draws its cohorts by this rule needs to record a seed and the devices that did not
show up, not a list of ids. The rule uses Philox's raw output only, which numpy keeps stable, so
the same record names the same devices on every machine and under every version.

A device is a 64-bit number: its stratum above the lowest 40 bits, its index in the stratum below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roundlog.encoding import canonical_json, strict_json
from roundlog.errors import RoundlogError

RULE = "philox-strata/1"
INDEX_BITS = 40

Ids = NDArray[np.uint64]
Counts = NDArray[np.int64]


class CohortError(RoundlogError):
    """A membership that cannot be drawn or read."""


def draw_members(key: int, draw: int, sampled: Counts, sizes: Counts) -> Ids:
    """The devices of one draw, without replacement, stratum by stratum.

    Args:
        key: 128 bits, the sampler's seed.
        draw: Number of the draw; each has 2^128 numbers of its own.
        sampled: Devices to draw from each stratum, shape (strata,).
        sizes: Devices that there are, shape (strata,).

    Returns:
        Shape (sampled.sum(),): strata in order, devices of a stratum in the order drawn.

    Raises:
        CohortError: Counts and sizes are not of the same strata, or more devices are asked for
            than a stratum has.
    """
    if sampled.shape != sizes.shape or np.any(sampled < 0):
        raise CohortError(
            f"counts of {sampled.size} strata for a population of {sizes.size}: the draw and "
            f"the run it belongs to do not agree"
        )
    if np.any(sampled > sizes):
        stratum = int(np.argmax(sampled > sizes))
        raise CohortError(
            f"stratum {stratum} has {int(sizes[stratum]):,} devices, and a cohort asks for "
            f"{int(sampled[stratum]):,} of them; sample fewer, or from a larger population"
        )
    raw = np.random.Philox(key=key, counter=draw << 128)
    strata = np.repeat(np.arange(len(sampled), dtype=np.uint64), sampled)
    ids = _ids(raw, strata, sizes)
    while True:
        # The first to draw a device keeps it; whoever drew it again draws once more.
        _, first = np.unique(ids, return_index=True)
        if first.size == ids.size:
            return ids
        again = np.ones(ids.size, dtype=bool)
        again[first] = False
        ids[again] = _ids(raw, strata[again], sizes)


def strata_of(ids: Ids) -> Counts:
    """The stratum of each device."""
    return (ids >> np.uint64(INDEX_BITS)).astype(np.int64)


def indices_of(ids: Ids) -> Counts:
    """The index of each device in its stratum."""
    return (ids & np.uint64((1 << INDEX_BITS) - 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Membership:
    """Who took part in one round, as `cohort.sealed` holds it under its seal."""

    key: int
    """The sampler's seed."""

    draw: int
    """Number of the draw."""

    sampled: tuple[int, ...]
    """Devices drawn from each stratum."""

    no_shows: tuple[int, ...]
    """Positions in the draw of devices that never reported."""

    late: tuple[int, ...]
    """Positions of devices that reported after the round had closed."""

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "rule": RULE,
                "key": f"{self.key:032x}",
                "draw": self.draw,
                "sampled": list(self.sampled),
                "no_shows": list(self.no_shows),
                "late": list(self.late),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Membership":
        """The inverse of `to_bytes`.

        Raises:
            CohortError: Not a membership, or drawn by a rule that this version does not know.
        """
        document: Any = strict_json(data)
        if not isinstance(document, Mapping) or document.get("rule") != RULE:
            raise CohortError(f"not a membership drawn by {RULE!r}, the one rule known here")
        try:
            return cls(
                key=int(document["key"], 16),
                draw=int(document["draw"]),
                sampled=tuple(int(count) for count in document["sampled"]),
                no_shows=tuple(int(at) for at in document["no_shows"]),
                late=tuple(int(at) for at in document["late"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CohortError(f"a membership whose fields are wrong: {error}") from error

    def counted(self, sizes: Counts) -> Ids:
        """The devices whose updates are in the mean.

        Args:
            sizes: Devices of each stratum, as `run.opened` states them.

        Raises:
            CohortError: The draw is impossible, or a position lies outside of it.
        """
        ids = draw_members(self.key, self.draw, np.array(self.sampled, dtype=np.int64), sizes)
        gone = [*self.no_shows, *self.late]
        if gone and not 0 <= min(gone) <= max(gone) < ids.size:
            raise CohortError(
                f"a membership names position {max(gone, key=abs)} of a draw of {ids.size} "
                f"devices; who was in the round cannot be told"
            )
        return np.delete(ids, gone)


def _ids(raw: np.random.Philox, strata: NDArray[np.uint64], sizes: Counts) -> Ids:
    # 53 bits of each number, as a share of the stratum: for 10^10 devices the bias is 10^-6.
    share = (raw.random_raw(strata.size) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    index = (share * sizes[strata.astype(np.int64)]).astype(np.uint64)
    found: Ids = (strata << np.uint64(INDEX_BITS)) | index
    return found
