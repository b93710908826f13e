"""How is a long reading kept from taking the disk away from everybody else? It is given a rate.

Bytes are counted as they are read. Where they come faster than they may, the reader sleeps, in
steps short enough that somebody who wants it to end is heard.
"""

import time
from collections.abc import Callable

# Whoever asks a server to stop waits half a second for its jobs.
SLEEP_S = 0.1


class Pace:
    """A `forensics.evidence.Reading` that sleeps, counts and tells.

    Args:
        rate: Bytes a second at most, on average from the first byte on; None for no limit.
        tell: Called with the bytes read so far, at least every 0.1 s while it sleeps; what it
            raises ends the reading.
    """

    def __init__(self, rate: float | None, tell: Callable[[int], None]) -> None:
        self._rate, self._tell = rate, tell
        self._began: float | None = None
        self.bytes = 0
        """Read so far."""

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self.bytes += count
        self._tell(self.bytes)
        if self._rate is None:
            return
        due = self._began + self.bytes / self._rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, SLEEP_S))
            self._tell(self.bytes)
