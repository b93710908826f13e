"""Does every recorded step lead to exactly the bytes that the server held?"""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from roundlog.errors import FoldError, TensorSchemaError
from roundlog.fold import EMPTY_PATCH, Step, apply_step, difference
from roundlog.tensors import TensorSchema, TensorSpec, schema_of

FLOATS = ["float16", "float32", "float64"]
DTYPES = [*FLOATS, "int8", "int16", "int32", "int64", "uint8"]


def fold(before: bytes, step: Step, schema: TensorSchema) -> bytes:
    model = np.frombuffer(before, dtype=np.uint8).copy()
    apply_step(model, step.delta, step.patch, schema)
    return model.tobytes()


def one(dtype: str, size: int) -> TensorSchema:
    return TensorSchema.model_validate(
        {"tensors": [{"name": "w", "dtype": dtype, "shape": [size]}]}
    )


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_any_bytes_become_any_other_bytes(dtype: str, data: st.DataObject) -> None:
    """Raw bits, so that NaN payloads, infinities, -0.0 and subnormal numbers are all among them."""
    size = data.draw(st.integers(0, 20))
    schema = one(dtype, size)
    before = data.draw(st.binary(min_size=schema.nbytes, max_size=schema.nbytes))
    after = data.draw(st.binary(min_size=schema.nbytes, max_size=schema.nbytes))
    step = difference(
        np.frombuffer(before, dtype=np.uint8), np.frombuffer(after, dtype=np.uint8), schema
    )
    assert fold(before, step, schema) == after


@given(
    arrays.arrays(np.float32, 50, elements=st.floats(width=32)),
    arrays.arrays(np.float32, 50, elements=st.floats(width=32)),
)
@example(np.full(50, np.inf, np.float32), np.full(50, -np.inf, np.float32))
@example(np.full(50, np.nan, np.float32), np.full(50, 1, np.float32))
@example(np.full(50, 0.0, np.float32), np.full(50, -0.0, np.float32))
@example(np.full(50, 3e38, np.float32), np.full(50, -3e38, np.float32))
@example(np.full(50, 1e-45, np.float32), np.full(50, 0, np.float32))
def test_floats_at_the_edges_are_bit_exact(before: Any, after: Any) -> None:
    schema = one("float32", 50)
    step = difference(before, after, schema)
    assert fold(before.tobytes(), step, schema) == after.tobytes()


SPECS = st.lists(
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=2)),
    min_size=1,
    max_size=6,
)


