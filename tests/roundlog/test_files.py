"""Do small files, directories and locks survive what can happen to a process?"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from roundlog.errors import LogError, LogLockedError
from roundlog.log.files import (
    PART_SUFFIX,
    is_locked,
    lock_file,
    make_directory,
    write_all,
    write_durably,
)

HOLD = """
import sys, pathlib
from roundlog.log.files import lock_file
held = lock_file(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_held_by_another_process_is_refused_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path) as process:
        assert is_locked(path)
        with pytest.raises(LogLockedError, match="two producers need two names"):
            lock_file(path)
        process.kill()
        process.wait()
    assert not is_locked(path)
    lock_file(path).close()


def test_a_lock_is_refused_inside_one_process_too(tmp_path: Path) -> None:
    held = lock_file(tmp_path / ".lock")
    with pytest.raises(LogLockedError, match="another process appends"):
        lock_file(tmp_path / ".lock")
    held.close()
    lock_file(tmp_path / ".lock").close()


def test_asking_makes_no_file(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    assert list(tmp_path.iterdir()) == []


def test_those_who_ask_never_keep_a_writer_out(tmp_path: Path) -> None:
    path, stop = tmp_path / ".lock", threading.Event()
    path.touch()

    def ask() -> None:
        while not stop.is_set():
            is_locked(path)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(50):
            lock_file(path).close()
    finally:
        stop.set()
        for asker in askers:
            asker.join()


def test_a_lock_in_a_directory_that_is_none_is_an_error_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be opened"):
        lock_file(tmp_path / "absent" / ".lock")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "small"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["small"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small"
    write_durably(path, b"one")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"two")
    assert path.read_bytes() == b"one"
    assert not list(tmp_path.glob(f"*{PART_SUFFIX}"))


def test_a_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c")
    make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_everything_is_written_where_the_system_takes_little_at_once() -> None:
    reading, writing = os.pipe()
    data = os.urandom(1 << 20)
    got = bytearray()

    def drain() -> None:
        while part := os.read(reading, 1 << 16):
            got.extend(part)

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(writing, "wb", buffering=0) as file:
        write_all(file, data)
    reader.join()
    os.close(reading)
    assert bytes(got) == data
