"""What does a process leave behind that ends at the worst moment? Runs one, and tells how it ended.

Children are forked from a server that has the imports done and runs no threads, so that one costs
milliseconds. What they do stands here, since a child imports it by name. `tell` is the first
argument of every work: what it is given, the test hears.
"""

import multiprocessing
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.forkserver import _forkserver
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from durable_steps import DurableSteps, die, die_before
from handed_topic import SOURCE, handed
from kept_record import ingested
from made_log import Maker
from power_loss import lose_power_before
from psutil import Process
from table_rows import Rows

from ingest import disk, topic
from ingest.service import ingest_case, stop_on_signals
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.log.writer import SegmentWriter
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

Tell = Callable[[Any], None]
Work = Callable[..., Any]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["doomed", "roundlog.log.kafka"])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """0, or minus the number of the signal."""
    answer: Any = None
    """What its work returned."""
    error: str = ""
    """Type and message of what its work raised."""


class Child:
    """A process that does one piece of work."""

    def __init__(self, work: Work, *args: Any) -> None:
        self._pipe, theirs = _context.Pipe(duplex=False)
        self.process = _context.Process(target=_do, args=(theirs, work, args))
        # Without a main module, which every child would import again: it is pytest.
        with mock.patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
            self.process.start()
        theirs.close()

    def hear(self, timeout_s: float = 60.0) -> Any:
        """The next thing that the work tells; None where it ended without a word."""
        assert self._pipe.poll(timeout_s), "the child says nothing"
        try:
            return self._pipe.recv()
        except EOFError:
            return None

    def end(self, timeout_s: float = 120.0) -> Ended:
        """Waits for its end, and takes what was said last."""
        ended = Ended(0)
        while (said := self.hear(timeout_s)) is not None:
            if isinstance(said, Ended):
                ended = said
        self.process.join(timeout_s)
        code = self.process.exitcode
        assert code is not None, f"the child has not ended within {timeout_s:g} s"
        self.process.close()
        self._pipe.close()
        return Ended(code, ended.answer, ended.error)

    def kill(self) -> Ended:
        """Kills it where it is."""
        self.process.kill()
        return self.end()


@contextmanager
def serving_forks() -> Iterator[None]:
    """Starts the server, which finds the tests' own folders by this path; stops it behind."""
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(sys.path)}):
        run(nothing)
    try:
        yield
    finally:
        _forkserver._stop()  # type: ignore[attr-defined]


def run(work: Work, *args: Any) -> Ended:
    """Lets a child do its work to the end."""
    return Child(work, *args).end()


def run_and_kill(after_s: float, work: Work, *args: Any) -> Ended:
    """Lets a child work for so many seconds, and kills it."""
    child = Child(work, *args)
    child.process.join(after_s)
    return child.kill()


def _do(pipe: Connection, work: Work, args: Sequence[Any]) -> None:
    try:
        ended = Ended(0, work(pipe.send, *args))
    except Exception as error:
        ended = Ended(0, error=f"{type(error).__name__}: {error}")
    pipe.send(ended)
    pipe.close()


@contextmanager
def batches_of(records: int) -> Iterator[None]:
    """Smaller batches than the product's, so that a small log has many of them."""
    with (
        mock.patch.object(disk, "BATCH_RECORDS", records),
        mock.patch.object(topic, "BATCH_RECORDS", records),
    ):
        yield


def nothing(tell: Tell) -> None:
    """The least that a child can do."""


def ingest(
    tell: Tell,
    path: Path,
    values: Sequence[bytes] | None,
    batch: int,
    end_at: int | None,
    end: str = "kill",
) -> int:
    """Ingests to the end, unless it dies before the durable step of that number.

    Args:
        values: What a topic holds; None where the case's segments are the log.
        end: `kill`, or `power loss`.

    Returns:
        How many durable steps there were.
    """
    case = Case(path)
    act = die_before(end_at) if end == "kill" else lose_power_before(end_at)
    source = nullcontext() if values is None else handed(values)
    with batches_of(batch), source, DurableSteps(path, act) as steps, case.own():
        ingest_case(case, source=None if values is None else SOURCE)
    return len(steps.seen)


