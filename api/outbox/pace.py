"""How often is the store asked, and the other side tried again?"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, all of them."""

    look: float = 1.0
    """Between two looks for new alarms."""

    first: float = 1.0
    """Before the second try; doubled with each further one in a row ..."""

    most: float = 300.0
    """... up to this: whoever mends a receiver waits no longer for what it has missed."""

    quiet: float = 2.0
    """Before a channel is used for the first time the record stands still for so long: the old
    alarms may still be read from the log ..."""

    quiet_most: float = 15.0
    """... but the first alarm waits no longer than this."""

    def delay(self, failures: int) -> float:
        """How long to wait after so many failures in a row, at least 1.

        Between half and all of a time that doubles, so that channels that failed together part.
        """
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)
