"""How does a file that somebody sent become a case, without trusting it?

    import_case(Path("my-case.tar"), Path("my-case"))

The steps; the code below carries their numbers.

    1  whatever is no plain file (`ingest.archive.tar`), or has no name that a case gives its files,
       is refused before a byte of it is written: absolute names, `..`, links, devices, sparse files
    2  no name comes twice, and there is room on the disk for all of it
    3  every file has the digest that SHA256SUMS says, and no file is missing or too many
    4  it is a case that this program reads

Everything is written beside its place, under a name of its own, and gets its name when it is whole
and durable. The sums come with the file, so they find damage and prove nothing against a person:
`roundlog verify` looks at what the record says of itself.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ingest.archive.contents import is_safe
from ingest.archive.errors import AlteredArchiveError, ArchiveError
from ingest.archive.export import CHUNK, SUMS, TOP
from ingest.archive.tar import members
from roundlog.case import Case
from roundlog.errors import CaseError
from roundlog.log.files import PART_SUFFIX, make_directory, sync_directory

Progress = Callable[[int, int], None]
"""Bytes read so far, and how many the file has."""

# A line for each file of a case; a hundred thousand runs of one segment each have half a million.
SUMS_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read."""

    path: Path
    files: int
    bytes: int
    runs: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """What the command answers."""
        return {
            "case": str(self.path),
            "files": self.files,
            "bytes": self.bytes,
            "runs": list(self.runs),
        }


def import_case(archive: Path, path: Path, *, progress: Progress | None = None) -> Imported:
    """Makes a case of a file that `export_case` wrote.

    Args:
        path: Where the case shall lie; must not exist, or be an empty directory.

    Raises:
        ArchiveError: It is no such file, or holds what no case holds, or cannot be written.
        AlteredArchiveError: It was damaged or changed since it was written.
        CaseError: It is a case of a version that this program cannot read.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ArchiveError(f"{path} exists already; choose a new or empty directory for the case")
    make_directory(path.parent)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        with archive.open("rb") as file:
            reader = _Reader(file, temporary, progress)
            reader.read()
        try:
            Case(temporary)  # 4
        except CaseError as error:
            raise ArchiveError(f"{archive} holds no case: {error}") from error
        for folder, _, _ in os.walk(temporary, topdown=False):
            sync_directory(Path(folder))
        temporary.rename(path)
        sync_directory(path.parent)
    except ArchiveError as error:
        raise type(error)(f"{archive}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Imported(path, len(reader.sums), reader.bytes, tuple(sorted(reader.runs)))


class _Reader:
    """Steps 1 to 3."""

    def __init__(self, file: IO[bytes], root: Path, progress: Progress | None) -> None:
        self._file, self._root, self._progress = file, root, progress
        self._size = os.fstat(file.fileno()).st_size
        self.sums: dict[str, str] = {}
        self.runs: set[str] = set()
        self.bytes = 0

    def read(self) -> None:
        free = shutil.disk_usage(self._root.parent).free
        if self._size > free:
            raise ArchiveError(f"{self._size:,} bytes, and {free:,} are free beside the case")
        self._root.mkdir()
        expected: bytes | None = None
        for full, size in members(self._file):
            top, _, name = full.partition("/")
            if expected is not None:
                raise AlteredArchiveError(f"{full!r} stands behind {SUMS}, which ends an export")
            if (top, name) == (TOP, SUMS):
                expected = self._small(full, size)
                continue
            # 1 and 2
            if top != TOP or not is_safe(name):
                raise ArchiveError(f"{full!r} is no name that an export gives to a file")
            if name in self.sums:
                raise ArchiveError(f"{full!r} comes twice")
            self._take(name, size)
        if expected is None:
            raise AlteredArchiveError(f"it ends without {TOP}/{SUMS}: a part of it is missing")
        self._compare(expected)

    def _take(self, name: str, size: int) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        state = hashlib.sha256()
        with path.open("xb") as out:
            for chunk in self._chunks(name, size):
                out.write(chunk)
                state.update(chunk)
            out.flush()
            os.fsync(out.fileno())
        self.sums[name] = state.hexdigest()
        self.bytes += size
        if name.startswith("segments/"):
            self.runs.add(name.split("/")[1])

    def _small(self, full: str, size: int) -> bytes:
        if size > SUMS_LIMIT:
            raise ArchiveError(f"{full!r} claims {size:,} bytes, above {SUMS_LIMIT:,}")
        return b"".join(self._chunks(full, size))

    def _chunks(self, name: str, left: int) -> Iterator[bytes]:
        while left:
            data = self._file.read(min(CHUNK, left))
            if not data:
                raise AlteredArchiveError(f"it ends {left:,} bytes before {name!r} does")
            left -= len(data)
            if self._progress is not None:
                self._progress(self._file.tell(), self._size)
            yield data

    def _compare(self, expected: bytes) -> None:
        # 3
        lines = [f"{found}  {name}\n" for name, found in sorted(self.sums.items())]
        if "".join(lines).encode() == expected:
            return
        said: dict[str, str] = {}
        for line in expected.decode(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            said[name] = digest
        for name in sorted(said.keys() | self.sums.keys()):
            if name not in self.sums:
                raise AlteredArchiveError(f"{name!r} is missing, which {SUMS} names")
            if name not in said:
                raise AlteredArchiveError(f"{name!r} is not one of the files that {SUMS} names")
            if said[name] != self.sums[name]:
                raise AlteredArchiveError(f"{name!r} does not have the digest in {SUMS}")
        raise AlteredArchiveError(f"{SUMS} was not written by an export")
