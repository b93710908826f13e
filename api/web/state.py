"""What does one server hold while it runs? The record, its jobs, its guard, and ingest's thread."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from api.outbox.outbox import Outbox
from api.questions import Question
from api.records import Records
from api.web.jobs import Jobs
from api.web.recorders import Receiver
from api.web.security import Guard
from api.web.watching import Watching
from ingest.summary import IngestSummary
from roundlog.errors import RoundlogError

logger = logging.getLogger(__name__)

BUSY = 5
"""Exit code of errors that may pass: a broker that is away, a log that another process holds."""

# A broker takes seconds to come up; asking more often finds it no sooner.
RETRY_S = 5.0

# An attempt that fails does so within the client's ten seconds; one that lasts longer reads.
SETTLED_S = 30.0

Ingest = Callable[[Callable[[IngestSummary], None], threading.Event], IngestSummary]
"""Reads the log until it is told to stop; called with a progress and a stop."""


class Ingesting:
    """The thread that reads the log for as long as a server runs."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="roundlog-ingest", daemon=True)
        self.summary = IngestSummary()
        self.error: Exception | None = None
        self._tried = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether the log is being read now; not while a broker that is away is waited for."""
        settled = time.monotonic() - self._tried > SETTLED_S
        return self._thread.is_alive() and (self.error is None or settled)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Asks it to finish its batch and waits so long; whether it has ended."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stop.is_set() and self._read():
            self._stop.wait(RETRY_S)

    def _read(self) -> bool:
        """Reads until it is told to stop; whether what stopped it otherwise may pass by itself."""

        def progress(summary: IngestSummary) -> None:
            self.summary, self.error = summary, None

        self._tried = time.monotonic()
        try:
            self._ingest(progress, self._stop)
        except RoundlogError as error:
            self.error = error
            if error.exit_code == BUSY:
                logger.warning("%s Trying again in %.0f s; nothing is lost.", error, RETRY_S)
                return True
            logger.error("ingest has stopped: %s What was ingested can still be asked.", error)
        except Exception as error:
            self.error = error
            logger.exception("ingest has stopped on an error of ours; what was ingested stays")
        return False


@dataclass
class ServerState:
    """Everything that the routes reach."""

    records: Records
    jobs: Jobs
    guard: Guard
    ingesting: Ingesting
    lab: Jobs | None = None
    """Replays under other settings, one at a time; None unless the server was started for them.
    Apart from `jobs`: nobody who investigates should wait for a simulation."""
    patient: Jobs = field(init=False)
    """Answers that may take hours, one at a time. Apart from `jobs`, which would wait for them."""
    receiver: Receiver = field(init=False)
    watching: Watching = field(init=False)
    """Watches the runs, and writes down the alarms that they raise."""
    outbox: Outbox = field(init=False)
    """Tells people of the alarms; nobody, unless the server was started with channels."""
    drained: bool = False
    """Set at the end: whether every thread had ended in time."""

    def __post_init__(self) -> None:
        self.patient = Jobs(self.records, most=1)
        self.receiver = Receiver(self.records)
        self.outbox = Outbox(self.records)
        self.watching = Watching(self.records, self.alarms_raised)

    def alarms_raised(self) -> None:
        """Says that there are alarms which nobody was told of."""
        self.outbox.wake()

    @property
    def lanes(self) -> tuple[Jobs, ...]:
        """Everything that does jobs."""
        return (self.jobs, self.patient, *(() if self.lab is None else (self.lab,)))

    def lane_for(self, question: Question) -> Jobs:
        """What does a question that is slow."""
        return self.patient if question.patient else self.jobs

    def lane_of(self, job_id: str) -> Jobs | None:
        """What does the job of that id; None where nothing knows it."""
        return next((lane for lane in self.lanes if lane.get(job_id) is not None), None)
