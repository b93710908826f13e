"""How does an event become bytes, on the wire and on disk, and how do we know they are whole?

One frame carries one event: a 20-byte header, the JSON head, the side bytes, and (on disk
only) where the event came from. The same layout is the value of a Kafka record and the
entry of a `heads` file, so evidence is never re-encoded on its way.

    0  2  magic "rl"            8  4  CRC-32C of all but this field
    2  1  layout version (1)   12  2  head length
    3  1  flags (0)            14  2  origin length
    4  4  body length          16  4  vec row + 1, 0 where the delta is not in a vec file
    20    body = head, side bytes, origin

The checksum finds damage; it proves nothing against a person. Digests and the ledger do that.
"""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

from crc32c import crc32c

from roundlog.errors import FrameError, HeadError, OversizedEventError

HEADER = struct.Struct("<2sBBIIHHI")
MAGIC = b"rl"
LAYOUT_VERSION = 1

# What a frame of this layout begins with: magic, version, flags.
START = MAGIC + bytes((LAYOUT_VERSION, 0))

HEAD_LIMIT = 65_535
"""Bytes; the head's length is a 16-bit field, so one giant JSON cannot stall a reader."""

FRAME_LIMIT = 4_000_000
"""Bytes of a whole frame. Kafka's `max.message.bytes` (4,194,304) also counts batch overhead."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as bytes.

    `head` is the exact JSON that was signed and hashed; `side` its tails in the order that
    the head names them, less the delta where `row` says that it lies in a vec file;
    `origin` is empty on the wire.
    """

    head: bytes
    side: bytes = b""
    origin: bytes = b""
    row: int | None = None

    def __len__(self) -> int:
        return HEADER.size + len(self.head) + len(self.side) + len(self.origin)


def check_size(frame: Frame) -> None:
    """Whether the frame may be sent or stored at all.

    Raises:
        OversizedEventError: Head or origin above 65,535 bytes, or frame above 4,000,000.
    """
    check_lengths(len(frame.head), len(frame.side), len(frame.origin))


def check_lengths(head: int, side: int, origin: int = 0) -> None:
    """As `check_size`, of a frame whose parts have so many bytes."""
    if head > HEAD_LIMIT:
        raise OversizedEventError(what="event head", size=head, limit=HEAD_LIMIT)
    if origin > HEAD_LIMIT:
        raise OversizedEventError(what="event origin", size=origin, limit=HEAD_LIMIT)
    if (size := HEADER.size + head + side + origin) > FRAME_LIMIT:
        raise OversizedEventError(what="event", size=size, limit=FRAME_LIMIT)


def encode_frame(frame: Frame) -> bytes:
    """The frame's bytes, as they go to Kafka or into a `heads` file.

    Raises:
        OversizedEventError: As `check_size`.
    """
    check_size(frame)
    return encode_parts(frame.head, frame.side, frame.origin, frame.row)


def encode_parts(
    head: bytes, side: bytes | memoryview, origin: bytes = b"", row: int | None = None
) -> bytes:
    """As `encode_frame`, of parts whose sizes were checked, and without copying any of them."""
    body = len(head) + len(side) + len(origin)
    lengths = (len(head), len(origin), 0 if row is None else row + 1)
    header = HEADER.pack(MAGIC, LAYOUT_VERSION, 0, body, 0, *lengths)
    crc = crc32c(head, crc32c(header[:8] + header[12:]))
    for part in (side, origin):
        if part:
            crc = crc32c(part, crc)
    header = HEADER.pack(MAGIC, LAYOUT_VERSION, 0, body, crc, *lengths)
    return b"".join((header, head, side, origin))


