"""How does a case become one file that opens elsewhere, while a server goes on with the case?

    export_case(Case("my-case"), Path("my-case.tar"))

The file is a tar file with everything below `case/`, by name; `case/SHA256SUMS` stands last, so
that `sha256sum -c` checks it without us. Nothing in it depends on when or where it was written: two
exports of the same record are the same bytes.

It has its name only when it is whole and durable. The case is not owned and nothing in it is
locked; only who erases texts waits (`ingest.still`).
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ingest.archive.contents import Piece, open_segments, take
from ingest.archive.errors import ArchiveError
from ingest.archive.tar import ending, header, padding
from ingest.still import copying
from roundlog.case import Case
from roundlog.log.files import PART_SUFFIX, sync_directory

Progress = Callable[[int, int], None]
"""Bytes written so far, and how many there will be, headers not counted."""

TOP = "case"
SUMS = "SHA256SUMS"

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    bytes: int
    sha256: str
    """Of the whole file."""
    files: int
    """Of the case."""
    runs: tuple[str, ...]
    open_segments: int
    """Segments that somebody may still be writing; they were cut behind their last whole event."""

    def document(self) -> dict[str, object]:
        """What the command answers."""
        return {
            "out": str(self.path),
            "bytes": self.bytes,
            "sha256": self.sha256,
            "files": self.files,
            "runs": list(self.runs),
            "open_segments": self.open_segments,
        }


def export_case(
    case: Case, out: Path, *, run: str | None = None, progress: Progress | None = None
) -> Exported:
    """Writes a case, or one of its runs, as one file.

    Args:
        out: Must not exist; its directory must.
        run: The run to take alone. What says up to where a topic was read stays behind then, so
            that the other runs can be read from it.

    Raises:
        ArchiveError: `out` exists or cannot be written, there is no such run, or a file became
            shorter while it was read.
        CaseBusyError: Texts are being erased from the case.
    """
    if out.exists():
        raise ArchiveError(f"{out} exists already; choose another name, or move it away first")
    with copying(case):
        pieces = take(case, run)
        total = sum(piece.size for piece in pieces)
        with _whole_or_not_at_all(out) as file:
            writer = _Writer(file, progress, total)
            for piece in pieces:
                writer.add(piece)
            writer.finish()
    runs = {piece.name.split("/")[1] for piece in pieces if piece.name.startswith("segments/")}
    return Exported(
        out,
        writer.bytes,
        writer.state.hexdigest(),
        len(pieces),
        tuple(sorted(runs)),
        open_segments(pieces),
    )


class _Writer:
    """Writes pieces, and the digest of each behind all of them."""

    def __init__(self, file: IO[bytes], progress: Progress | None, total: int) -> None:
        self._file, self._progress, self._total = file, progress, total
        self._sums: list[str] = []
        self._done = 0
        self.bytes = 0
        self.state = hashlib.sha256()

    def add(self, piece: Piece) -> None:
        digest = hashlib.sha256()
        self._write(header(f"{TOP}/{piece.name}", piece.size))
        left = piece.size
        for chunk in _chunks(piece):
            digest.update(chunk)
            self._write(chunk)
            left -= len(chunk)
            self._done += len(chunk)
            if self._progress is not None:
                self._progress(self._done, self._total)
        if left:
            raise ArchiveError(
                f"{piece.name} became {left:,} bytes shorter while it was read; nothing was "
                f"written. Run it again, and `roundlog verify` if it stays so."
            )
        self._write(padding(piece.size))
        # As `sha256sum` writes it: two blanks, the second of which says that it was read as text.
        self._sums.append(f"{digest.hexdigest()}  {piece.name}\n")

    def finish(self) -> None:
        sums = "".join(self._sums).encode()
        self._write(header(f"{TOP}/{SUMS}", len(sums)))
        self._write(sums)
        self._write(padding(len(sums)))
        self._write(ending(self.bytes))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.state.update(data)
        self.bytes += len(data)


def _chunks(piece: Piece) -> Iterator[bytes]:
    if isinstance(piece.source, bytes):
        yield piece.source
        return
    left = piece.size
    with piece.source.open("rb") as file:
        while left and (chunk := file.read(min(CHUNK, left))):
            yield chunk
            left -= len(chunk)


@contextmanager
def _whole_or_not_at_all(out: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when the block ends well, and that no other file loses it to."""
    temporary = out.with_name(f"{out.name}.{os.getpid()}.{threading.get_ident()}{PART_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _name(temporary, out)
        sync_directory(out.parent)
    except OSError as error:
        raise ArchiveError(f"{error.filename or out}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _name(temporary: Path, out: Path) -> None:
    # Not `replace`: somebody may have taken the name meanwhile.
    try:
        os.link(temporary, out)
    except FileExistsError:
        raise
    except OSError:  # a file system that knows no second name for a file
        if out.exists():
            raise
        temporary.rename(out)
