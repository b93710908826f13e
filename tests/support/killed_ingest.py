"""What does kill -9 do to an ingest? Runs one in a process of its own, and ends it rudely.

Children are forked from a server process that has the imports done, so a kill costs milliseconds.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.service import ingest_case, stop_on_signals
from roundlog.case import Case

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["killed_ingest", "roundlog.log.kafka"])


def ingest_whole(path: Path, source: str | None) -> None:
    """The child: ingests to the end, unless it is killed before."""
    case = Case(path)
    with case.own():
        ingest_case(case, source=source)


def follow(path: Path, source: str) -> None:
    """A child that follows a topic until SIGTERM."""
    case = Case(path)
    with case.own(), stop_on_signals() as stop:
        ingest_case(case, source=source, until_end=False, stop=stop)


@contextmanager
def following_child(case: Case, source: str) -> Iterator[None]:
    """A process that follows a topic while the block runs."""
    child = _context.Process(target=follow, args=(case.path, source))
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join(30)
        if child.exitcode is None:
            child.kill()
            child.join()
    if child.exitcode != 0:
        raise RuntimeError(f"the ingest ended with code {child.exitcode}")


def run_and_kill(case: Case, source: str | None, after_s: float) -> bool:
    """Starts an ingest and kills it after some seconds; True if it was still running."""
    child = _context.Process(target=ingest_whole, args=(case.path, source))
    child.start()
    child.join(after_s)
    alive = child.is_alive()
    if alive and child.pid is not None:
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    if not alive and child.exitcode != 0:
        raise RuntimeError(f"the ingest ended by itself with code {child.exitcode}")
    child.close()
    return alive


@contextmanager
def warm() -> Iterator[None]:
    """Starts the server, so that the first child is as quick as the others; stops it behind."""
    from multiprocessing.forkserver import _forkserver

    child = _context.Process(target=os.getpid)
    child.start()
    child.join()
    child.close()
    try:
        yield
    finally:
        _forkserver._stop()  # type: ignore[attr-defined]
