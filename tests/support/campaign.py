"""How long is the fault campaign, and from which seeds? Short in every test run, long when asked.

`ROUNDLOG_FAULT_SEEDS="a b"` asks for the long form: every test that takes a `seed` runs once for
each of them, and as often or as long as `Campaign` says. No test may depend on which seeds.
"""

import os
from dataclasses import dataclass

SEEDS = "ROUNDLOG_FAULT_SEEDS"

SHORT_SEED = 1


@dataclass(frozen=True)
class Campaign:
    """How much of everything."""

    long: bool

    def times(self, *, short: int, long: int) -> int:
        """How often, in this form."""
        return long if self.long else short


def is_long() -> bool:
    """Whether the long form was asked for."""
    return bool(os.environ.get(SEEDS, "").split())


def seeds() -> list[int]:
    """The seeds of the long form; one in the short form."""
    return [int(seed) for seed in os.environ.get(SEEDS, "").split()] or [SHORT_SEED]
