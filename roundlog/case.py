"""Where does each thing of a case lie, and who may write to it now?

A case is a directory that can be copied, archived and opened elsewhere. One process owns its
projection at a time (`own`); producers write their own segments beside it. Nothing else is
decided here.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from roundlog.errors import CaseBusyError, CaseError
from roundlog.log.files import PART_SUFFIX, make_directory, try_lock, write_all, write_durably

CASE_VERSION = "roundlog.case/1"

# How often, 10 ms apart, an owner file is read that does not say yet who the owner is.
OWNER_PATIENCE = 20


class Case:
    """A case directory.

    Raises:
        CaseError: The directory is not a case, or of a version this program cannot read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        marker = self.path / "case.json"
        try:
            version = json.loads(marker.read_bytes()).get("schema")
        except FileNotFoundError as error:
            raise CaseError(
                f"{self.path} is not a case: it has no case.json. `roundlog simulate … --out "
                f"{self.path}` or `roundlog ingest {self.path} --from kafka://…` makes one."
            ) from error
        except (OSError, ValueError, AttributeError) as error:
            raise CaseError(f"{marker} cannot be read as a case's marker: {error}") from error
        if version != CASE_VERSION:
            raise CaseError(
                f"{self.path} is a case of version {version!r}; this program reads {CASE_VERSION!r}"
            )

    @classmethod
    def create(cls, path: Path | str) -> "Case":
        """Makes the directory a case where it is none yet; an existing case stays as it is."""
        path = Path(path)
        try:
            make_directory(path)
            # Listed before the marker is looked for: another process may be making it one now.
            others = [entry.name for entry in path.iterdir() if entry.suffix != PART_SUFFIX]
            if not (path / "case.json").exists():
                if others:
                    raise CaseError(
                        f"{path} holds other files ({', '.join(sorted(others)[:3])}); choose an "
                        f"empty or new directory for the case"
                    )
                marker = json.dumps({"schema": CASE_VERSION}) + "\n"
                write_durably(path / "case.json", marker.encode())
        except OSError as error:
            raise CaseError(f"{path} cannot be made a case: {error.strerror}") from error
        return cls(path)

    @property
    def segments(self) -> Path:
        return self.path / "segments"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine"

    @property
    def intake(self) -> Path:
        return self.path / "intake"

    @property
    def keyframes(self) -> Path:
        return self.path / "keyframes"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def triggers(self) -> Path:
        return self.path / "triggers"

    @property
    def cache(self) -> Path:
        """Readings that cost time and can be taken again: deleting it loses nothing."""
        return self.path / "cache"

    @property
    def database(self) -> Path:
        return self.path / "roundlog.duckdb"

    @property
    def owner(self) -> Path:
        return self.path / "owner.json"

    @contextmanager
    def own(self, address: str | None = None) -> Iterator[None]:
        """Holds the case for this process; the kernel lets go when the process ends in any way.

        Args:
            address: Where this process serves the case over HTTP, if it does.

        Raises:
            CaseBusyError: Another process owns it.
            CaseError: The case is on a disk that cannot be written, or that knows no locks.
        """
        try:
            file = self.owner.open("a+b", buffering=0)
        except OSError as error:
            raise CaseError(f"{self.owner} cannot be opened: {error.strerror}") from error
        with file:
            try:
                held = not try_lock(file)
            except OSError as error:
                raise CaseError(f"{self.owner} cannot be locked: {error.strerror}") from error
            if held:
                raise self._busy(file)
            try:
                _write_owner(file, {"pid": os.getpid(), "address": address})
            except OSError as error:
                raise CaseError(f"{self.owner} cannot be written: {error.strerror}") from error
            try:
                yield
            finally:
                # The lock is what counts, and goes with the file: a full disk is told by whoever
                # met it first, and not by this.
                with suppress(OSError):
                    _write_owner(file, {})

    def current_owner(self) -> CaseBusyError | None:
        """Who owns the case now, as the error that `own` would raise; None if nobody does."""
        if not self.owner.exists():
            return None
        with self.owner.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return self._busy(file)
        return None

    def _busy(self, file: IO[bytes]) -> CaseBusyError:
        owner: object = None
        for _ in range(OWNER_PATIENCE):
            try:
                file.seek(0)
                owner = json.loads(file.read())
            except ValueError:
                time.sleep(0.01)  # the owner is between taking the lock and saying who it is
            else:
                break
        known = owner if isinstance(owner, dict) else {}
        pid, address = known.get("pid"), known.get("address")
        served = f"it serves at {address}; ask there" if address else "wait until it has ended"
        return CaseBusyError(
            f"{self.path} is owned by process {pid}; {served}. One process owns a case.",
            pid=pid,
            address=address,
        )


def _write_owner(file: IO[bytes], content: dict[str, object]) -> None:
    file.seek(0)
    file.truncate()
    write_all(file, json.dumps(content).encode())
