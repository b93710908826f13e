"""A case whose owner can raise alarms, and a channel that remembers what it was told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from said_alarms import raise_alarm

from api.outbox.channel import DeliveryError, Letter
from api.outbox.outbox import Outbox
from api.outbox.pace import Pace
from api.records import Records
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.events import AlarmRaised, RunOpened
from roundlog.recorder import Recorder

BRISK = Pace(look=0.02, first=0.02, most=0.1, quiet=0.05, quiet_most=1.0)
"""As the real one, in a fiftieth of the time."""

LETTER = Letter(
    "the-run/owner/3",
    "alarm.raised",
    datetime(2026, 11, 3, 12, 30, tzinfo=UTC),
    "Alarm in the-run at round 12",
    "In run the-run, cusum raised an alarm.",
    {"event": "the-run/owner/3", "round": 12, "score": 5.5, "link": "http://127.0.0.1:1"},
)


@dataclass(frozen=True)
class Told:
    """The owner of a case, who can raise alarms and tell of them."""

    case: Case
    records: Records

    def alarm(self, round: int = 12, run: str = "the-run", **fields: object) -> AlarmRaised:
        """One more alarm, in the log and in the projection."""
        return raise_alarm(self.records.log, run, round=round, **fields)

    @contextmanager
    def outbox(self, *channels: "Notebook", pace: Pace = BRISK) -> Iterator[Outbox]:
        """Channels at work."""
        found = Outbox(self.records, channels, "http://server.test:8765", pace)
        found.start()
        try:
            yield found
        finally:
            assert found.stop(5)


@contextmanager
def told_case(path: Path, *runs: str) -> Iterator[Told]:
    """A new case, or the one that is there, in the hands of its owner."""
    case = Case.create(path)
    for run in runs:
        with Recorder(path, run=run, on_error="raise") as recorder:
            recorder.record(RunOpened, framework="the test")
    with case.own():
        store = Store(case)
        ingest_case(case, store=store)
        records = Records(case, store)
        try:
            yield Told(case, records)
        finally:
            records.log.close()
            store.close()


class Notebook:
    """A channel that writes down what it is told, after whatever a test wants to happen before."""

    def __init__(self, name: str = "notebook", patience_s: float = 5.0) -> None:
        self.name, self.shown, self.patience_s = name, "a notebook", patience_s
        self.letters: list[Letter] = []
        self.tries: list[str] = []
        self.fails: Callable[[Letter], Exception | None] = lambda letter: None
        self.held = threading.Event()
        """While this is not set, a letter hangs."""
        self.held.set()
        self.cuts = 0
        self.cut_helps = True
        self._cut = threading.Event()

    @property
    def ids(self) -> list[str]:
        return [letter.id for letter in self.letters]

    def send(self, letter: Letter) -> None:
        self.tries.append(letter.id)
        self._cut.clear()
        while not self.held.wait(0.01):
            if self._cut.is_set():
                raise DeliveryError("the connection was cut")
        error = self.fails(letter)
        if error is not None:
            raise error
        self.letters.append(letter)

    def cut(self) -> None:
        self.cuts += 1
        if self.cut_helps:
            self._cut.set()
