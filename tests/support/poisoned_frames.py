"""What does a record look like that was made to do harm, or to be misread? Seeded mutations.

Bits, lengths that lie under a right checksum, JSON that is a bomb, text that is no UTF-8, values at
the edge of every type, side bytes that are not those that the head sealed.
"""

import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from crc32c import crc32c
from made_log import Maker

from roundlog.encoding import FRAME_LIMIT, HEADER, Frame, canonical_json, digest, encode_frame
from roundlog.events import (
    CohortSealed,
    ContinuityBreak,
    ModelReleased,
    ProbesPublished,
    RecorderGap,
    RoundFailed,
    SnapshotStored,
)
from roundlog.log.port import Entry

Mutation = Callable[[Frame, random.Random], bytes]

DEEP = 100_000

STRINGS = [
    "",
    "\0",
    "\u202e\u200b",
    "x" * 300,
    "x" * 60_000,
    "../../etc",
    "𝄞" * 80,
    "NaN",
    "$run'; DROP TABLE events; --",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00",
]

VALUES: list[Any] = [
    *STRINGS,
    None,
    True,
    -1,
    0,
    2**31 - 1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    1e308,
    -0.0,
    5e-324,
    0.1,
    [],
    {},
    [[[[]]]],
    {"a": {"b": [1, 2, {"c": None}]}},
    ["x"] * 1000,
]

RAW: list[bytes] = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"9223372036854775808",
    b"1e-999",
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b"[" * DEEP,
    b"[" * 190 + b"]" * 190,
    b'{"a":' * DEEP,
    b"'single'",
    b"01",
    b"",
]


def framed(head: bytes, side: bytes = b"", origin: bytes = b"", row: int | None = None) -> bytes:
    """A frame with a right checksum; a head that is too long for one is cut."""
    return encode_frame(Frame(head[:65_535], side, origin, row))


