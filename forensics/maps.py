"""How are large evidence files read without copying them? Memory maps, a handful at a time."""

import mmap
from pathlib import Path


class FileMaps:
    """Read-only views of whole files, kept while they are in use.

    Args:
        keep: Maps that stay open; readers go forward through the segments, so few are needed.
    """

    def __init__(self, keep: int = 8) -> None:
        self._keep = keep
        self._open: dict[Path, memoryview] = {}

    def view(self, path: Path) -> memoryview:
        """The file's bytes as they are on disk; empty where there is no such file."""
        if path not in self._open:
            if len(self._open) >= self._keep:
                self._open.pop(next(iter(self._open)))
            self._open[path] = _map(path)
        return self._open[path]


def _map(path: Path) -> memoryview:
    if not path.exists() or path.stat().st_size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
