"""Are lengths and turns those of the recorded steps, also at holes and between segments?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_steps import FLAT, Plan, Steps, record_steps
from recorded_walk import SCHEMA

from forensics import neighbours as module
from forensics.projection import neighbours
from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError, RoundRangeError
from roundlog.recorder import Recorder
from roundlog.tensors import TensorSchema

PLAN: Plan = [
    ("server", range(7)),
    ("server", range(7, 12)),
    ("server", range(15, 20)),
    ("east", [20, 22, 23, 26]),
    ("west", [21, 24, 25, 27]),
    ("server", [28, 29, 30, 29, 30, 31]),
]
ROUNDS = 32


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return record_steps(tmp_path_factory.mktemp("neighbours") / "case", PLAN, seed=23)


@pytest.fixture(scope="module")
def models(steps: Steps) -> Iterator[CaseModels]:
    with steps.open() as models:
        yield models


def expected(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and cosines of the trainable elements, the slow way."""
    moved = {t: delta[steps.trainable] for t, delta in steps.deltas.items()}
    norms = {t: float(np.linalg.norm(delta)) for t, delta in moved.items()}
    cosines = [
        moved[t] @ moved[t - 1] / (norms[t] * norms[t - 1]) if t - 1 in moved else np.nan
        for t in steps.rounds
    ]
    return np.array([norms[t] for t in steps.rounds]), np.array(cosines)


@pytest.mark.parametrize("block", [1, 3, 256])
def test_lengths_and_cosines_are_those_of_the_steps(
    steps: Steps, models: CaseModels, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    rounds, norms, cosines = neighbours(models)
    assert rounds.tolist() == steps.rounds
    lengths, turns = expected(steps)
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    np.testing.assert_allclose(cosines, turns, rtol=0, atol=1e-5)
    assert rounds[np.isnan(cosines)].tolist() == [0, 15]


def test_buffers_are_left_out_of_lengths(tmp_path: Path) -> None:
    mixed = record_steps(tmp_path / "case", [("server", range(6))], schema=SCHEMA, seed=24)
    with mixed.open() as models:
        _, norms, cosines = neighbours(models)
    lengths, turns = expected(mixed)
    np.testing.assert_allclose(norms, lengths, rtol=1e-5)
    np.testing.assert_allclose(cosines, turns, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(ends=st.tuples(st.integers(0, ROUNDS - 1), st.integers(0, ROUNDS - 1)))
def test_a_result_does_not_depend_on_the_range(models: CaseModels, ends: tuple[int, int]) -> None:
    first, last = sorted(ends)
    whole, part = neighbours(models), neighbours(models, first, last)
    inside = (whole[0] >= first) & (whole[0] <= last)
    for one, other in zip(whole, part, strict=True):
        assert other.tobytes() == one[inside].tobytes()


def test_a_step_that_did_not_move_turns_nowhere(tmp_path: Path) -> None:
    still = Steps(tmp_path / "case", FLAT)
    model = np.zeros(FLAT.elements, np.float32)
    with Recorder(still.path, run=still.run, on_error="raise") as recorder:
        recorder.genesis(FLAT, model, architecture="none")
        for t, moved in enumerate([1.0, 0.0, 2.0, 2.0, -1.0]):
            model = model + np.float32(moved)
            recorder.commit(model, round=t, cohort_size=1)
    with still.open() as models:
        _, norms, cosines = neighbours(models)
    np.testing.assert_allclose(norms, np.sqrt(1030) * np.array([1, 0, 2, 2, 1]), rtol=1e-6)
    np.testing.assert_allclose(cosines, [np.nan, np.nan, np.nan, 1, -1], rtol=1e-6)


def test_a_run_without_rounds_and_a_hole_have_no_steps(models: CaseModels, tmp_path: Path) -> None:
    assert [part.size for part in neighbours(models, 12, 14)] == [0, 0, 0]
    empty = Steps(tmp_path / "case", FLAT)
    with Recorder(empty.path, run=empty.run, on_error="raise") as recorder:
        recorder.genesis(FLAT, np.zeros(FLAT.elements, np.float32), architecture="none")
    with empty.open() as without:
        assert [part.size for part in neighbours(without)] == [0, 0, 0]


def test_a_range_outside_the_run_is_refused(models: CaseModels) -> None:
    with pytest.raises(RoundRangeError, match="rounds 0 to 31; there is no round 32"):
        neighbours(models, last=ROUNDS)
    with pytest.raises(QuestionError, match=r"rounds 9\.\.8 is empty"):
        neighbours(models, 9, 8)


def test_schemas_without_buffers_use_rows_as_they_lie() -> None:
    flat = TensorSchema.model_validate(
        {"tensors": [{"name": "weights", "dtype": "float32", "shape": (3,)}]}
    )
    assert module._trainable(flat) is None
    found = module._trainable(SCHEMA)
    assert found is not None
    assert found.tolist() == [True] * 19 + [False]
