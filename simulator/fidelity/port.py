"""What does a server get from a cohort, however closely the cohort is simulated?"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from roundlog.cohort import Membership
from simulator.fleet import Counts
from simulator.tasks import Float32s


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a round that came to nothing."""

    reason: str
    """Why, in words."""

    reported: int
    """Devices that had answered."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who was in one round's mean, and how it came about."""

    strata: Counts
    """Devices of each stratum in the mean, shape (strata,)."""

    counted: int
    """Devices in the mean."""

    malicious: int
    """m_t: devices in the mean that sent a poisoned update. Ground truth."""

    below: float
    """Share of updates that clipping left as they were."""

    membership: Membership | None = None
    """Who took part; None where a cohort has no members, only counts."""

    failures: tuple[Failure, ...] = ()
    """Attempts before the one that succeeded."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One round's mean of clipped updates, before the server does anything."""

    mean: Float32s
    """Shape (d,), in weight units; local noise included."""

    cohort: Cohort


class Clients(Protocol):
    """All devices of a federation, as the server meets them."""

    @property
    def refresh(self) -> int:
        """Rounds that are computed against one model; divides a block."""

    def aggregates(self, first: int, model: Tensor, clip: float) -> list[Aggregate]:
        """The means of rounds first, first + 1, ..., `refresh` of them, asked for in order.

        Args:
            first: t of the first of them; a multiple of `refresh`.
            model: Flat model as devices receive it, shape (d,), float32.
            clip: C in these rounds.
        """
