"""What if a second ingest is started by mistake, or what a dead one left behind looks alive?

One process owns a case: the second is refused and told who owns it and what to do. Locks are the
kernel's, so a file that a dead process left, even with the number of a process that lives now,
keeps nobody out.
"""

import json
import os
import random

import pytest
from doomed import Child, follow, hold_open, ingest_and_read, nothing, own, run
from kept_record import check_record, places
from made_log import Maker, append_raw, on_disk, write

from ingest.service import ingest_case
from ingest.store import Store, StoreError
from roundlog.case import Case
from roundlog.errors import CaseBusyError, LogLockedError
from roundlog.log.port import Entry
from roundlog.log.writer import LOCK_NAME
from roundlog.recorder import Recorder


def following(case: Case, entries: list[Entry]) -> Child:
    """A process that owns the case and has ingested so much of it."""
    child = Child(follow, case.path, 64)
    while child.hear() < len(entries):
        pass
    return child


def test_a_second_ingest_is_refused_and_told_who_owns_the_case(case: Case, maker: Maker) -> None:
    entries = maker.opening() + maker.rounds(20)
    write(case, entries[:10])
    first = following(case, entries[:10])
    owner = rf"owned by process {first.process.pid}; wait until it has ended"
    with pytest.raises(CaseBusyError, match=owner), case.own():
        ingest_case(case)
    assert run(ingest_and_read, case.path).error.startswith("CaseBusyError")
    # The first one has not noticed.
    write(case, entries[10:])
    while first.hear() < len(entries):
        pass
    first.process.terminate()
    assert first.end().code == 0
    check_record(case, places(entries))


def test_a_second_ingest_is_sent_to_the_server_that_owns_the_case(case: Case) -> None:
    child = Child(own, case.path, "http://127.0.0.1:8765")
    assert child.hear() == "owned"
    where = r"it serves at http://127\.0\.0\.1:8765; ask there"
    with pytest.raises(CaseBusyError, match=where), case.own():
        pass
    child.kill()
    with case.own():
        pass


def test_who_goes_round_the_ownership_meets_the_lock_of_the_database(
    case: Case, maker: Maker
) -> None:
    entries = maker.opening()
    write(case, entries)
    child = following(case, entries)
    with pytest.raises(StoreError, match="If no other process has it open"):
        Store(case)
    child.kill()
    check_record(case, places(entries))


def dead_pid() -> int:
    child = Child(nothing)
    pid = child.process.pid
    child.end()
    return int(pid or 0)


@pytest.mark.parametrize(
    "left", ["a dead one", "a living stranger", "ourselves", "rubbish", "nothing"]
)
def test_what_a_dead_owner_left_keeps_nobody_out(
    case: Case, maker: Maker, seed: int, left: str
) -> None:
    pids = {"a dead one": dead_pid, "a living stranger": lambda: 1, "ourselves": os.getpid}
    content = b""
    if left in pids:
        content = json.dumps({"pid": pids[left](), "address": "http://127.0.0.1:1"}).encode()
    elif left == "rubbish":
        content = random.Random(seed).randbytes(300)
    case.owner.write_bytes(content)
    assert case.current_owner() is None
    entries = maker.opening() + maker.rounds(3)
    write(case, entries)
    check_record(case, places(entries))


@pytest.mark.parametrize("left", [b"", b"12345", b"\0" * 100])
def test_what_a_dead_recorder_left_locks_no_log(case: Case, maker: Maker, left: bytes) -> None:
    entries = maker.opening() + maker.rounds(2)
    write(case, entries[:3])
    (case.segments / "run" / "server" / LOCK_NAME).write_bytes(left)
    write(case, entries[3:])
    check_record(case, places(entries))


def test_a_log_that_a_living_recorder_writes_is_read_and_not_called_torn(
    case: Case, maker: Maker
) -> None:
    """Bytes behind its last event may be an event that is being written now."""
    entries = maker.opening() + maker.rounds(2)
    write(case, entries)
    child = Child(hold_open, case.path, "run")
    assert child.hear() == "open"
    append_raw(case, on_disk(maker.audit())[:-9])
    check_record(case, places(entries))
    with pytest.raises(LogLockedError, match="two producers need two names"):
        Recorder(case.path, run="run")
    child.kill()
    check_record(case, places(entries), findings=["torn_tail"], reasons=["torn_tail"])
