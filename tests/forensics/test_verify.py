"""Does `verify` see every kind of alteration, and name the file and the round?"""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_log import Maker, write

from forensics.verify import Verdict, verify_case
from roundlog.case import Case
from roundlog.encoding import decode_frame, encode_frame
from roundlog.events import AuditSampled, RunOpened
from roundlog.log.segments import list_segments, scan_heads
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

ROUNDS = 700
FLIPS = 60


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of two sealed segments: 700 rounds with an audit event after every second one."""
    path = tmp_path_factory.mktemp("verify") / "case"
    schema = schema_of({"w": np.zeros(20, np.float32)})
    model = np.random.default_rng(5).standard_normal(20).astype(np.float32)
    with Recorder(path, run="r", on_error="raise") as recorder:
        recorder.record(RunOpened, framework="test")
        recorder.genesis(schema, model, architecture="none")
        for t in range(ROUNDS):
            model = model * np.float32(1.01)
            recorder.commit(model, round=t, cohort_size=10)
            if t % 2 == 0:
                recorder.record(
                    AuditSampled,
                    round=t,
                    item=0,
                    category="news",
                    answer=3,
                    model_digest=schema.digest,
                    inclusion_probability=0.5,
                    tails={"text": b"0" * 40},
                    erasable=frozenset({"text"}),
                )
    return path


@pytest.fixture
def case(recorded: Path, tmp_path: Path) -> Case:
    return Case(shutil.copytree(recorded, tmp_path / "case"))


def _kinds(verdict: Verdict) -> set[str]:
    return {finding.kind for finding in verdict.findings}


def test_an_unaltered_record_is_ok(case: Case) -> None:
    verdict = verify_case(case)
    assert verdict.ok, verdict.findings
    assert verdict.rounds == ROUNDS


@pytest.mark.parametrize("suffix", ["heads", "vec", "seal"])
def test_any_flipped_bit_is_found_in_its_file_with_a_round(case: Case, suffix: str) -> None:
    rng = random.Random(f"flip {suffix}")
    files = sorted(case.segments.rglob(f"*.{suffix}"))
    for _ in range(FLIPS):
        path = rng.choice(files)
        original = path.read_bytes()
        at, bit = rng.randrange(len(original)), rng.randrange(8)
        changed = bytearray(original)
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        name = str(path.relative_to(case.path))
        named = [one for one in verify_case(case).findings if one.file == name]
        assert named, f"bit {bit} of byte {at} of {name} was flipped, and nobody noticed"
        assert all(one.round is not None for one in named)
        path.write_bytes(original)


def test_a_flipped_bit_of_a_delta_names_exactly_its_round(case: Case) -> None:
    path = sorted(case.segments.rglob("*.vec"))[0]
    data = bytearray(path.read_bytes())
    data[321 * 80 + 7] ^= 1
    path.write_bytes(data)
    verdict = verify_case(case)
    assert [(one.kind, one.round) for one in verdict.findings] == [("bad_digest", 321)]
    assert "no model from 322 on can be rebuilt" in verdict.findings[0].detail
    assert verdict.rounds == ROUNDS


def test_a_damaged_head_names_the_round_that_is_lost_with_it(case: Case) -> None:
    path = sorted(case.segments.rglob("*.heads"))[0]
    data = bytearray(path.read_bytes())
    stored = next(
        one for one in scan_heads(bytes(data)) if one.frame and b'"round":100,' in one.frame.head
    )
    data[stored.offset + 50] ^= 1
    path.write_bytes(data)
    damaged = [one for one in verify_case(case).findings if one.kind == "damaged"]
    assert [one.round for one in damaged] == [100]


def test_bytes_behind_the_last_whole_head_are_a_finding_and_are_not_repaired(case: Case) -> None:
    last = list_segments(case.segments / "r" / "server")[-1]
    last.seal.unlink()
    with last.heads.open("ab") as file:
        file.write(b"rl\x01half a frame")
    before = last.heads.read_bytes()
    assert _kinds(verify_case(case)) == {"torn_tail"}
    assert last.heads.read_bytes() == before


def test_two_swapped_events_break_the_seal(case: Case) -> None:
    path = sorted(case.segments.rglob("*.heads"))[0]
    data = path.read_bytes()
    whole = list(scan_heads(data))
    a, b = whole[10], whole[11]
    swapped = data[: a.offset] + data[b.offset : b.end] + data[a.offset : a.end] + data[b.end :]
    path.write_bytes(swapped)
    assert _kinds(verify_case(case)) == {"bad_seal"}


def _unsealed(case: Case) -> Path:
    """The last heads file, with its seal taken away, as if the producer had not closed."""
    last = list_segments(case.segments / "r" / "server")[-1]
    last.seal.unlink()
    return last.heads


def test_the_same_event_twice_is_no_fault_and_another_one_is(case: Case) -> None:
    path = _unsealed(case)
    data = path.read_bytes()
    stored = next(one for one in scan_heads(data) if one.frame and b'"answer":3' in one.frame.head)
    path.write_bytes(data + data[stored.offset : stored.end])
    assert verify_case(case).ok
    frame, _ = decode_frame(data, stored.offset)
    forged = type(frame)(frame.head.replace(b'"answer":3', b'"answer":4'), frame.side, frame.origin)
    path.write_bytes(data + encode_frame(forged))
    assert _kinds(verify_case(case)) == {"equivocation"}


def test_a_hole_that_was_filled_late_is_closed(case: Case) -> None:
    path = _unsealed(case)
    data = path.read_bytes()
    stored = list(scan_heads(data))[5]
    without = data[: stored.offset] + data[stored.end :]
    path.write_bytes(without)
    assert "gap" in _kinds(verify_case(case))
    path.write_bytes(without + data[stored.offset : stored.end])
    assert verify_case(case).ok


def test_a_late_event_in_a_sealed_segment_of_its_own_is_no_fault(tmp_path: Path) -> None:
    case, maker = Case.create(tmp_path / "case"), Maker()
    entries = maker.opening() + maker.rounds(3)
    write(case, entries[:5] + entries[6:], seal=True)
    write(case, entries[5:6], seal=True)
    assert verify_case(case).ok, verify_case(case).findings


def test_an_erased_tail_leaves_the_chain_and_the_root_intact(case: Case) -> None:
    path = sorted(case.segments.rglob("*.heads"))[0]
    data = path.read_bytes()
    stored = next(one for one in scan_heads(data) if one.frame and b'"answer":3' in one.frame.head)
    frame, _ = decode_frame(data, stored.offset)
    erased = encode_frame(type(frame)(frame.head, bytes(len(frame.side)), frame.origin))
    path.write_bytes(data[: stored.offset] + erased + data[stored.end :])
    findings = verify_case(case).findings
    assert [one.kind for one in findings] == ["bad_digest"]
    assert "salted digest" in findings[0].detail


def test_an_event_replaced_by_a_well_formed_other_one_is_found(case: Case) -> None:
    path = sorted(case.segments.rglob("*.heads"))[0]
    data = path.read_bytes()
    stored = next(one for one in scan_heads(data) if one.frame and b'"answer":3' in one.frame.head)
    frame, _ = decode_frame(data, stored.offset)
    forged = encode_frame(
        type(frame)(frame.head.replace(b'"answer":3', b'"answer":4'), frame.side, frame.origin)
    )
    path.write_bytes(data[: stored.offset] + forged + data[stored.end :])
    assert {"broken_chain", "bad_seal"} <= _kinds(verify_case(case))


def test_a_deleted_segment_is_a_gap(case: Case) -> None:
    first = list_segments(case.segments / "r" / "server")[0]
    for path in (first.heads, first.vec, first.seal):
        path.unlink()
    assert {"gap", "bad_seal"} <= _kinds(verify_case(case))


def test_a_deleted_heads_file_is_missed_by_name(case: Case) -> None:
    first = list_segments(case.segments / "r" / "server")[0]
    first.heads.unlink()
    assert "missing_file" in _kinds(verify_case(case))


def test_a_run_whose_only_heads_file_is_gone_is_missed_by_name(tmp_path: Path) -> None:
    case = Case.create(tmp_path / "case")
    with Recorder(case.path, run="r", on_error="raise") as recorder:
        recorder.record(RunOpened, framework="test")
    next(case.segments.rglob("*.heads")).unlink()
    assert _kinds(verify_case(case)) == {"missing_file"}


def test_weights_changed_between_two_recordings_are_a_continuity_violation(tmp_path: Path) -> None:
    schema = schema_of({"w": np.zeros(3, np.float32)})
    case = Case.create(tmp_path / "case")
    for producer, start in (("a", 0), ("b", 5)):
        with Recorder(case.path, run="r", producer=producer, on_error="raise") as recorder:
            recorder.genesis(
                schema, np.full(3, start, np.float32), architecture="none", round=start
            )
            for t in range(start, start + 5):
                recorder.commit(np.full(3, t + 1, np.float32), round=t, cohort_size=1)
    assert verify_case(case).ok
    with Recorder(case.path, run="r", producer="c", on_error="raise") as recorder:
        recorder.genesis(schema, np.full(3, 77, np.float32), architecture="none", round=9)
        recorder.commit(np.full(3, 10, np.float32), round=9, cohort_size=1)
    assert not verify_case(case).ok


def test_progress_counts_every_event(case: Case) -> None:
    seen: list[int] = []
    verdict = verify_case(case, progress=seen.append)
    assert seen[-1] == verdict.events == 3 + ROUNDS + ROUNDS // 2
