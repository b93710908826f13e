"""Are a segment's files read as they are, and never as something else?"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_log import Maker

from roundlog.encoding import Frame, encode_frame
from roundlog.errors import LogError
from roundlog.events import NO_DIGEST
from roundlog.log.segments import Seal, Segment, delta_bytes, list_segments, scan_heads

SEAL = Seal(
    run="run",
    producer="server",
    first_seq=0,
    last_seq=9,
    count=10,
    rows=4,
    row_bytes=32,
    heads_bytes=5_000,
    root="ab" * 32,
    previous=NO_DIGEST,
)


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).touch()


def test_segments_are_listed_by_number(tmp_path: Path) -> None:
    # Thirteen digits sort before twelve nines as text.
    touch(tmp_path, "999999999999.heads", "1000000000000.heads", "000000000000.heads")
    found = list_segments(tmp_path)
    assert [segment.first_seq for segment in found] == [0, 999999999999, 1000000000000]
    assert all(segment.heads.exists() for segment in found)


def test_what_is_no_segment_is_not_listed(tmp_path: Path) -> None:
    touch(tmp_path, "0.heads", "00000000000².heads", "000000000001.vec", "x.heads", ".lock")
    touch(tmp_path, "0000000000001.heads", "-00000000001.heads", "000000000002.heads.part")
    assert list_segments(tmp_path) == []
    assert list_segments(tmp_path / "absent") == []
    assert list_segments(tmp_path / ".lock") == []


def test_a_segment_names_its_three_files(tmp_path: Path) -> None:
    segment = Segment(tmp_path, 1024)
    names = [path.name for path in (segment.heads, segment.vec, segment.seal)]
    assert names == ["000000001024.heads", "000000001024.vec", "000000001024.seal"]
    assert not segment.sealed


def test_a_seal_comes_back(tmp_path: Path) -> None:
    segment = Segment(tmp_path, 0)
    segment.seal.write_bytes(SEAL.encode())
    assert segment.sealed
    assert segment.read_seal() == SEAL


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not a seal"),
        (b"{}", "is not a seal"),
        (SEAL.encode()[:-1], "is not a seal"),
        (SEAL.encode() + b"\n", "not in its canonical bytes"),
        (SEAL.encode().replace(b'"count":10', b'"count":"10"'), "not in its canonical bytes"),
        (SEAL.encode().replace(b"seal/1", b"seal/2"), "is not a seal"),
        (SEAL.encode()[:-1] + b',"more":1}', "is not a seal"),
    ],
)
def test_a_seal_in_any_other_bytes_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    segment = Segment(tmp_path, 0)
    segment.seal.write_bytes(raw)
    with pytest.raises(LogError, match=message):
        segment.read_seal()


FRAMES = [Frame(b"one", b"side"), Frame(b"two", row=3), Frame(b"three", b"x" * 500)]
ENCODED = [encode_frame(frame) for frame in FRAMES]


def scanned(data: bytes) -> list[Any]:
    return [s.frame if s.frame is not None else data[s.offset : s.end] for s in scan_heads(data)]


@given(st.lists(st.binary(max_size=40), min_size=4, max_size=4))
def test_frames_are_found_between_any_damage(damage: list[bytes]) -> None:
    data = damage[0]
    expected: list[Any] = [damage[0]] if damage[0] else []
    for frame, encoded, behind in zip(FRAMES, ENCODED, damage[1:], strict=True):
        data += encoded + behind
        expected += [frame, behind] if behind else [frame]
    assert scanned(data) == expected


def test_stretches_cover_every_byte() -> None:
    data = b"??" + ENCODED[0] + ENCODED[1][:-1] + ENCODED[2] + b"rl\1\0"
    stretches = list(scan_heads(data))
    assert [s.offset for s in stretches] == [0, *[s.end for s in stretches[:-1]]]
    assert stretches[-1].end == len(data)
    assert [s.reason for s in stretches] == ["not_a_frame", "", "checksum", "", "truncated"]


def test_a_damaged_frame_does_not_bring_out_what_it_carries() -> None:
    """Side bytes may hold a whole frame; only the outer one was ever appended."""
    inner = encode_frame(Frame(b'{"type":"fl.round.committed.v1"}'))
    outer = bytearray(encode_frame(Frame(b"outer", inner)))
    outer[21] ^= 1
    assert scanned(bytes(outer) + ENCODED[0]) == [bytes(outer), FRAMES[0]]


def test_the_delta_is_the_first_tail_of_that_name() -> None:
    maker = Maker(parameters=8)
    opened, schema, genesis = maker.opening()
    assert [delta_bytes(entry.frame) for entry in (opened, schema, genesis)] == [0, 0, 0]
    assert delta_bytes(maker.commit().frame) == 32
    assert delta_bytes(Frame(b"no event")) == 0
