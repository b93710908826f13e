"""Is a case what it claims to be, and does exactly one process own it?"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from roundlog.case import CASE_VERSION, Case
from roundlog.errors import CaseBusyError, CaseError

OWN = """
import sys
from roundlog.case import Case
with Case(sys.argv[1]).own(sys.argv[2]):
    print("owned", flush=True)
    sys.stdin.read()
"""


def owner(case: Case, address: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", OWN, str(case.path), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "owned\n"
    return process


def test_a_case_is_made_once_and_opened_again(tmp_path: Path) -> None:
    made = Case.create(tmp_path / "deep" / "case")
    made.segments.mkdir()
    assert Case.create(made.path).path == Case(str(made.path)).path
    assert json.loads((made.path / "case.json").read_bytes()) == {"schema": CASE_VERSION}


def test_everything_lies_inside_the_case(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    places = [
        case.segments,
        case.quarantine,
        case.intake,
        case.keyframes,
        case.blobs,
        case.triggers,
        case.cache,
        case.database,
        case.owner,
    ]
    assert {place.parent for place in places} == {tmp_path}
    assert len({place.name for place in places}) == len(places)


def test_a_directory_of_other_things_does_not_become_a_case(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(CaseError, match=r"holds other files \(thesis.doc\)"):
        Case.create(tmp_path)
    assert not (tmp_path / "case.json").exists()


def test_what_a_crash_left_does_not_keep_a_case_from_being_made(tmp_path: Path) -> None:
    (tmp_path / "case.json.123.part").touch()
    Case.create(tmp_path)


def test_several_may_make_a_case_at_the_same_time(tmp_path: Path) -> None:
    problems: list[BaseException] = []
    start = threading.Barrier(4)

    def make() -> None:
        try:
            start.wait()
            case = Case.create(tmp_path / "case")
            (case.segments / "run").mkdir(parents=True, exist_ok=True)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CaseError, match="cannot be made a case"):
        Case.create(tmp_path / "file")
    with pytest.raises(CaseError, match="cannot be made a case: Not a directory"):
        Case.create(tmp_path / "file" / "case")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (None, "has no case.json. `roundlog simulate"),
        (b"", "cannot be read as a case's marker"),
        (b"\xff", "cannot be read as a case's marker"),
        (b"[]", "cannot be read as a case's marker"),
        (b"{}", "version None"),
        (b'{"schema": "roundlog.case/2"}', "version 'roundlog.case/2'; this program reads"),
    ],
)
def test_a_directory_that_is_no_case_says_why(
    tmp_path: Path, marker: bytes | None, message: str
) -> None:
    if marker is not None:
        (tmp_path / "case.json").write_bytes(marker)
    with pytest.raises(CaseError, match=message):
        Case(tmp_path)


def test_a_second_owner_is_told_where_the_first_one_serves(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    with owner(case, "http://127.0.0.1:8765") as process:
        address = r"it serves at http://127\.0\.0\.1:8765"
        with pytest.raises(CaseBusyError, match=address) as busy, case.own():
            pass
        assert (busy.value.pid, busy.value.address) == (process.pid, "http://127.0.0.1:8765")
        assert busy.value.exit_code == 5
        known = case.current_owner()
        assert known is not None
        assert known.pid == process.pid
        process.communicate("")
    assert case.current_owner() is None
    with case.own():
        pass


def test_an_owner_that_was_killed_owns_nothing(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    with owner(case, "http://127.0.0.1:8765") as process:
        process.kill()
        process.wait()
    assert b"8765" in case.owner.read_bytes()
    assert case.current_owner() is None
    with case.own():
        assert json.loads(case.owner.read_bytes()) == {"pid": os.getpid(), "address": None}


def test_an_owner_that_fails_lets_go_and_takes_its_name_away(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    with pytest.raises(RuntimeError, match="on purpose"), case.own("http://here"):
        raise RuntimeError("on purpose")
    assert json.loads(case.owner.read_bytes()) == {}
    assert case.current_owner() is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xff", b'{"pid'])
def test_an_owner_file_that_says_nothing_still_means_busy(tmp_path: Path, content: bytes) -> None:
    case = Case.create(tmp_path)
    with case.own():
        case.owner.write_bytes(content)
        with pytest.raises(CaseBusyError, match="owned by process None; wait"), case.own():
            pass


def test_asking_for_the_owner_makes_no_file(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    assert case.current_owner() is None
    assert not case.owner.exists()


def test_a_case_that_cannot_be_written_to_is_an_error_not_a_trace(tmp_path: Path) -> None:
    case = Case.create(tmp_path)
    case.owner.mkdir()
    with pytest.raises(CaseError, match="cannot be opened: Is a directory"), case.own():
        pass
