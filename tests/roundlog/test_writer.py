"""Does what `flush` returned from survive, and is nothing else ever claimed?"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_log import Maker

from roundlog.encoding import FRAME_LIMIT, Frame, decode_frame, digest, encode_frame
from roundlog.errors import HeadError, LogError, LogLockedError, OversizedEventError
from roundlog.events import NO_DIGEST, Event, parse_head
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.files import PART_SUFFIX
from roundlog.log.port import Entry, Recovery
from roundlog.log.segments import EVENTS_PER_SEGMENT, Segment, list_segments, scan_heads
from roundlog.log.writer import SegmentWriter, is_being_written

ROW = 32


def open_writer(directory: Path) -> SegmentWriter:
    return SegmentWriter(directory, run="run", producer="server")


def write(directory: Path, entries: list[Entry], *, seal: bool = False) -> None:
    writer = open_writer(directory)
    for entry in entries:
        writer.append(entry)
    writer.close(seal=seal)


def frames(segment: Segment) -> list[Frame]:
    stretches = scan_heads(segment.heads.read_bytes())
    return [stored.frame for stored in stretches if stored.frame is not None]


def events(directory: Path) -> list[Event]:
    """Every event, after its row was compared with its digest."""
    found = []
    for segment in list_segments(directory):
        vec = segment.vec.read_bytes()
        for frame in frames(segment):
            event = parse_head(frame.head)
            row = b"" if frame.row is None else vec[frame.row * ROW : (frame.row + 1) * ROW]
            if not any(tail.erasable for tail in event.tails):
                assert digest(row + frame.side) == event.sha256
            found.append(event)
    return found


def seqs(directory: Path) -> list[int]:
    return [event.seq for event in events(directory)]


def test_events_come_back_with_their_rows(tmp_path: Path) -> None:
    maker = Maker()
    entries = [*maker.opening(), *maker.rounds(5)]
    write(tmp_path, entries)
    assert events(tmp_path) == [entry.event for entry in entries]


def test_a_segment_is_full_after_1024_events(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [maker.audit() for _ in range(2 * EVENTS_PER_SEGMENT + 1)], seal=True)
    segments = list_segments(tmp_path)
    assert [segment.first_seq for segment in segments] == [0, 1024, 2048]
    assert [segment.read_seal().count for segment in segments] == [1024, 1024, 1]


def test_seals_are_chained_and_hold_the_root_of_the_exact_heads(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [*maker.opening(), *maker.rounds(1_100)], seal=True)
    previous = NO_DIGEST
    for segment in list_segments(tmp_path):
        seal = segment.read_seal()
        heads = [frame.head for frame in frames(segment)]
        assert seal.previous == previous
        assert seal.root == MerkleTree(heads).root()
        assert seal.heads_bytes == segment.heads.stat().st_size
        assert seal.rows * seal.row_bytes == segment.vec.stat().st_size
        assert (seal.first_seq, seal.count) == (segment.first_seq, len(heads))
        assert seal.last_seq == seal.first_seq + seal.count - 1
        previous = digest(segment.seal.read_bytes())


def test_rows_of_another_length_begin_a_new_segment(tmp_path: Path) -> None:
    small, large = Maker(parameters=8), Maker(parameters=16)
    first = [small.commit(), small.audit(), small.commit()]
    large.seq, large.prev = small.seq, small.prev
    write(tmp_path, [*first, large.audit(), large.commit()], seal=True)
    seals = [segment.read_seal() for segment in list_segments(tmp_path)]
    assert [(seal.count, seal.rows, seal.row_bytes) for seal in seals] == [(4, 2, 32), (1, 1, 64)]


def test_a_sealed_segment_is_never_written_again(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening(), seal=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix}
    write(tmp_path, maker.rounds(2), seal=True)
    assert [segment.first_seq for segment in list_segments(tmp_path)] == [0, 3]
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
    assert seqs(tmp_path) == list(range(7))


def test_an_open_segment_goes_on(tmp_path: Path) -> None:
    maker = Maker()
    for entries in (maker.opening(), maker.rounds(2), maker.rounds(2)):
        write(tmp_path, entries)
    writer = open_writer(tmp_path)
    assert (writer.next_seq, writer.last_digest) == (maker.seq, maker.prev)
    assert writer.recovery == Recovery(events=11)
    assert writer.position() == (
        0,
        Segment(tmp_path, 0).heads.stat().st_size,
        Segment(tmp_path, 0).vec.stat().st_size,
    )
    seal = writer.seal()
    writer.close()
    assert seal is not None
    assert seal.root == MerkleTree(frame.head for frame in frames(Segment(tmp_path, 0))).root()
    assert seqs(tmp_path) == list(range(11))


def test_a_crash_between_the_last_event_and_the_seal_costs_nothing(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, [maker.audit() for _ in range(EVENTS_PER_SEGMENT)])
    assert not Segment(tmp_path, 0).sealed
    write(tmp_path, [maker.audit()])
    assert Segment(tmp_path, 0).read_seal().count == EVENTS_PER_SEGMENT
    assert [segment.first_seq for segment in list_segments(tmp_path)] == [0, EVENTS_PER_SEGMENT]


def test_recovery_cuts_to_the_last_whole_head_at_every_byte_of_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some thousand recoveries; how long the disk takes for each is not the question here.
    monkeypatch.setattr(os, "fdatasync", lambda handle: None)
    maker = Maker()
    write(tmp_path, [maker.commit(), maker.commit()])
    heads = Segment(tmp_path, 0).heads.read_bytes()
    vec = Segment(tmp_path, 0).vec.read_bytes()
    _, second = decode_frame(heads)
    for cut in range(len(heads) + 1):
        directory = tmp_path / str(cut)
        directory.mkdir()
        segment = Segment(directory, 0)
        segment.heads.write_bytes(heads[:cut])
        segment.vec.write_bytes(vec)
        writer = open_writer(directory)
        whole = (cut >= second) + (cut == len(heads))
        assert writer.next_seq == whole, cut
        assert segment.heads.read_bytes() == heads[: (0, second, len(heads))[whole]], cut
        assert segment.vec.read_bytes() == vec[: whole * ROW], cut
        assert writer.recovery.events == whole
        assert writer.recovery.damaged_bytes == 0
        cut_off = cut - segment.heads.stat().st_size + (2 - whole) * ROW
        assert writer.recovery.truncated_bytes == cut_off, cut
        writer.close(seal=False)


@pytest.mark.parametrize("length", range(4 * ROW))
def test_recovery_cuts_rows_without_a_head_and_never_builds_on_missing_ones(
    tmp_path: Path, length: int
) -> None:
    maker = Maker()
    write(tmp_path, [maker.commit(), maker.commit()])
    segment = Segment(tmp_path, 0)
    vec = segment.vec.read_bytes()
    damaged = (vec + b"unacknowledged" * 5)[:length]
    segment.vec.write_bytes(damaged)
    after = maker.commit()
    write(tmp_path, [after])
    if length >= len(vec):
        assert len(list_segments(tmp_path)) == 1
        assert segment.vec.read_bytes()[: len(vec)] == vec
        assert seqs(tmp_path) == [0, 1, 2]
    else:
        # Appending would put the new row where an old one is missing.
        assert [s.first_seq for s in list_segments(tmp_path)] == [0, 2]
        assert segment.vec.read_bytes() == damaged
        new = Segment(tmp_path, 2)
        assert new.vec.read_bytes() == after.frame.side[:ROW]
        assert frames(new)[0].row == 0


def test_damage_between_whole_events_stays_as_evidence(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening())
    segment = Segment(tmp_path, 0)
    with segment.heads.open("ab") as file:
        file.write(b"not an event")
    damaged = segment.heads.read_bytes()
    entry = maker.audit()
    with segment.heads.open("ab") as file:
        file.write(encode_frame(entry.frame))
        file.write(b"torn")
    writer = open_writer(tmp_path)
    assert writer.recovery == Recovery(truncated_bytes=4, damaged_bytes=12, events=4)
    writer.append(maker.audit())
    seal = writer.seal()
    writer.close()
    assert segment.heads.read_bytes().startswith(damaged)
    assert seqs(tmp_path) == [0, 1, 2, 3, 4]
    assert seal is not None
    assert (seal.count, seal.heads_bytes) == (5, segment.heads.stat().st_size)


def rewrite(segment: Segment, change: Callable[[int, Frame], Frame]) -> None:
    changed = [change(at, frame) for at, frame in enumerate(frames(segment))]
    segment.heads.write_bytes(b"".join(encode_frame(frame) for frame in changed))


@pytest.mark.parametrize("which", [[0], [1], [0, 1], [3], [2, 3]])
def test_heads_that_cannot_be_read_do_not_cost_a_row(tmp_path: Path, which: list[int]) -> None:
    """The length of a row stands in the heads; an unreadable one must not mean length 0."""
    maker = Maker()
    write(tmp_path, [maker.commit() for _ in range(4)])
    segment = Segment(tmp_path, 0)
    vec = segment.vec.read_bytes()
    rewrite(
        segment,
        lambda at, f: Frame(b"not json", f.side, f.origin, f.row) if at in which else f,
    )
    writer = open_writer(tmp_path)
    assert segment.vec.read_bytes() == vec
    assert writer.next_seq == max(at for at in range(4) if at not in which) + 1
    writer.close()


def test_rows_whose_length_nobody_knows_are_left_alone(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening(), seal=True)
    write(tmp_path, [maker.commit(), maker.commit()])
    segment = Segment(tmp_path, 3)
    vec = segment.vec.read_bytes()
    rewrite(segment, lambda at, f: Frame(b"not json", f.side, f.origin, f.row))
    heads = segment.heads.read_bytes()
    writer = open_writer(tmp_path)
    assert writer.next_seq == 3, "the last event that can be read was 2"
    writer.append(maker.audit())
    writer.close()
    assert (segment.heads.read_bytes(), segment.vec.read_bytes()) == (heads, vec)
    assert len(list_segments(tmp_path)) == 3


def test_an_empty_last_segment_takes_the_count_from_the_ones_before(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening(), seal=True)
    for first_seq in (3, 4):
        Segment(tmp_path, first_seq).heads.touch()
        Segment(tmp_path, first_seq).vec.touch()
    writer = open_writer(tmp_path)
    assert (writer.next_seq, writer.last_digest) == (3, maker.prev)
    writer.append(maker.audit())
    writer.close()
    assert seqs(tmp_path) == [0, 1, 2, 3]
    assert Segment(tmp_path, 4).read_seal().last_seq == 3


def test_a_late_event_does_not_turn_the_count_back(tmp_path: Path) -> None:
    maker = Maker()
    entries = [*maker.opening(), *maker.rounds(2)]
    write(tmp_path, [*entries[:1], *entries[2:]], seal=True)
    write(tmp_path, [entries[1]], seal=True)  # fills the gap, in a segment of its own
    writer = open_writer(tmp_path)
    assert (writer.next_seq, writer.last_digest) == (maker.seq, maker.prev)
    writer.close()
    assert seqs(tmp_path) == [0, 2, 3, 4, 5, 6, 1]


def test_a_seal_that_a_crash_cut_short_is_made_again(tmp_path: Path) -> None:
    maker = Maker()
    write(tmp_path, maker.opening())
    (tmp_path / f"000000000000.seal.99{PART_SUFFIX}").write_bytes(b"{")
    write(tmp_path, [], seal=True)
    assert Segment(tmp_path, 0).read_seal().count == 3
    assert not list(tmp_path.glob(f"*{PART_SUFFIX}"))


APPEND = """
import sys, pathlib
from made_log import Maker
from roundlog.log.writer import SegmentWriter
writer = SegmentWriter(pathlib.Path(sys.argv[1]), run="run", producer="server")
maker = Maker()
while True:
    for entry in maker.rounds(20):
        writer.append(entry)
    writer.flush()
    print(maker.seq, flush=True)
