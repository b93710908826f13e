"""How do small files and locks survive a crash? Shared by the writer, the case and ingest."""

import fcntl
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from roundlog.errors import LogError, LogLockedError

PART_SUFFIX = ".part"
"""How a file ends that is being written; what is left of one after a crash may be deleted."""

# Whoever asks if a lock is held takes it shared for some microseconds, and an owner that was
# killed lets go only when the kernel has taken it apart. Neither shall look like an owner.
LOCK_PATIENCE_S = 0.25

# One call takes so many: POSIX promises 16, and Linux and macOS take 1,024.
PARTS_AT_ONCE = 1_024


def lock_file(path: Path) -> IO[bytes]:
    """Takes an exclusive lock that the kernel gives back when this process ends in any way.

    Raises:
        LogLockedError: Another process holds it.
        LogError: The file cannot be made, or its file system knows no locks.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise LogError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        held = not try_lock(file)
    except OSError as error:
        file.close()
        raise LogError(f"{path} cannot be locked: {error.strerror}; use a local disk") from error
    if held:
        file.close()
        raise LogLockedError(
            f"another process appends to {path.parent}; two producers need two names "
            f"(`producer=`), or wait until the other has closed"
        )
    return file


def try_lock(file: IO[bytes]) -> bool:
    """Takes the exclusive lock of an open file; False where another process holds it."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock; never creates the file."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def make_directory(path: Path) -> None:
    """Makes a directory and its parents so that they are still there after a power loss."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_directory(folder.parent)


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Writes to an unbuffered file, which may take only a part of what it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def write_parts(file: IO[bytes], parts: Sequence[bytes | memoryview]) -> None:
    """As `write_all`, of many parts that are not copied together first."""
    for start in range(0, len(parts), PARTS_AT_ONCE):
        some = parts[start : start + PARTS_AT_ONCE]
        written = os.writev(file.fileno(), some)
        if written < sum(map(len, some)):
            write_all(file, memoryview(b"".join(some))[written:])


def write_durably(path: Path, data: bytes) -> None:
    """Writes a small file so that after a crash it is there whole, or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{PART_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
