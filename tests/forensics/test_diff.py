"""Does a diff list what differs, and nothing else?"""

from pathlib import Path

import numpy as np
import pytest
from recorded_walk import Walk, record_walk

from forensics.diff import diff_models
from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return record_walk(tmp_path_factory.mktemp("diff") / "case", rounds=30, seed=8)


def test_a_model_is_identical_to_itself(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        diff = diff_models(models, 9, models, 9)
    assert diff.identical
    assert diff.norm == 0.0
    assert diff.elements == ()
    assert all(one.changed == 0 for one in diff.tensors)


def test_norms_counts_and_the_largest_elements_are_those_of_the_two_models(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        diff = diff_models(models, 0, models, 30)
    before, after = walk.models[0], walk.models[30]
    by_name = {one.name: one for one in diff.tensors}
    change = after["weight"].astype(float) - before["weight"].astype(float)
    assert by_name["weight"].norm == pytest.approx(np.linalg.norm(change))
    assert by_name["weight"].largest == pytest.approx(np.abs(change).max())
    assert (by_name["seen"].changed, by_name["seen"].elements) == (1, 1)
    first = diff.elements[0]
    assert (first.tensor, first.index, first.after - first.before) == ("seen", (0,), 300.0)
    sizes = [abs(one.after - one.before) for one in diff.elements]
    assert sizes == sorted(sizes, reverse=True)


def test_models_of_two_runs_in_one_case_can_be_compared(tmp_path: Path) -> None:
    one = record_walk(tmp_path / "case", rounds=5, seed=1, run="attacked")
    two = record_walk(tmp_path / "case", rounds=5, seed=1, run="twin", scale=0.2)
    with one.open() as (case, store, models):
        twin = CaseModels(case, store, two.run)
        assert diff_models(models, 0, twin, 0).identical
        document = diff_models(models, 5, twin, 5).document()
    assert document["identical"] is False
    assert document["b"] == {
        "run": "twin",
        "round": 5,
        "digest": document["b"]["digest"],  # type: ignore[index]
    }


def test_models_of_different_layouts_are_not_compared(walk: Walk, tmp_path: Path) -> None:
    with walk.open() as (case, store, models):
        other = {"v": np.zeros(2, np.float32)}
        with Recorder(case.path, run="other", on_error="raise") as recorder:
            recorder.genesis(schema_of(other), other["v"], architecture="none")
            recorder.commit(other["v"], round=0, cohort_size=1)
    with Walk(walk.path, "other").open() as (case, store, small):
        models = CaseModels(case, store, walk.run)
        with pytest.raises(QuestionError, match="models of different tensors"):
            diff_models(models, 0, small, 0)
