"""How does one channel get through all that it has to tell, whatever becomes of the other side?

One thread asks the store for an alarm that this channel has not told, tells it, writes that down,
and asks again. Whatever fails is tried again, ever less often and without end; the next try takes
another alarm, so that one that is always refused holds up none.
"""

import logging
import threading
import time
from collections.abc import Callable

from api.outbox.attempt import Attempt
from api.outbox.backlog import Backlog, Place
from api.outbox.channel import OUTCOMES, Channel, DeliveryError, Letter, Outcome
from api.outbox.journal import Journal
from api.outbox.letter import alarm_letter, summary_letter
from api.outbox.pace import Pace
from roundlog.errors import LogError, RoundlogError

logger = logging.getLogger(__name__)

# A person reads twenty messages; more of them at once are a flood that hides the next one.
FLOOD = 20

# Between two looks whether this is to stop while a letter is on its way.
GLANCE_S = 0.05


class Worker:
    """The thread of one channel.

    Args:
        server: The address at which people reach the server.
    """

    def __init__(
        self, channel: Channel, journal: Journal, backlog: Backlog, server: str, pace: Pace
    ) -> None:
        self.channel, self.backlog = channel, backlog
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)
        """Since the start; letters, and alarms that were passed over."""
        self._journal, self._server, self._pace = journal, server, pace
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"roundlog-{channel.name}", daemon=True
        )
        self._last: Place | None = None
        self._left: tuple[Attempt, Callable[[], None]] | None = None
        self._began = self._moved_at = 0.0
        self._events = -1

    def start(self) -> None:
        self._began = self._moved_at = time.monotonic()
        self._thread.start()

    def wake(self) -> None:
        """Says that there may be a new alarm."""
        self._woken.set()

    def ask_to_stop(self) -> None:
        self._stopping.set()
        self._woken.set()

    def join(self, seconds: float) -> bool:
        """Waits so long; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            alarms = -1
            outcome: Outcome | None = "failed"
            try:
                alarms = self.backlog.moved()[1]
                outcome = self._step()
            except RoundlogError as error:
                self._warn(str(error))
            except Exception:  # the thread must outlive whatever one alarm runs into
                logger.exception("%s: an error of ours; it is tried again", self.channel.name)
            if outcome in ("failed", "refused"):
                failures += 1
                self._rest(self._pace.delay(failures), alarms)
            elif outcome is None:
                self._rest(self._pace.look, alarms)
            else:
                failures = 0

    def _step(self) -> Outcome | None:
        """Settles at most one alarm; None where none waits."""
        if self._left is not None:
            return self._look_back(*self._left)
        if not self._journal.begun:
            return self._begin()
        place = self.backlog.next(self._last)
        alarm = None if place is None else self.backlog.alarm(place)
        if place is None or alarm is None:
            return None
        self._last = place
        event = alarm["event"]
        if alarm["state"] == "silenced":
            until = alarm["silenced_until"]
            reason = f"silenced by {alarm['silenced_by']} until round {until}"
            self._write(lambda: self._journal.passed_over(event, reason))
            return self._count("passed_over")
        letter = alarm_letter(alarm, place.time, self._server)
        return self._send(letter, lambda: self._journal.told(event))

    def _begin(self) -> Outcome | None:
        """The first use on this case: its old alarms are told by one letter if they are many."""
        events, now = self.backlog.moved()[0], time.monotonic()
        if events != self._events:
            self._events, self._moved_at = events, now
        still = now - self._moved_at >= self._pace.quiet
        if not still and now - self._began < self._pace.quiet_most:
            return None
        if self.backlog.waiting() <= FLOOD:
            self._write(self._journal.begin)
            return self._step() if self._journal.begun else None
        runs = self.backlog.by_run()
        through = {row["run"]: row["last_seq"] for row in runs}
        total = sum(row["alarms"] for row in runs)
        letter = summary_letter(runs, self._server)
        return self._send(letter, lambda: self._journal.summarised(through, total))

    def _send(self, letter: Letter, settle: Callable[[], None]) -> Outcome | None:
        attempt = Attempt(self.channel, letter)
        deadline = time.monotonic() + self.channel.patience_s
        while not attempt.wait(GLANCE_S):
            if self._stopping.is_set() or time.monotonic() >= deadline:
                self.channel.cut()
                self._left = attempt, settle
                # Mostly it ends with its connection.
                attempt.wait(GLANCE_S)
                break
        return self._look_back(attempt, settle)

    def _look_back(self, attempt: Attempt, settle: Callable[[], None]) -> Outcome | None:
        """What became of a try, which may hang still: then no other is begun beside it."""
        if not attempt.wait(0):
            if self._stopping.is_set():
                return None
            self._warn(f"no answer within {self.channel.patience_s:.0f} s, and it hangs still")
            return self._count("failed")
        self._left = None
        if attempt.error is None:
            self._count("delivered")
            self._write(settle)
            return "delivered"
        if isinstance(attempt.error, DeliveryError):
            self._warn(str(attempt.error))
            return self._count(attempt.error.outcome)
        logger.error("%s: an error of ours", self.channel.name, exc_info=attempt.error)
        return self._count("failed")

    def _write(self, settle: Callable[[], None]) -> None:
        """Writes a line into the journal, however long the disk refuses; nothing is sent before."""
        failures = 0
        while True:
            try:
                settle()
            except LogError as error:
                failures += 1
                self._warn(str(error))
                if self._stopping.wait(self._pace.delay(failures)):
                    return
            else:
                return

    def _rest(self, seconds: float, alarms: int) -> None:
        """Waits so long, or until there is a new alarm: that one is tried at once."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._woken.wait(min(left, self._pace.look)):
                self._woken.clear()
                return
            try:
                if self.backlog.moved()[1] != alarms:
                    return
            except RoundlogError:
                continue  # the store is being opened again

    def _count(self, outcome: Outcome) -> Outcome:
        self.counts[outcome] += 1
        return outcome

    def _warn(self, said: str) -> None:
        logger.warning(
            "%s: %s. Nothing is lost: it is tried again until it succeeds, at least every %.0f s.",
            self.channel.name,
            said.rstrip("."),
            self._pace.most,
        )
