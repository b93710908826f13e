"""What if it ended, or the disk refused, right here? Counts every durable step of a process.

A durable step is whatever changes what a crash leaves behind: making a file or directory, writing,
cutting, syncing, renaming or deleting one, and the commit of the projection. Each is announced
before it happens, so "ended before step n", for every n, is "ended between every two writes".
The product knows nothing of it: Python's doors to the disk are wrapped while it counts.

What DuckDB writes inside a commit is not seen here; `test_damaged_projection` cuts its log instead.
"""

import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from ingest.store import Store, Transaction

Kind = Literal["make", "write", "cut", "sync", "rename", "delete", "commit", "committed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One durable step that is about to happen."""

    index: int
    kind: Kind
    path: Path
    """Of a rename, its target."""
    size: int = 0
    """Of a write, its bytes."""


Act = Callable[[Step], int | None]
"""Told of every step. It may end the process, raise, or, before a write, say how many bytes of it
the disk takes; None lets the step happen."""


class DurableSteps:
    """Announces every durable step below one directory, while it is entered.

    Attributes:
        seen: The steps so far.
    """

    def __init__(self, root: Path, act: Act = lambda step: None) -> None:
        self._root, self._act = root.absolute(), act
        self.seen: list[Step] = []
        self._stack = ExitStack()

    def __enter__(self) -> "DurableSteps":
        for module, name, wrapped in (
            (os, "fsync", self._by_handle("sync", os.fsync)),
            (os, "fdatasync", self._by_handle("sync", os.fdatasync)),
            (os, "ftruncate", self._by_handle("cut", os.ftruncate)),
            (os, "write", self._write(os.write)),
            (os, "writev", self._write_parts(os.writev)),
            (os, "replace", self._by_name("rename", os.replace, of=1)),
            (os, "rename", self._by_name("rename", os.rename, of=1)),
            (os, "unlink", self._by_name("delete", os.unlink)),
            (os, "mkdir", self._by_name("make", os.mkdir)),
            (io, "open", self._open(io.open)),
            (Store, "transaction", self._commit(Store.transaction)),
        ):
            self._stack.enter_context(mock.patch.object(module, name, wrapped))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def announce(self, kind: Kind, path: Path, size: int = 0) -> int | None:
        """Counts one step, if it is one below the directory, and lets the test act on it."""
        if not path.is_relative_to(self._root):
            return None
        step = Step(len(self.seen), kind, path, size)
        self.seen.append(step)
        return self._act(step)

    def _by_handle(self, kind: Kind, call: Callable[..., None]) -> Callable[..., None]:
        def by_handle(handle: int, *args: Any) -> None:
            self.announce(kind, _behind(handle))
            call(handle, *args)

        return by_handle

    def _by_name(self, kind: Kind, call: Callable[..., None], of: int = 0) -> Callable[..., None]:
        def by_name(*args: Any, **options: Any) -> None:
            self.announce(kind, Path(args[of]).absolute())
            call(*args, **options)

        return by_name

    def _write(self, call: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def write(handle: int, data: Any) -> int:
            taken = self.announce("write", _behind(handle), len(data))
            return call(handle, memoryview(data)[:taken])

        return write

    def _write_parts(self, call: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def write_parts(handle: int, parts: Any) -> int:
            taken = self.announce("write", _behind(handle), sum(map(len, parts)))
            return call(handle, parts if taken is None else [b"".join(parts)[:taken]])

        return write_parts

    def _open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, mode: str = "r", buffering: int = -1, *args: Any) -> Any:
            if isinstance(file, int) or "b" not in mode or not set(mode) & set("wa+"):
                return call(file, mode, buffering, *args)
            path = Path(file).absolute()
            if not path.exists() or "w" in mode:
                self.announce("make", path)
            raw = _Announced(path, mode.replace("b", ""), self)
            if buffering == 0:
                return raw
            return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

        return open_

    def _commit(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def transaction(store: Store) -> Iterator[Transaction]:
            database = store.case.database.absolute()
            with call(store) as opened:
                yield opened
                self.announce("commit", database)
            self.announce("committed", database)

        return transaction


class _Announced(io.FileIO):
    """A file that says what it is about to do."""

    def __init__(self, path: Path, mode: str, steps: DurableSteps) -> None:
        super().__init__(path, mode)
        self._path, self._steps = path, steps

    def write(self, data: Any) -> int:
        taken = self._steps.announce("write", self._path, len(data))
        return super().write(memoryview(data)[:taken])

    def truncate(self, size: int | None = None) -> int:
        self._steps.announce("cut", self._path)
        return super().truncate(size)


def _behind(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


def die() -> None:
    """Ends this process as kill -9 does: nothing is flushed, closed or given back."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_before(index: int | None) -> Act:
    """Kills the process before its step of that number."""

    def act(step: Step) -> None:
        if step.index == index:
            die()

    return act
