"""What was told by one channel, so that a restart tells nothing twice and forgets nothing?

`outbox/<channel>.log` in the case, one JSON line for every alarm that is settled, durable before
the next one is sent:

    {"outcome": "begun", "channel": "webhook-0123456789abcdef", …}
    {"outcome": "told", "event": "quickstart-0123456789ab/owner/3", …}
    {"outcome": "passed_over", "event": "…/owner/5", "reason": "silenced by alice", …}
    {"outcome": "summarised", "through": {"quickstart-0123456789ab": 40}, "alarms": 31, …}

A last line that a crash tore is cut off: what it stood for is told again, under the same id. Who
deletes the file has a channel that was never used.
"""

import json
import logging
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roundlog.errors import LogError
from roundlog.log.files import make_directory, sync_directory, write_all

logger = logging.getLogger(__name__)

FOLDER = "outbox"


class Journal:
    """What one channel has settled; the process that owns the case has it open.

    Safe from any thread. Of each run it holds one number, up to which all is settled, and those
    events beyond that are settled too: some, while an older alarm is refused again and again.

    Args:
        folder: `outbox/` of the case; made with the first line.
        channel: The channel's name.

    Raises:
        LogError: The file is there and cannot be read or mended.
    """

    def __init__(self, folder: Path, channel: str) -> None:
        self.path = folder / f"{channel}.log"
        self._channel = channel
        self._lock = threading.Lock()
        self._low: dict[str, int] = {}
        self._beyond: dict[str, set[int]] = {}
        self.begun = False
        """Whether this channel was used before on this case."""
        try:
            self._size = self._read()
        except OSError as error:
            raise LogError(
                f"{self.path} cannot be read: {error.strerror}. It says which alarms were told; "
                f"without it they would be told again."
            ) from error

    def begin(self) -> None:
        """Says that from now on every alarm is told by itself.

        Raises:
            LogError: The disk refused, as with whatever else writes a line.
        """
        self._append({"outcome": "begun", "channel": self._channel})

    def told(self, event: str) -> None:
        """Says that the other side took an alarm."""
        self._append({"outcome": "told", "event": event})

    def passed_over(self, event: str, reason: str) -> None:
        """Says that an alarm is not told, and why."""
        self._append({"outcome": "passed_over", "event": event, "reason": reason})

    def summarised(self, through: dict[str, int], alarms: int) -> None:
        """Says that one letter stood for all alarms up to an event of each run."""
        self._append(
            {
                "outcome": "summarised",
                "channel": self._channel,
                "through": through,
                "alarms": alarms,
            }
        )

    def settled(self, run: str, seq: int) -> bool:
        """Whether an event needs nothing more."""
        with self._lock:
            return seq <= self._low.get(run, -1) or seq in self._beyond.get(run, ())

    def lows(self) -> dict[str, int]:
        """For each run, the event up to which all alarms are settled."""
        with self._lock:
            return dict(self._low)

    @property
    def beyond(self) -> int:
        """Events that are settled above those."""
        with self._lock:
            return sum(map(len, self._beyond.values()))

    def raise_low(self, run: str, seq: int) -> None:
        """Notes that no alarm of a run up to an event is left, as the caller has seen."""
        with self._lock:
            self._low[run] = max(seq, self._low.get(run, -1))
            above = {one for one in self._beyond.pop(run, ()) if one > self._low[run]}
            if above:
                self._beyond[run] = above

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps({**entry, "time": datetime.now(UTC).isoformat()}) + "\n"
        data = line.encode()
        try:
            if not self._size:
                make_directory(self.path.parent)
            with self.path.open("ab", buffering=0) as file:
                if file.tell() != self._size:
                    # What an append that failed has left, and could not take back then.
                    file.truncate(self._size)
                write_all(file, data)
                os.fsync(file.fileno())
            if not self._size:
                sync_directory(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, self._size)
            raise LogError(
                f"{self.path} cannot be written: {error.strerror}. Nothing more is told by this "
                f"channel until it can: after a restart it would be told twice."
            ) from error
        self._size += len(data)
        self._take(entry)

    def _read(self) -> int:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            logger.warning(
                "%s: cut off a last line of %d bytes that a crash had torn; its alarm is told "
                "again if it was told",
                self.path,
                len(data) - whole,
            )
            with self.path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                logger.warning(
                    "%s, line %d: not a line of ours; its alarm may be told again",
                    self.path,
                    number,
                )
        return whole

    def _take(self, entry: dict[str, Any]) -> None:
        outcome = entry["outcome"]
        if outcome in ("told", "passed_over"):
            run, _, seq = entry["event"].split("/")
            with self._lock:
                self._beyond.setdefault(run, set()).add(int(seq))
        elif outcome == "summarised":
            for run, seq in entry["through"].items():
                self.raise_low(run, int(seq))
        # Whatever else is there, the channel was used before.
        self.begun = True
