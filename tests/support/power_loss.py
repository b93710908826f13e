"""What is left when the power goes? Only what was synced: the worst that a disk may make of it.

Kill -9 keeps every byte that was written; a power loss need not. Before it dies, the process takes
back what it never synced: bytes behind the last sync of their file, and names (of new files, of
directories, of renames) that their directory was never synced for. DuckDB's files stay as they are.
"""

import os
import shutil
from pathlib import Path

from durable_steps import Act, Step, die

PROJECTION = "roundlog.duckdb"


class Unsynced:
    """What a power loss would take back, step by step.

    Args:
        at: The number of the step before which the power goes.
    """

    def __init__(self, at: int | None) -> None:
        self._at = at
        self._lengths: dict[Path, int] = {}
        """Bytes of each file that are durable."""
        self._names: dict[Path, bytes | None] = {}
        """New names, with the bytes that had the name before."""

    def act(self, step: Step) -> None:
        """As `durable_steps.Act`."""
        if step.index == self._at:
            self._take_back()
            die()
        path = step.path
        if step.kind == "write":
            self._lengths.setdefault(path, path.stat().st_size)
        elif step.kind == "sync" and path.is_dir():
            self._names = {k: v for k, v in self._names.items() if k.parent != path}
        elif step.kind == "sync":
            self._lengths[path] = path.stat().st_size
        elif step.kind in ("make", "rename") and path not in self._names:
            self._names[path] = path.read_bytes() if path.is_file() else None
            if path.is_dir():  # made before, so nothing new
                del self._names[path]

    def _take_back(self) -> None:
        for path, length in self._lengths.items():
            if path.exists() and path.stat().st_size > length:
                os.truncate(path, length)
        for path, before in reversed(self._names.items()):
            if path.is_dir():
                shutil.rmtree(path)
            elif before is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(before)


def lose_power_before(index: int | None) -> Act:
    """As `durable_steps.die_before`, and nothing survives that was not synced."""
    return Unsynced(index).act
