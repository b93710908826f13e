"""Does `verify` take a log that grows while it is read for what it is: no fault?"""

import threading
from pathlib import Path

import numpy as np
import pytest

import roundlog.log.writer
from forensics.verify import verify_case
from roundlog.case import Case
from roundlog.log.files import PART_SUFFIX
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

# A recorder that is never told to stop ends by itself.
ROUNDS = 50_000
LOOKS = 8


def _record(path: Path, stop: threading.Event) -> None:
    schema = schema_of({"w": np.zeros(200, np.float32)})
    model = np.ones(200, np.float32)
    with Recorder(path, run="r", on_error="raise") as recorder:
        recorder.genesis(schema, model, architecture="none")
        for t in range(ROUNDS):
            model = model * np.float32(1.001)
            recorder.commit(model, round=t, cohort_size=10)
            if t % 20 == 0:
                recorder.flush()
            if stop.wait(0.001):
                return


def test_a_log_that_is_being_written_has_no_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files begin and are sealed while somebody reads.
    monkeypatch.setattr(roundlog.log.writer, "EVENTS_PER_SEGMENT", 128)
    case, stop = Case.create(tmp_path / "case"), threading.Event()
    thread = threading.Thread(target=_record, args=(case.path, stop))
    thread.start()
    seen: list[int] = []
    try:
        while len(seen) < LOOKS or seen[-1] < 300:
            verdict = verify_case(case)
            assert verdict.ok, verdict.findings
            seen.append(verdict.rounds)
    finally:
        stop.set()
        thread.join()
    assert seen == sorted(seen)
    assert verify_case(case).rounds >= seen[-1]


def test_what_a_writer_did_meanwhile_is_left_to_the_next_look(tmp_path: Path) -> None:
    case, ended = Case.create(tmp_path / "case"), threading.Event()
    schema = schema_of({"w": np.zeros(4, np.float32)})
    recorder = Recorder(case.path, run="r", on_error="raise")
    recorder.genesis(schema, np.ones(4, np.float32), architecture="none")
    recorder.commit(np.full(4, 2, np.float32), round=0, cohort_size=1)
    recorder.flush()
    directory = case.segments / "r" / "server"
    (directory / f"000000000000.seal.1.1{PART_SUFFIX}").write_bytes(b"half a seal")

    def read(count: int) -> None:
        # Behind the heads file, before the vec file and the seal are looked at.
        if not ended.is_set():
            ended.set()
            recorder.commit(np.full(4, 3, np.float32), round=1, cohort_size=1)
            recorder.close()

    verdict = verify_case(case, read=read)
    assert (verdict.findings, verdict.rounds) == ((), 1)
    assert verify_case(case).rounds == 2


def test_a_part_of_a_seal_that_nobody_writes_is_a_stray_file(tmp_path: Path) -> None:
    case = Case.create(tmp_path / "case")
    schema = schema_of({"w": np.zeros(4, np.float32)})
    with Recorder(case.path, run="r", on_error="raise") as recorder:
        recorder.genesis(schema, np.ones(4, np.float32), architecture="none")
    directory = case.segments / "r" / "server"
    (directory / f"000000000000.seal.1.1{PART_SUFFIX}").write_bytes(b"half a seal")
    assert [one.kind for one in verify_case(case).findings] == ["stray_file"]
