"""How does a recorded run go out again, event by event, to another log?

Frames leave exactly as they were recorded, with their ids, so whoever ingests them has the same
run. What people and detectors said of the run stays here: nobody sends such events in, since they
could then be said in another person's name. Events of several producers are merged by the round
that each has reached; within one producer their order is its own.
"""

import heapq
from collections.abc import Iterator

from roundlog.case import Case
from roundlog.encoding import Frame
from roundlog.errors import QuestionError
from roundlog.events import OWNER, RoundCommitted, parse_head
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.port import Entry, Log

BATCH = 256
"""Events that are handed over at once where nobody waits for single rounds."""


class Reemission:
    """The events of one run on their way to another log.

    Args:
        case: It is read, and never written to.
        run: Whose events.
        target: Where they go.

    Attributes:
        sent: Events that were handed over.
    """

    def __init__(self, case: Case, run: str, target: Log) -> None:
        self._source = EmbeddedLog(case.segments)
        self._target = target
        producers = [
            partition
            for partition in self._source.partitions()
            if partition.split("/")[0] == run and partition.split("/")[1] != OWNER
        ]
        self._waiting = heapq.merge(*map(self._events, producers), key=lambda found: found[0])
        self._held: tuple[tuple[int, str], Entry] | None = None
        self.sent = 0

    def up_to(self, round_: int | None) -> None:
        """Sends everything that was recorded before round `round_` + 1 began; None for all.

        Raises:
            QuestionError: A recorded event cannot be read; `roundlog verify` says why.
            LogError: The other log did not take them.
        """
        batch: list[Entry] = []
        while (found := self._next()) is not None:
            if round_ is not None and found[0][0] > round_:
                self._held = found
                break
            batch.append(found[1])
            if len(batch) == BATCH:
                self._send(batch)
                batch = []
        self._send(batch)

    def _send(self, batch: list[Entry]) -> None:
        if batch:
            self._target.append(batch)
            self.sent += len(batch)

    def _next(self) -> tuple[tuple[int, str], Entry] | None:
        held, self._held = self._held, None
        return held if held is not None else next(self._waiting, None)

    def _events(self, partition: str) -> Iterator[tuple[tuple[int, str], Entry]]:
        """Each event with the newest round that it or one before it speaks of."""
        position, reached = 0, -1
        while records := self._source.read({partition: position}, max_records=BATCH, timeout_s=0):
            for record in records:
                position = record.next_offset
                if record.frame is None:
                    raise QuestionError(
                        f"{partition} holds bytes that are no event ({record.reason}); what was "
                        f"recorded cannot go out again as it was. `roundlog verify` says where"
                    )
                event = parse_head(record.frame.head)
                if isinstance(event, RoundCommitted):
                    reached = max(reached, event.round)
                frame = Frame(head=record.frame.head, side=bytes(record.side()))
                yield (reached, partition), Entry(event, frame)
