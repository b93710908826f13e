"""What can stop a sum from being taken? Too few clients, a refusal, or numbers too large.

RoundlogError
 └── AggregationError            no sum was taken
      ├── TooFewClientsError     more clients were lost than the protocol was set up for
      ├── RefusedError           somebody asked for, or sent, what the protocol forbids
      └── RangeError             the sum might not fit the ring, so it could not be read back
"""

from roundlog.errors import RoundlogError


class AggregationError(RoundlogError):
    """No sum was taken; nothing about any client was revealed in its place."""


class TooFewClientsError(AggregationError):
    """More clients were lost than the protocol was set up to bear."""

    def __init__(self, *, phase: str, expected: int, found: int) -> None:
        self.phase, self.expected, self.found = phase, expected, found
        super().__init__(
            f"{phase}: at least {expected} clients are needed and {found} are left, so this round "
            f"has no sum. Record the round as failed and sample again; if clients are lost that "
            f"often, raise `Assumptions.dropout_share`."
        )


class RefusedError(AggregationError):
    """A party was asked for, or was sent, something that the protocol forbids."""


class RangeError(AggregationError):
    """The sum of so many values of this size might leave the ring."""

    def __init__(self, *, largest: float, summands: int, limit: int) -> None:
        self.largest, self.summands, self.limit = largest, summands, limit
        super().__init__(
            f"values reach {largest:g} multiples of the grid, and the sum of {summands:,} such "
            f"vectors must stay below {limit:,} to be read back from the ring. Use a coarser "
            f"grid, clip the updates, or sum fewer clients at once."
        )
