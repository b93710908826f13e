"""Does a reader see every whole event once, and every damaged byte with its reason?"""

import os
from pathlib import Path

import pytest
from made_log import Maker

from roundlog.encoding import FRAME_LIMIT, Frame, decode_frame, encode_frame
from roundlog.errors import LogError, OversizedEventError
from roundlog.events import check_side, parse_head
from roundlog.log import embedded
from roundlog.log.embedded import EmbeddedLog, offset_of, split_offset
from roundlog.log.port import RAW_LIMIT, Entry, Record
from roundlog.log.segments import Segment, list_segments
from roundlog.log.writer import SegmentWriter

PARTITION = "run/server"


def write(root: Path, entries: list[Entry], *, seal: bool = False) -> None:
    writer = SegmentWriter(root / PARTITION, run="run", producer="server")
    for entry in entries:
        writer.append(entry)
    writer.close(seal=seal)


def read_all(log: EmbeddedLog, position: int = 0, **limits: int) -> list[Record]:
    records: list[Record] = []
    while found := log.read({PARTITION: position}, timeout_s=0, **limits):
        records += found
        position = found[-1].next_offset
    return records


def seqs(records: list[Record]) -> list[int]:
    found = []
    for record in records:
        if record.frame is not None and not record.reason:
            event = parse_head(record.frame.head)
            check_side(event, record.side())
            found.append(event.seq)
    return found


def last(root: Path) -> Segment:
    return list_segments(root / PARTITION)[-1]


def test_an_offset_names_segment_and_byte() -> None:
    assert split_offset(offset_of(1024, 77)) == (1024, 77)
    assert offset_of(2**31 - 1, 2**32 - 1) < 2**63, "it must fit a database column"


@pytest.mark.parametrize("max_records", [1, 7, 512, 5_000])
def test_every_event_comes_once_whatever_the_size_of_a_read(
    tmp_path: Path, max_records: int
) -> None:
    maker = Maker()
    count = 60 if max_records == 1 else 1_100
    write(tmp_path, [*maker.opening(), *maker.rounds(count)], seal=True)
    records = read_all(EmbeddedLog(tmp_path), max_records=max_records)
    assert seqs(records) == list(range(maker.seq))
    offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))


def test_a_read_is_bounded_in_bytes_after_its_first_record(tmp_path: Path) -> None:
    maker = Maker(parameters=1_000)
    write(tmp_path, [maker.commit() for _ in range(10)])
    log = EmbeddedLog(tmp_path)
    assert len(log.read({PARTITION: 0}, max_bytes=1)) == 1
    assert 1 < len(log.read({PARTITION: 0}, max_bytes=20_000)) < 5


@pytest.mark.parametrize("window", [1, 100, 1_000, 1 << 20])
def test_the_window_of_a_read_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(embedded, "WINDOW_BYTES", window)
    maker = Maker()
    write(tmp_path, [*maker.opening(), *maker.rounds(10)])
    segment = last(tmp_path)
    with segment.heads.open("ab") as file:
        file.write(b"?" * 3_000 + encode_frame(maker.audit().frame))
    records = read_all(EmbeddedLog(tmp_path))
    assert seqs(records) == list(range(maker.seq))
    (damaged,) = [record for record in records if record.frame is None]
    assert (damaged.size, damaged.raw, damaged.reason) == (3_000, b"?" * 3_000, "not_a_frame")


def test_a_tailing_reader_sees_each_event_when_it_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda handle: None)  # a thousand flushes, one question
    maker, log = Maker(), EmbeddedLog(tmp_path)
    writer = SegmentWriter(tmp_path / PARTITION, run="run", producer="server")
    position, seen = 0, []
    for _ in range(1_100):
        writer.append(maker.commit())
        assert log.read({PARTITION: position}, timeout_s=0) == []
        writer.flush()
        (record,) = log.read({PARTITION: position}, timeout_s=0)
        position = record.next_offset
        seen += seqs([record])
    writer.close()
    assert seen == list(range(1_100))


