"""Can a server be recorded without anything about its training changing?"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roundlog.encoding import Frame, digest, encode_frame
from roundlog.errors import (
    LogError,
    LogLockedError,
    OversizedEventError,
    RecorderError,
    RoundlogError,
    TensorSchemaError,
)
from roundlog.events import (
    NO_DIGEST,
    AuditSampled,
    ContinuityBreak,
    Event,
    ModelGenesis,
    ModelSchema,
    ProbesPublished,
    RecorderGap,
    RoundCommitted,
    RoundFailed,
    RunOpened,
    check_side,
    parse_head,
)
from roundlog.fold import apply_step
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.segments import list_segments
from roundlog.log.writer import SegmentWriter
from roundlog.recorder import Recorder
from roundlog.tensors import TensorSchema, schema_of

W0 = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
SCHEMA = schema_of({"w": W0})


def start(case: Path, **options: Any) -> Recorder:
    recorder = Recorder(case, run="run", on_error="raise", **options)
    recorder.genesis(SCHEMA, W0, architecture="mine")
    return recorder


def recorded(case: Path) -> list[tuple[Event, dict[str, bytes]]]:
    """Every event with its tails, after chain and digests were checked."""
    log, position, prev = EmbeddedLog(case / "segments"), 0, NO_DIGEST
    found: list[tuple[Event, dict[str, bytes]]] = []
    while records := log.read({"run/server": position}, timeout_s=0):
        for record in records:
            assert record.frame is not None, record.detail
            event = parse_head(record.frame.head)
            assert (event.seq, event.prev) == (len(found), prev)
            prev = digest(record.frame.head)
            tails = check_side(event, record.side())
            found.append((event, {name: bytes(tail) for name, tail in tails.items()}))
        position = records[-1].next_offset
    log.close()
    return found


def events(case: Path) -> list[Event]:
    return [event for event, _ in recorded(case)]


def kinds(case: Path) -> list[type[Event]]:
    return [type(event) for event in events(case)]


def fold(case: Path, schema: TensorSchema = SCHEMA) -> Iterator[tuple[int, bytes]]:
    """(t, W_t) after every model that can be rebuilt, each compared with its recorded digest."""
    model = np.zeros(0, dtype=np.uint8)
    for event, tails in recorded(case):
        if isinstance(event, ModelGenesis):
            model = np.frombuffer(tails["weights"], dtype=np.uint8).copy()
            assert schema.model_digest(model) == event.digest
            yield event.round, model.tobytes()
        elif isinstance(event, RoundCommitted):
            assert schema.model_digest(model) == event.pre_digest
            apply_step(model, tails["delta"], tails["patch"], schema)
            assert schema.model_digest(model) == event.post_digest
            yield event.round + 1, model.tobytes()


def test_eleven_hundred_rounds_fold_back_to_every_model(tmp_path: Path) -> None:
    rng, model = np.random.default_rng(4), W0
    models = [model.tobytes()]
    with start(tmp_path / "case") as recorder:
        for t in range(1_100):
            model = model + rng.normal(size=W0.shape).astype(np.float32) * np.float32(0.01)
            recorder.commit(model, round=t, cohort_size=10, stratum_counts=np.array([t, 1]))
            models.append(model.tobytes())
    assert list(fold(tmp_path / "case")) == list(enumerate(models))
    segments = list_segments(tmp_path / "case" / "segments" / "run" / "server")
    assert [segment.read_seal().count for segment in segments] == [1024, 78]


def test_what_the_caller_does_afterwards_changes_nothing(tmp_path: Path) -> None:
    model, counts, text = W0.copy(), np.array([1, 2], np.uint32), bytearray(b"s" * 16 + b"hello")
    first = model.copy()
    recorder = Recorder(tmp_path, run="run", on_error="raise")
    recorder.genesis(SCHEMA, model, architecture="mine")
    model += 1
    second = model.copy()
    recorder.commit(model, round=0, cohort_size=3, stratum_counts=counts)
    recorder.record(
        AuditSampled,
        tails={"text": text},
        erasable=frozenset({"text"}),
        round=1,
        item=0,
        category="news",
        answer=0,
        model_digest=SCHEMA.digest,
        inclusion_probability=0.5,
    )
    model[:], counts[:], text[:] = -7, 99, b"x" * len(text)
    recorder.commit(second, round=1, cohort_size=3)
    recorder.close()
    assert [w for _, w in fold(tmp_path)] == [first.tobytes(), second.tobytes(), second.tobytes()]
    tails = [tails for _, tails in recorded(tmp_path)]
    assert np.frombuffer(tails[2]["strata"], "<u4").tolist() == [1, 2]
    assert tails[3]["text"] == b"s" * 16 + b"hello"


def test_recording_changes_no_input(tmp_path: Path) -> None:
    model, counts = W0.copy(), np.array([1, 2])
    model.setflags(write=False)
    counts.setflags(write=False)
    with start(tmp_path) as recorder:
        recorder.commit(model, round=0, cohort_size=3, stratum_counts=counts)
    assert model.tobytes() == W0.tobytes()


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda w: w.astype(">f4"),
        lambda w: np.repeat(w, 2, axis=1)[:, ::2],
        lambda w: w.reshape(-1),
        lambda w: w.reshape(-1).view(np.uint8),
    ],
    ids=["fortran", "big-endian", "strided", "flat", "bytes"],
)
def test_the_record_does_not_depend_on_the_memory_layout(tmp_path: Path, layout: Any) -> None:
    recorder = Recorder(tmp_path, run="run", on_error="raise")
    recorder.genesis(SCHEMA, layout(W0), architecture="mine")
    recorder.commit(layout(W0 * 2), round=0, cohort_size=3)
    recorder.close()
    assert [w for _, w in fold(tmp_path)] == [W0.tobytes(), (W0 * 2).tobytes()]


def test_tails_are_counted_in_bytes_whatever_they_are(tmp_path: Path) -> None:
    inputs = np.arange(6, dtype=">i4").reshape(2, 3)
    with start(tmp_path) as recorder:
        recorder.record(
            ProbesPublished,
            tails={"inputs": inputs, "labels": np.array([1, 2], "<i4").data, "about": b"{}"},
            probe_set="clean",
            role="clean",
            digest=SCHEMA.digest,
            n=2,
            width=3,
        )
    _, tails = recorded(tmp_path)[-1]
    assert np.frombuffer(tails["inputs"], "<i4").tolist() == [0, 1, 2, 3, 4, 5]
    assert np.frombuffer(tails["labels"], "<i4").tolist() == [1, 2]


def test_a_model_that_diverges_is_recorded_like_any_other(tmp_path: Path) -> None:
    bad = W0.copy()
    bad[0], bad[1], bad[2] = np.nan, np.inf, -0.0
    with start(tmp_path) as recorder:
        recorder.commit(
            bad,
            round=0,
            cohort_size=3,
            aggregate_norm=float("nan"),
            defence_scores={"norm": float("inf"), "cosine": 0.5, "other": np.float32(np.nan)},
        )
        recorder.commit(W0, round=1, cohort_size=3, aggregate_norm=np.float32(0.5))
    assert [w for _, w in fold(tmp_path)] == [W0.tobytes(), bad.tobytes(), W0.tobytes()]
    first, second = [e for e in events(tmp_path) if isinstance(e, RoundCommitted)]
    assert (first.delta_norm, first.aggregate_norm) == (None, None)
    assert first.defence_scores == {"cosine": 0.5}
    assert (second.delta_norm, second.aggregate_norm) == (None, 0.5)


def test_the_norm_does_not_overflow_before_the_model_does(tmp_path: Path) -> None:
    for dtype, value in (("float16", 3e4), ("float32", 1e30)):
        weights = np.zeros(2, dtype)
        recorder = Recorder(tmp_path / dtype, run="run", on_error="raise")
        recorder.genesis(schema_of({"w": weights}), weights, architecture="mine")
        recorder.commit(np.array([value, 0], dtype), round=0, cohort_size=1)
        recorder.close()
        event = events(tmp_path / dtype)[-1]
        assert isinstance(event, RoundCommitted)
        assert event.delta_norm == float(np.array(value, dtype))


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        numbers: dict[str, Any] = {"round": np.int64(0), "cohort_size": np.int32(5)}
        recorder.commit(W0, weight=np.float32(2.5), **numbers)
    event = events(tmp_path)[-1]
    assert isinstance(event, RoundCommitted)
    assert (event.round, event.cohort_size, event.weight) == (0, 5, 2.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cohort_size": 0}, r"RoundCommitted\.cohort_size: .*greater than 0"),
        ({"cohort_size": 2**63}, r"RoundCommitted\.cohort_size"),
        ({"round": -1}, r"RoundCommitted\.round"),
        ({"surprise": 1}, r"RoundCommitted\.surprise: Extra inputs"),
        ({"weight": -1.0}, r"RoundCommitted\.weight"),
        ({"server": {"optimizer": ""}}, r"RoundCommitted\.server\.optimizer"),
        ({"time": datetime(2026, 1, 1)}, r"RoundCommitted\.time: .*timezone"),  # noqa: DTZ001
        ({"seq": 5}, r"RoundCommitted\.seq: the recorder fills this in"),
        ({"pre_digest": "x"}, r"RoundCommitted\.pre_digest: the recorder computes"),
        ({"stratum_counts": [-1, 2]}, r"RoundCommitted\.strata: .*would change them"),
        ({"stratum_counts": [2**32]}, r"RoundCommitted\.strata: "),
        ({"stratum_counts": [1.5]}, r"RoundCommitted\.strata: .*would change them"),
        ({"stratum_counts": [float("nan")]}, r"RoundCommitted\.strata: .*would change them"),
        ({"stratum_counts": ["many"]}, r"RoundCommitted\.strata: not counts"),
    ],
)
def test_a_wrong_field_is_named_and_the_round_can_be_recorded_again(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    after = W0 + 1
    with start(tmp_path) as recorder:
        with pytest.raises(RecorderError, match=message):
            recorder.commit(after, **({"round": 0, "cohort_size": 3} | fields))
        recorder.commit(after, round=0, cohort_size=3)
    assert [w for _, w in fold(tmp_path)] == [W0.tobytes(), after.tobytes()]


def test_a_wrong_field_of_genesis_can_be_put_right(tmp_path: Path) -> None:
    with Recorder(tmp_path, run="run") as recorder:
        with pytest.raises(RecorderError, match=r"ModelSchema\.architecture"):
            recorder.genesis(SCHEMA, W0, architecture="")
        with pytest.raises(RecorderError, match=r"commit\(\) before genesis\(\)"):
            recorder.commit(W0, round=0, cohort_size=1)
        recorder.genesis(SCHEMA, W0, architecture="mine")
    assert kinds(tmp_path) == [ModelSchema, ModelGenesis]


def test_a_model_of_another_schema_is_refused(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        for wrong in (W0[:4], W0.astype(np.float64), W0.astype(np.int32)):
            with pytest.raises(TensorSchemaError, match="the schema says"):
                recorder.commit(wrong, round=0, cohort_size=3)
            with pytest.raises(TensorSchemaError, match="the schema says"):
                recorder.genesis(SCHEMA, wrong, architecture="mine")
        recorder.commit(W0, round=0, cohort_size=3)


def test_tails_that_the_kind_does_not_have_are_refused(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        with pytest.raises(RecorderError, match=r"RoundFailed has no tail named \['text'\]"):
            recorder.record(RoundFailed, tails={"text": b""}, round=0, attempt=0, reason="x")
        with pytest.raises(RecorderError, match="erasable names no tail"):
            recorder.record(
                RoundFailed, erasable=frozenset({"text"}), round=0, attempt=0, reason="x"
            )
        with pytest.raises(RecorderError, match=r"RoundFailed\.reason: Field required"):
            recorder.record(RoundFailed, round=0, attempt=0)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "a\0b", "/etc"])
def test_a_run_cannot_leave_the_case(tmp_path: Path, name: str) -> None:
    case = tmp_path / "deep" / "case"
    with pytest.raises(LogError, match="cannot name a run or producer"):
        Recorder(case, run=name)
    with pytest.raises(LogError, match="cannot name a run or producer"):
        Recorder(case, run="run", producer=name)
    assert {path.name for path in tmp_path.rglob("*")} <= {"deep", "case", "case.json"}


def test_one_recorder_at_a_time(tmp_path: Path) -> None:
    with start(tmp_path):
        with pytest.raises(LogLockedError, match="two producers need two names"):
            Recorder(tmp_path, run="run")
        Recorder(tmp_path, run="run", producer="second").close()
    Recorder(tmp_path, run="run").close()


def test_a_recorder_that_comes_back_with_its_model_goes_on_quietly(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        recorder.commit(W0 + 1, round=0, cohort_size=3)
    with Recorder(tmp_path, run="run") as again:
        again.genesis(SCHEMA, W0 + 1, architecture="mine", round=1)
        again.commit(W0 + 2, round=1, cohort_size=3)
    assert kinds(tmp_path) == [ModelSchema, ModelGenesis, RoundCommitted, RoundCommitted]
    assert [t for t, _ in fold(tmp_path)] == [0, 1, 2]


def test_a_recorder_that_comes_back_with_another_model_says_so(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        recorder.commit(W0 + 1, round=0, cohort_size=3)
    with Recorder(tmp_path, run="run") as again:
        again.genesis(SCHEMA, W0 + 5, architecture="mine", round=1)
        again.commit(W0 + 6, round=1, cohort_size=3)
    found = events(tmp_path)
    assert [type(event) for event in found[3:]] == [
        ContinuityBreak,
        ModelSchema,
        ModelGenesis,
        RoundCommitted,
    ]
    told = found[3]
    assert isinstance(told, ContinuityBreak)
    assert (told.round, told.expected) == (1, SCHEMA.model_digest(W0 + 1))
    assert told.got == SCHEMA.model_digest(W0 + 5)
    assert [w for _, w in fold(tmp_path)][-1] == (W0 + 6).tobytes()


def test_a_head_that_cannot_be_read_does_not_keep_a_server_from_recording(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        recorder.flush()
        segment = list_segments(tmp_path / "segments" / "run" / "server")[-1]
        recorder._sink._writer.close(seal=False)  # as a crash would leave it
    with segment.heads.open("ab") as file:
        file.write(encode_frame(Frame(b"not an event")))
    with Recorder(tmp_path, run="run") as again:
        again.genesis(SCHEMA, W0, architecture="mine")
        again.commit(W0 + 1, round=0, cohort_size=3)


def test_an_exception_in_training_still_seals_what_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="in training"), start(tmp_path) as recorder:
        recorder.commit(W0 + 1, round=0, cohort_size=3)
        raise ZeroDivisionError("in training")
    (segment,) = list_segments(tmp_path / "segments" / "run" / "server")
    assert segment.read_seal().count == 3


def test_what_was_flushed_is_there_while_recording_goes_on(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:
        recorder.commit(W0 + 1, round=0, cohort_size=3)
        recorder.flush()
        assert len(events(tmp_path)) == 3


def test_a_closed_recorder_says_that_it_is_closed(tmp_path: Path) -> None:
    recorder = start(tmp_path)
    recorder.close()
    recorder.close()
    with pytest.raises(RecorderError, match=r"RoundCommitted after close\(\)"):
        recorder.commit(W0, round=0, cohort_size=3)


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_model_too_large_for_a_frame_is_refused_at_once(tmp_path: Path, on_error: Any) -> None:
    """It used to end the writing thread, and everything after it was lost without a word."""
    large = np.zeros(1_100_000, np.float32)
    with Recorder(tmp_path, run="run", on_error=on_error) as recorder:
        recorder.record(RunOpened, framework="test")
        with pytest.raises(OversizedEventError, match="the limit is 4,000,000"):
            recorder.genesis(schema_of({"w": large}), large, architecture="mine")
        recorder.genesis(SCHEMA, W0, architecture="mine")
    assert kinds(tmp_path)[-1] is ModelGenesis


def test_a_round_too_large_for_a_frame_is_a_hole_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model fits a frame, and delta and patch together may not, where all became NaN."""
    weights = np.ones(700_000, np.float32)
    schema = schema_of({"w": weights})
    with Recorder(tmp_path, run="run") as recorder:
        recorder.genesis(schema, weights, architecture="mine")
        with caplog.at_level(logging.ERROR):
            recorder.commit(weights * np.float32(np.nan), round=0, cohort_size=3)
        assert "round 0 is left out" in caplog.text
        recorder.flush()
        recorder.commit(weights, round=1, cohort_size=3)
        recorder.commit(weights, round=2, cohort_size=3)
    assert kinds(tmp_path)[2:] == [RecorderGap, ModelGenesis, RoundCommitted]
    assert [t for t, _ in fold(tmp_path, schema)] == [0, 2, 3]


