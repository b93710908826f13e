"""Are the steps of a run projected right, alike however it is done, and kept where that holds?"""

import os
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_steps import FLAT, Steps, directions_for, record_steps
from recorded_walk import SCHEMA

from forensics import projection
from forensics.projection import Projection, dots, project
from forensics.projection_parts import (
    Job,
    Partial,
    combine,
    digest_of,
    fold,
    project_parts,
    project_rows,
)
from forensics.readings import StoppedError
from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError, RoundRangeError

ROUNDS = 60
ALONG = directions_for(FLAT, 3, seed=1)

# Six segments: a restart, a hole (20..22), two producers in turns, rounds that were done again.
PLAN = (
    ("server", range(9)),
    ("server", range(9, 20)),
    ("server", range(23, 31)),
    ("east", range(31, 51, 2)),
    ("west", range(32, 51, 2)),
    ("server", [51, 52, 53, 54, 52, 53, *range(54, ROUNDS)]),
)
HERE = [t for t in range(ROUNDS) if not 20 <= t <= 22]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return record_steps(tmp_path_factory.mktemp("projection") / "case", PLAN, seed=17)


@pytest.fixture
def steps(recorded: Steps, tmp_path: Path) -> Steps:
    path = Path(shutil.copytree(recorded.path, tmp_path / "case"))
    return Steps(path, recorded.schema, recorded.run, recorded.deltas)


@pytest.fixture(scope="module")
def models(recorded: Steps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseModels]:
    """Of a case that no test changes, opened once."""
    path = Path(shutil.copytree(recorded.path, tmp_path_factory.mktemp("opened") / "case"))
    with Steps(path, recorded.schema, recorded.run, recorded.deltas).open() as models:
        yield models


def alike(one: Projection, other: Projection) -> bool:
    return (
        one.digest == other.digest
        and one.rounds.tolist() == other.rounds.tolist()
        and one.values.tobytes() == other.values.tobytes()
    )


def kept(models: CaseModels) -> list[Path]:
    return sorted((models.case.cache / "projections").glob("*"))


def test_values_are_the_products_of_recorded_deltas_and_directions(steps: Steps) -> None:
    with steps.open() as models:
        found = project(models, ALONG)
    assert found.run == steps.run
    assert found.rounds.tolist() == HERE
    assert (found.computed, found.reused) == (len(HERE), 0)
    np.testing.assert_allclose(found.values, steps.matrix() @ ALONG.T, rtol=0, atol=1e-5)
    assert np.abs(found.values).max() > 1


def test_a_model_of_mixed_dtypes_is_projected_without_its_counters(tmp_path: Path) -> None:
    mixed = record_steps(tmp_path / "case", [("server", range(8))], schema=SCHEMA, seed=2)
    along = directions_for(SCHEMA, 2, seed=2)
    with mixed.open() as models:
        found = project(models, along.astype(np.float16))
    expected = mixed.matrix() @ along.astype(np.float16).astype(np.float64).T
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-6)


def test_an_interval_has_the_values_of_the_whole(steps: Steps) -> None:
    with steps.open() as models:
        whole, part = project(models, ALONG), project(models, ALONG, first=18, last=40)
        alone = project(models, ALONG, first=33, last=33)
    inside = (whole.rounds >= 18) & (whole.rounds <= 40)
    assert part.rounds.tolist() == whole.rounds[inside].tolist()
    assert part.values.tobytes() == whole.values[inside].tobytes()
    assert alone.values.tobytes() == whole.values[whole.rounds == 33].tobytes()
    assert len({whole.digest, part.digest, alone.digest}) == 3


@settings(max_examples=25, deadline=None)
@given(block=st.integers(1, 70), m=st.integers(1, 4), first=st.integers(0, 30))
def test_blocks_of_any_size_give_the_same_digest(
    models: CaseModels, block: int, m: int, first: int
) -> None:
    along = directions_for(FLAT, m, seed=3)
    one = project(models, along, first=first, cache=False)
    other = project(models, along, first=first, cache=False, block=block)
    assert alike(one, other)


def test_a_pool_of_processes_gives_the_same_digest_as_one(steps: Steps) -> None:
    seen: list[tuple[int, int]] = []
    with steps.open() as models:
        alone = project(models, ALONG, cache=False)
        pooled = project(models, ALONG, workers=2, progress=lambda *at: seen.append(at))
        again = project(models, ALONG, workers=2)
    assert alike(alone, pooled)
    assert alike(alone, again)
    assert (pooled.computed, again.computed) == (len(HERE), 0)
    assert [total for _, total in seen] == [len(HERE)] * 6
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == len(HERE)


def parts_of(models: CaseModels) -> list[Partial]:
    job = Job(FLAT, ALONG.astype(np.float32), 16)
    return [project_rows(piece, job) for piece in models.step_rows()]


