"""Is what is exported in the middle of recording a record that verifies and opens?"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from table_rows import all_rows

import roundlog.log.writer
from forensics.verify import verify_case
from ingest.archive.contents import open_segments, take
from ingest.archive.export import export_case
from ingest.archive.importing import import_case
from ingest.service import ingest_case
from roundlog.case import Case
from roundlog.events import AuditSampled, RunOpened
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

EXPORTS = 6

# A recorder that is never told to stop ends by itself.
ROUNDS = 50_000


@contextmanager
def recording(path: Path, producer: str = "server", start: int = 0) -> Iterator[None]:
    """Rounds come in one after the other while the block runs; some are durable, some not yet."""
    stop = threading.Event()
    thread = threading.Thread(target=record, args=(path, producer, start, stop))
    thread.start()
    try:
        while not list((path / "segments" / "r" / producer).glob("*.heads")):
            time.sleep(0.01)
        yield
    finally:
        stop.set()
        thread.join()


def record(path: Path, producer: str, start: int, stop: threading.Event) -> None:
    schema = schema_of({"w": np.zeros(100, np.float32)})
    model = np.full(100, start + 1, np.float32)
    with Recorder(path, run="r", producer=producer, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="test")
        recorder.genesis(schema, model, architecture="none", round=start)
        for t in range(start, start + ROUNDS):
            model = model * np.float32(1.0001)
            recorder.commit(model, round=t, cohort_size=10)
            recorder.record(
                AuditSampled,
                round=t,
                item=0,
                category="news",
                answer=3,
                model_digest=schema.digest,
                inclusion_probability=0.5,
                tails={"text": b"salt" * 5},
                erasable=frozenset({"text"}),
            )
            if t % 16 == 0:
                recorder.flush()
            if stop.wait(0.001):
                return


def test_every_export_verifies_opens_and_holds_more_than_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roundlog.log.writer, "EVENTS_PER_SEGMENT", 256)
    case = Case.create(tmp_path / "case")
    lengths: list[int] = []
    cut = 0
    with recording(case.path):
        for number in range(EXPORTS):
            found = export_case(case, tmp_path / f"{number}.tar")
            import_case(found.path, tmp_path / f"copy-{number}")
            copied = Case(tmp_path / f"copy-{number}")
            verdict = verify_case(copied)
            assert verdict.ok, verdict.findings
            with copied.own():
                summary = ingest_case(copied)
            assert (summary.events, summary.findings, summary.quarantined) == (verdict.events, 0, 0)
            lengths.append(verdict.rounds)
            cut += found.open_segments
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 1, f"nothing was recorded meanwhile: {lengths}"
    assert cut, "no segment was open when it was exported"


def test_an_export_between_any_two_writes_of_a_recorder_is_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk right before and behind every fdatasync of a writer."""
    case = Case.create(tmp_path / "case")
    real, names = os.fdatasync, iter(range(10**6))
    found: list[tuple[int, int]] = []

    def look() -> None:
        number = next(names)
        if not list(case.segments.rglob("*.heads")):
            return
        export_case(case, tmp_path / f"{number}.tar")
        import_case(tmp_path / f"{number}.tar", tmp_path / f"copy-{number}")
        verdict = verify_case(Case(tmp_path / f"copy-{number}"))
        assert verdict.ok, verdict.findings
        found.append((verdict.events, open_segments(take(case))))

    def fdatasync(handle: int) -> None:
        look()
        real(handle)
        look()

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(roundlog.log.writer, "EVENTS_PER_SEGMENT", 4)
    schema = schema_of({"w": np.zeros(4, np.float32)})
    with Recorder(case.path, run="r", on_error="raise") as recorder:
        recorder.genesis(schema, np.ones(4, np.float32), architecture="none")
        recorder.flush()
        for t in range(5):
            recorder.commit(np.full(4, t + 2, np.float32), round=t, cohort_size=1)
            recorder.flush()
    look()
    events = [one for one, _ in found]
    assert events == sorted(events)
    assert set(events) >= set(range(2, 8))
    assert found[-1] == (7, 0)


def test_two_producers_that_record_at_a_time_are_exported_together(tmp_path: Path) -> None:
    case = Case.create(tmp_path / "case")
    with recording(case.path, "a"), recording(case.path, "b", 10**6):
        for number in range(EXPORTS):
            export_case(case, tmp_path / f"{number}.tar")
            import_case(tmp_path / f"{number}.tar", tmp_path / f"copy-{number}")
    for number in range(EXPORTS):
        kinds = {one.kind for one in verify_case(Case(tmp_path / f"copy-{number}")).findings}
        # They record rounds a million apart, which is a hole between them and no fault of a copy.
        assert kinds <= {"round_gap"}
    last = Case(tmp_path / f"copy-{EXPORTS - 1}")
    with last.own():
        ingest_case(last)
    assert {row[1] for row in all_rows(last)["events"]} == {"a", "b"}
