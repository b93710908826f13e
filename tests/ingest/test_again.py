"""Does a refused record become part of the record when it may, once, and the same on a rebuild?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from handed_topic import ORIGIN, SOURCE, handed
from made_log import Maker, append_raw, on_disk, write
from table_rows import all_rows, delete_projection

from forensics.verify import verify_case
from ingest.again import Tried, try_again
from ingest.checks import check_content
from ingest.service import ingest_case
from ingest.store import Transaction
from roundlog.case import Case
from roundlog.encoding import encode_frame
from roundlog.errors import HeadError, LogLockedError, QuestionError
from roundlog.events import Event, RoundCommitted
from roundlog.log.files import lock_file
from roundlog.log.port import Entry


@contextmanager
def older_code(refuses: Callable[[Event], bool]) -> Iterator[None]:
    """A version of this program that does not know what some events mean."""
    real = check_content

    def check(event: Event, *args: object) -> object:
        if refuses(event):
            raise HeadError("field", "later: Extra inputs are not permitted")
        return real(event, *args)  # type: ignore[arg-type]

    with mock.patch("ingest.reader.check_content", check):
        yield


def of_round(*rounds: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, RoundCommitted) and event.round in rounds


def take_in(case: Case, entries: list[Entry], *more: bytes) -> None:
    """The case as it is after a topic of these events, and other values behind them."""
    values = [encode_frame(entry.frame) for entry in entries]
    with handed([*values, *more]), case.own():
        ingest_case(case, source=SOURCE)


def again(case: Case, *ids: str) -> list[Tried]:
    with case.own():
        return try_again(case, ids)


def rebuilt(case: Case) -> object:
    delete_projection(case)
    with case.own():
        ingest_case(case)
    return all_rows(case)


@pytest.mark.parametrize("rounds", [(2,), (0,), (5,), (1, 2, 4), (0, 1, 2, 3, 4, 5)])
def test_what_a_newer_version_knows_is_accepted_late_and_a_rebuild_agrees(
    case: Case, maker: Maker, rounds: tuple[int, ...]
) -> None:
    entries = maker.opening() + maker.rounds(6)
    with older_code(of_round(*rounds)):
        take_in(case, entries)
    assert len(all_rows(case)["quarantine"]) == len(rounds)
    assert not verify_case(case).ok
    tried = again(case)
    assert [(one.accepted, one.why) for one in tried] == [
        (True, "appended to its log, late")
    ] * len(rounds)
    rows = all_rows(case)
    assert sorted(row[4] for row in rows["rounds"]) == [0, 1, 2, 3, 4, 5]
    assert len(rows["events"]) == len(entries)
    # History stays, and the record is whole.
    assert len(rows["quarantine"]) == len(rounds)
    assert verify_case(case).ok, verify_case(case).findings
    assert rebuilt(case) == rows


def test_a_second_try_finds_nothing_to_do(case: Case, maker: Maker) -> None:
    with older_code(of_round(1)):
        take_in(case, maker.opening() + maker.rounds(3))
    again(case)
    rows = all_rows(case)
    (tried,) = again(case)
    assert (tried.accepted, tried.why) == (False, "it is part of the record already")
    assert all_rows(case) == rows


def test_the_topic_goes_on_where_it_was(case: Case, maker: Maker) -> None:
    first, second = maker.opening() + maker.rounds(3), maker.rounds(2)
    with older_code(of_round(1)):
        take_in(case, first)
    again(case)
    take_in(case, first + second)
    rows = all_rows(case)
    assert len(rows["events"]) == len(first + second)
    assert rows["duplicates"] == []
    assert rebuilt(case) == rows
    origins = {(row[11], row[12]) for row in rows["events"]}
    assert origins == {(ORIGIN, offset) for offset in range(len(first + second))}


def test_what_is_still_refused_stays_and_says_why(case: Case, maker: Maker) -> None:
    entries = maker.opening() + maker.rounds(3)
    other = Maker(seed=9)
    other.opening()
    other.commit()
    take_in(
        case, entries, b"no frame at all, none", encode_frame(other.audit().frame), b"x" * 100_000
    )
    rows = all_rows(case)
    reasons = [one.why.partition(":")[0] for one in again(case)]
    assert reasons == [
        "not_a_frame",
        "equivocation",
        "65,536 of its 100,000 bytes were kept, so it cannot be tried",
    ]
    assert all_rows(case) == rows
    assert rebuilt(case) == rows


def test_only_those_that_are_named_are_tried(case: Case, maker: Maker) -> None:
    with older_code(of_round(1, 2)):
        take_in(case, maker.opening() + maker.rounds(4))
    first, second = sorted(all_rows(case)["quarantine"], key=lambda row: row[15])
    (tried,) = again(case, first[0][:8])
    assert (tried.id, tried.accepted) == (first[0], True)
    assert sorted(row[4] for row in all_rows(case)["rounds"]) == [0, 1, 3]
    with pytest.raises(QuestionError, match=r"no refused record of 2 has an id that begins"):
        again(case, "zz")
    with pytest.raises(QuestionError, match=r"2 refused records of 2"):
        again(case, "")
    assert again(case, second[0])[0].accepted


def test_a_record_that_lies_in_a_segment_is_accepted_where_it_lies(
    case: Case, maker: Maker
) -> None:
    entries = maker.opening() + maker.rounds(4)
    write(case, entries, seal=True)
    before = {path: path.read_bytes() for path in case.segments.rglob("0*")}
    with older_code(of_round(2)), case.own():
        ingest_case(case)
    (tried,) = again(case)
    assert (tried.accepted, tried.why) == (
        True,
        "accepted where it lies; the projection was built again",
    )
    assert {path: path.read_bytes() for path in case.segments.rglob("0*")} == before
    rows = all_rows(case)
    assert len(rows["events"]) == len(entries)
    assert len(rows["quarantine"]) == 1
    assert rebuilt(case) == rows
    assert not again(case)[0].accepted


def test_damage_in_a_segment_is_damage_to_any_version(case: Case, maker: Maker) -> None:
    write(case, maker.opening() + maker.rounds(2))
    append_raw(case, b"no frame at all", on_disk(maker.audit()))
    write(case, [], seal=True)
    with case.own():
        ingest_case(case)
    rows = all_rows(case)
    (tried,) = again(case)
    assert (tried.accepted, tried.why.partition(":")[0]) == (False, "not_a_frame")
    assert all_rows(case) == rows


def test_stopped_behind_the_segments_the_next_ingest_reads_on(
    case: Case, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with older_code(of_round(1)):
        take_in(case, maker.opening() + maker.rounds(3))

    def stop(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The last thing before the commit.
        patch.setattr(Transaction, "set_watermark", stop)
        with pytest.raises(KeyboardInterrupt):
            again(case)
    assert sorted(row[4] for row in all_rows(case)["rounds"]) == [0, 2]
    with case.own():
        ingest_case(case)
    rows = all_rows(case)
    assert sorted(row[4] for row in rows["rounds"]) == [0, 1, 2]
    assert rebuilt(case) == rows


def test_a_log_that_somebody_records_into_is_left_to_them(case: Case, maker: Maker) -> None:
    with older_code(of_round(1)):
        take_in(case, maker.opening() + maker.rounds(3))
    with lock_file(case.segments / "run" / "server" / ".lock"), pytest.raises(LogLockedError):
        again(case)
    assert again(case)[0].accepted
