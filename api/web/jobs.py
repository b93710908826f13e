"""How does long work run without a request that hangs? As a job with a name made of its content.

The same question about the same record is the same job: asked twice, it runs once, and its answer
is kept until the record has grown. One thread works through them, so that two people who ask do
not halve each other's memory.
"""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from api.documents import Document
from api.parameters import Params
from api.questions import Question
from api.records import CancelledError, Records
from roundlog.encoding import canonical_json, digest
from roundlog.errors import RoundlogError

State = Literal["waiting", "running", "done", "failed", "cancelled"]

# Answers are small documents; a day of questions fits, and nothing grows without end.
KEPT = 256

# Jobs that wait. Beyond this a client is told to come back.
WAITING = 64


class BusyError(RoundlogError):
    """Too many jobs wait already."""

    exit_code = 5


@dataclass
class Job:
    """One question that takes a while."""

    id: str
    question: Question
    params: Params
    state: State = "waiting"
    what: str = ""
    done: int = 0
    total: int | None = None
    answer: Document | None = None
    error: RoundlogError | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    def document(self) -> Document:
        """What a client sees of it."""
        return {
            "id": self.id,
            "question": self.question.name,
            "params": {
                key: _shown(key, value)
                for key, value in self.params.model_dump(mode="json", exclude_none=True).items()
            },
            "state": self.state,
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "error": None if self.error is None else str(self.error),
        }

    def wait(self, seconds: float) -> bool:
        """Waits until it has ended, at most so long; whether it has."""
        with self.changed:
            return self.changed.wait_for(lambda: self.ended, timeout=seconds)

    def tell(self, change: Callable[[], None]) -> None:
        """Changes it, and wakes whoever waits."""
        with self.changed:
            change()
            self.changed.notify_all()


class Jobs:
    """The jobs of one server, and the thread that does them.

    Args:
        most: Jobs that may run or wait at a time.
    """

    def __init__(self, records: Records, *, most: int = WAITING + 1) -> None:
        self._records, self._most = records, most
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="roundlog-jobs", daemon=True)
        self._thread.start()

    def submit(self, question: Question, params: Params) -> Job:
        """The job of a question about the record as it is now; a new one if there is none.

        Raises:
            BusyError: Too many run or wait.
        """
        run = self._records.run(params.run) if "{run}" in question.path else params.run
        end = self._records.rows("run_end", run=run)[0] if run else self._position()
        values = {**params.model_dump(mode="json", exclude_none=True), "run": run}
        identity = {
            "question": question.name,
            "params": values,
            "end": [str(x) for x in end],
            "trigger": self._named_trigger(values.get("trigger")),
        }
        name = digest(canonical_json(identity))[:16]
        with self._lock:
            job = self._jobs.get(name)
            # A failure may have been the moment's, and files may change without an event: whoever
            # asks again then means it.
            keep = job is not None and job.state == "done" and question.lasting
            if job is not None and (keep or not job.ended):
                self._jobs.move_to_end(name)
                return job
            if sum(not one.ended for one in self._jobs.values()) >= self._most:
                already = "a job runs" if self._most == 1 else f"{self._most} jobs run or wait"
                raise BusyError(f"{already} already; ask again when one has ended")
            job = Job(name, question, params.model_copy(update={"run": run}))
            self._jobs[name] = job
            self._forget()
        self._queue.put(job)
        return job

    def get(self, name: str) -> Job | None:
        """The job of that id."""
        with self._lock:
            return self._jobs.get(name)

    def listed(self) -> list[Job]:
        """Every job that is known, the latest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def cancel(self, job: Job) -> None:
        """Ends a job as soon as it looks up; one that has ended stays as it is."""
        job.cancelled.set()
        if job.state == "waiting":
            job.tell(lambda: setattr(job, "state", "cancelled"))

    def close(self, seconds: float) -> bool:
        """Cancels everything and waits so long for the thread; whether it has ended."""
        for job in self.listed():
            self.cancel(job)
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _named_trigger(self, trigger: object) -> str | None:
        """What the name means today: a trigger file can be exchanged behind its name."""
        if not isinstance(trigger, str):
            return None
        path = next(
            (one for one in self._records.case.triggers.glob("*.json") if one.stem == trigger), None
        )
        return None if path is None else digest(path.read_bytes())

    def _position(self) -> tuple[object, ...]:
        return tuple(name for row in self._records.rows("case_end") for name in row)

    def _forget(self) -> None:
        for name in [name for name, job in self._jobs.items() if job.ended]:
            if len(self._jobs) <= KEPT:
                return
            del self._jobs[name]

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if not job.cancelled.is_set():
                self._do(job)

    def _do(self, job: Job) -> None:
        def progress(what: str, done: int, total: int | None) -> None:
            if job.cancelled.is_set() or self._records.stopping.is_set():
                raise CancelledError("the job was cancelled")

            def note() -> None:
                job.what, job.done, job.total = what, done, total

            job.tell(note)

        job.tell(lambda: setattr(job, "state", "running"))
        state: State = "done"
        try:
            job.answer = job.question.answer(self._records, job.params, progress)
        except CancelledError as error:
            state, job.error = "cancelled", error
        except RoundlogError as error:
            state, job.error = "failed", error
        except Exception as error:  # the thread must outlive whatever one job runs into
            state, job.error = "failed", _unexpected(error)
        job.tell(lambda: setattr(job, "state", state))


def _shown(key: str, value: Any) -> Any:
    """A parameter as everyone may see it: a trigger by its name, a truth by its run's."""
    named = {"trigger": "name", "truth": "run"}.get(key)
    return value.get(named) if named and isinstance(value, dict) else value


def _unexpected(error: Exception) -> RoundlogError:
    return RoundlogError(f"an error of ours, {type(error).__name__}: {error}")