@given(SPECS, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_tensors_of_several_dtypes_fold_at_any_alignment(specs: Any, random: Any) -> None:
    schema = TensorSchema(
        tensors=tuple(
            TensorSpec(name=str(i), dtype=dtype, shape=tuple(shape))
            for i, (dtype, shape) in enumerate(specs)
        )
    )
    models = [random.randbytes(schema.nbytes) for _ in range(4)]
    model = models[0]
    for after in models[1:]:
        step = difference(
            np.frombuffer(model, dtype=np.uint8), np.frombuffer(after, dtype=np.uint8), schema
        )
        model = fold(model, step, schema)
        assert model == after


@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_is_patched_and_the_patch_is_small(dtype: str) -> None:
    rng = np.random.default_rng(5)
    before = rng.normal(size=20_000).astype(dtype)
    # A server computes the step in more digits than it keeps of the weights.
    update = rng.normal(size=20_000).astype(np.longdouble) / 300
    after = (before + update).astype(dtype)
    schema = one(dtype, 20_000)
    step = difference(before, after, schema)
    assert 0 < step.patched < 0.05 * 20_000
    assert len(step.patch) == 4 + step.patched * (4 + before.itemsize)
    assert fold(before.tobytes(), step, schema) == after.tobytes()


def test_a_thousand_steps_do_not_drift() -> None:
    rng = np.random.default_rng(6)
    weights = rng.normal(size=300).astype(np.float32)
    schema = one("float32", 300)
    model = weights.view(np.uint8).copy()
    for _ in range(1_000):
        after = weights + rng.normal(size=300).astype(np.float32) * np.float32(0.01)
        step = difference(weights, after, schema)
        apply_step(model, step.delta, step.patch, schema)
        weights = after
        assert model.tobytes() == weights.tobytes()


def test_integers_wrap_round() -> None:
    schema = one("int8", 2)
    before, after = np.array([127, -128], np.int8), np.array([-128, 127], np.int8)
    step = difference(before, after, schema)
    assert step.patch == EMPTY_PATCH
    assert fold(before.tobytes(), step, schema) == after.tobytes()


@pytest.mark.parametrize(
    "kind", ["nan", "negative nan with payload", "subnormal after", "subnormal before"]
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_processors_disagree_about_is_always_patched(dtype: str, kind: str) -> None:
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    before, after = np.ones(3, dtype), np.ones(3, dtype)
    if kind == "nan":
        before[1] = after[1] = np.nan
    elif kind == "subnormal after":
        after.view(word)[1] = 1
    elif kind == "subnormal before":
        before.view(word)[1], after[1] = 1, 0
    else:
        after.view(word)[1] = np.iinfo(word).max
    step = difference(before, after, one(dtype, 3))
    assert step.patched == 1
    assert step.patch[4:8] == struct.pack("<I", 1)
    assert step.patch[8:] == after[1:2].tobytes()


def test_plain_numbers_and_zeros_need_no_patch() -> None:
    before = np.array([0.0, 1.0, -2.0, 1e-30, np.inf], np.float32)
    step = difference(before, before.copy(), one("float32", 5))
    # inf - inf is NaN: what lands is not the infinity, so that one is set by the patch.
    assert step.patched == 1
    assert difference(before[:4], before[:4].copy(), one("float32", 4)).patch == EMPTY_PATCH


def test_layouts_in_memory_make_no_difference() -> None:
    rng = np.random.default_rng(7)
    before = rng.normal(size=(4, 6)).astype(np.float32)
    after = rng.normal(size=(4, 6)).astype(np.float32)
    schema = schema_of({"w": before})
    expected = difference(before, after, schema)
    assert difference(np.asfortranarray(before), after.astype(">f4"), schema) == expected
    assert difference(before.reshape(-1), after.view(np.uint8), schema) == expected


def test_what_goes_in_is_not_changed() -> None:
    before, after = np.ones(4, np.float32), np.full(4, 3, np.float32)
    before.setflags(write=False)
    after.setflags(write=False)
    difference(before, after, one("float32", 4))
    assert before.tolist() == [1] * 4
    assert after.tolist() == [3] * 4


MODEL = np.array([1, 2, 3, 4], np.float32)
SCHEMA = one("float32", 4)
ZERO = bytes(16)
VALUE = struct.pack("<f", 9)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (b"\0\0", "2 bytes long, too short"),
        (struct.pack("<I", 1), "names 1 elements and is 4 bytes long"),
        (struct.pack("<I", 2**32 - 1), "names 4294967295 elements"),
        (struct.pack("<II", 1, 4) + VALUE, "sets element 4 of 4"),
        (struct.pack("<II", 1, 2**32 - 1) + VALUE, "sets element 4294967295 of 4"),
        (struct.pack("<II", 1, 0) + VALUE[:3], "ends after 11 bytes"),
        (struct.pack("<II", 1, 0) + VALUE + b"\0", "1 bytes are left over"),
        (struct.pack("<I", 0) + VALUE, "4 bytes are left over"),
        (struct.pack("<III", 2, 1, 1) + 2 * VALUE, "out of order, or one of them twice"),
        (struct.pack("<III", 2, 2, 1) + 2 * VALUE, "out of order"),
    ],
)
def test_a_malformed_patch_is_refused_and_the_model_stays(patch: bytes, message: str) -> None:
    model = MODEL.view(np.uint8).copy()
    with pytest.raises(FoldError, match=message):
        apply_step(model, MODEL.tobytes(), patch, SCHEMA)
    assert model.tobytes() == MODEL.tobytes()


@given(st.binary(max_size=40))
def test_random_bytes_as_a_patch_fold_or_are_refused(patch: bytes) -> None:
    model = MODEL.view(np.uint8).copy()
    try:
        apply_step(model, ZERO, patch, SCHEMA)
    except FoldError:
        assert model.tobytes() == MODEL.tobytes()


def test_an_absent_patch_is_an_empty_one() -> None:
    for patch in (b"", EMPTY_PATCH, memoryview(EMPTY_PATCH)):
        model = MODEL.view(np.uint8).copy()
        apply_step(model, MODEL.tobytes(), patch, SCHEMA)
        assert model.view(np.float32).tolist() == [2, 4, 6, 8]


@pytest.mark.parametrize("size", [0, 12, 17])
def test_a_delta_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FoldError, match=f"a delta of {size} bytes for a model of 16"):
        apply_step(MODEL.view(np.uint8).copy(), bytes(size), EMPTY_PATCH, SCHEMA)


def test_a_model_of_another_length_has_no_difference() -> None:
    with pytest.raises(TensorSchemaError, match="a model of 12 bytes, the schema says 16"):
        difference(MODEL[:3], MODEL, SCHEMA)
