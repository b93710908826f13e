"""Who tells of the alarms of a case? All channels together, each with a thread of its own."""

import time
from collections.abc import Sequence

from api.outbox.backlog import Backlog
from api.outbox.channel import Channel
from api.outbox.journal import FOLDER, Journal
from api.outbox.pace import Pace
from api.outbox.worker import Worker
from api.records import Records


class Outbox:
    """The channels of one server.

    Args:
        records: Of the case that this process owns.
        channels: One named twice is used once.
        server: The address at which people reach the server, for links.

    Raises:
        LogError: What a channel has told before cannot be read.
    """

    def __init__(
        self,
        records: Records,
        channels: Sequence[Channel] = (),
        server: str = "",
        pace: Pace | None = None,
    ) -> None:
        self.workers: list[Worker] = []
        for channel in channels:
            if channel.name in [worker.channel.name for worker in self.workers]:
                continue
            journal = Journal(records.case.path / FOLDER, channel.name)
            backlog = Backlog(records, journal)
            self.workers.append(
                Worker(channel, journal, backlog, server.rstrip("/"), pace or Pace())
            )

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def wake(self) -> None:
        """Says that there may be a new alarm; otherwise it is found within a second."""
        for worker in self.workers:
            worker.wake()

    def stop(self, seconds: float) -> bool:
        """Asks all to end and waits so long; whether they have. What hangs is left behind."""
        for worker in self.workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + seconds
        ended = [worker.join(max(0.0, deadline - time.monotonic())) for worker in self.workers]
        return all(ended)