def decode_frame(data: bytes | memoryview, offset: int = 0) -> tuple[Frame, int]:
    """Reads the frame that starts at `offset`.

    Returns:
        The frame, and the offset right behind it.

    Raises:
        FrameError: `reason` is one of `truncated`, `not_a_frame`, `layout_version`,
            `oversized`, `checksum`, `lengths`.
    """
    view = memoryview(data)
    if len(view) - offset < HEADER.size:
        found = len(view) - offset
        raise FrameError("truncated", f"{found} bytes where a {HEADER.size}-byte header must be")
    magic, version, flags, body, crc, head_length, origin_length, row = HEADER.unpack_from(
        view, offset
    )
    if magic != MAGIC:
        raise FrameError("not_a_frame", "the bytes do not begin with a frame's magic 'rl'")
    if version != LAYOUT_VERSION or flags != 0:
        raise FrameError(
            "layout_version",
            f"frame layout {version}, flags {flags}; this version reads layout {LAYOUT_VERSION}",
        )
    size = HEADER.size + body
    if size > FRAME_LIMIT:
        raise FrameError("oversized", f"the frame claims {size:,} bytes, above {FRAME_LIMIT:,}")
    end = offset + size
    if end > len(view):
        raise FrameError(
            "truncated", f"the frame claims {size:,} bytes, {len(view) - offset:,} are there"
        )
    if head_length + origin_length > body:
        raise FrameError("lengths", "the head and origin are longer than the body that holds them")
    computed = crc32c(bytes(view[offset : offset + 8]) + bytes(view[offset + 12 : offset + 20]))
    if crc32c(view[offset + HEADER.size : end], computed) != crc:
        raise FrameError("checksum", "the frame's CRC-32C does not match its bytes")
    start = offset + HEADER.size
    head_end, side_end = start + head_length, end - origin_length
    frame = Frame(
        head=bytes(view[start:head_end]),
        side=bytes(view[head_end:side_end]),
        origin=bytes(view[side_end:end]),
        row=row - 1 if row else None,
    )
    return frame, end


def claimed_end(data: bytes | memoryview, offset: int) -> int | None:
    """Where the frame at `offset` says that it ends, unchecked; None if it is no frame at all."""
    if len(data) - offset < HEADER.size or bytes(data[offset : offset + 4]) != START:
        return None
    return int(offset + HEADER.size + HEADER.unpack_from(data, offset)[3])


def find_frame(data: bytes | memoryview, offset: int) -> int | None:
    """Offset of the next whole, checksummed frame at or after `offset`; None if there is none."""
    haystack = data if isinstance(data, bytes) else bytes(data)
    while True:
        offset = haystack.find(START, offset)
        if offset < 0:
            return None
        try:
            decode_frame(haystack, offset)
        except FrameError:
            offset += 1
        else:
            return offset


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8, no NaN.

    Raises:
        ValueError: The value holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def strict_json(data: bytes) -> Any:
    """Reads JSON as the standard means it, for input that other people wrote.

    Raises:
        HeadError: `reason` is `utf8`, `json`, `duplicate_key`, `not_finite` (NaN, an infinity, or
            a number that becomes one), `integer` (outside 64 bits) or `surrogate` (half of a
            UTF-16 pair, which no UTF-8 can hold).
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise HeadError("duplicate_key", f"the key {twice!r} stands twice in one object")
        return seen

    def refuse(constant: str) -> Any:
        raise HeadError("not_finite", f"{constant} is not JSON")

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise HeadError("not_finite", f"{text[:32]} is too large for a 64-bit float")
        return number

    def bounded(text: str) -> int:
        # Length first: turning a million digits into an int takes minutes.
        if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
            raise HeadError("integer", f"{text[:32]} does not fit a signed 64-bit integer")
        return number

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeadError("utf8", f"not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_constant=refuse,
            parse_float=finite,
            parse_int=bounded,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise HeadError("json", f"not JSON: {error}") from error
    if _SURROGATE.search(text) and not _is_unicode(value):
        raise HeadError("surrogate", "a string holds half of a UTF-16 surrogate pair")
    return value


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def digest(*parts: bytes | memoryview) -> str:
    """SHA-256 over the parts in order, 64 hex digits."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.hexdigest()
