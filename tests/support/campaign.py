"""How long is the fault campaign, and from which seeds? Short in every test run, long when asked.

`ROUNDLOG_FAULT_SEEDS="a b"` asks for the long form: every test that takes a `seed` runs once for
each of them, and as often or as long as `Campaign` says. No test may depend on which seeds.

`python campaign.py RESULTS.xml` says in one line what a campaign found.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

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


def verdict(results: Path) -> str:
    """`N passed, N failed`, from what pytest wrote; a campaign that wrote nothing has failed."""
    if not results.exists():
        return "0 passed, 1 failed"
    count = {"testcase": 0, "failure": 0, "error": 0, "skipped": 0}
    for element in ElementTree.parse(results).iter():
        if element.tag in count:
            count[element.tag] += 1
    failed = count["failure"] + count["error"]
    return f"{count['testcase'] - failed - count['skipped']} passed, {failed} failed"


if __name__ == "__main__":
    print(verdict(Path(sys.argv[1])))
