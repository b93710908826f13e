"""Who may rewrite evidence while somebody copies it? Nobody: one waits for the other.

Evidence is only ever appended to, so whoever reads it needs no lock. The exception is erasure
(`ingest.erasure`), which rewrites segments, and says so in the owner's log. A copy that was taken
in between would hold one without the other. Both hold a lock on `case.json`: copiers share it, and
who erases has it alone. The kernel gives it back when a process ends in any way.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from roundlog.case import Case
from roundlog.errors import CaseBusyError, CaseError

# Erasing takes seconds; an export of a large case takes minutes, and is worth waiting for less.
PATIENCE_S = 30.0
LOOK_S = 0.05


@contextmanager
def copying(case: Case, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Nothing is erased from the case meanwhile.

    Raises:
        CaseBusyError: It is being erased from, for longer than that.
    """
    with _held(case, fcntl.LOCK_SH, "texts are being erased from it", patience_s):
        yield


@contextmanager
def rewriting(case: Case, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Nobody copies the case meanwhile.

    Raises:
        CaseBusyError: It is being copied, for longer than that.
    """
    with _held(case, fcntl.LOCK_EX, "it is being exported or erased from", patience_s):
        yield


@contextmanager
def _held(case: Case, kind: int, why: str, patience_s: float) -> Iterator[None]:
    deadline = time.monotonic() + patience_s
    with (case.path / "case.json").open("rb") as file:
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise CaseBusyError(f"{case.path} is busy: {why}; try again later") from None
                time.sleep(LOOK_S)
            except OSError as error:
                raise CaseError(
                    f"{case.path} cannot be locked: {error.strerror}; use a local disk"
                ) from error
        yield
