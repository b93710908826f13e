"""What is one server step? The only place where W_t becomes W_{t+1}.

A step is the applied delta in the model's dtype, plus a bit patch: every element where
W_t + delta differs bitwise from the W_{t+1} that the server really holds. Float rounding
makes that 1-2 % of the elements; without the patch a fold drifts away from the truth.
Steps are applied one after the other, never summed first: float sums depend on order.

    patch = u32 count, count x u32 element index (ascending), raw bytes of those elements
"""

import struct
from dataclasses import dataclass

import numpy as np

from roundlog.errors import FoldError
from roundlog.tensors import Array, Bytes, TensorSchema

EMPTY_PATCH = struct.pack("<I", 0)


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
        before: Model bytes, any shape and dtype of `schema.nbytes` bytes; same for `after`.

    Raises:
        FoldError: A model is not as long as the schema says.
    """
    old, new = _bytes(before, schema), _bytes(after, schema)
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
        wrong = np.flatnonzero(landed.view(word) != b.view(word))
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

    Raises:
        FoldError: The delta is not as long as the model, or the patch is malformed.
    """
    change = np.frombuffer(delta, dtype=np.uint8)
    if change.size != schema.nbytes or model.size != schema.nbytes:
        raise FoldError(
            f"a delta of {change.size} bytes for a model of {model.size}; "
            f"the schema says {schema.nbytes}"
        )
    with np.errstate(all="ignore"):
        for start, stop, dtype in _runs(schema):
            part = model[start:stop].view(dtype)
            np.add(part, change[start:stop].view(dtype), out=part)
    if len(patch) > len(EMPTY_PATCH):
        _apply_patch(model, patch, schema)


def _apply_patch(model: Bytes, patch: bytes | memoryview, schema: TensorSchema) -> None:
    count = struct.unpack_from("<I", patch)[0]
    at = 4 + 4 * count
    if len(patch) < at:
        raise FoldError(f"the patch names {count} elements and is {len(patch)} bytes long")
    indices = np.frombuffer(patch, dtype="<u4", count=count, offset=4).astype(np.int64)
    if count and int(indices.max()) >= schema.elements:
        raise FoldError(f"the patch sets element {int(indices.max())} of {schema.elements}")
    first = 0
    for start, stop, dtype in _runs(schema):
        part = model[start:stop].view(dtype)
        mine = indices[(indices >= first) & (indices < first + part.size)]
        need = mine.size * dtype.itemsize
        if len(patch) < at + need:
            raise FoldError(f"the patch of {count} elements ends after {len(patch)} bytes")
        part[mine - first] = np.frombuffer(patch, dtype=dtype, count=mine.size, offset=at)
        at += need
        first += part.size
    if at != len(patch):
        raise FoldError(f"{len(patch) - at} bytes are left over behind the patch")


def _runs(schema: TensorSchema) -> list[tuple[int, int, np.dtype[np.generic]]]:
    """Byte ranges that share a dtype, so that a uniform model is one numpy operation."""
    if schema.uniform is not None:
        return [(0, schema.nbytes, schema.uniform)]
    return [
        (start, start + spec.elements * spec.numpy.itemsize, spec.numpy)
        for spec, start in zip(schema.tensors, schema.offsets, strict=True)
    ]


def _bytes(model: Array, schema: TensorSchema) -> Bytes:
    flat = np.ascontiguousarray(model).reshape(-1).view(np.uint8)
    if flat.size != schema.nbytes:
        raise FoldError(f"a model of {flat.size} bytes; the schema says {schema.nbytes}")
    return flat