def ingest_and_vanish(tell: Tell, path: Path, batch: int) -> None:
    """Ingests to the end, and dies with the database open: its log is not written back."""
    case = Case(path)
    store = Store(case)
    with batches_of(batch), case.own():
        ingest_case(case, store=store)
        die()


def ingest_and_read(tell: Tell, path: Path) -> Rows:
    """Ingests to the end, and reads every row."""
    return ingested(Case(path))


def ingest_within(tell: Tell, path: Path, values: Sequence[bytes] | None, limit: int) -> None:
    """Ingests where no file may grow beyond so many bytes: a real refusal by the kernel."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    ingest(tell, path, values, 64, None)


def ingest_until_asked(tell: Tell, path: Path, values: Sequence[bytes] | None, batch: int) -> bool:
    """Ingests to the end, or until a signal asks it to stop; returns whether one did."""
    case = Case(path)
    source = nullcontext() if values is None else handed(values)
    with batches_of(batch), source, case.own(), stop_on_signals() as stop:
        tell("begun")
        return ingest_case(case, source=None if values is None else SOURCE, stop=stop).stopped


def follow(tell: Tell, path: Path, batch: int) -> bool:
    """Follows the case's own log until a signal asks it to stop; says after each batch where it is.

    Returns:
        Whether it stopped because it was asked to.
    """
    case = Case(path)
    with batches_of(batch), case.own(), stop_on_signals() as stop, ExitStack() as stack:
        store = Store(case)
        stack.callback(store.close)
        summary = ingest_case(
            case,
            store=store,
            until_end=False,
            stop=stop,
            progress=lambda summary: tell(summary.events),
        )
    return summary.stopped


@dataclass(frozen=True, slots=True)
class Use:
    """What a process uses after so many events."""

    events: int
    resident: int
    """Bytes of memory."""
    handles: int
    files: int
    """Below the case."""


def soak(tell: Tell, path: Path, events: int, chunk: int, seed: int) -> None:
    """Records so many events and follows them, as a server does for weeks; tells what it uses."""
    case, maker, process, stop = Case.create(path), Maker(seed=seed), Process(), threading.Event()
    writer = SegmentWriter(case.segments / "run" / "server", run="run", producer="server")
    seen = 0

    def look(summary: IngestSummary) -> None:
        nonlocal seen
        seen = summary.events

    with case.own(), closing(Store(case)) as store:
        follower = threading.Thread(
            target=ingest_case,
            args=(case,),
            kwargs={"store": store, "until_end": False, "progress": look, "stop": stop},
        )
        follower.start()
        entries = maker.opening()
        while maker.seq < events:
            for entry in entries:
                writer.append(entry)
            writer.flush()
            while seen < maker.seq:
                time.sleep(0.005)
            files = sum(1 for found in path.rglob("*") if found.is_file())
            tell(Use(maker.seq, process.memory_info().rss, process.num_fds(), files))
            entries = maker.rounds(chunk // 2)
        stop.set()
        follower.join()
    writer.close()


def own(tell: Tell, path: Path, address: str | None) -> None:
    """Owns a case for as long as the test lets it."""
    with Case(path).own(address):
        tell("owned")
        time.sleep(600)


def hold_open(tell: Tell, path: Path, run: str) -> None:
    """Holds a producer's log open, as a recorder at work does."""
    with Recorder(path, run=run, on_error="raise"):
        tell("open")
        time.sleep(600)


SCHEMA = schema_of({"weights": np.zeros(64, np.float32)})


def trained(model: np.ndarray, t: int) -> np.ndarray:
    """One round of a training whose numbers depend on nothing but the model and the round."""
    step = np.random.default_rng(t).standard_normal(model.size, dtype=np.float32)
    return model * np.float32(0.999) + step


def train(tell: Tell, path: Path, first: int, model: np.ndarray, rounds: int) -> np.ndarray:
    """Trains and records, and tells after each round how many are durable."""
    with Recorder(path, run="run", on_error="raise") as recorder:
        recorder.genesis(SCHEMA, model, architecture="made", round=first)
        for t in range(first, rounds):
            model = trained(model, t)
            recorder.commit(model, round=t, cohort_size=10)
            recorder.flush()
            tell(t + 1)
    return model
