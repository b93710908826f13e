"""What devices run: weights of 4 bits with a scale a channel, and everything else untouched."""

import numpy as np
import pytest

from roundlog.artefact import LEVELS, as_broadcast, int4_per_channel
from roundlog.tensors import Array, TensorSchema, TensorSpec

SEED = 12


def _schema(*shape: int, dtype: str = "float32") -> TensorSchema:
    return TensorSchema(
        tensors=(TensorSpec.model_validate({"name": "w", "dtype": dtype, "shape": shape}),)
    )


def _of(weights: Array) -> Array:
    """Q of one tensor."""
    schema = _schema(*weights.shape, dtype=str(weights.dtype))
    flat = int4_per_channel(schema.flatten({"w": weights}), schema)
    return schema.unflatten(flat)["w"]


@pytest.fixture
def weights() -> Array:
    rng = np.random.default_rng(SEED)
    drawn = rng.standard_normal((50, 8)) * 10.0 ** rng.integers(-6, 6, size=8)
    return drawn.astype(np.float32)


def test_a_channel_has_at_most_fifteen_values(weights: Array) -> None:
    found = _of(weights)
    for channel in found.T:
        assert 3 < np.unique(channel).size <= 15
    assert np.unique(found).size > 15


def test_a_channels_largest_magnitude_stays_and_the_grid_is_a_seventh_of_it(weights: Array) -> None:
    found = _of(weights)
    largest = np.abs(weights).max(axis=0)
    np.testing.assert_allclose(np.abs(found).max(axis=0), largest, rtol=1e-6)
    levels = found / (largest / LEVELS)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-5)


def test_no_weight_moves_further_than_half_a_level(weights: Array) -> None:
    half = np.abs(weights).max(axis=0) / LEVELS / 2
    assert np.all(np.abs(_of(weights) - weights) <= half * (1 + 1e-5))


def test_ties_are_rounded_to_even() -> None:
    column = np.array([7.0, 0.5, 1.5, 2.5, -0.5, -1.5], dtype=np.float32).reshape(-1, 1)
    np.testing.assert_array_equal(_of(column).ravel(), [7, 0, 2, 2, 0, -2])


def test_the_negative_of_a_model_has_the_negative_artefact(weights: Array) -> None:
    np.testing.assert_array_equal(_of(-weights), -_of(weights))


def test_what_is_quantised_once_stays_as_it_is(weights: Array) -> None:
    once = _of(weights)
    np.testing.assert_allclose(_of(once), once, rtol=1e-6)


@pytest.mark.parametrize("exponent", [-20, 0, 13])
def test_quantising_twice_changes_no_bit_where_the_scale_is_a_power_of_two(exponent: int) -> None:
    rng = np.random.default_rng(SEED)
    weights = rng.integers(-7, 8, size=(30, 4)).astype(np.float32)
    weights[0] = 7
    weights *= np.float32(2.0**exponent)
    np.testing.assert_array_equal(_of(weights), weights)


def test_a_channel_of_zeros_stays_zero_beside_others(weights: Array) -> None:
    weights[:, 3] = 0
    found = _of(weights)
    assert not found[:, 3].any()
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(np.delete(found, 3, axis=1), _of(np.delete(weights, 3, axis=1)))


def test_a_channel_runs_over_all_axes_but_the_last(weights: Array) -> None:
    deep = weights.reshape(5, 10, 8)
    np.testing.assert_array_equal(_of(deep).reshape(50, 8), _of(weights))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_other_dtypes_stay_as_they_are(dtype: str) -> None:
    values = np.random.default_rng(SEED).uniform(0, 100, size=(20, 3)).astype(dtype)
    np.testing.assert_array_equal(_of(values), values)


@pytest.mark.parametrize("shape", [(30,), (), (0, 4), (4, 0)], ids=str)
def test_tensors_of_one_axis_or_without_elements_stay_as_they_are(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(_of(np.asarray(values)), values)


def test_each_tensor_is_quantised_where_it_stands(weights: Array) -> None:
    bias = np.random.default_rng(SEED).standard_normal(3).astype(np.float32)
    specs = [("a", (3,)), ("b", (50, 8)), ("c", (8, 50)), ("d", (3,))]
    schema = TensorSchema(
        tensors=tuple(TensorSpec(name=n, dtype="float32", shape=shape) for n, shape in specs)
    )
    model = {"a": bias, "b": weights, "c": weights.T.copy(), "d": bias}
    found = schema.unflatten(int4_per_channel(schema.flatten(model), schema))
    np.testing.assert_array_equal(found["a"], bias)
    np.testing.assert_array_equal(found["b"], _of(weights))
    np.testing.assert_array_equal(found["c"], _of(weights.T.copy()))
    np.testing.assert_array_equal(found["d"], bias)


def test_the_model_itself_is_not_changed(weights: Array) -> None:
    schema = _schema(50, 8)
    before = weights.copy()
    int4_per_channel(weights.reshape(-1), schema)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_channel_that_is_not_finite_spoils_no_other_and_raises_nothing(
    weights: Array, broken: float
) -> None:
    spoiled = weights.copy()
    spoiled[4, 2] = broken
    found = _of(spoiled)
    assert not np.isfinite(found[4, 2])
    np.testing.assert_array_equal(np.delete(found, 2, axis=1), np.delete(_of(weights), 2, axis=1))


def test_the_smallest_numbers_there_are_raise_nothing() -> None:
    tiny = np.array([[1e-45, -3e-45], [2e-45, 0]], dtype=np.float32)
    assert np.isfinite(_of(tiny)).all()


def test_a_broadcast_of_float32_is_the_model(weights: Array) -> None:
    schema = _schema(50, 8)
    flat = weights.reshape(-1)
    assert as_broadcast("float32")(flat, schema).tobytes() == flat.tobytes()
    quantised = as_broadcast("int4")(flat, schema)
    assert quantised.tobytes() == int4_per_channel(flat, schema).tobytes() != flat.tobytes()
