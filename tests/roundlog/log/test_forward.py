"""Does a server's record reach Kafka whole and in order, whatever happens to broker or server?"""

import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka_node import KafkaCluster
from kafka_node.topics import create_topic

from roundlog.encoding import digest
from roundlog.errors import BrokerError, LogError, LogLockedError
from roundlog.events import Event, ModelGenesis, RoundCommitted, RunOpened, parse_head
from roundlog.log.address import KafkaAddress
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.forward import STATE_NAME, SpoolState, default_spool
from roundlog.log.kafka import KafkaLog
from roundlog.log.port import Record
from roundlog.log.segments import list_segments
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

pytestmark = pytest.mark.kafka

SERVER = Path(__file__).with_name("record_until_killed.py")
SCHEMA = schema_of({"weights": np.zeros(500, np.float32)})

# Far above what a commit takes, far below what a broker's restart does.
COMMIT_LIMIT_S = 0.5


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


def target_of(cluster: KafkaCluster, topic: str) -> str:
    return f"kafka://{cluster.bootstrap}/{topic}"


@pytest.fixture
def nobody() -> Iterator[str]:
    """A target at which nothing listens. Spools are given, so a later recorder may send them."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"kafka://127.0.0.1:{closed.getsockname()[1]}/t"


def model_at(t: int) -> Any:
    return np.full(500, t, np.float32)


def record_rounds(recorder: Recorder, first: int, last: int) -> list[float]:
    """Rounds first … last - 1; how long each commit took, in seconds."""
    took = []
    recorder.genesis(SCHEMA, model_at(first), architecture="none", round=first)
    for t in range(first, last):
        started = time.monotonic()
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        took.append(time.monotonic() - started)
        time.sleep(0.001)
    return took


def in_topic(cluster: KafkaCluster, topic: str, within_s: float = 30.0) -> list[Record]:
    log = KafkaLog(cluster.bootstrap, topic)
    positions, end = dict.fromkeys(log.end(), 0), log.end()
    records: list[Record] = []
    deadline = time.monotonic() + within_s
    while any(positions[p] < end[p] for p in end):
        assert time.monotonic() < deadline
        for record in log.read(positions, timeout_s=0.5):
            positions[record.partition] = record.next_offset
            records.append(record)
    log.close()
    return records


def events(records: list[Record]) -> list[Event]:
    """Every event at its first occurrence, after checking that the chain of them is whole."""
    seen: dict[int, bytes] = {}
    found: list[Event] = []
    for record in records:
        assert record.frame is not None, record.detail
        event = parse_head(record.frame.head)
        if event.seq in seen:
            assert seen[event.seq] == record.frame.head, "a copy with other content"
            continue
        assert event.seq == len(seen), "out of order, or one is missing"
        if found:
            assert event.prev == digest(seen[event.seq - 1])
        seen[event.seq] = record.frame.head
        found.append(event)
    return found


def rounds(found: list[Event]) -> list[int]:
    return [event.round for event in found if isinstance(event, RoundCommitted)]


def test_a_recorded_run_is_in_the_topic_and_its_spool_is_deleted(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    with Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="test")
        record_rounds(recorder, 0, 100)
    found = events(in_topic(kafka, topic))
    assert rounds(found) == list(range(100))
    assert list_segments(spool / "run" / "server") == []
    assert not list(spool.rglob("*.vec")) + list(spool.rglob("*.seal"))
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700


def test_events_are_in_the_topic_before_the_recorder_is_closed(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    recorder = Recorder(target_of(kafka, topic), run="run", spool=spool)
    record_rounds(recorder, 0, 5)
    log = KafkaLog(kafka.bootstrap, topic)
    deadline = time.monotonic() + 10
    while log.end()["0"] < 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.end() == {"0": 7}
    log.close()
    recorder.close()


def test_the_next_recorder_of_a_run_counts_on_although_the_spool_was_deleted(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    for first, last in ((0, 5), (5, 9), (9, 9), (9, 12)):
        with Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise") as one:
            record_rounds(one, first, last)
    found = events(in_topic(kafka, topic))
    assert rounds(found) == list(range(12))
    # The model was the one that was recorded last, so recording went on without a new genesis.
    assert sum(isinstance(event, ModelGenesis) for event in found) == 1


def test_a_broker_killed_while_recording_costs_nothing_and_no_commit_waits(
    mortal: KafkaCluster, spool: Path
) -> None:
    topic = create_topic(mortal.bootstrap)
    recorder = Recorder(target_of(mortal, topic), run="run", spool=spool, on_error="raise")
    took = record_rounds(recorder, 0, 200)
    mortal.node.kill()
    for t in range(200, 400):
        started = time.monotonic()
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        took.append(time.monotonic() - started)
        time.sleep(0.001)
    restart = threading.Thread(target=mortal.node.start)
    restart.start()
    while restart.is_alive() or t < 500:
        t += 1
        started = time.monotonic()
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
        took.append(time.monotonic() - started)
        time.sleep(0.005)
    restart.join()
    recorder.close()
    assert rounds(events(in_topic(mortal, topic))) == list(range(t + 1))
    assert max(took) < COMMIT_LIMIT_S, f"a commit waited {max(took):.3f} s"


def test_an_absent_broker_stops_neither_recording_nor_closing_and_is_told_with_the_way_out(
    kafka: KafkaCluster, topic: str, spool: Path, nobody: str
) -> None:
    started = time.monotonic()
    recorder = Recorder(nobody, run="run", spool=spool, on_error="raise", drain_s=0.5)
    took = record_rounds(recorder, 0, 50)
    with pytest.raises(BrokerError, match=r"(?s)within 0\.5 s.*Nothing is lost.*spool/run/server"):
        recorder.close()
    assert time.monotonic() - started < 10
    assert max(took) < COMMIT_LIMIT_S
    Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise").close()
    assert rounds(events(in_topic(kafka, topic))) == list(range(50))
    assert list_segments(spool / "run" / "server") == []


def test_with_on_error_warn_an_absent_broker_is_only_logged(
    spool: Path, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="roundlog"):
        recorder = Recorder(nobody, run="run", spool=spool, drain_s=0.2)
        record_rounds(recorder, 0, 3)
        recorder.close()
    said = [record for record in caplog.records if record.name.startswith("roundlog")]
    assert [record.levelname for record in said][-1] == "ERROR"
    assert "Nothing is lost: the rest lies in" in said[-1].getMessage()
    # The client's own complaints, several a second, are not passed on.
    assert not [record for record in caplog.records if record.name.startswith("kafka")]


def test_a_server_that_is_killed_goes_on_where_it_stopped(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    committed = 0
    for lines in (5, 60, 150):
        process = subprocess.Popen(
            [sys.executable, str(SERVER), target_of(kafka, topic), str(spool), str(committed)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        for _ in range(lines):
            committed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        committed = int(rest[-1]) if rest else committed
        process.wait()
        process.stdout.close()
        # A round may be durable although the server died before it could say so.
        spooled = EmbeddedLog(spool).read({"run/server": 0}, max_records=10**6, timeout_s=0)
        heads = [parse_head(record.frame.head) for record in spooled if record.frame]
        last = [event.round for event in heads if isinstance(event, RoundCommitted)][-1]
        assert last + 1 >= committed
        committed = last + 1
    position = SpoolState.load(spool / "run" / "server").position
    assert position > 0
    Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise").close()
    records = in_topic(kafka, topic)
    found = events(records)
    assert rounds(found) == list(range(committed))
    # The position was saved after each acknowledgement: little is sent a second time.
    assert len(records) - len(found) <= 3 * 20


def test_what_was_sent_and_sealed_leaves_the_disk_while_recording_goes_on(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    recorder = Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise")
    recorder.genesis(SCHEMA, model_at(0), architecture="none")
    for t in range(5_000):
        recorder.commit(model_at(t + 1), round=t, cohort_size=10)
    recorder.flush()
    directory = spool / "run" / "server"
    deadline = time.monotonic() + 15
    while len(list_segments(directory)) > 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list_segments(directory)) <= 2
    recorder.close()
    assert rounds(events(in_topic(kafka, topic))) == list(range(5_000))


def test_damage_in_the_spool_reaches_the_topic_as_it_is(
    kafka: KafkaCluster, topic: str, spool: Path, nobody: str
) -> None:
    recorder = Recorder(nobody, run="run", spool=spool, drain_s=0.1)
    record_rounds(recorder, 0, 4)
    recorder.close()
    heads = list_segments(spool / "run" / "server")[0].heads
    data = bytearray(heads.read_bytes())
    data[data.index(b'"round":1,') + 3] ^= 1
    heads.write_bytes(data)
    Recorder(target_of(kafka, topic), run="run", spool=spool, on_error="raise").close()
    records = in_topic(kafka, topic)
    assert [record.frame is not None for record in records] == [True] * 3 + [False] + [True] * 2
    assert records[3].reason == "checksum"
    assert b'"rotnd":1,' in records[3].raw


def test_one_run_and_producer_has_one_recorder_at_a_time(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    target = target_of(kafka, topic)
    with (
        Recorder(target, run="run", spool=spool),
        pytest.raises(LogLockedError, match="another process"),
    ):
        Recorder(target, run="run", spool=spool)


def test_a_spool_whose_state_cannot_be_read_is_refused_with_what_to_do(
    kafka: KafkaCluster, topic: str, spool: Path
) -> None:
    target = target_of(kafka, topic)
    Recorder(target, run="run", spool=spool).close()
    state = spool / "run" / "server" / STATE_NAME
    state.write_bytes(b'{"position": "far"}')
    with pytest.raises(LogError, match="delete it to send the whole spool again"):
        Recorder(target, run="run", spool=spool)
    state.unlink()
    Recorder(target, run="run", spool=spool).close()


def test_a_spool_that_cannot_be_made_is_an_error_that_names_the_option(
    kafka: KafkaCluster, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LogError, match="Give `spool=` a directory"):
        Recorder(target_of(kafka, topic), run="run", spool=tmp_path / "file" / "spool")


def test_the_default_spool_lies_in_the_state_directory_one_for_each_topic_and_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = default_spool(KafkaAddress.parse("kafka://a:1,[::1]:2/fl.rounds"))
    assert one.parent == tmp_path / "roundlog" / "spool"
    assert one.name == "fl.rounds@a_1+___1__2"
    assert one != default_spool(KafkaAddress.parse("kafka://a:1/fl.rounds"))
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fallback = default_spool(KafkaAddress.parse("kafka://a:1/t"))
    assert fallback == tmp_path / "home/.local/state/roundlog/spool/t@a_1"
