"""How do several simulations run at once, and none takes the others down?

Each worker is a process of its own, started afresh (`spawn`) and kept for one task after the
other, with every numeric library on one thread. A task that raises, and a worker that dies, cost
that task only. Workers leave Ctrl-C to their parent, which ends them; a worker whose parent is
gone ends by itself, at the next progress that it cannot tell.

A pool of processes of the standard library would fail every waiting task when one worker dies.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from api.documents import Document
from api.lab.cache import POINT, code_digest

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
"""What numeric libraries read when they are first imported."""

# Between two messages about progress; a person sees ten a second, and a pipe is not for more.
TELL_S = 0.1

# A worker that is asked to end has nothing to save: what it was doing is done again.
END_S = 5.0

# Between two looks when nobody says anything: a server that is asked to end waits half a second.
LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Task:
    """One scenario and seed, as it travels to a worker."""

    index: int
    """Of the task, for whoever ordered it."""

    table: Document
    """The resolved scenario."""

    seed: int
    rounds: int | None
    folder: Path
    """Where the case and its truth are made."""

    keep: bool
    """Whether they stay."""

    code: str
    """Digest of the code that the answer is kept under: of what measures, too."""

    measure: str = POINT
    """`module:function` of what is done: called with scenario, seed and folder, the keywords
    `rounds` and `progress`, and those of the fields below that are given. Returns a document."""

    parent: str | None = None
    """The run that this one is a variation of."""

    begin: Document | None = None
    """The resolved scenario whose W_0 it begins with; by default its own."""

    trigger: Document | None = None
    """A trigger document to score with; by default the point's own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task."""

    task: Task
    answer: Document | None
    error: str | None
    """Type and message; None where there is an answer."""


Tell = Callable[[int, str, int, int | None], None]
"""Called with a task's index, what is done, how far, and of how much."""


class _OrphanedError(BaseException):
    """The parent is gone; no handler of ordinary errors may hold this up."""


class Workers:
    """So many worker processes, while the context lasts.

    Args:
        number: Processes at most; none is started before there is a task for it.
    """

    def __init__(self, number: int) -> None:
        self._number = max(1, number)
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[tuple[BaseProcess, Connection]] = []
        self._busy: dict[Connection, tuple[BaseProcess, Task]] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, tasks: Iterable[Task], tell: Tell | None = None) -> Iterator[Outcome]:
        """Does every task, and yields what became of it in the order in which they end.

        `tell` may raise; the workers then end with the context.
        """
        waiting = deque(tasks)
        while waiting or self._busy:
            while waiting and len(self._busy) < self._number:
                self._give(waiting.popleft())
            for ready in wait(list(self._busy), timeout=LOOK_S):
                if isinstance(ready, Connection):
                    outcome = self._hear(ready, tell)
                    if outcome is not None:
                        yield outcome
            if tell is not None:
                # Also while nothing is heard, so that whoever listens can end it.
                tell(-1, "", 0, None)

    def close(self) -> None:
        """Ends every worker at once; what it was doing is lost."""
        mine = [*self._idle, *((process, link) for link, (process, _) in self._busy.items())]
        for process, link in mine:
            process.terminate()
            link.close()
        deadline = time.monotonic() + END_S
        for process, _ in mine:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for _, task in self._busy.values():
            shutil.rmtree(task.folder, ignore_errors=True)
        self._idle.clear()
        self._busy.clear()

    def _give(self, task: Task) -> None:
        process, link = self._idle.pop() if self._idle else self._start()
        link.send(task)
        self._busy[link] = (process, task)

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        # The child has a copy; while ours is open we would never see that the child is gone.
        theirs.close()
        return process, ours

    def _hear(self, link: Connection, tell: Tell | None) -> Outcome | None:
        process, task = self._busy[link]
        try:
            kind, *rest = link.recv()
        except (EOFError, OSError):
            del self._busy[link]
            link.close()
            process.join(END_S)
            shutil.rmtree(task.folder, ignore_errors=True)
            return Outcome(task, None, f"the worker process ended: {_ending(process.exitcode)}")
        if kind == "progress":
            if tell is not None:
                tell(task.index, *rest)
            return None
        del self._busy[link]
        self._idle.append((process, link))
        answer, error = rest
        return Outcome(task, answer, error)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}{', perhaps for want of memory' if name == 'SIGKILL' else ''}"
    return f"exit code {code}"


def _work(link: Connection) -> None:
    """The life of one worker: a task at a time, until its parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        while True:
            task: Task = link.recv()
            link.send(("ended", *_do(task, link)))
    except (EOFError, OSError, _OrphanedError):
        return


def _do(task: Task, link: Connection) -> tuple[Document | None, str | None]:
    told = 0.0

    def progress(what: str, done: int, total: int | None) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < TELL_S:
            return
        told = now
        try:
            link.send(("progress", what, done, total))
        except OSError as error:
            raise _OrphanedError from error

    kept = False
    try:
        # Imported here: the libraries read how many threads they may use when they are imported.
        from simulator.scenario import Scenario

        module, _, function = task.measure.partition(":")
        measure = getattr(import_module(module), function)
        if code_digest(task.measure) != task.code:
            return None, "the code was changed while the campaign was starting; start it again"
        begin = None if task.begin is None else Scenario.model_validate(task.begin)
        given = {"parent": task.parent, "begin": begin, "trigger": task.trigger}
        shutil.rmtree(task.folder, ignore_errors=True)
        task.folder.mkdir(parents=True)
        answer = measure(
            Scenario.model_validate(task.table),
            task.seed,
            task.folder,
            rounds=task.rounds,
            progress=progress,
            **{name: value for name, value in given.items() if value is not None},
        )
        kept = task.keep
    except Exception as error:  # whatever a point runs into is the point's, and is reported
        return None, f"{type(error).__name__}: {error}"
    except _OrphanedError:
        # Whoever made the folder around it is not there to remove it.
        shutil.rmtree(task.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            task.folder.parent.rmdir()
        raise
    finally:
        if not kept:
            shutil.rmtree(task.folder, ignore_errors=True)
    return answer, None