"""


@pytest.mark.parametrize("batches", [1, 7, 40])
def test_a_killed_writer_loses_nothing_that_was_flushed(tmp_path: Path, batches: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(batches)]
        with pytest.raises(LogLockedError, match="another process appends"):
            open_writer(tmp_path)
        assert is_being_written(tmp_path)
        process.kill()
        lines += process.stdout.readlines()
    assert not is_being_written(tmp_path)
    flushed = max(int(line) for line in lines if line.endswith("\n"))
    writer = open_writer(tmp_path)
    assert writer.next_seq >= flushed
    assert seqs(tmp_path) == list(range(writer.next_seq))
    assert writer.recovery.damaged_bytes == 0
    writer.close()


def test_what_is_too_large_leaves_no_trace(tmp_path: Path) -> None:
    maker = Maker()
    writer = open_writer(tmp_path)
    entry = maker.audit()
    giant = Entry(entry.event, Frame(entry.frame.head, b"x" * FRAME_LIMIT))
    with pytest.raises(OversizedEventError, match="the limit is 4,000,000"):
        writer.append(giant)
    with pytest.raises(OversizedEventError, match="origin"):
        writer.append(entry, origin=b"x" * 70_000)
    assert list_segments(tmp_path) == []
    writer.append(entry)
    writer.close()
    assert seqs(tmp_path) == [0]


def test_an_oversized_event_does_not_seal_a_full_segment(tmp_path: Path) -> None:
    maker = Maker()
    writer = open_writer(tmp_path)
    for _ in range(EVENTS_PER_SEGMENT):
        writer.append(maker.audit())
    with pytest.raises(OversizedEventError, match="origin"):
        writer.append(maker.audit(), origin=b"x" * 70_000)
    assert not Segment(tmp_path, 0).sealed
    writer.close()


def test_side_bytes_that_end_inside_the_delta_are_refused(tmp_path: Path) -> None:
    """One short row would shift every row behind it."""
    maker = Maker()
    entry = maker.commit()
    writer = open_writer(tmp_path)
    with pytest.raises(HeadError, match="the delta alone is 32"):
        writer.append(Entry(entry.event, Frame(entry.frame.head, entry.frame.side[: ROW - 1])))
    writer.append(entry)
    writer.close()
    assert seqs(tmp_path) == [0]


@pytest.mark.parametrize("name", ["..", "a/b", "", "a\0b", ".hidden", "-x", "x" * 65, "a\n"])
def test_a_name_cannot_leave_its_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogError, match="cannot name a run or producer"):
        SegmentWriter(tmp_path / "segments" / name, run=name, producer="server")
    assert not (tmp_path / "segments").exists()


def test_a_full_disk_stops_the_writer_until_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker()
    writer = open_writer(tmp_path)
    first, lost = maker.opening(), maker.rounds(1)
    for entry in first:
        writer.append(entry)
    writer.flush()
    for entry in lost:
        writer.append(entry)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        with pytest.raises(LogError, match=r"No space left.*2 event\(s\) are not on disk"):
            writer.flush()
    for action in (writer.flush, writer.seal, lambda: writer.append(lost[0]), writer.close):
        with pytest.raises(LogError, match="failed before; reopen it"):
            action()
    again = open_writer(tmp_path)
    assert again.next_seq == 3
    for entry in lost:
        again.append(entry)
    again.close()
    assert seqs(tmp_path) == [0, 1, 2, 3, 4]


def test_a_seal_that_cannot_be_written_is_an_error_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = Maker()
    writer = open_writer(tmp_path)
    for entry in maker.opening():
        writer.append(entry)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LogError, match="could not be written: No space left"):
            writer.close()
    write(tmp_path, [], seal=True)
    assert Segment(tmp_path, 0).read_seal().count == 3


def test_closing_twice_is_quiet_and_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.close()
    writer.close()
    assert list_segments(tmp_path) == []
    with pytest.raises(LogError, match="is closed"):
        writer.append(Maker().audit())


def test_a_directory_that_cannot_be_made_is_an_error_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(LogError, match="cannot be made"):
        open_writer(tmp_path / "run" / "server")
