"""What was read from Kafka and lies in no segment? One small file a partition says so.

`intake/<cluster>/<topic id>/<partition>.log` holds one frame for each identical duplicate, each
range of offsets that retention took before we read it, and each point up to which everything read
is durable in the case. So a projection that was deleted comes back with its findings, and reading
goes on where it stopped, without asking Kafka for what Kafka may have deleted since.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ingest.batch import Batch
from ingest.findings import Finding
from roundlog.encoding import Frame, canonical_json, encode_frame
from roundlog.errors import LogError
from roundlog.log.files import make_directory, sync_directory, write_all
from roundlog.log.segments import scan_heads

Kind = Literal["duplicate", "lost", "recreated", "read"]


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """One partition of one topic of one cluster: a name that a re-created topic does not share."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: str

    @property
    def origin(self) -> str:
        """As in the column `origin`, and as the path below `intake/`."""
        return f"{self.cluster_id}/{self.topic_id}/{self.partition}"

    @property
    def of(self) -> tuple[str, str, str]:
        """Cluster id, topic, topic id, as a watermark wants them."""
        return self.cluster_id, self.topic, self.topic_id


@dataclass(frozen=True, slots=True)
class Note:
    """One frame of an intake file."""

    kind: Kind
    offset: int
    """duplicate: its offset. lost: the first. recreated: 0. read: where reading goes on."""

    fields: dict[str, Any]
    """duplicate: run, producer, seq, digest. lost: until, reason. recreated: before.
    All: topic, which the path does not say."""

    def encode(self) -> bytes:
        head = canonical_json({"kind": self.kind, "offset": self.offset, **self.fields})
        return encode_frame(Frame(head))

    def finding(self, at: TopicPartition) -> Finding | None:
        """What the note says about the record, if that is a finding."""
        if self.kind == "lost":
            until = self.fields["until"]
            detail = (
                f"offsets {self.offset} to {until - 1} of topic {at.topic} were gone before they "
                f"were read: {self.fields['reason']}"
            )
            return Finding("lost_range", detail, origin=at.origin, log_offset=self.offset)
        if self.kind == "recreated":
            detail = (
                f"topic {at.topic} was deleted and made anew: it has id {at.topic_id}, "
                f"and had {self.fields['before']}"
            )
            return Finding("topic_recreated", detail, origin=at.origin, log_offset=self.offset)
        return None


class IntakeFile:
    """The intake file of one partition; opening it cuts a torn tail, which was never relied on.

    Attributes:
        end: Bytes that hold whole frames.

    Raises:
        LogError: The disk refused.
    """

    def __init__(self, root: Path, at: TopicPartition) -> None:
        self.path = root / at.cluster_id / at.topic_id / f"{at.partition}.log"
        with self._telling():
            make_directory(self.path.parent)
            data = self.path.read_bytes() if self.path.exists() else b""
            whole = [stored.end for stored in scan_heads(data) if stored.frame is not None]
            self.end = whole[-1] if whole else 0
            # Unbuffered: what the disk refused must not be written by a later close.
            self._file = self.path.open("ab", buffering=0)
        try:
            with self._telling():
                self._file.truncate(self.end)
                sync_directory(self.path.parent)
        except LogError:
            self._file.close()
            raise

    def append(self, notes: list[Note], read: Note) -> None:
        """Makes `notes` durable, and then says up to where everything is.

        The second step needs no fdatasync: losing it means reading a little more again.

        Raises:
            LogError: The disk refused. The file must be opened again.
        """
        with self._telling():
            if notes:
                self._write(b"".join(note.encode() for note in notes))
                os.fdatasync(self._file.fileno())
            self._write(read.encode())

    def close(self) -> None:
        """Makes the last mark durable.

        Raises:
            LogError: The disk refused.
        """
        with self._file, self._telling():
            os.fdatasync(self._file.fileno())

    def _write(self, data: bytes) -> None:
        write_all(self._file, data)
        self.end += len(data)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogError(
                f"{self.path} could not be written: {error.strerror}. Nothing of the log is lost: "
                f"make room, and run `roundlog ingest` again."
            ) from error


def project(note: Note, batch: Batch, at: TopicPartition) -> None:
    """Adds to a batch what a note says."""
    if note.kind == "duplicate":
        key = (note.fields["run"], note.fields["producer"])
        seq, head_digest = note.fields["seq"], note.fields["digest"]
        batch.add_duplicate(key, seq, head_digest, at.origin, note.offset)
    elif (finding := note.finding(at)) is not None:
        batch.add_finding(finding)


def list_intake(root: Path) -> list[tuple[str, str, str]]:
    """(cluster id, topic id, partition) of every intake file."""
    return sorted(
        (path.parent.parent.name, path.parent.name, path.stem) for path in root.glob("*/*/*.log")
    )


def read_notes(path: Path, position: int) -> Iterator[tuple[Note | None, int, int]]:
    """Notes from a byte position on: (note, first byte, byte behind it).

    Bytes that are no whole frame, with frames behind them, come as None: the file was damaged.
    """
    data = path.read_bytes()
    for stored in scan_heads(data, min(position, len(data))):
        if stored.frame is not None:
            fields = json.loads(stored.frame.head)
            note = Note(fields.pop("kind"), fields.pop("offset"), fields)
            yield note, stored.offset, stored.end
        elif stored.end < len(data):
            yield None, stored.offset, stored.end
