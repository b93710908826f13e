"""Is W_t, rebuilt from the record, the W_t that was?"""

from pathlib import Path

import numpy as np
import pytest
from recorded_walk import SCHEMA, Walk, record_walk
from safetensors.numpy import load_file

from forensics.rebuild import KEYFRAME_EVERY, CaseModels
from roundlog.case import Case
from roundlog.errors import DigestMismatchError, LogGapError, QuestionError, RoundRangeError
from roundlog.recorder import Recorder

ROUNDS = 600


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return record_walk(tmp_path_factory.mktemp("rebuild") / "case", rounds=ROUNDS, seed=11)


def test_every_model_is_rebuilt_bit_for_bit(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        assert (models.first, models.last) == (0, ROUNDS)
        for t in range(0, ROUNDS + 1, 7):
            rebuilt = models.rebuild(t)
            assert rebuilt.matches
            assert rebuilt.model.tobytes() == SCHEMA.flatten(walk.models[t]).tobytes()


@pytest.mark.parametrize(("step", "size"), [(1, 256), (1, 7), (13, 4), (256, 1000)])
def test_blocks_hold_the_same_models_whatever_their_size(walk: Walk, step: int, size: int) -> None:
    with walk.open() as (_, _, models):
        seen = []
        for ts, block in models.blocks(3, ROUNDS, step=step, size=size):
            assert len(ts) <= size
            for t, model in zip(ts, block, strict=True):
                assert model.tobytes() == SCHEMA.flatten(walk.models[t]).tobytes()
                seen.append(int(t))
        assert seen == list(range(3, ROUNDS + 1, step))


def test_keyframes_are_left_behind_and_make_no_difference(walk: Walk) -> None:
    with walk.open() as (case, _, models):
        models.rebuild(ROUNDS)
        frames = sorted((case.keyframes / walk.run).glob("*.safetensors"))
        assert [path.stem for path in frames] == [str(KEYFRAME_EVERY), str(2 * KEYFRAME_EVERY)]
        for path in frames:
            path.unlink()
        assert models.rebuild(ROUNDS).matches


def test_a_keyframe_that_was_changed_is_not_used(walk: Walk) -> None:
    with walk.open() as (case, _, models):
        models.rebuild(ROUNDS)
        path = case.keyframes / walk.run / f"{KEYFRAME_EVERY}.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert models.rebuild(KEYFRAME_EVERY + 5).matches


def test_the_written_file_is_plain_safetensors_with_round_and_digest(
    walk: Walk, tmp_path: Path
) -> None:
    with walk.open() as (_, _, models):
        models.write(models.rebuild(42), tmp_path / "deep" / "model.safetensors")
        models.write(models.rebuild(42), tmp_path / "again.safetensors")
    path = tmp_path / "deep" / "model.safetensors"
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    tensors = load_file(path)
    for name, array in walk.models[42].items():
        np.testing.assert_array_equal(tensors[name], array)


def test_a_model_outside_the_run_is_refused_with_the_range(walk: Walk) -> None:
    with (
        walk.open() as (_, _, models),
        pytest.raises(RoundRangeError, match=f"models 0 to {ROUNDS}; there is no model 601"),
    ):
        models.rebuild(ROUNDS + 1)


def test_an_unknown_run_is_refused(walk: Walk) -> None:
    with (
        walk.open() as (case, store, _),
        pytest.raises(QuestionError, match="recorded no model to begin from"),
    ):
        CaseModels(case, store, "another")


def test_a_changed_delta_makes_every_later_model_a_mismatch(tmp_path: Path) -> None:
    walk = record_walk(tmp_path / "case", rounds=40, seed=3)
    with walk.open() as (case, _, _):
        pass
    vec = next(case.segments.rglob("*.vec"))
    data = bytearray(vec.read_bytes())
    data[20 * SCHEMA.nbytes + 2] ^= 0x40
    vec.write_bytes(data)
    with walk.open() as (_, _, models):
        assert models.rebuild(20).matches
        assert not models.rebuild(21).matches
        assert not models.rebuild(40).matches
        with pytest.raises(DigestMismatchError, match="model 30 was rebuilt as"):
            models.model(30)


def test_a_hole_is_not_bridged_but_ends_at_the_next_whole_model(tmp_path: Path) -> None:
    whole = {
        name: np.zeros(spec.shape, spec.dtype)
        for name, spec in zip(("weight", "bias", "seen"), SCHEMA.tensors, strict=True)
    }
    flat = SCHEMA.flatten(whole).view(np.uint8)
    case = Case.create(tmp_path / "case")
    with Recorder(case.path, run="walk", on_error="raise") as recorder:
        recorder.genesis(SCHEMA, flat, architecture="none")
        for t in (0, 1, 2):
            recorder.commit(flat, round=t, cohort_size=1)
    with Recorder(case.path, run="walk", producer="second", on_error="raise") as recorder:
        recorder.genesis(SCHEMA, flat, architecture="none", round=10)
        for t in (10, 11):
            recorder.commit(flat, round=t, cohort_size=1)
    with Walk(case.path, "walk").open() as (_, _, models):
        assert models.rebuild(3).matches
        assert models.rebuild(12).matches
        with pytest.raises(LogGapError, match="round 3 is missing: the log jumps to round 10"):
            models.rebuild(5)