@settings(max_examples=40, deadline=None)
@given(shuffle=st.randoms(use_true_random=False), cuts=st.sets(st.integers(1, 5)))
def test_parts_combine_to_the_same_whole_in_any_order_and_grouping(
    models: CaseModels, shuffle: random.Random, cuts: set[int]
) -> None:
    parts = parts_of(models)
    right = fold(parts, 3)
    shuffle.shuffle(parts)
    ends = [*sorted(cuts), len(parts)]
    groups = [fold(parts[a:b], 3) for a, b in zip([0, *ends], ends, strict=False)]
    found = groups[0]
    for group in groups[1:]:
        found = combine(found, group)
    assert found.rounds.tolist() == right.rounds.tolist()
    assert found.values.tobytes() == right.values.tobytes()
    along = ALONG.astype(np.float32)
    assert digest_of(found, along) == digest_of(right, along)


def test_the_digest_covers_every_round_value_and_direction() -> None:
    rng = np.random.default_rng(4)
    whole = Partial(np.arange(0, 9000, 3), rng.standard_normal((3000, 2)))
    along = rng.standard_normal((2, 5)).astype(np.float32)
    seen = {digest_of(whole, along), digest_of(whole, along.reshape(5, 2))}
    for at in (0, 1, 341, 342, 2999):
        values, rounds = whole.values.copy(), whole.rounds.copy()
        values[at, 1] = np.nextafter(values[at, 1], np.inf)
        rounds[at] += 1
        seen |= {
            digest_of(Partial(whole.rounds, values), along),
            digest_of(Partial(rounds, whole.values), along),
        }
    bent = along.copy()
    bent[1, 4] = -bent[1, 4]
    seen.add(digest_of(whole, bent))
    assert len(seen) == 2 + 10 + 1
    assert len(digest_of(fold([], 2), along)) == 64


def test_the_same_steps_in_other_segments_have_the_same_digest(tmp_path: Path) -> None:
    cut = [("server", range(4)), ("server", range(4, 12))]
    one = record_steps(tmp_path / "one", [("server", range(12))], seed=5)
    two = record_steps(tmp_path / "two", cut, seed=5)
    with one.open() as models:
        first = project(models, ALONG)
    with two.open() as models:
        second = project(models, ALONG)
        assert len(models.step_rows()) == 2
    assert alike(first, second)


def test_values_of_sealed_segments_are_kept_and_used_again(steps: Steps) -> None:
    with steps.open() as models:
        first, again = project(models, ALONG), project(models, ALONG)
        without = project(models, ALONG, cache=False)
        assert len(kept(models)) == len(PLAN)
        assert all(path.suffix == ".npy" for path in kept(models))
    assert (first.reused, again.reused, without.reused) == (0, len(HERE), 0)
    assert (first.computed, again.computed, without.computed) == (len(HERE), 0, len(HERE))
    assert alike(first, again)
    assert alike(first, without)


def test_an_open_segment_is_read_every_time(steps: Steps) -> None:
    with steps.open() as models:
        piece = models.step_rows()[2]
        piece.segment.seal.unlink()
        project(models, ALONG)
        again = project(models, ALONG)
        assert len(kept(models)) == len(PLAN) - 1
        piece.segment.seal.write_bytes(b"{}")
        assert project(models, ALONG).computed == len(piece)
    assert (again.computed, again.reused) == (8, len(HERE) - 8)


