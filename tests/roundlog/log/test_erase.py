"""Does erasing take the words out of a file, and leave every other byte and every offset?"""

from pathlib import Path

import pytest
from made_log import Maker, on_disk

from roundlog.encoding import Frame, decode_frame, digest, encode_frame
from roundlog.errors import HeadError
from roundlog.events import AuditSampled, UnknownEvent, check_side, is_erased, parse_head
from roundlog.log.erase import erase_heads, erased, overwrite
from roundlog.log.segments import scan_heads


def test_only_words_are_overwritten_and_the_frame_stays_as_long() -> None:
    frame = Maker().audit().frame
    without = erased(frame)
    assert without is not None
    assert (without.head, without.origin, without.row) == (frame.head, frame.origin, frame.row)
    assert without.side == bytes(len(frame.side))
    assert len(encode_frame(without)) == len(encode_frame(frame))
    assert erased(without) == without


def test_words_beside_other_tails_go_alone() -> None:
    maker = Maker()
    entry = maker.make(
        UnknownEvent,
        {"scores": b"12345678", "text": b"salt" * 4 + b"words", "more": b"xy"},
        type="fl.audit.sampled.v2",
        dataschema="urn:roundlog:fl.audit.sampled.v2",
    )
    without = erased(entry.frame)
    assert without is not None
    assert without.side == b"12345678" + bytes(21) + b"xy"
    event = parse_head(without.head)
    assert is_erased(event, check_side(event, without.side))
    # In a segment the first tail may lie in the vec file.
    on_file = Frame(entry.frame.head, entry.frame.side[8:], row=0)
    beside = erased(on_file)
    assert beside is not None
    assert beside.side == bytes(21) + b"xy"


def test_frames_without_words_are_left_alone() -> None:
    maker = Maker()
    for entry in [*maker.opening(), maker.commit(), maker.unknown()]:
        assert erased(entry.frame) is None
    frame = maker.audit().frame
    assert erased(Frame(b"no head", frame.side)) is None
    assert erased(Frame(frame.head, frame.side[1:])) is None, "which bytes are words is not known"


def test_a_head_that_is_written_with_escapes_hides_no_words() -> None:
    frame = Maker().audit().frame
    escaped = Frame(frame.head.replace(b'"erasable"', b'"\\u0065rasable"'), frame.side)
    without = erased(escaped)
    assert without is not None
    assert not any(without.side)


def test_zeros_pass_for_erased_words_and_nothing_else_does() -> None:
    entry = Maker().audit()
    size = len(entry.frame.side)
    assert is_erased(entry.event, check_side(entry.event, bytes(size)))
    assert not is_erased(entry.event, check_side(entry.event, entry.frame.side))
    for side in (b"\xff" * size, bytes(size - 1) + b"\x01", entry.frame.side[:-1] + b"?"):
        with pytest.raises(HeadError, match="does not have its salted digest"):
            check_side(entry.event, side)
    with pytest.raises(HeadError, match="side bytes"):
        check_side(entry.event, bytes(size - 1))


def test_a_covered_tail_may_not_be_zeros() -> None:
    entry = Maker().commit()
    with pytest.raises(HeadError, match="do not have the digest"):
        check_side(entry.event, bytes(len(entry.frame.side)))


def test_words_that_were_damaged_do_not_begin_to_pass_for_erased() -> None:
    frame = Maker().audit().frame
    damaged = Frame(frame.head, frame.side[:-1] + b"?")
    without = erased(damaged)
    assert without is not None
    assert without.side == b"\xff" * len(frame.side)
    assert erased(without) == without


def test_a_heads_file_keeps_its_damage_and_its_other_words(tmp_path: Path) -> None:
    maker = Maker()
    entries = [*maker.opening(), maker.audit(), maker.audit(), maker.audit()]
    parts = [on_disk(one) for one in entries]
    path = tmp_path / "0.heads"
    path.write_bytes(b"".join([*parts[:4], b"torn off", *parts[4:], parts[0][:20]]))
    before = path.read_bytes()
    inode = path.stat().st_ino

    def second(event: object) -> bool:
        return isinstance(event, AuditSampled) and event.seq == 4

    assert erase_heads(path, second) == 1
    after = path.read_bytes()
    assert path.stat().st_ino != inode
    start = len(b"".join(parts[:4])) + 8
    stop = start + len(parts[4])
    assert (after[:start], after[stop:]) == (before[:start], before[stop:])
    frame, end = decode_frame(after, start)
    assert (end, any(frame.side)) == (stop, False)
    assert digest(frame.head) == digest(entries[4].frame.head)
    again = path.stat().st_ino
    assert erase_heads(path, second) == 0
    assert path.stat().st_ino == again
    assert [one.frame is None for one in scan_heads(after)].count(True) == 2


def test_what_a_file_was_is_overwritten_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"name: alice, age: 40")
    with path.open("rb") as older:
        overwrite(path, b"name: -----, age: 40", [(6, 11)])
        assert older.read() == path.read_bytes() == b"name: -----, age: 40"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_disk_that_refuses_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, maker = tmp_path / "0.heads", Maker()
    before = b"".join(on_disk(one) for one in [*maker.opening(), maker.audit()])
    path.write_bytes(before)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        erase_heads(path, lambda event: True)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["0.heads"]
