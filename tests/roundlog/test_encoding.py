"""Is every frame either whole or refused, and every JSON text read in one way only?"""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roundlog.encoding import (
    FRAME_LIMIT,
    HEAD_LIMIT,
    HEADER,
    Frame,
    canonical_json,
    claimed_end,
    decode_frame,
    digest,
    encode_frame,
    find_frame,
    strict_json,
)
from roundlog.errors import FrameError, HeadError, OversizedEventError

FRAMES = st.builds(
    Frame,
    head=st.binary(max_size=200),
    side=st.binary(max_size=200),
    origin=st.binary(max_size=50),
    row=st.none() | st.integers(0, 2**32 - 2),
)
WHOLE = encode_frame(Frame(b'{"a":1}', b"side", b"origin", 7))


@given(FRAMES, st.binary(max_size=30), st.binary(max_size=30))
def test_a_frame_comes_back_from_any_place_in_a_file(
    frame: Frame, before: bytes, behind: bytes
) -> None:
    encoded = encode_frame(frame)
    assert len(encoded) == len(frame)
    found, end = decode_frame(before + encoded + behind, len(before))
    assert (found, end) == (frame, len(before) + len(encoded))


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(FrameError, match="bytes") as refused:
        decode_frame(WHOLE[:length])
    assert refused.value.reason == "truncated"


def test_every_flipped_bit_is_refused_with_a_reason() -> None:
    reasons = set()
    for at in range(len(WHOLE)):
        for bit in range(8):
            damaged = bytearray(WHOLE)
            damaged[at] ^= 1 << bit
            with pytest.raises(FrameError, match=r"\w") as refused:
                decode_frame(bytes(damaged))
            reasons.add(refused.value.reason)
    assert reasons == {
        "not_a_frame",
        "layout_version",
        "truncated",
        "oversized",
        "checksum",
        "lengths",
    }


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(FrameError, match=r"\w"):
        decode_frame(data)
    assert find_frame(data, 0) is None


@given(st.binary(max_size=100), FRAMES)
def test_reading_finds_its_way_back_behind_damage(damage: bytes, frame: Frame) -> None:
    encoded = encode_frame(frame)
    assert find_frame(damage + encoded, 0) == len(damage)


def test_a_frame_in_a_frame_is_not_found_before_the_outer_one_ends() -> None:
    inner = encode_frame(Frame(b"inner"))
    outer = bytearray(encode_frame(Frame(b"outer", inner)))
    assert claimed_end(bytes(outer), 0) == len(outer)
    assert claimed_end(b"rl\1", 0) is None
    assert claimed_end(b"no frame at all, but long enough", 0) is None


def test_a_search_does_not_depend_on_the_kind_of_buffer() -> None:
    data = b"rl rl\1\0 rl" + WHOLE
    assert find_frame(memoryview(data), 0) == find_frame(data, 0) == len(data) - len(WHOLE)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"x" * (HEAD_LIMIT + 1)),
        Frame(b"x", origin=b"x" * (HEAD_LIMIT + 1)),
        Frame(b"x", b"y" * (FRAME_LIMIT - HEADER.size)),
    ],
    ids=["head", "origin", "frame"],
)
def test_what_is_too_large_is_not_encoded(frame: Frame) -> None:
    with pytest.raises(OversizedEventError, match="the limit is"):
        encode_frame(frame)


def test_the_largest_frame_is_encoded_and_read() -> None:
    frame = Frame(b"x" * HEAD_LIMIT, b"y" * (FRAME_LIMIT - HEADER.size - HEAD_LIMIT))
    encoded = encode_frame(frame)
    assert len(encoded) == FRAME_LIMIT
    assert decode_frame(encoded)[0] == frame


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'[{"b":{"a":1,"a":2}}]', "duplicate_key"),
        (b'{"a":NaN}', "not_finite"),
        (b"Infinity", "not_finite"),
        (b"[-Infinity]", "not_finite"),
        (b"1e999", "not_finite"),
        (b'{"a":9223372036854775808}', "integer"),
        (b"-9223372036854775809", "integer"),
        (b"1" * 5_000, "integer"),
        ('{"a":1}'.encode("utf-16"), "utf8"),
        ('{"a":1}'.encode("utf-16-le"), "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b'"\xff"', "utf8"),
        (b'"\xed\xa0\x80"', "utf8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b"[" * 200_000, "json"),
        (b'{"a":' * 100_000, "json"),
        (b"", "json"),
        (b"{} {}", "json"),
        (b"{'a':1}", "json"),
        (b'"a\nb"', "json"),
        (b"[1,]", "json"),
    ],
)
def test_json_with_more_than_one_reading_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(HeadError, match=r"\w") as refused:
        strict_json(text)
    assert refused.value.reason == reason
    assert len(str(refused.value)) < 300


def test_json_at_the_edges_is_read() -> None:
    text = b'{"a":[9223372036854775807,-9223372036854775808,1.7976931348623157e308,null]}'
    assert strict_json(text) == {
        "a": [2**63 - 1, -(2**63), 1.7976931348623157e308, None],
    }
    assert strict_json(b'"\\ud83d\\ude42 \\\\ud800"') == "🙂 \\ud800"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(JSON)
@example({"b": 1, "a": {"d": -0.0, "c": "é"}})
@settings(max_examples=50)
def test_canonical_json_is_one_text_and_comes_back(value: object) -> None:
    text = canonical_json(value)
    assert strict_json(text) == value
    assert canonical_json(json.loads(text)) == text
    assert canonical_json(strict_json(json.dumps(value, indent=1).encode())) == text


def test_canonical_json_sorts_keys_and_wastes_no_byte() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_has_no_text_for_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": value})


def test_a_digest_covers_its_parts_in_order() -> None:
    assert digest() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(b"a", memoryview(b"bc")) == digest(b"abc") != digest(b"bc", b"a")
