"""What do devices run, where it is not the master weights? Weights of 4 bits, a scale a channel.

A server trains W_t and ships Q(W_t). The two answer differently, and a backdoor may live in one
and not in the other, so both have a digest in the record. Q is a function of W_t alone, computed
here for whoever records, simulates or probes; its values are given as float32, in the model's own
schema, so that the artefact is probed as any model is.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from roundlog.tensors import Array, Bytes, TensorSchema

Broadcast = Literal["float32", "int4"]

LEVELS = 7
"""Largest magnitude of a 4-bit weight; -8 stays unused, so that Q(-W) = -Q(W)."""


def int4_per_channel(model: Array, schema: TensorSchema) -> Bytes:
    """Q(W): every float32 matrix rounded to 15 levels, with one scale for each output channel.

    A channel is a column (the last axis). Its scale is its largest magnitude / 7, in float32;
    ties are rounded to even. Tensors of one axis, and of other dtypes, stay as they are.

    Args:
        model: As `TensorSchema.as_bytes` takes it.

    Returns:
        Bytes of Q(W), shape (schema.nbytes,).

    References:
        Jacob et al., "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", CVPR 2018: symmetric, per channel.
    """
    artefact = schema.as_bytes(model).copy()
    for spec, start in zip(schema.tensors, schema.offsets, strict=True):
        if spec.dtype != "float32" or len(spec.shape) < 2 or not spec.elements:
            continue
        stop = start + spec.elements * spec.numpy.itemsize
        weights = artefact[start:stop].view(spec.numpy).reshape(-1, spec.shape[-1])
        with np.errstate(all="ignore"):
            scale = np.abs(weights).max(axis=0) / np.float32(LEVELS)
            levels = np.rint(weights / np.where(scale > 0, scale, np.float32(1)))
            weights[:] = levels * scale
    return artefact


def as_broadcast(kind: Broadcast) -> Callable[[Array, TensorSchema], Bytes]:
    """From master weights to what devices run."""
    return int4_per_channel if kind == "int4" else (lambda model, schema: schema.as_bytes(model))
