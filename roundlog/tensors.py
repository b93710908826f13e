"""What is a model, byte for byte: which tensors, in which order, with which digest?

A model is one flat run of little-endian bytes, tensor after tensor in schema order, without
padding. Its digest covers the schema and those bytes, never a file, so two formats that hold
the same weights have the same digest.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from roundlog.encoding import canonical_json, digest
from roundlog.errors import TensorSchemaError

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

DType = Literal["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8"]
Role = Literal["trainable", "buffer"]

MAX_ELEMENTS = 2**32
"""A patch names elements by 32-bit indices."""


class TensorSpec(BaseModel):
    """One tensor of the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=256)
    """As the training framework calls it, for example `embedding.weight`."""

    dtype: DType
    """Element type; bytes are little-endian."""

    shape: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(max_length=32)
    """Row-major."""

    role: Role = "trainable"
    """`buffer` marks state that no gradient moves, such as batch-norm statistics."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.dtype).newbyteorder("<")


class TensorSchema(BaseModel):
    """The tensors of a model in the order in which their bytes stand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensors: tuple[TensorSpec, ...] = Field(min_length=1)
    """Every tensor, trainable or not; a name stands once."""

    @model_validator(mode="after")
    def _can_be_patched(self) -> Self:
        names = [spec.name for spec in self.tensors]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"tensor {twice!r} stands twice")
        if self.elements >= MAX_ELEMENTS:
            raise ValueError(f"{self.elements:,} elements; a patch can name {MAX_ELEMENTS:,}")
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of this schema."""
        return digest(canonical_json(self.model_dump(mode="json")))

    @cached_property
    def elements(self) -> int:
        return sum(spec.elements for spec in self.tensors)

    @cached_property
    def nbytes(self) -> int:
        return sum(spec.elements * spec.numpy.itemsize for spec in self.tensors)

    @cached_property
    def uniform(self) -> np.dtype[Any] | None:
        """The dtype of all tensors where they share one, else None."""
        kinds = {spec.dtype for spec in self.tensors}
        return self.tensors[0].numpy if len(kinds) == 1 else None

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First byte of each tensor."""
        sizes = [spec.elements * spec.numpy.itemsize for spec in self.tensors]
        return tuple(int(at) for at in np.cumsum([0, *sizes[:-1]]))

    def model_digest(self, model: Array | bytes | memoryview) -> str:
        """Digest of a model: SHA-256 over (schema digest, tensor bytes in schema order).

        Raises:
            TensorSchemaError: As `as_bytes`.
        """
        return digest(self.digest.encode(), self.as_bytes(model).data)

    def as_bytes(self, model: Array | bytes | memoryview) -> Bytes:
        """The model's bytes, shape (nbytes,), whatever the memory layout of what is given.

        Args:
            model: Raw bytes (uint8, little-endian), or an array of any shape in the one dtype
                that all tensors share. A view where the input allows it.

        Raises:
            TensorSchemaError: Another dtype, or not `nbytes` bytes.
        """
        if isinstance(model, np.ndarray):
            uniform = self.uniform
            if model.dtype != np.uint8 and (
                uniform is None or model.dtype.newbyteorder("<") != uniform
            ):
                raise TensorSchemaError(
                    f"the model is an array of {model.dtype}, the schema says "
                    f"{uniform or 'several dtypes: give its bytes, as flatten() does'}"
                )
            dtype = model.dtype.newbyteorder("<")
            flat = np.ascontiguousarray(model, dtype=dtype).reshape(-1).view(np.uint8)
        else:
            flat = np.frombuffer(model, dtype=np.uint8)
        if flat.size != self.nbytes:
            raise TensorSchemaError(f"a model of {flat.size} bytes, the schema says {self.nbytes}")
        return flat

    def flatten(self, tensors: Mapping[str, Array]) -> Bytes:
        """The model's bytes, shape (nbytes,), from one array a tensor.

        Raises:
            TensorSchemaError: A tensor is missing, unknown, or of another shape or dtype.
        """
        if unknown := set(tensors) - {spec.name for spec in self.tensors}:
            raise TensorSchemaError(f"the schema has no tensor named {sorted(unknown)}")
        flat = np.empty(self.nbytes, dtype=np.uint8)
        for spec, start in zip(self.tensors, self.offsets, strict=True):
            if spec.name not in tensors:
                raise TensorSchemaError(f"tensor {spec.name!r} is missing")
            array = np.asarray(tensors[spec.name])
            if array.shape != spec.shape or array.dtype.newbyteorder("<") != spec.numpy:
                raise TensorSchemaError(
                    f"tensor {spec.name!r} is {array.dtype}{list(array.shape)}, the schema says "
                    f"{spec.dtype}{list(spec.shape)}"
                )
            raw = np.ascontiguousarray(array, dtype=spec.numpy).reshape(-1).view(np.uint8)
            flat[start : start + raw.size] = raw
        return flat

    def unflatten(self, model: Array | bytes | memoryview) -> dict[str, Array]:
        """One array a tensor, views where the input allows it.

        Raises:
            TensorSchemaError: As `as_bytes`.
        """
        flat = self.as_bytes(model)
        tensors: dict[str, Array] = {}
        for spec, start in zip(self.tensors, self.offsets, strict=True):
            raw = flat[start : start + spec.elements * spec.numpy.itemsize]
            tensors[spec.name] = raw.view(spec.numpy).reshape(spec.shape)
        return tensors


def schema_of(
    tensors: Mapping[str, Array], *, buffers: frozenset[str] = frozenset()
) -> TensorSchema:
    """The schema of these arrays, in the order in which the mapping gives them.

    Raises:
        TensorSchemaError: A name or dtype that a schema cannot hold, or no arrays at all.
    """
    if unknown := buffers - set(tensors):
        raise TensorSchemaError(f"no tensor is named {sorted(unknown)}, which `buffers` names")
    specs = [
        {
            "name": name,
            "dtype": np.asarray(array).dtype.name,
            "shape": np.asarray(array).shape,
            "role": "buffer" if name in buffers else "trainable",
        }
        for name, array in tensors.items()
    ]
    try:
        return TensorSchema.model_validate({"tensors": specs})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        which = [specs[at]["name"] for at in first["loc"][1:2] if isinstance(at, int)]
        where = f"tensor {which[0]!r}: " if which else ""
        raise TensorSchemaError(f"{where}{first['msg']}, found {first['input']!r}") from error