def test_a_read_waits_for_what_comes(tmp_path: Path) -> None:
    maker = Maker()
    assert EmbeddedLog(tmp_path).read({PARTITION: 0}, timeout_s=0.05) == []
    write(tmp_path, maker.opening())
    assert len(EmbeddedLog(tmp_path).read({PARTITION: 0}, timeout_s=5)) == 3
    assert EmbeddedLog(tmp_path).read({}, timeout_s=0) == []


def test_a_torn_tail_is_told_and_not_passed(tmp_path: Path) -> None:
    maker, log = Maker(), EmbeddedLog(tmp_path)
    write(tmp_path, maker.opening())
    assert log.torn_tail(PARTITION) is None
    torn = encode_frame(maker.audit().frame)[:-1]
    size = last(tmp_path).heads.stat().st_size
    with last(tmp_path).heads.open("ab") as file:
        file.write(torn)
    records = read_all(log)
    assert seqs(records) == [0, 1, 2]
    tail = log.torn_tail(PARTITION)
    assert tail is not None
    assert (tail.raw, tail.size, tail.reason) == (torn, len(torn), "truncated")
    assert tail.offset == offset_of(0, size) == records[-1].next_offset
    # The producer comes back, cuts the tail off, and goes on in its place.
    maker.seq -= 1
    write(tmp_path, maker.rounds(1))
    assert log.torn_tail(PARTITION) is None
    assert seqs(read_all(log, records[-1].next_offset)) == [3, 4]


def test_a_tail_that_is_being_written_is_not_torn(tmp_path: Path) -> None:
    maker, log = Maker(), EmbeddedLog(tmp_path)
    writer = SegmentWriter(tmp_path / PARTITION, run="run", producer="server")
    writer.append(maker.audit())
    writer.flush()
    with last(tmp_path).heads.open("ab") as file:
        file.write(b"rl\1")
    assert log.torn_tail(PARTITION) is None
    writer.close(seal=False)
    assert log.torn_tail(PARTITION) is not None
    assert log.torn_tail("absent/server") is None


