"""Are the rows that are read the deltas that were recorded, wherever they lie?"""

from pathlib import Path

import numpy as np
import pytest
from recorded_steps import FLAT, Plan, Steps, record_steps
from recorded_walk import SCHEMA

from forensics import step_rows
from forensics.rebuild import CaseModels
from roundlog.errors import LogError, QuestionError, RoundRangeError
from roundlog.recorder import Recorder
from roundlog.tensors import TensorSchema, TensorSpec

SHORT = TensorSchema(tensors=(TensorSpec(name="weights", dtype="float32", shape=(5,)),))


def read(models: CaseModels, size: int = 4) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    for piece in models.step_rows():
        for which, rows in piece.blocks(models.schema, size):
            found.update(zip(piece.rounds[which].tolist(), rows.copy(), strict=True))
    return found


PLANS: dict[str, Plan] = {
    "one": [("server", range(9))],
    "a restart": [("server", range(5)), ("server", range(5, 9))],
    "a hole": [("server", [0, 1, 2, 6, 7])],
    "two in turns": [("east", [0, 2, 4, 6]), ("west", [1, 3, 5])],
    "set back": [("server", [0, 1, 2, 3, 1, 2, 3, 4])],
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
@pytest.mark.parametrize("schema", [FLAT, SCHEMA], ids=["float32", "mixed"])
def test_every_recorded_delta_is_read_once(
    tmp_path: Path, plan: Plan, schema: TensorSchema
) -> None:
    steps = record_steps(tmp_path / "case", plan, schema=schema, seed=3)
    with steps.open() as models:
        found = read(models)
        pieces = models.step_rows()
    assert sorted(found) == steps.rounds
    assert [int(piece.rounds[0]) for piece in pieces] == sorted(
        int(piece.rounds[0]) for piece in pieces
    )
    for t, delta in steps.deltas.items():
        np.testing.assert_allclose(found[t], delta, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "int64"])
def test_other_dtypes_come_as_float32(tmp_path: Path, dtype: str) -> None:
    schema = TensorSchema.model_validate(
        {"tensors": [{"name": "weights", "dtype": dtype, "shape": (6, 2)}]}
    )
    steps = record_steps(tmp_path / "case", [("server", range(7))], schema=schema, seed=4)
    with steps.open() as models:
        for t, row in read(models).items():
            assert row.dtype == np.float32
            np.testing.assert_allclose(row, steps.deltas[t], rtol=0, atol=2e-3)


def test_rows_of_float32_that_adjoin_are_not_copied(tmp_path: Path) -> None:
    steps = record_steps(tmp_path / "case", [("server", [0, 1, 2, 3, 1, 2])], seed=5)
    with steps.open() as models:
        (all_rounds,), (last,) = models.step_rows(), models.step_rows(1, 2)
        assert not all_rounds.adjoining
        assert last.adjoining
        assert next(all_rounds.blocks(models.schema, 9))[1].flags.writeable
        assert not next(last.blocks(models.schema, 9))[1].flags.writeable
        np.testing.assert_array_equal(
            last.row(1, models.schema)[0], all_rounds.row(2, models.schema)[0]
        )


def test_what_must_be_copied_is_copied_a_little_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = record_steps(tmp_path / "case", [("server", range(9))], schema=SCHEMA, seed=6)
    monkeypatch.setattr(step_rows, "COPY_BYTES", 3 * 8 * SCHEMA.elements)
    with steps.open() as models:
        (piece,) = models.step_rows()
        sizes = [len(rows) for _, rows in piece.blocks(models.schema, 1000)]
    assert sizes == [3, 3, 3]


def test_an_interval_is_cut_from_the_segments_that_hold_it(tmp_path: Path) -> None:
    steps = record_steps(tmp_path / "case", [("a", range(5)), ("b", range(5, 9))], seed=7)
    with steps.open() as models:
        pieces = [piece.rounds.tolist() for piece in models.step_rows(3, 6)]
        assert pieces == [[3, 4], [5, 6]]
        assert [piece.rounds.tolist() for piece in models.step_rows(8)] == [[8]]


@pytest.mark.parametrize(("first", "last"), [(9, None), (None, 9), (-1, 3), (12, 15)])
def test_a_round_outside_the_run_is_refused_with_the_range(
    tmp_path: Path, first: int | None, last: int | None
) -> None:
    steps = record_steps(tmp_path / "case", [("server", range(9))], seed=8)
    with steps.open() as models, pytest.raises(RoundRangeError, match="has rounds 0 to 8; there"):
        models.step_rows(first, last)


def test_an_empty_interval_is_refused(tmp_path: Path) -> None:
    steps = record_steps(tmp_path / "case", [("server", range(9))], seed=8)
    with steps.open() as models, pytest.raises(QuestionError, match=r"rounds 5\.\.4 is empty"):
        models.step_rows(5, 4)


def test_a_run_without_rounds_has_no_rows(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "case", FLAT)
    with Recorder(steps.path, run=steps.run, on_error="raise") as recorder:
        recorder.genesis(FLAT, np.zeros(FLAT.elements, np.float32), architecture="none")
    with steps.open() as models:
        assert models.step_rows() == []
        with pytest.raises(RoundRangeError, match="has no rounds; there is no round 0"):
            models.step_rows(0)


def test_rounds_of_an_earlier_layout_are_left_out(tmp_path: Path) -> None:
    case = tmp_path / "case"
    record_steps(case, [("server", range(4))], schema=SHORT, seed=9)
    later = record_steps(case, [("server", range(4, 7))], schema=FLAT, seed=9)
    with later.open() as models:
        assert sorted(read(models)) == [4, 5, 6]


def test_a_file_that_was_cut_off_is_an_error_that_names_the_round(tmp_path: Path) -> None:
    steps = record_steps(tmp_path / "case", [("server", range(9))], seed=10)
    with steps.open() as models:
        vec = next(models.case.segments.rglob("*.vec"))
        vec.write_bytes(vec.read_bytes()[: 5 * FLAT.nbytes + 3])
        (piece,) = models.step_rows()
        with pytest.raises(LogError, match="holds 5 rows, and round 8 was recorded in row 8"):
            next(piece.blocks(models.schema, 4))
        (start,) = models.step_rows(0, 4)
        assert next(start.blocks(models.schema, 9))[1].shape == (5, FLAT.elements)
