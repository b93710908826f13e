"""What is one server step? The only place where W_t becomes W_{t+1}.

A step is the applied delta in the model's dtype, plus a bit patch: every element where
W_t + delta differs bitwise from the W_{t+1} that the server really holds. Float rounding
makes that 1-2 % of the elements; without the patch a fold drifts away from the truth.
Steps are applied one after the other, never summed first: float sums depend on order.

Processors disagree about NaN payloads, and a training framework may have told its own to flush
subnormal numbers to zero. So the patch also sets every element where either plays a part,
whether this machine needs it or not: the fold gives the same bytes on every machine.

    patch = u32 count, count x u32 element index (ascending), raw bytes of those elements
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from roundlog.errors import FoldError
from roundlog.tensors import Array, Bytes, TensorSchema

EMPTY_PATCH = struct.pack("<I", 0)

Run = tuple[int, int, np.dtype[Any]]
"""First byte, byte behind the last, and the dtype that the tensors between them share."""


@dataclass(frozen=True, slots=True)
class Step:
    """One applied server step: `delta` is as long as the model, `patch` as laid out above."""

    delta: bytes
    patch: bytes

    @property
    def patched(self) -> int:
        """Elements that the patch sets."""
        return int(struct.unpack_from("<I", self.patch)[0])


def difference(before: Array, after: Array, schema: TensorSchema) -> Step:
    """The step that turns `before` into `after`, bit for bit.

    Args:
        before: As `TensorSchema.as_bytes` takes it; same for `after`.

    Raises:
        TensorSchemaError: A model is not as long, or not of the dtype, that the schema says.
    """
    old, new = schema.as_bytes(before), schema.as_bytes(after)
    delta = np.empty(schema.nbytes, dtype=np.uint8)
    indices: list[Array] = []
    values: list[bytes] = []
    first = 0
    for start, stop, dtype in _runs(schema):
        a, b = old[start:stop].view(dtype), new[start:stop].view(dtype)
        d = delta[start:stop].view(dtype)
        with np.errstate(all="ignore"):
            np.subtract(b, a, out=d)
            landed = a + d
        word = np.dtype(f"<u{dtype.itemsize}")
        differs = landed.view(word) != b.view(word)
        if dtype.kind == "f":
            for part in (a, b, d):
                differs |= _depends_on_the_machine(part.view(word), dtype)
        wrong = np.flatnonzero(differs)
        if wrong.size:
            indices.append((wrong + first).astype("<u4"))
            values.append(b[wrong].tobytes())
        first += a.size
    count = sum(part.size for part in indices)
    patch = struct.pack("<I", count) + b"".join(part.tobytes() for part in indices)
    return Step(delta=delta.tobytes(), patch=patch + b"".join(values))


def apply_step(
    model: Bytes, delta: bytes | memoryview | Bytes, patch: bytes | memoryview, schema: TensorSchema
) -> None:
    """Folds one step into `model` in place.

    Args:
        model: Model bytes, shape (schema.nbytes,), writable.
        patch: As laid out above; empty where the event has none.

    Raises:
        FoldError: The delta is not as long as the model, or the patch is malformed. The model
            is as it was.
    """
    change = np.frombuffer(delta, dtype=np.uint8)
    if change.size != schema.nbytes or model.size != schema.nbytes:
        raise FoldError(
            f"a delta of {change.size} bytes for a model of {model.size}; "
            f"the schema says {schema.nbytes}"
        )
    runs = _runs(schema)
    patches = _split_patch(patch, runs, schema) if len(patch) else []
    with np.errstate(all="ignore"):
        for start, stop, dtype in runs:
            part = model[start:stop].view(dtype)
            np.add(part, change[start:stop].view(dtype), out=part)
    for (start, stop, dtype), (where, values) in zip(runs, patches, strict=False):
        model[start:stop].view(dtype)[where] = values


def _split_patch(
    patch: bytes | memoryview, runs: list[Run], schema: TensorSchema
) -> list[tuple[Array, Array]]:
    """For each run the indices inside it, and their values; everything is checked here."""
    if len(patch) < len(EMPTY_PATCH):
        raise FoldError(f"the patch is {len(patch)} bytes long, too short for its count")
    count = struct.unpack_from("<I", patch)[0]
    at = 4 + 4 * count
    if len(patch) < at:
        raise FoldError(f"the patch names {count} elements and is {len(patch)} bytes long")
    indices = np.frombuffer(patch, dtype="<u4", count=count, offset=4).astype(np.int64)
    if count and int(indices.max()) >= schema.elements:
        raise FoldError(f"the patch sets element {int(indices.max())} of {schema.elements}")
    if np.any(indices[1:] <= indices[:-1]):
        raise FoldError("the patch names its elements out of order, or one of them twice")
    found: list[tuple[Array, Array]] = []
    first = 0
    for start, stop, dtype in runs:
        size = (stop - start) // dtype.itemsize
        low, high = np.searchsorted(indices, (first, first + size))
        need = int(high - low) * dtype.itemsize
        if len(patch) < at + need:
            raise FoldError(f"the patch of {count} elements ends after {len(patch)} bytes")
        values = np.frombuffer(patch[at : at + need], dtype=dtype)
        found.append((indices[low:high] - first, values))
        at += need
        first += size
    if at != len(patch):
        raise FoldError(f"{len(patch) - at} bytes are left over behind the patch")
    return found


def _depends_on_the_machine(words: Array, dtype: np.dtype[Any]) -> Array:
    """Which floats, given as unsigned words, are NaN or subnormal; in integers on purpose."""
    kind = np.finfo(dtype)
    word = words.dtype.type
    magnitude = words & word((1 << (kind.bits - 1)) - 1)
    infinity = word(((1 << kind.nexp) - 1) << kind.nmant)
    # Zero wraps round to the largest word, so one comparison finds 1 ... 2^nmant - 1.
    subnormal = (magnitude - word(1)) < word((1 << kind.nmant) - 1)
    found: Array = (magnitude > infinity) | subnormal
    return found


def _runs(schema: TensorSchema) -> list[Run]:
    """Byte ranges that share a dtype, so that a uniform model is one numpy operation."""
    if schema.uniform is not None:
        return [(0, schema.nbytes, schema.uniform)]
    return [
        (start, start + spec.elements * spec.numpy.itemsize, spec.numpy)
        for spec, start in zip(schema.tensors, schema.offsets, strict=True)
    ]
