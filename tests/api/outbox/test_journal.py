"""Does a channel's journal remember what was told, through a crash and a disk that refuses?"""

import json
import logging
import os
from pathlib import Path

import pytest

from api.outbox.journal import Journal
from roundlog.errors import LogError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "outbox", "webhook-1")


def _again(journal: Journal) -> Journal:
    return Journal(journal.path.parent, "webhook-1")


def test_a_new_channel_has_told_nothing_and_leaves_no_file(journal: Journal) -> None:
    assert not journal.begun
    assert not journal.settled("run", 0)
    assert not journal.path.parent.exists()


def test_what_was_told_or_passed_over_is_settled_after_a_restart(journal: Journal) -> None:
    journal.begin()
    journal.told("a.b-c/owner/3")
    journal.passed_over("other/owner/1", "silenced by alice until round 900")
    for one in (journal, _again(journal)):
        assert one.begun
        assert one.settled("a.b-c", 3)
        assert one.settled("other", 1)
        assert not one.settled("a.b-c", 1)
        assert not one.settled("a.b-c", 2)
        assert one.beyond == 2


def test_a_summary_settles_everything_up_to_it(journal: Journal) -> None:
    journal.summarised({"run": 40, "other": 2}, 31)
    for one in (journal, _again(journal)):
        assert one.begun
        assert one.lows() == {"run": 40, "other": 2}
        assert one.settled("run", 40)
        assert not one.settled("run", 41)


def test_every_line_is_json_with_the_time_and_the_reason(journal: Journal) -> None:
    journal.begin()
    journal.passed_over("run/owner/1", "silenced by alice until round 900")
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["begun", "passed_over"]
    assert lines[0]["channel"] == "webhook-1"
    assert lines[1]["reason"] == "silenced by alice until round 900"
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_a_line_is_on_the_disk_before_it_counts(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    journal.begin()
    first = journal.path.stat().st_size
    journal.told("run/owner/0")
    assert first in synced
    assert synced[-1] == journal.path.stat().st_size > first


@pytest.mark.parametrize("left", [1, 20, -1])
def test_a_last_line_that_a_crash_tore_is_cut_off(
    journal: Journal, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    journal.begin()
    journal.told("run/owner/0")
    whole = journal.path.read_bytes()
    journal.told("run/owner/1")
    line = journal.path.read_bytes()[len(whole) :]
    journal.path.write_bytes(whole + line[:left])
    torn = _again(journal)
    assert "a crash had torn" in caplog.text
    assert journal.path.read_bytes() == whole
    assert torn.settled("run", 0)
    assert not torn.settled("run", 1)
    torn.told("run/owner/1")
    assert _again(journal).settled("run", 1)


def test_a_file_that_is_torn_in_its_first_line_is_a_channel_that_was_never_used(
    journal: Journal,
) -> None:
    journal.begin()
    journal.path.write_bytes(journal.path.read_bytes()[:7])
    torn = _again(journal)
    assert not torn.begun
    torn.begin()
    assert _again(journal).begun


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[]", b"{}", b'{"outcome": "told", "event": 3}'])
def test_a_damaged_line_is_said_and_the_others_hold(
    journal: Journal, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    journal.begin()
    journal.told("run/owner/0")
    with journal.path.open("ab") as file:
        file.write(damage + b"\n")
    journal.told("run/owner/1")  # this one does not know of it, and keeps to its own place
    with journal.path.open("ab") as file:
        file.write(damage + b"\n")
    again = _again(journal)
    assert "line 4: not a line of ours" in caplog.text
    assert again.settled("run", 0)
    assert again.settled("run", 1)
    again.told("run/owner/2")
    assert _again(journal).settled("run", 2)


def test_a_disk_that_refuses_leaves_the_alarm_untold_and_the_file_whole(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.begin()
    whole = journal.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LogError, match="No space left on device"):
            journal.told("run/owner/0")
    assert journal.path.read_bytes() == whole
    assert not journal.settled("run", 0)
    journal.told("run/owner/0")
    assert len(journal.path.read_bytes().splitlines()) == 2
    assert _again(journal).settled("run", 0)


def test_half_a_line_that_could_not_be_taken_back_is_taken_back_later(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.begin()

    def refused(*args: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refused)
        patch.setattr(os, "truncate", refused)
        with pytest.raises(LogError, match="Input/output error"):
            journal.told("run/owner/0")
    assert len(journal.path.read_bytes().splitlines()) == 2
    journal.told("run/owner/1")
    assert [json.loads(line).get("event") for line in journal.path.read_text().splitlines()] == [
        None,
        "run/owner/1",
    ]


def test_a_file_that_cannot_be_read_stops_the_start_and_not_the_memory(tmp_path: Path) -> None:
    (tmp_path / "webhook-1.log").mkdir()
    with pytest.raises(LogError, match="without it they would be told again"):
        Journal(tmp_path, "webhook-1")


def test_what_lies_below_the_low_is_no_longer_kept_one_by_one(journal: Journal) -> None:
    for seq in (2, 5, 9):
        journal.told(f"run/owner/{seq}")
    assert (journal.beyond, journal.lows()) == (3, {})
    journal.raise_low("run", 5)
    assert (journal.beyond, journal.lows()) == (1, {"run": 5})
    journal.raise_low("run", 3)
    assert journal.lows() == {"run": 5}
    assert journal.settled("run", 9)
    assert not journal.settled("run", 8)