def test_other_directions_rounds_and_arithmetic_are_other_values(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with steps.open() as models:
        right = project(models, ALONG)
        turned = ALONG.copy()
        turned[2, 0] += 1e-3
        assert project(models, turned).reused == 0
        # Only segments that lie wholly inside are the same question.
        assert project(models, ALONG, first=3, last=25).reused == 11
        monkeypatch.setattr(projection, "arithmetic", lambda _: "of another processor")
        assert alike(project(models, ALONG), right)
        assert project(models, ALONG, first=0, last=8).reused == 9
        monkeypatch.setattr(projection, "CODE_VERSION", "roundlog.projections/2")
        assert project(models, ALONG).reused == 0


def test_a_vec_file_that_was_touched_is_read_again(steps: Steps) -> None:
    with steps.open() as models:
        right = project(models, ALONG)
        vec = models.step_rows()[0].segment.vec
        data = bytearray(vec.read_bytes())
        data[3 * FLAT.nbytes + 3] ^= 0x08
        os.utime(vec, ns=(0, 0))
        assert project(models, ALONG).computed == 9
        vec.write_bytes(data)
        changed = project(models, ALONG)
    assert changed.computed == 9
    differing = np.flatnonzero((changed.values != right.values).any(axis=1))
    assert changed.rounds[differing].tolist() == [3]


def test_a_damaged_file_is_not_used(steps: Steps) -> None:
    with steps.open() as models:
        right = project(models, ALONG)
        files = kept(models)
        rows = [len(np.load(path)) for path in files]
        files[0].write_bytes(b"")
        files[1].write_bytes(files[1].read_bytes()[:-7])
        data = bytearray(files[2].read_bytes())
        data[-projection.CHECKSUM_BYTES - 1] ^= 1
        files[2].write_bytes(data)
        shutil.copy(files[4], files[3])
        again = project(models, ALONG)
        assert project(models, ALONG).reused == len(HERE)
    assert alike(again, right)
    assert (again.computed, again.reused) == (sum(rows[:4]), sum(rows[4:]))


def test_a_cache_that_cannot_be_written_costs_no_answer(steps: Steps) -> None:
    (steps.path / "cache").write_text("a file where the folder should be")
    with steps.open() as models:
        assert alike(project(models, ALONG), project(models, ALONG, cache=False))


def test_a_stopped_projection_keeps_whole_segments(steps: Steps) -> None:
    stop, seen = threading.Event(), []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 12:
            stop.set()

    with steps.open() as models:
        with pytest.raises(StoppedError, match=f"stopped after 13 of {len(HERE)} rounds"):
            project(models, ALONG, block=4, progress=progress, stop=stop)
        assert [done for done, _ in seen] == [4, 8, 9, 13]
        rest = project(models, ALONG)
        assert (rest.computed, rest.reused) == (len(HERE) - 9, 9)
        with pytest.raises(StoppedError, match="stopped after 0 of"):
            project(models, directions_for(FLAT, 1, seed=9), stop=stop)
        # What is all there needs no more time, so it is given even now.
        assert alike(project(models, ALONG, stop=stop), rest)


def test_a_stopped_pool_ends(steps: Steps) -> None:
    stop = threading.Event()
    with steps.open() as models:
        pieces = models.step_rows()
        job = Job(FLAT, ALONG.astype(np.float32), 16)

        def tell(_: int) -> None:
            if stop.is_set():
                raise StoppedError("stopped")

        parts = project_parts(pieces, job, 2, tell)
        index, part = next(parts)
        assert part.values.tobytes() == project_rows(pieces[index], job).values.tobytes()
        stop.set()
        with pytest.raises(StoppedError, match="stopped"):
            list(parts)


class Deadly:
    """What a process that unpickles it does not survive."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (1,)

    def __len__(self) -> int:
        return 1


def test_a_process_that_dies_is_told_and_not_waited_for() -> None:
    job = Job(FLAT, ALONG.astype(np.float32), 16)
    pieces: Sequence = [Deadly(), Deadly()]
    with pytest.raises(QuestionError, match="one of 2 processes ended before its segment was done"):
        list(project_parts(pieces, job, 2, lambda _: None))


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (np.ones((2, 5)), r"shape \[2, 5\]; give \[m, 1037\]"),
        (np.ones(FLAT.elements), r"shape \[1037\]; give"),
        (np.ones((0, FLAT.elements)), r"shape \[0, 1037\]; give"),
        (np.full((2, FLAT.elements), np.nan), "direction 0 is not finite"),
        (np.full((1, FLAT.elements), 1e300), "direction 0 is not finite as float32"),
        (np.full((1, FLAT.elements), "x"), "directions of <U1 are no numbers"),
    ],
)
def test_directions_that_do_not_fit_are_refused(
    models: CaseModels, directions: np.ndarray, message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        project(models, directions)


def test_a_range_or_a_way_of_working_that_is_none_is_refused(models: CaseModels) -> None:
    with pytest.raises(RoundRangeError, match="has rounds 0 to 59; there is no round 60"):
        project(models, ALONG, last=60)
    with pytest.raises(QuestionError, match="0 workers and blocks of 1024 rows"):
        project(models, ALONG, workers=0)
    with pytest.raises(QuestionError, match="1 workers and blocks of 0 rows"):
        project(models, ALONG, block=0)


def test_a_range_within_a_hole_is_an_answer_without_rounds(models: CaseModels) -> None:
    found = project(models, ALONG, first=20, last=22)
    assert found.values.shape == (0, 3)
    assert (found.computed, found.reused, found.rounds.size) == (0, 0, 0)


def test_live_and_replay_agree_to_the_bit(models: CaseModels) -> None:
    along = ALONG.astype(np.float32)
    replayed = project(models, ALONG, cache=False)
    live = []
    for piece in models.step_rows():
        for index, t in enumerate(piece.rounds):
            live.append((int(t), dots(piece.row(index, FLAT), along)[0]))
    values = np.stack([row for _, row in sorted(live, key=lambda pair: pair[0])])
    assert values.tobytes() == replayed.values.tobytes()
