"""When a recorder that may not wait cannot keep up, is the hole recorded, and exactly that hole?"""

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roundlog.errors import LogError, OversizedEventError
from roundlog.events import (
    Event,
    ModelGenesis,
    ModelSchema,
    RecorderGap,
    RoundCommitted,
    check_side,
    parse_head,
)
from roundlog.fold import apply_step
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.writer import SegmentWriter
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

PARAMETERS = 2_000
SCHEMA = schema_of({"weights": np.zeros(PARAMETERS, np.float32)})

# Room for the model, its layout and three rounds.
TINY_QUEUE = 40_000


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that makes nothing durable until the event is set."""
    free = threading.Event()
    flush = SegmentWriter.flush

    def wait_and_flush(writer: SegmentWriter) -> None:
        free.wait(10)
        flush(writer)

    monkeypatch.setattr(SegmentWriter, "flush", wait_and_flush)
    yield free
    free.set()


def model_at(t: int) -> Any:
    return np.random.default_rng(t).standard_normal(PARAMETERS).astype(np.float32)


def recorded(case: Path) -> list[tuple[Event, dict[str, memoryview]]]:
    log = EmbeddedLog(case / "segments")
    found = []
    for record in log.read({"run/server": 0}, max_records=10**6, max_bytes=1 << 30):
        assert record.frame is not None
        event = parse_head(record.frame.head)
        found.append((event, check_side(event, bytes(record.side()))))
    log.close()
    assert [event.seq for event, _ in found] == list(range(len(found)))
    return found


def missing_and_rebuilt(case: Path) -> tuple[set[int], dict[int, str]]:
    """Rounds that gaps name, and the digest of every model that can be rebuilt."""
    missing: set[int] = set()
    models: dict[int, str] = {}
    model: Any = None
    for event, tails in recorded(case):
        if isinstance(event, ModelGenesis):
            model = np.frombuffer(bytes(tails["weights"]), np.uint8).copy()
            models[event.round] = SCHEMA.model_digest(model)
            assert models[event.round] == event.digest
        elif isinstance(event, RoundCommitted):
            assert event.pre_digest == models[event.round]
            apply_step(model, tails["delta"], tails["patch"], SCHEMA)
            models[event.round + 1] = SCHEMA.model_digest(model)
            assert models[event.round + 1] == event.post_digest
        elif isinstance(event, RecorderGap):
            missing |= set(range(event.expected, event.got))
    return missing, models


def committed(case: Path) -> set[int]:
    return {event.round for event, _ in recorded(case) if isinstance(event, RoundCommitted)}


def test_rounds_that_found_no_room_are_named_and_rebuilding_goes_on_behind_them(
    tmp_path: Path, slow_disk: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path / "case", run="run", queue_bytes=TINY_QUEUE)
    with caplog.at_level(logging.WARNING, logger="roundlog"):
        recorder.genesis(SCHEMA, model_at(0), architecture="none")
        for t in range(20):
            recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        slow_disk.set()
        recorder.flush()
        for t in range(20, 23):
            recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        recorder.close()
    missing, models = missing_and_rebuilt(tmp_path / "case")
    assert missing
    assert missing | committed(tmp_path / "case") == set(range(23))
    assert not missing & committed(tmp_path / "case")
    assert max(models) == 23
    assert models[23] == SCHEMA.model_digest(model_at(23))
    warnings = [record for record in caplog.records if "queue is full" in record.message]
    assert len(warnings) == 1


def test_a_hole_at_the_very_end_is_recorded_when_the_recorder_closes(
    tmp_path: Path, slow_disk: threading.Event
) -> None:
    recorder = Recorder(tmp_path / "case", run="run", queue_bytes=TINY_QUEUE)
    recorder.genesis(SCHEMA, model_at(0), architecture="none")
    for t in range(20):
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
    slow_disk.set()
    recorder.close()
    missing, models = missing_and_rebuilt(tmp_path / "case")
    assert missing | committed(tmp_path / "case") == set(range(20))
    assert 19 in missing
    assert models[20] == SCHEMA.model_digest(model_at(20))


@pytest.mark.parametrize("seed", range(4))
def test_under_changing_pressure_every_round_is_either_recorded_or_named(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    recorder = Recorder(tmp_path / "case", run="run", queue_bytes=TINY_QUEUE)
    recorder.genesis(SCHEMA, model_at(0), architecture="none")
    for t in range(150):
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        if rng.random() < 0.15:
            time.sleep(rng.choice([0.001, 0.02, 0.06]))
    recorder.close()
    missing, models = missing_and_rebuilt(tmp_path / "case")
    done = committed(tmp_path / "case")
    assert missing, f"seed {seed}: no pressure at all"
    assert missing | done == set(range(150)), f"seed {seed}"
    assert not missing & done, f"seed {seed}"
    assert models[150] == SCHEMA.model_digest(model_at(150)), f"seed {seed}"


def test_a_recorder_that_may_wait_loses_nothing_with_the_same_queue(tmp_path: Path) -> None:
    with Recorder(
        tmp_path / "case", run="run", queue_bytes=TINY_QUEUE, on_error="raise"
    ) as recorder:
        recorder.genesis(SCHEMA, model_at(0), architecture="none")
        for t in range(60):
            recorder.commit(model_at(t + 1), round=t, cohort_size=10)
    missing, _ = missing_and_rebuilt(tmp_path / "case")
    assert missing == set()
    assert committed(tmp_path / "case") == set(range(60))


def test_no_commit_waits_for_a_disk_that_stands_still(
    tmp_path: Path, slow_disk: threading.Event
) -> None:
    recorder = Recorder(tmp_path / "case", run="run", queue_bytes=TINY_QUEUE)
    recorder.genesis(SCHEMA, model_at(0), architecture="none")
    took = []
    for t in range(200):
        model = model_at(t + 1)
        started = time.monotonic()
        recorder.commit(model, round=t, cohort_size=10)
        took.append(time.monotonic() - started)
    slow_disk.set()
    recorder.close()
    assert max(took) < 0.5, f"a commit waited {max(took):.3f} s"


def test_an_event_that_fits_no_frame_is_refused_and_the_next_one_recorded(tmp_path: Path) -> None:
    with Recorder(tmp_path / "case", run="run", on_error="raise") as recorder:
        with pytest.raises(OversizedEventError, match="the limit is 4,000,000"):
            recorder.record(
                ModelGenesis,
                tails={"weights": bytes(4_000_000)},
                schema_digest=SCHEMA.digest,
                digest="0" * 64,
            )
        recorder.genesis(SCHEMA, model_at(0), architecture="none")
    kinds = [type(event) for event, _ in recorded(tmp_path / "case")]
    assert kinds == [ModelSchema, ModelGenesis]


def test_a_disk_that_refuses_is_raised_where_the_operator_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(writer: SegmentWriter) -> None:
        raise LogError("no space left on device")

    recorder = Recorder(tmp_path / "case", run="run", on_error="raise")
    monkeypatch.setattr(SegmentWriter, "flush", refuse)
    recorder.genesis(SCHEMA, model_at(0), architecture="none")
    with pytest.raises(LogError, match="no space left"):
        recorder.flush()
    with pytest.raises(LogError, match="no space left"):
        recorder.commit(model_at(1), round=0, cohort_size=10)
    with pytest.raises(LogError, match="no space left"):
        recorder.close()
