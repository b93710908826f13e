"""Are two models with the same weights the same bytes, however they lie in memory?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from roundlog.errors import TensorSchemaError
from roundlog.tensors import TensorSchema, TensorSpec, schema_of

MODEL = {
    "embedding.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "bias": np.array([1.5, -0.0], dtype=np.float32),
}
MIXED: dict[str, Any] = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "mask": np.array([1, 2, 3], dtype=np.int8),
    "seen": np.array(7, dtype=np.int64),
    "mean": np.array([0.5, -1], dtype=np.float16),
    "empty": np.empty((0, 3), dtype=np.float64),
}


@pytest.mark.parametrize("tensors", [MODEL, MIXED], ids=["uniform", "mixed"])
def test_a_model_comes_back_from_its_bytes(tensors: dict[str, Any]) -> None:
    schema = schema_of(tensors)
    flat = schema.flatten(tensors)
    assert flat.size == schema.nbytes == sum(array.nbytes for array in tensors.values())
    for given_as in (flat, flat.tobytes(), flat.data):
        back = schema.unflatten(given_as)
        assert list(back) == list(tensors)
        for name, array in tensors.items():
            assert back[name].dtype == array.dtype
            assert back[name].shape == array.shape
            assert back[name].tobytes() == array.tobytes()


def test_offsets_are_where_the_bytes_stand() -> None:
    schema = schema_of(MIXED, buffers=frozenset({"seen"}))
    assert schema.offsets == (0, 24, 27, 35, 39)
    assert schema.elements == 6 + 3 + 1 + 2
    assert schema.uniform is None
    assert [spec.role for spec in schema.tensors].count("buffer") == 1


def test_the_digest_does_not_depend_on_the_memory_layout() -> None:
    weights = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    schema = schema_of({"w": weights})
    wide = np.zeros((6, 16), dtype=np.float32)
    wide[:, ::2] = weights
    expected = schema.model_digest(weights.tobytes())
    layouts = {
        "fortran order": np.asfortranarray(weights),
        "every second column": wide[:, ::2],
        "reversed twice": weights[::-1].copy()[::-1],
        "big-endian": weights.astype(">f4"),
        "flat": weights.reshape(-1),
        "bytes": weights.reshape(-1).view(np.uint8),
        "read-only": np.frombuffer(weights.tobytes(), dtype=np.float32),
    }
    for name, layout in layouts.items():
        assert schema.model_digest(layout) == expected, name
        assert schema.as_bytes(layout).tobytes() == weights.tobytes(), name
    assert schema.model_digest(schema.flatten({"w": weights.astype(">f4")})) == expected


def test_the_digest_covers_the_schema() -> None:
    weights = np.ones(4, dtype=np.float32)
    named, shaped = schema_of({"v": weights}), schema_of({"w": weights.reshape(2, 2)})
    assert len({s.model_digest(weights) for s in (schema_of({"w": weights}), named, shaped)}) == 3


def test_one_bit_makes_another_digest() -> None:
    weights = np.array([0.0, 1.0], dtype=np.float32)
    schema = schema_of({"w": weights})
    other = np.array([-0.0, 1.0], dtype=np.float32)
    assert schema.model_digest(weights) != schema.model_digest(other)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (np.zeros(15, dtype=np.float32), "60 bytes, the schema says 56"),
        (np.zeros(7, dtype=np.float64), "array of float64, the schema says float32"),
        (np.zeros(14, dtype=np.int32), "array of int32, the schema says float32"),
        (b"short", "5 bytes, the schema says 56"),
    ],
)
def test_a_model_that_is_not_the_schemas_is_refused(model: Any, message: str) -> None:
    schema = schema_of(MODEL)
    with pytest.raises(TensorSchemaError, match=message):
        schema.model_digest(model)
    with pytest.raises(TensorSchemaError, match=message):
        schema.unflatten(model)


def test_a_model_of_several_dtypes_must_come_as_bytes() -> None:
    schema = schema_of({"a": np.zeros(2, dtype=np.float32), "b": np.zeros(1, dtype=np.float64)})
    with pytest.raises(TensorSchemaError, match="several dtypes: give its bytes"):
        schema.as_bytes(np.zeros(2, dtype=np.float64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"bias": np.zeros(3, dtype=np.float32)},
            r"'bias' is float32\[3\], the schema says float32\[2\]",
        ),
        ({"bias": np.zeros(2, dtype=np.float64)}, "'bias' is float64"),
        ({"extra": np.zeros(1, dtype=np.float32)}, "no tensor named .*extra"),
        ({"bias": None}, "'bias' is missing"),
    ],
)
def test_a_mismatch_names_the_tensor(change: dict[str, Any], message: str) -> None:
    schema = schema_of(MODEL)
    tensors = {name: array for name, array in (MODEL | change).items() if array is not None}
    with pytest.raises(TensorSchemaError, match=message):
        schema.flatten(tensors)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"flag": np.zeros(2, dtype=bool)}, "tensor 'flag': .*found 'bool'"),
        ({"z": np.zeros(2, dtype=np.complex64)}, "tensor 'z': .*found 'complex64'"),
        ({"": np.zeros(2, dtype=np.float32)}, "tensor '': .*at least 1 character"),
        ({}, "at least 1 item"),
    ],
)
def test_arrays_that_no_schema_can_hold_are_refused_by_name(
    tensors: dict[str, Any], message: str
) -> None:
    with pytest.raises(TensorSchemaError, match=message):
        schema_of(tensors)


def test_a_buffer_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(TensorSchemaError, match=r"no tensor is named .*typo"):
        schema_of(MODEL, buffers=frozenset({"typo"}))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([{"name": "w", "dtype": "float32", "shape": [-1]}], "greater than or equal to 0"),
        ([{"name": "w", "dtype": "float32", "shape": [2**40]}], "less than 4294967296"),
        ([{"name": "w", "dtype": "float32", "shape": [2**31, 2**31, 4]}], "a patch can name"),
        ([{"name": "w", "dtype": "float32", "shape": [1] * 33}], "at most 32"),
        ([{"name": "w", "dtype": "object", "shape": [1]}], "Input should be 'float32'"),
        ([{"name": "w", "dtype": "int8", "shape": [1]}] * 2, "'w' stands twice"),
        ([], "at least 1 item"),
    ],
)
def test_a_schema_from_elsewhere_cannot_ask_for_the_impossible(
    tensors: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TensorSchema.model_validate({"tensors": tensors})


@given(st.lists(st.integers(0, 5), max_size=4))
def test_elements_are_counted_without_overflow(shape: list[int]) -> None:
    spec = TensorSpec(name="w", dtype="float16", shape=tuple(shape))
    assert spec.elements == np.zeros(shape, dtype=np.int8).size