class Stalled:
    """A disk that stands still until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.stands = threading.Event(), threading.Event()
        flush = SegmentWriter.flush

        def wait(writer: SegmentWriter) -> None:
            self.stands.set()
            self.go.wait(30)
            flush(writer)

        monkeypatch.setattr(SegmentWriter, "flush", wait)


def overflow(recorder: Recorder, disk: Stalled, rounds: int = 40) -> float:
    """Fills the queue; the longest that one round was held up, in seconds."""
    longest = 0.0
    for t in range(rounds):
        began = time.perf_counter()
        recorder.commit(W0 + t, round=t, cohort_size=3)
        longest = max(longest, time.perf_counter() - began)
    return longest


def test_a_stalled_disk_holds_no_round_up_and_the_hole_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Stalled(monkeypatch)
    with Recorder(tmp_path, run="run", queue_bytes=10_000) as recorder:
        recorder.genesis(SCHEMA, W0, architecture="mine")
        with caplog.at_level(logging.WARNING):
            assert overflow(recorder, disk) < 1
        assert len([r for r in caplog.records if "queue is full" in r.getMessage()]) == 1
        disk.go.set()
        recorder.flush()
        for t in (40, 41, 42):
            recorder.commit(W0 + t, round=t, cohort_size=3)
    (gap,) = [event for event in events(tmp_path) if isinstance(event, RecorderGap)]
    models = dict(fold(tmp_path))
    assert gap.got == 41
    assert sorted(models) == [*range(gap.expected + 1), 41, 42, 43]
    assert models[43] == (W0 + 42).tobytes()


def test_a_hole_at_the_end_of_training_is_recorded_when_it_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Stalled(monkeypatch)
    recorder = Recorder(tmp_path, run="run", queue_bytes=10_000)
    recorder.genesis(SCHEMA, W0, architecture="mine")
    overflow(recorder, disk)
    disk.go.set()
    recorder.close()
    assert kinds(tmp_path)[-2:] == [RecorderGap, ModelGenesis]
    t, last = list(fold(tmp_path))[-1]
    assert (t, last) == (40, (W0 + 39).tobytes())


def test_who_chose_to_wait_waits_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Stalled(monkeypatch)
    threading.Timer(0.3, disk.go.set).start()
    with start(tmp_path, queue_bytes=10_000) as recorder:
        overflow(recorder, disk)
    assert [t for t, _ in fold(tmp_path)] == list(range(41))


def full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_raised_to_who_chose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = start(tmp_path)
    recorder.flush()
    monkeypatch.setattr(os, "fdatasync", full)
    recorder.commit(W0 + 1, round=0, cohort_size=3)
    with pytest.raises(LogError, match="No space left"):
        recorder.flush()
    with pytest.raises(LogError, match="No space left"):
        recorder.commit(W0 + 2, round=1, cohort_size=3)
    with pytest.raises(LogError, match="No space left"):
        recorder.close()
    monkeypatch.undo()
    assert kinds(tmp_path) == [ModelSchema, ModelGenesis]
    Recorder(tmp_path, run="run").close()


def test_a_full_disk_does_not_stop_training_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path, run="run")
    recorder.genesis(SCHEMA, W0, architecture="mine")
    recorder.flush()
    monkeypatch.setattr(os, "fdatasync", full)
    with caplog.at_level(logging.ERROR):
        for t in range(20):
            recorder.commit(W0 + t, round=t, cohort_size=3)
        recorder.close()
    assert "No space left" in caplog.text


def test_whatever_ends_the_thread_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = start(tmp_path)
    recorder.flush()

    def surprise(*_: object) -> None:
        raise MemoryError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "append", surprise)
        recorder.commit(W0 + 1, round=0, cohort_size=3)
        with pytest.raises(RoundlogError, match="on purpose"):
            recorder.flush()
    with pytest.raises(RoundlogError, match="on purpose"):
        recorder.close()


def test_threads_that_record_together_make_one_chain(tmp_path: Path) -> None:
    with start(tmp_path) as recorder:

        def record(item: int) -> None:
            for attempt in range(100):
                recorder.record(RoundFailed, round=item, attempt=attempt, reason="test")

        threads = [threading.Thread(target=record, args=(item,)) for item in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(recorded(tmp_path)) == 402, "and `recorded` checks seq and prev of each"


def test_times_are_the_callers_or_now_with_a_zone(tmp_path: Path) -> None:
    then = datetime(2026, 1, 5, 3, 30, tzinfo=UTC)
    with start(tmp_path) as recorder:
        recorder.commit(W0, round=0, cohort_size=3, time=then)
        recorder.commit(W0, round=1, cohort_size=3)
    first, second = events(tmp_path)[-2:]
    assert first.time == then
    assert abs((second.time - datetime.now(UTC)).total_seconds()) < 60


def test_the_message_of_an_error_does_not_repeat_the_model(tmp_path: Path) -> None:
    with start(tmp_path) as recorder, pytest.raises(RecorderError, match="cohort_size") as refused:
        recorder.commit(W0, round=0, cohort_size="many")  # type: ignore[arg-type]
    assert len(str(refused.value)) < 200
    assert not re.search(r"https?://", str(refused.value))


def test_no_recorder_speaks_under_the_owners_name(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="no recorder is called 'owner'"):
        Recorder(tmp_path / "case", run="run", producer="owner")
    assert not (tmp_path / "case").exists()
