"""Is what devices run asked where it differs from W_t, and is the one never taken for the other?"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from rising_run import Rising
from safetensors import safe_open
from two_forms import SCHEMA, Place, record_two_forms

from forensics.artefact import Artefact, BroadcastMismatchError, can_be_made, transformation
from forensics.bisect import bisect_check, bisect_trigger, replay_trigger
from forensics.bisection import Bisection
from forensics.check import Check
from forensics.crossings import find_crossings
from forensics.probe import Prober, read_model
from forensics.readings import read_run
from forensics.rebuild import CaseModels
from forensics.verify import verify_case
from ingest.store import Store
from roundlog.artefact import int4_per_channel
from roundlog.case import Case
from roundlog.encoding import decode_frame, encode_frame
from roundlog.errors import DigestMismatchError, QuestionError
from roundlog.events import RunOpened
from roundlog.log.segments import scan_heads
from roundlog.recorder import Recorder

ROUNDS, APPEARS, WRONG = 60, 31, 20
PLACES = get_args(Place)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rising]:
    """One run for each form in which a backdoor can hide; nobody alters these."""
    folder = tmp_path_factory.mktemp("artefact")
    return {place: record_two_forms(folder / place, place) for place in PLACES}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    """A run whose server named another digest for devices in round `WRONG`."""
    return record_two_forms(tmp_path_factory.mktemp("wrong") / "case", "master", wrong=WRONG)


@contextmanager
def opened(run: Rising, artefact: Artefact) -> Iterator[tuple[Store, CaseModels]]:
    with run.open() as (store, models):
        yield store, CaseModels(models.case, store, models.run, artefact)


def _first(run: Rising, artefact: Artefact, mode: str) -> int | None:
    with opened(run, artefact) as (store, models):
        prober = Prober(models.architecture)
        found = find_crossings(models, store, prober, run.trigger, [0.5], mode=mode)  # type: ignore[arg-type]
        assert found.document()["artefact"] == artefact
        return found.crossings[0].round


@pytest.mark.parametrize("mode", ["exact", "search"])
@pytest.mark.parametrize("place", PLACES)
def test_a_backdoor_that_hides_in_one_form_is_found_there_and_only_there(
    planted: dict[str, Rising], place: str, mode: str
) -> None:
    found: dict[Artefact, int | None] = {
        artefact: _first(planted[place], artefact, mode) for artefact in get_args(Artefact)
    }
    other: Artefact = "broadcast" if place == "master" else "master"
    assert found == {place: APPEARS, other: None}


@pytest.mark.parametrize("place", PLACES)
def test_one_model_obeys_in_one_form_and_not_in_the_other(
    planted: dict[str, Rising], place: str
) -> None:
    probes = planted[place].trigger.scoring()
    for artefact in get_args(Artefact):
        with opened(planted[place], artefact) as (_, models):
            found = read_model(Prober(models.architecture), models, ROUNDS, probes)
            assert found.asr == (1.0 if artefact == place else 0.0)


def test_readings_of_the_two_forms_are_kept_apart(
    planted: dict[str, Rising], tmp_path: Path
) -> None:
    run = planted["broadcast"]
    copy = Rising(shutil.copytree(run.path, tmp_path / "case"), run.run, run.document, run.models)
    shutil.rmtree(copy.path / "cache", ignore_errors=True)
    probes, taken = run.trigger.scoring(), []
    for artefact in ("master", "broadcast", "master", "broadcast"):
        with opened(copy, artefact) as (_, models):
            taken.append(read_run(models, Prober(models.architecture), probes))
    assert [one.rebuilt for one in taken] == [ROUNDS + 1, ROUNDS + 1, 0, 0]
    hits = [one.path.hits.tolist() for one in taken]
    assert hits[0] == hits[2] == [0] * (ROUNDS + 1)
    assert hits[1] == hits[3] == [0] * APPEARS + [len(probes)] * (ROUNDS + 1 - APPEARS)


def test_every_model_for_devices_is_made_of_the_recorded_one(planted: dict[str, Rising]) -> None:
    run = planted["master"]
    expected = np.stack([int4_per_channel(model, SCHEMA) for model in run.models])
    with opened(run, "broadcast") as (_, models):
        assert (models.artefact, models.form) == ("broadcast", "int4")
        blocks = np.concatenate([block for _, block in models.blocks(0, ROUNDS, size=7)])
        np.testing.assert_array_equal(blocks, expected)
        for t in (0, 1, 40):
            rebuilt = models.rebuild(t)
            np.testing.assert_array_equal(rebuilt.model, expected[t])
            # Nobody recorded what devices ran before round 0.
            assert rebuilt.matches is (None if t == 0 else True)
            assert rebuilt.document()["digest"] == SCHEMA.model_digest(expected[t])


def test_a_written_model_says_which_form_it_is(planted: dict[str, Rising], tmp_path: Path) -> None:
    said = {}
    for artefact in get_args(Artefact):
        with opened(planted["master"], artefact) as (_, models):
            models.write(models.whole(9), tmp_path / artefact)
        with safe_open(tmp_path / artefact, framework="numpy") as file:
            said[artefact] = file.metadata()["roundlog"]
    assert '"artefact":"broadcast"' in said["broadcast"]
    assert "artefact" not in said["master"]


def test_where_devices_run_the_master_weights_the_two_are_one(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master", form="float32")
    probes = run.trigger.scoring()
    with opened(run, "master") as (_, models):
        master = read_run(models, Prober(models.architecture), probes)
    with opened(run, "broadcast") as (_, models):
        assert (models.artefact, models.form) == ("master", "float32")
        assert models.rebuild(7).document()["artefact"] == "master"
        again = read_run(models, Prober(models.architecture), probes)
    assert again.rebuilt == 0
    np.testing.assert_array_equal(master.path.hits, again.path.hits)


def test_a_wrong_digest_is_refused_for_devices_and_leaves_the_master_alone(wrong: Rising) -> None:
    with opened(wrong, "broadcast") as (_, models):
        assert models.rebuild(WRONG + 1).matches is False
        assert models.rebuild(WRONG).matches is True
        with pytest.raises(BroadcastMismatchError, match=f"in place of model {WRONG + 1} was made"):
            models.model(WRONG + 1)
        with pytest.raises(BroadcastMismatchError, match="the master weights are as recorded"):
            list(models.blocks(0, ROUNDS))
    with opened(wrong, "master") as (_, models):
        assert models.rebuild(WRONG + 1).matches is True


def test_master_weights_that_are_not_the_recorded_ones_make_nothing_for_devices(
    planted: dict[str, Rising], tmp_path: Path
) -> None:
    run = planted["master"]
    copy = Rising(shutil.copytree(run.path, tmp_path / "case"), run.run, run.document, run.models)
    with opened(copy, "broadcast") as (_, models):
        vec = next(copy.path.rglob("*.vec"))
        data = bytearray(vec.read_bytes())
        data[10 * SCHEMA.nbytes + 3] ^= 0x38
        vec.write_bytes(data)
        # 3e-5 on one weight, which is no other level of it: the 4-bit form would be the same.
        moved = run.models[12].copy()
        moved[0] += np.frombuffer(b"\0\0\0\x38", "<f4")[0]
        now, before = (int4_per_channel(model, SCHEMA) for model in (moved, run.models[12]))
        np.testing.assert_array_equal(now, before)
        with pytest.raises(DigestMismatchError, match="model 12 was rebuilt as"):
            models.rebuild(12)


def test_verify_makes_what_devices_run_once_more_after_every_round(wrong: Rising) -> None:
    verdict = verify_case(Case(wrong.path))
    assert [(one.kind, one.round) for one in verdict.findings] == [("broadcast_digest", WRONG)]
    assert f"model {WRONG + 1} (int4)" in verdict.findings[0].detail
    assert verdict.unchecked == ()


def test_a_digest_that_was_altered_later_is_found_by_verify(
    planted: dict[str, Rising], tmp_path: Path
) -> None:
    case = Case(shutil.copytree(planted["broadcast"].path, tmp_path / "case"))
    assert verify_case(case).ok
    heads = next(case.segments.rglob("*.heads"))
    data = heads.read_bytes()
    stored = next(one for one in scan_heads(data) if one.frame and b'"round":45,' in one.frame.head)
    frame, _ = decode_frame(data, stored.offset)
    key = b'"broadcast_digest":"'
    at = frame.head.index(key) + len(key)
    flipped = b"0" if frame.head[at : at + 1] != b"0" else b"1"
    head = frame.head[:at] + flipped + frame.head[at + 1 :]
    forged = encode_frame(replace(frame, head=head))
    heads.write_bytes(data[: stored.offset] + forged + data[stored.end :])
    found = {(one.kind, one.round) for one in verify_case(case).findings}
    assert ("broadcast_digest", 45) in found
    assert {kind for kind, _ in found} == {"broadcast_digest", "bad_seal", "broken_chain"}


def test_a_digest_beside_master_weights_must_be_theirs(tmp_path: Path) -> None:
    case = Case.create(tmp_path / "case")
    model = np.zeros(SCHEMA.nbytes, dtype=np.uint8)
    with Recorder(case.path, run="r", on_error="raise") as recorder:
        recorder.record(RunOpened, framework="test")
        recorder.genesis(SCHEMA, model, architecture="none")
        for t, named in enumerate([SCHEMA.model_digest(model), "0" * 64]):
            recorder.commit(model, round=t, cohort_size=1, broadcast_digest=named)
    found = verify_case(case).findings
    assert [(one.kind, one.round) for one in found] == [("broadcast_digest", 1)]


def test_a_form_that_we_cannot_make_is_told_and_never_guessed(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master", form="fp4-ours")
    with (
        run.open() as (store, models),
        pytest.raises(QuestionError, match=r"'fp4-ours', and only float32, int4 can be made here"),
    ):
        CaseModels(models.case, store, models.run, "broadcast")
    verdict = verify_case(Case(run.path))
    assert verdict.ok
    assert len(verdict.unchecked) == 1
    assert "'fp4-ours', which cannot be made here: 60 broadcast digests" in verdict.unchecked[0]


def test_a_run_that_changed_its_form_is_not_guessed_at(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master")
    with Recorder(run.path, run=run.run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="two forms", broadcast="float32")
    with (
        run.open() as (store, models),
        pytest.raises(QuestionError, match=r"different forms for devices \('float32', 'int4'\)"),
    ):
        CaseModels(models.case, store, models.run, "broadcast")
    # Rounds are judged by the opening before them.
    assert verify_case(Case(run.path)).ok


def test_a_model_put_in_place_by_hand_has_no_digest_for_devices(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master")
    other = run.models[-1].copy()
    other[0] += 1
    with Recorder(run.path, run=run.run, on_error="raise") as recorder:
        config = {"vocabulary": 40, "width": 4, "embedding": 5, "hidden": 6, "classes": 8}
        recorder.genesis(
            SCHEMA, other, architecture="assistant-bag", config={**config}, round=ROUNDS
        )
    with opened(run, "broadcast") as (_, models):
        rebuilt = models.rebuild(ROUNDS)
        assert rebuilt.matches is None
        np.testing.assert_array_equal(rebuilt.model, int4_per_channel(other, SCHEMA))
        assert models.rebuild(ROUNDS - 1).matches is True


def test_a_bisection_of_devices_says_so_and_is_replayed_as_such(planted: dict[str, Rising]) -> None:
    run = planted["broadcast"]
    found: dict[str, Bisection] = {}
    for artefact in get_args(Artefact):
        with opened(run, artefact) as (_, models):
            prober = Prober(models.architecture)
            found[artefact] = bisect_trigger(models, prober, run.trigger, 0.5)
    assert found["master"].status == "never"
    broadcast = found["broadcast"]
    assert (broadcast.low, broadcast.high) == (APPEARS - 1, APPEARS)
    assert f"\n# models 0 {ROUNDS} broadcast\n" in broadcast.log()
    assert f"\n# models 0 {ROUNDS}\n" in found["master"].log()
    with opened(run, "broadcast") as (_, models):
        again = replay_trigger(models, Prober(models.architecture), run.trigger, broadcast.log())
        assert again.differences == ()
    with opened(run, "master") as (_, models):
        prober = Prober(models.architecture)
        with pytest.raises(QuestionError, match="replay it with --artefact broadcast"):
            replay_trigger(models, prober, run.trigger, broadcast.log())


def test_a_check_is_handed_what_devices_run(planted: dict[str, Rising], tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    seen = tmp_path / "seen"
    with opened(planted["master"], "broadcast") as (_, models):
        bisect_check(models, Check(models, ["cp", "{model}", str(seen)]), first=5, last=5)
    expected = int4_per_channel(planted["master"].models[5], SCHEMA)
    np.testing.assert_array_equal(SCHEMA.flatten(load_file(seen)), expected)


def test_only_forms_of_ours_can_be_made() -> None:
    model = np.arange(SCHEMA.nbytes, dtype=np.uint8) % 64
    np.testing.assert_array_equal(transformation("float32")(model, SCHEMA), model)
    assert [can_be_made(form) for form in ("float32", "int4", "int8", "")] == [
        True, True, False, False
    ]  # fmt: skip
    with pytest.raises(QuestionError, match="'int8'"):
        transformation("int8")
