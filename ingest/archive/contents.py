"""Which bytes of a case are evidence at this moment, while others go on writing?

Taken are segments, refused records, notes about topics, triggers, and the journals of channels.
Left out is what is made again: the projection, blobs, keyframes, caches; and locks.

A file that can still grow is cut behind its last whole part, so what is taken is a record that
might have been written just so far. Two orders make it one:

- Within a segment rows are written before their heads, so the heads are looked at first: the rows
  of every head that is taken are there.
- Notes about topics say up to which offset all is durable in segments and quarantine. They are
  looked at first, so everything that they vouch for is taken too; what came later is read from the
  topic once more. And what was said of a run is looked at before the run itself.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.archive.errors import ArchiveError
from ingest.quarantine import SUFFIX, Quarantine
from roundlog.case import Case
from roundlog.encoding import Frame
from roundlog.events import OWNER
from roundlog.log.files import PART_SUFFIX
from roundlog.log.segments import Segment, delta_bytes, list_segments, scan_heads
from roundlog.log.writer import LOCK_NAME

# Folder, and how many names a file in it has, its own included.
FOLDERS = {"segments": 4, "quarantine": 2, "intake": 4, "triggers": 2, "outbox": 2}

MARKER = "case.json"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")

NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Piece:
    """One file, up to where it is taken."""

    name: str
    """Relative to the case."""

    source: Path | bytes
    """Where the bytes lie, or the bytes."""

    size: int
    """How many of them are taken, from the first on."""


def is_safe(name: str) -> bool:
    """Whether a relative name belongs to a case, and can lead nowhere else."""
    parts = name.split("/")
    if name != MARKER and len(parts) != FOLDERS.get(parts[0]):
        return False
    return all(
        part not in ("", ".", "..")
        and len(part.encode(errors="replace")) <= NAME_BYTES
        and not _UNSAFE.search(part)
        for part in parts
    )


def take(case: Case, run: str | None = None) -> list[Piece]:
    """What an archive of the case holds now, by name; of one run only, where one is named.

    Raises:
        ArchiveError: The case holds no such run, or a file whose name cannot be kept.
    """
    producers = _producers(case)
    if run is not None and run not in {directory.parent.name for directory in producers}:
        raise ArchiveError(f"{case.path} holds no run {run!r}")
    pieces = [Piece(MARKER, case.path / MARKER, (case.path / MARKER).stat().st_size)]
    pieces += _notes(case, run)
    pieces += _refused(case, run)
    # Listed again: what the notes vouch for may have been the first of its producer.
    for directory in sorted(_producers(case), key=lambda one: (one.name != OWNER, one)):
        if run in (None, directory.parent.name):
            pieces += _segments(case, directory)
    pieces += _plain(case, "triggers")
    pieces += _journals(case, run)
    for piece in pieces:
        if not is_safe(piece.name):
            raise ArchiveError(
                f"{piece.name!r} in {case.path} has a name that an archive cannot keep; rename it"
            )
    return sorted(pieces, key=lambda piece: piece.name)


def open_segments(pieces: list[Piece]) -> int:
    """How many of the segments that were taken had no seal."""
    names = {piece.name for piece in pieces}
    heads = [name for name in names if name.startswith("segments/") and name.endswith(".heads")]
    return sum(name.removesuffix("heads") + "seal" not in names for name in heads)


def _producers(case: Case) -> list[Path]:
    return [path for path in case.segments.glob("*/*") if path.is_dir()]


def _segments(case: Case, directory: Path) -> Iterator[Piece]:
    # Names before segments: one that begins meanwhile has its heads file first, so that no other
    # file of it can look as if it had none.
    names = {path for path in directory.iterdir() if path.is_file()}
    for segment in list_segments(directory):
        names -= {segment.heads, segment.vec, segment.seal}
        yield from _sealed(case, segment) if segment.sealed else _open(case, segment)
    # What is in no segment is taken as it is, so that whoever verifies the copy sees it as well.
    for path in sorted(names):
        if path.name != LOCK_NAME and path.suffix != PART_SUFFIX:
            yield _whole(case, path)


def _sealed(case: Case, segment: Segment) -> Iterator[Piece]:
    for path in (segment.heads, segment.vec, segment.seal):
        if path.exists():
            yield _whole(case, path)


def _open(case: Case, segment: Segment) -> Iterator[Piece]:
    end, rows, row_bytes = 0, 0, 0
    for stored in scan_heads(segment.heads.read_bytes()):
        if stored.frame is not None:
            end = stored.end
            rows, row_bytes = _grown(stored.frame, rows, row_bytes)
    if not end:
        return
    yield Piece(_name(case, segment.heads), segment.heads, end)
    if segment.vec.exists():
        there = segment.vec.stat().st_size
        # Fewer than belong there are damage, and are taken as they are.
        yield Piece(_name(case, segment.vec), segment.vec, min(there, rows * row_bytes))


def _grown(frame: Frame, rows: int, row_bytes: int) -> tuple[int, int]:
    if frame.row is None:
        return rows, row_bytes
    # An unreadable head does not tell how long its row is; another one does.
    return max(rows, frame.row + 1), row_bytes or delta_bytes(frame)


def _refused(case: Case, run: str | None) -> Iterator[Piece]:
    quarantine = Quarantine(case.quarantine)
    for id_ in sorted(quarantine.ids()):
        path = case.quarantine / (id_ + SUFFIX)
        if run is not None:
            entry = quarantine.read(id_)
            # What could not be read may be this run's. Its own log says whose bytes they are.
            about = None if entry is None else entry[0].run or _run_of(entry[0].partition)
            if about not in (None, run):
                continue
        yield _whole(case, path)


def _run_of(partition: str) -> str | None:
    """The run of a partition of the embedded log; a topic's partition is a number."""
    run, slash, _ = partition.partition("/")
    return run if slash else None


def _notes(case: Case, run: str | None) -> Iterator[Piece]:
    for path in sorted(case.intake.glob("*/*/*.log")):
        data = path.read_bytes()
        frames = [stored for stored in scan_heads(data) if stored.frame is not None]
        if run is None:
            yield Piece(_name(case, path), path, frames[-1].end if frames else 0)
            continue
        # Other runs of the topic are not taken, so nothing may say that they were read.
        kept = b"".join(
            data[stored.offset : stored.end]
            for stored in frames
            if stored.frame is not None and _concerns(stored.frame, run)
        )
        if kept:
            yield Piece(_name(case, path), kept, len(kept))


def _concerns(note: Frame, run: str) -> bool:
    said = json.loads(note.head)
    return bool(said["kind"] != "read" and said.get("run", run) == run)


def _journals(case: Case, run: str | None) -> Iterator[Piece]:
    for path in sorted((case.path / "outbox").glob("*.log")):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if run is not None:
            lines = whole.splitlines(keepends=True)
            whole = b"".join(line for line in lines if _tells_of(line, run))
        yield Piece(_name(case, path), whole, len(whole))


def _tells_of(line: bytes, run: str) -> bool:
    try:
        event = json.loads(line).get("event")
    except (ValueError, AttributeError):
        return True  # damaged, and for the journal's reader to judge
    return not isinstance(event, str) or event.partition("/")[0] == run


def _plain(case: Case, folder: str) -> Iterator[Piece]:
    root = case.path / folder
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.is_file() and not path.name.endswith(PART_SUFFIX):
            yield _whole(case, path)


def _whole(case: Case, path: Path) -> Piece:
    return Piece(_name(case, path), path, path.stat().st_size)


def _name(case: Case, path: Path) -> str:
    return path.relative_to(case.path).as_posix()