def flip(frame: Frame, rng: random.Random) -> bytes:
    data = bytearray(encode_frame(frame))
    for _ in range(rng.choice((1, 1, 2, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(frame: Frame, rng: random.Random) -> bytes:
    data = encode_frame(frame)
    return data[: rng.randrange(len(data))]


def grow(frame: Frame, rng: random.Random) -> bytes:
    return encode_frame(frame) + rng.choice((b"\0", encode_frame(frame), rng.randbytes(300)))


def lie(frame: Frame, rng: random.Random) -> bytes:
    """Lengths, row and origin that are not so, under a checksum that is right."""
    data = bytearray(encode_frame(frame))
    magic, version, flags, body, _, head, origin, row = HEADER.unpack_from(data)
    field = rng.choice(("head", "origin", "row", "body", "all"))
    if field in ("head", "all"):
        head = rng.choice((0, 1, head - 1, head + 1, body, 65_535))
    if field in ("origin", "all"):
        origin = rng.choice((1, body - head, body, 65_535))
    if field in ("row", "all"):
        row = rng.choice((1, 2, 2**31, 2**32 - 1))
    if field in ("body", "all"):
        body = rng.choice((0, body - 1, body + 1, FRAME_LIMIT, 2**32 - 1))
    numbers = [max(0, head) & 0xFFFF, max(0, origin) & 0xFFFF, row]
    HEADER.pack_into(data, 0, magic, version, flags, max(0, body), 0, *numbers)
    crc = crc32c(bytes(data[:8]) + bytes(data[12:]))
    HEADER.pack_into(data, 0, magic, version, flags, max(0, body), crc, *numbers)
    return bytes(data)


def spoof_origin(frame: Frame, rng: random.Random) -> bytes:
    """Bytes where ingest keeps the place in a topic, which no producer has to say. (One that looks
    like ours would be believed: whoever writes segments may say where they came from.)"""
    origin = rng.choice(
        (
            b'{"offset":99999999999999999999,"origin":"x"}',
            b'{"offset":-1,"origin":null}',
            b'{"offset":1e400,"origin":{}}',
            b'{"offset":"7","origin":"a/b/c"}',
            b'{"offset":true,"origin":"x"}',
            b'{"offset":7,"origin":"\\ud800"}',
            b'{"offset":7,"origin":"' + b"x" * 60_000 + b'"}',
            b"[" * 60_000,
            b"\xff\xff",
            b"{}",
        )
    )
    return framed(frame.head, frame.side, origin)


def change_value(frame: Frame, rng: random.Random) -> bytes:
    """One field, somewhere in the head, has another value."""
    head = json.loads(frame.head)
    holder, key = rng.choice(_slots(head))
    holder[key] = rng.choice(VALUES)
    return framed(json.dumps(head, ensure_ascii=False).encode(), frame.side)


def change_bytes(frame: Frame, rng: random.Random) -> bytes:
    """One field has a value that only a text can have."""
    head = json.loads(frame.head)
    holder, key = rng.choice(_slots(head))
    holder[key] = "@@"
    return framed(json.dumps(head).encode().replace(b'"@@"', rng.choice(RAW)), frame.side)


def change_keys(frame: Frame, rng: random.Random) -> bytes:
    """A field is gone, is there twice, or is one that nobody knows."""
    head = json.loads(frame.head)
    key = rng.choice(list(head))
    how = rng.choice(("gone", "twice", "unknown", "case"))
    if how == "gone":
        del head[key]
        return framed(canonical_json(head), frame.side)
    added = {"twice": key, "unknown": "extra", "case": key.upper()}[how]
    pair = json.dumps(added).encode() + b":" + json.dumps(head[key]).encode()
    return framed(frame.head[:-1] + b"," + pair + b"}", frame.side)


def change_text(frame: Frame, rng: random.Random) -> bytes:
    """The whole head in another encoding, in another layout, or none at all."""
    text = frame.head.decode()
    head = rng.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-16-le"),
            text.encode("utf-32"),
            b"\xef\xbb\xbf" + frame.head,
            frame.head.replace(b",", b" ,\n", 3),
            frame.head + b" " * 60_000,
            frame.head + b"{}",
            b"null",
            b'"text"',
            b"",
            b"[" * 65_000,
            zlib.compress(frame.head),
        )
    )
    return framed(head, frame.side)


def change_side(frame: Frame, rng: random.Random) -> bytes:
    side = bytearray(frame.side)
    how = rng.choice(("flip", "cut", "grow", "giant", "none"))
    if how == "flip" and side:
        side[rng.randrange(len(side))] ^= 1
    elif how == "cut" and side:
        del side[rng.randrange(len(side)) :]
    elif how == "grow":
        side += rng.randbytes(rng.randint(1, 100))
    elif how == "giant":
        side += bytes(300_000)
    else:
        side.clear()
    return framed(frame.head, bytes(side))


MUTATIONS: list[Mutation] = [
    flip,
    cut,
    grow,
    lie,
    spoof_origin,
    change_value,
    change_bytes,
    change_keys,
    change_text,
    change_side,
]


def _slots(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON value that holds another one."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [(value, key) for key, _ in items] + [slot for _, item in items for slot in _slots(item)]


def every_kind(maker: Maker) -> list[Entry]:
    """One good event of each kind that a recorder says, in order."""
    name = "a" * 64
    inputs, labels = bytes(16), bytes(8)
    probes = {
        "probe_set": "p",
        "role": "clean",
        "digest": digest(inputs, labels),
        "n": 2,
        "width": 2,
    }
    return [
        *maker.opening(),
        maker.commit(),
        maker.audit(),
        maker.unknown(),
        maker.make(RoundFailed, round=1, attempt=0, reason="too few devices", cohort_size=3),
        maker.make(ModelReleased, version="1.0", round=1, digest=name, channel="beta"),
        maker.make(SnapshotStored, round=1, digest=name, location="s3://models/1"),
        maker.make(ProbesPublished, {"inputs": inputs, "labels": labels}, **probes),
        maker.make(CohortSealed, {"sealed": b"secret"}, round=1, rule="ids"),
        maker.make(RecorderGap, reason="the disk failed", expected=1, got=4),
        maker.make(ContinuityBreak, reason="restored", round=4, expected=name, got=name),
    ]


def poisoned(entries: list[Entry], rng: random.Random) -> Iterator[bytes]:
    """Mutations of frames that were good, without end."""
    while True:
        yield rng.choice(MUTATIONS)(rng.choice(entries).frame, rng)
