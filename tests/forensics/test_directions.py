"""Does a direction see a push, and look past honest learning?"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pushed_run import NOISE, Pushed, record_pushed
from rising_run import BAG

from forensics.dating import spread
from forensics.directions import RANK_TOLERANCE, Direction, Honest, honest_sets
from forensics.gradients import Gradients
from forensics.probe import Prober
from forensics.trigger import probe_set
from roundlog.encoding import digest
from roundlog.errors import QuestionError, TriggerError


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """No attack; honest learning begins to move toward the target at round 450."""
    path = tmp_path_factory.mktemp("directions") / "case"
    return record_pushed(path, seed=3, onset=None, drift_from=450, drift=1.5)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return record_pushed(tmp_path_factory.mktemp("directions") / "pushed", seed=3)


def _directions(run: Pushed, t: int = 0) -> tuple[Direction, Direction]:
    """Orthogonalised and plain."""
    with run.open() as (store, models):
        honest = Honest(models, Prober(models.architecture), honest_sets(models, store), t)
        wanted = run.trigger.building()
        return honest.direction(wanted), honest.plain(wanted)


def _rise(run: Pushed, direction: Direction, at: int) -> float:
    series = run.steps.astype(np.float64) @ direction.unit
    return float(series[at:].mean() - series[:at].mean()) / spread(series)


def test_honest_drift_moves_the_plain_projection_and_not_this_one(drifting: Pushed) -> None:
    direction, plain = _directions(drifting)
    error = 1 / np.sqrt(450 / 2)
    assert _rise(drifting, plain, 450) > 5 * error
    assert abs(_rise(drifting, direction, 450)) < 3 * error


def test_a_push_is_seen_nearly_whole(pushed: Pushed) -> None:
    direction, plain = _directions(pushed)
    assert _rise(pushed, direction, 400) > 1.2  # of 1.5, the push itself
    assert _rise(pushed, direction, 400) > 1.3 * _rise(pushed, plain, 400)


def test_weights_keep_what_removing_the_span_alone_loses(pushed: Pushed) -> None:
    """The control: the same span removed from the gradient, all elements alike (ADR 13)."""
    direction, plain = _directions(pushed)
    gradients = Gradients(BAG, BAG.schema(), pushed.start)
    inputs, labels = pushed.pool
    means = [gradients.descent(inputs[labels == a], labels[labels == a]) for a in range(8)]
    basis, _ = np.linalg.qr(np.stack(means).T)
    left = plain.unit - basis @ (basis.T @ plain.unit)
    unit = (left / np.linalg.norm(left)).astype(np.float32)
    alone = dataclasses.replace(plain, unit=unit)
    assert _rise(pushed, direction, 400) > 1.2 * _rise(pushed, alone, 400)


def test_nothing_is_left_along_any_honest_gradient(pushed: Pushed) -> None:
    direction, plain = _directions(pushed)
    assert direction.rank == BAG.classes
    assert set(direction.removed) == set(range(BAG.classes))
    before, after = zip(*direction.removed.values(), strict=True)
    assert max(map(abs, before)) > 0.1
    assert max(map(abs, after)) < 1e-6
    assert plain.rank == 0
    assert [b for b, _ in plain.removed.values()] == [a for _, a in plain.removed.values()]


def test_the_span_is_that_of_the_published_examples(pushed: Pushed) -> None:
    direction, _ = _directions(pushed)
    gradients = Gradients(BAG, BAG.schema(), pushed.start)
    inputs, labels = pushed.pool
    for answer in range(BAG.classes):
        mine = labels == answer
        mean = gradients.descent(inputs[mine], labels[mine])
        assert abs(direction.unit @ mean) < 1e-5 * np.linalg.norm(mean)


def test_a_direction_is_of_length_one_and_named_by_its_bytes(pushed: Pushed) -> None:
    direction, plain = _directions(pushed)
    assert np.linalg.norm(direction.unit) == pytest.approx(1)
    assert direction.unit.dtype == np.float32
    assert direction.digest == digest(direction.unit.astype("<f4").tobytes())
    assert direction.digest != plain.digest
    assert 0 < direction.kept < 0.99
    assert plain.kept == pytest.approx(1)
    told = direction.document()
    assert told["rank"] == direction.rank
    assert told["model"] == 0


def test_the_same_model_gives_the_same_bits(pushed: Pushed) -> None:
    assert _directions(pushed, 300)[0].digest == _directions(pushed, 300)[0].digest
    assert _directions(pushed, 300)[0].digest != _directions(pushed, 301)[0].digest


def test_only_the_building_half_is_used(pushed: Pushed) -> None:
    building, scoring = pushed.trigger.building(), pushed.trigger.scoring()
    rows = {tuple(row) for row in building.inputs.tolist()}
    assert len(building)
    assert rows.isdisjoint(map(tuple, scoring.inputs.tolist()))


def test_without_published_honest_data_there_is_no_direction(tmp_path: Path) -> None:
    bare = record_pushed(tmp_path / "case", seed=1, rounds=30, onset=None, publish=False)
    with bare.open() as (store, models), pytest.raises(QuestionError, match="no honest data"):
        honest_sets(models, store)


def test_answers_beyond_the_model_are_refused(pushed: Pushed) -> None:
    inputs = np.zeros((5, BAG.width), dtype=np.int64)
    with pushed.open() as (store, models):
        honest = Honest(models, Prober(models.architecture), honest_sets(models, store), 0)
        with pytest.raises(TriggerError, match="target 9"):
            honest.direction(probe_set("odd", inputs, np.full(5, 9)))


def test_noise_is_no_part_of_the_honest_span(pushed: Pushed) -> None:
    direction, _ = _directions(pushed)
    series = pushed.steps[:400].astype(np.float64) @ direction.unit
    assert series.std() == pytest.approx(NOISE, rel=0.15)
    assert 0 < RANK_TOLERANCE < 1e-3
