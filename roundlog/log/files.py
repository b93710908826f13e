"""How do small files and locks survive a crash? Shared by the writer, the case and ingest."""

import fcntl
import os
from pathlib import Path
from typing import IO

from roundlog.errors import LogLockedError


def lock_file(path: Path) -> IO[bytes]:
    """Takes an exclusive lock that the kernel gives back when this process ends in any way.

    Raises:
        LogLockedError: Another process holds it.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise LogLockedError(
            f"another process appends to {path.parent}; two producers need two names "
            f"(`producer=`), or wait until the other has closed"
        ) from error
    return file


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


def write_durably(path: Path, data: bytes) -> None:
    """Writes a small file so that after a crash it is there whole, or not at all."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