def test_a_segment_sealed_while_it_is_read_has_no_torn_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer ends the event and seals at the worst moment for the reader."""
    maker = Maker()
    write(tmp_path, maker.opening(), seal=True)
    segment = last(tmp_path)
    whole, seal = segment.heads.read_bytes(), segment.seal.read_bytes()
    segment.heads.write_bytes(whole[:-5])
    segment.seal.unlink()

    def sealed(self: Segment) -> bool:
        segment.heads.write_bytes(whole)
        segment.seal.write_bytes(seal)
        return True

    monkeypatch.setattr(Segment, "sealed", property(sealed))
    records = EmbeddedLog(tmp_path).read({PARTITION: 0}, timeout_s=0)
    assert [record.reason for record in records] == ["", "", ""]


@pytest.mark.parametrize("closed_by", ["seal", "following segment"])
def test_the_damaged_end_of_a_closed_segment_is_passed_with_its_reason(
    tmp_path: Path, closed_by: str
) -> None:
    maker = Maker()
    write(tmp_path, maker.opening(), seal=True)
    first = last(tmp_path)
    first.heads.write_bytes(first.heads.read_bytes()[:-5])
    if closed_by == "following segment":
        write(tmp_path, [maker.audit()], seal=True)
        first.seal.unlink()
    records = read_all(EmbeddedLog(tmp_path))
    assert [record.reason for record in records][:3] == ["", "", "truncated"]
    assert "000000000000.heads byte" in records[2].detail
    assert seqs(records) == [0, 1] + ([3] if closed_by == "following segment" else [])


def test_every_flipped_bit_of_a_heads_file_costs_one_event_at_most(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [maker.audit() for _ in range(2)], seal=True)
    heads = last(tmp_path).heads
    whole = heads.read_bytes()
    first_end = decode_frame(whole)[1]
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        heads.write_bytes(damaged)
        records = read_all(EmbeddedLog(tmp_path))
        hit = 0 if at < first_end else 1
        assert seqs(records) == [1 - hit], at
        assert sum(record.frame is None for record in records) == 1, at
        assert all(record.reason for record in records if record.frame is None)


def test_a_giant_record_is_passed_and_only_its_beginning_kept(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening())
    giant = os.urandom(1 << 20).replace(b"rl\1\0", b"    ") * 50
    with last(tmp_path).heads.open("ab") as file:
        file.write(giant + encode_frame(maker.audit().frame))
    records = read_all(EmbeddedLog(tmp_path))
    assert seqs(records) == [0, 1, 2, 3]
    (record,) = [record for record in records if record.frame is None]
    assert (record.size, record.raw) == (len(giant), giant[:RAW_LIMIT])


def test_a_missing_row_has_a_reason_and_the_others_come(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [maker.commit(), maker.commit(), maker.audit()])
    vec = last(tmp_path).vec
    vec.write_bytes(vec.read_bytes()[:-1])
    records = read_all(EmbeddedLog(tmp_path))
    assert [record.reason for record in records] == ["", "vec_row", ""]
    assert records[1].frame is not None
    assert "has no row 1" in records[1].detail
    vec.unlink()
    reasons = [record.reason for record in read_all(EmbeddedLog(tmp_path))]
    assert reasons == ["vec_row", "vec_row", ""]
    vec.touch()
    reasons = [record.reason for record in read_all(EmbeddedLog(tmp_path))]
    assert reasons == ["vec_row", "vec_row", ""]


def test_an_unreadable_head_does_not_take_the_rows_of_the_others(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [maker.commit() for _ in range(3)])
    heads = last(tmp_path).heads
    frame, end = decode_frame(heads.read_bytes())
    unreadable = encode_frame(Frame(b"not json", frame.side, frame.origin, frame.row))
    heads.write_bytes(unreadable + heads.read_bytes()[end:])
    records = read_all(EmbeddedLog(tmp_path))
    assert [record.reason for record in records] == ["vec_row", "", ""]
    assert seqs(records) == [1, 2]


def test_producers_are_read_apart(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path)
    one, two = Maker(), Maker(run="other", producer="eval")
    log.append([*one.opening(), *two.opening(), one.audit(), *two.rounds(2)])
    assert log.partitions() == ["other/eval", "run/server"]
    assert len(log.read({"run/server": 0})) == 4
    assert len(log.read({"run/server": 0, "other/eval": 0})) == 11
    assert log.end().keys() == {"run/server", "other/eval"}
    assert log.end()["run/server"] == log.read({"run/server": 0})[-1].next_offset
    log.seal()
    assert all(last_of.sealed for last_of in list_segments(tmp_path / "other" / "eval"))
    log.close()


def test_recovering_cuts_torn_tails_and_counts(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening())
    with last(tmp_path).heads.open("ab") as file:
        file.write(b"torn")
    log = EmbeddedLog(tmp_path)
    found = log.recover()
    assert (found.truncated_bytes, found.damaged_bytes, found.events) == (4, 0, 3)
    assert log.recover() == found
    log.append([maker.audit()])
    log.close()
    assert seqs(read_all(EmbeddedLog(tmp_path))) == [0, 1, 2, 3]


def test_nothing_of_a_batch_is_appended_where_one_event_is_too_large(tmp_path: Path) -> None:
    maker, log = Maker(), EmbeddedLog(tmp_path)
    entries = maker.opening()
    giant = Entry(entries[1].event, Frame(entries[1].frame.head, b"x" * FRAME_LIMIT))
    with pytest.raises(OversizedEventError, match="nothing was appended"):
        log.append([entries[0], giant, entries[2]])
    assert log.partitions() == []
    log.append(entries)
    assert seqs(read_all(log)) == [0, 1, 2]
    log.close()


def test_a_log_that_failed_can_be_appended_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, log = Maker(), EmbeddedLog(tmp_path)
    log.append(maker.opening())
    entries = maker.rounds(2)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(LogError, match="No space left"):
            log.append(entries)
    log.append(entries)
    # At least once: what reached the disk before the failure may stand there twice.
    assert sorted(set(seqs(read_all(log)))) == list(range(7))
    log.close()


def test_a_row_is_read_without_copying_and_outlives_the_log(tmp_path: Path) -> None:
    maker, log = Maker(), EmbeddedLog(tmp_path)
    entry = maker.commit()
    write(tmp_path, [entry])
    (record,) = log.read({PARTITION: 0})
    log.close()
    assert record.delta is not None
    assert record.delta.readonly
    assert bytes(record.delta) == entry.frame.side[:32]
    assert record.side() == entry.frame.side
