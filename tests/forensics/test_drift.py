"""Are drifts the norms of what really moved?"""

import numpy as np
import pytest
from recorded_walk import Walk, record_walk

from forensics.drift import measure_drift
from roundlog.errors import QuestionError

ROUNDS = 300


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return record_walk(tmp_path_factory.mktemp("drift") / "case", rounds=ROUNDS, seed=2)


def test_drift_is_the_distance_of_the_trainable_weights_from_the_origin(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        drift = measure_drift(models, every=7)
    assert [row.round for row in drift.rows] == [*range(0, ROUNDS + 1, 7), ROUNDS]
    for row in drift.rows:
        moved = walk.weights(row.round) - walk.weights(0)
        assert row.drift == pytest.approx(np.linalg.norm(moved))
        assert set(row.tensors) == {"weight", "bias"}
        assert row.tensors["bias"] == pytest.approx(np.linalg.norm(moved[15:]))


def test_the_step_of_a_row_is_the_movement_since_the_row_before(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        rows = measure_drift(models, first=100, last=150, every=25).rows
    assert [row.round for row in rows] == [100, 125, 150]
    assert rows[0].drift == rows[0].step == 0.0
    assert rows[2].step == pytest.approx(np.linalg.norm(walk.weights(150) - walk.weights(125)))


def test_drift_along_a_direction_is_signed_and_ignores_its_length(walk: Walk) -> None:
    direction = np.zeros(19)
    direction[4] = -3.0
    with walk.open() as (_, _, models):
        rows = measure_drift(models, every=100, direction=direction).rows
    for row in rows:
        assert row.along == pytest.approx(-(walk.weights(row.round) - walk.weights(0))[4])


def test_about_two_hundred_rows_come_when_no_step_is_named(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        assert len(measure_drift(models).rows) == ROUNDS + 1
        assert measure_drift(models).every == 1


@pytest.mark.parametrize(
    ("direction", "message"),
    [(np.zeros(19), "not all zero"), (np.ones(5), "needs 19"), (np.full(19, np.nan), "finite")],
)
def test_a_direction_that_does_not_fit_is_refused(
    walk: Walk, direction: np.ndarray, message: str
) -> None:
    with walk.open() as (_, _, models), pytest.raises(QuestionError, match=message):
        measure_drift(models, direction=direction)


def test_an_empty_interval_is_refused(walk: Walk) -> None:
    with walk.open() as (_, _, models), pytest.raises(QuestionError, match=r"20\.\.10 is empty"):
        measure_drift(models, first=20, last=10)


def test_the_way_towards_a_model_is_a_direction_also_where_the_model_has_buffers(
    walk: Walk,
) -> None:
    with walk.open() as (_, _, models):
        rows = measure_drift(models, every=100, toward=200).rows
    way = walk.weights(200) - walk.weights(0)
    for row in rows:
        moved = walk.weights(row.round) - walk.weights(0)
        assert row.along == pytest.approx(moved @ way / np.linalg.norm(way))
    assert rows[2].along == pytest.approx(rows[2].drift)


def test_a_direction_and_a_way_at_once_are_refused(walk: Walk) -> None:
    with walk.open() as (_, _, models), pytest.raises(QuestionError, match="one of them"):
        measure_drift(models, direction=np.ones(19), toward=3)
