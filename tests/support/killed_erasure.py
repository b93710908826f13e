"""What does kill -9 do to an erasure? Runs one in a process that ends before one of its writes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingest.erasure import erase_texts
from ingest.said import CaseLog
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case

KILLED = 9

_context = multiprocessing.get_context("forkserver")

# Installed modules: the server that forks the children does not know where those of tests lie.
PRELOADED = ["ingest.erasure", "roundlog.log.kafka"]


@contextmanager
def owning(path: Path) -> Iterator[CaseLog]:
    """The case's log in the hands of its owner, everything ingested."""
    case = Case(path)
    with case.own():
        store = Store(case)
        log = CaseLog(case, store)
        try:
            ingest_case(case, store=store)
            yield log
        finally:
            log.close()
            store.close()


def erase(path: Path, kill_at: int, facts: dict[str, Any]) -> None:
    """The child: ends without a word before its `kill_at`-th fsync, fdatasync or rename."""
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == kill_at:
                os._exit(KILLED)
            return real(*args)

        return call

    with owning(path) as log:
        # From here on: what opening the case writes is no part of an erasure.
        os.fsync, os.fdatasync = counted(os.fsync), counted(os.fdatasync)
        Path.replace = counted(Path.replace)  # type: ignore[method-assign]
        erase_texts(Case(path), log, **facts)
        os._exit(0)  # and neither is what closing it writes


def erase_and_kill(path: Path, kill_at: int, **facts: Any) -> bool:
    """Erases in another process; whether it was killed before it had ended."""
    _context.set_forkserver_preload(PRELOADED)
    child = _context.Process(target=erase, args=(path, kill_at, facts))
    child.start()
    child.join()
    if child.exitcode not in (0, KILLED):
        raise RuntimeError(f"the erasure ended by itself with code {child.exitcode}")
    return child.exitcode == KILLED
