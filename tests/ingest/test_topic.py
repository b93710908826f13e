"""Does a topic become the same case, row for row, and can the case then do without the topic?"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka_node import KafkaCluster
from kafka_node.topics import create_topic
from made_log import Maker, append_raw, on_disk, write
from table_rows import all_rows, delete_projection

from ingest.service import ingest_case
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.encoding import HEADER
from roundlog.log.kafka import KafkaLog
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments

pytestmark = pytest.mark.kafka

TakeIn = Callable[[], IngestSummary]


@pytest.fixture
def send(kafka: KafkaCluster, topic: str) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka.bootstrap, topic, create=False)
    yield log
    log.close()


@pytest.fixture
def take_in(case: Case, kafka: KafkaCluster, topic: str) -> TakeIn:
    source = f"kafka://{kafka.bootstrap}/{topic}"

    def run() -> IngestSummary:
        with case.own():
            return ingest_case(case, source=source)

    return run


def story(maker: Maker) -> list[Entry]:
    """A log with everything in it that can go wrong and still be a frame."""
    events = maker.opening() + maker.rounds(6)
    nan = np.full(8, np.nan, dtype=np.float32).tobytes()
    bad = [maker.commit(delta=nan), maker.commit(delta=b"short"), maker.unknown()]
    fork = Maker(seed=5)
    fork.opening()
    other = fork.rounds(3)[4]
    end = maker.rounds(300)
    return [*events[:6], *events[8:], *bad, events[7], events[6], other, *end[:40], *end[44:]]


def test_the_rows_are_those_of_the_embedded_log(
    case: Case, maker: Maker, tmp_path: Path, send: KafkaLog, take_in: TakeIn
) -> None:
    events = story(maker)
    send.append(events)
    summary = take_in()
    assert (summary.events, summary.quarantined) == (len(events) - 2, 2)
    through = all_rows(case, without_sources=True)

    embedded = Case.create(tmp_path / "embedded")
    write(embedded, events)
    ingest_case(embedded)
    rows = all_rows(embedded, without_sources=True)
    assert through == rows
    kinds = sorted({row[1] for row in rows["findings"]})
    assert kinds == ["equivocation", "gap", "not_finite"]


def test_a_deleted_projection_comes_back_without_the_topic(
    case: Case, maker: Maker, send: KafkaLog, take_in: TakeIn
) -> None:
    events = story(maker)
    send.append([*events, *events[20:30]])
    send.send([("run", b"rubbish"), ("run", b"")])
    take_in()
    rows = all_rows(case)
    assert len(rows["duplicates"]) == 10
    assert sorted(row[1] for row in rows["quarantine"])[:2] == ["dimension", "equivocation"]
    delete_projection(case)
    ingest_case(case)
    assert all_rows(case) == rows
    # And the offsets came back as well: nothing is read twice, nothing left out.
    send.append(maker.rounds(1))
    summary = take_in()
    assert (summary.events, summary.records, summary.duplicates) == (2, 2, 0)


def test_bytes_that_are_no_event_go_to_quarantine(
    case: Case, maker: Maker, tmp_path: Path, send: KafkaLog, take_in: TakeIn
) -> None:
    whole = on_disk(maker.audit())
    flipped = bytearray(whole)
    flipped[40] ^= 1
    utf8 = on_disk(Maker().audit()).replace(b"server", b"\xff\xfeever")
    send.send(
        [("run", value) for value in (b"", b"x" * 100, whole[:-9], bytes(flipped), utf8, whole)]
    )
    take_in()
    rows = all_rows(case)
    reasons = [row[1] for row in sorted(rows["quarantine"], key=lambda row: row[15])]
    assert reasons == ["truncated", "not_a_frame", "truncated", "checksum", "checksum"]
    assert [row[12] for row in rows["events"]] == [5]
    assert rows["findings"] == []


def test_a_record_of_50_mb_is_told_and_passed(
    case: Case, maker: Maker, kafka: KafkaCluster
) -> None:
    limit = 60_000_000
    topic = create_topic(kafka.bootstrap, settings={"max.message.bytes": limit})
    giant = HEADER.pack(b"rl", 1, 0, 50_000_000, 0, 2, 0, 0) + bytes(50_000_000)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=limit)
    producer.send(topic, giant).get(timeout=60)
    producer.send(topic, on_disk(maker.audit())).get(timeout=60)
    producer.close()
    with case.own():
        summary = ingest_case(case, source=f"kafka://{kafka.bootstrap}/{topic}")
    rows = all_rows(case)
    assert (summary.events, summary.quarantined) == (1, 1)
    assert [(row[1], row[9], row[10]) for row in rows["quarantine"]] == [
        ("oversized", len(giant), 65_536)
    ]


def test_offsets_that_retention_took_are_a_finding(
    case: Case, maker: Maker, kafka: KafkaCluster, topic: str, send: KafkaLog, take_in: TakeIn
) -> None:
    events = maker.opening() + maker.rounds(10)
    send.append(events[:8])
    take_in()
    send.append(events[8:])
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_records({TopicPartition(topic, 0): 12})
    admin.close()
    take_in()
    rows = all_rows(case)
    assert sorted(row[1] for row in rows["findings"]) == ["gap", "lost_range"]
    lost = next(row for row in rows["findings"] if row[1] == "lost_range")
    assert "offsets 8 to 11" in lost[6]
    delete_projection(case)
    ingest_case(case)
    assert all_rows(case) == rows


def test_a_topic_that_was_made_anew_is_a_finding(
    case: Case, maker: Maker, kafka: KafkaCluster, topic: str, send: KafkaLog, take_in: TakeIn
) -> None:
    events = maker.opening() + maker.rounds(3)
    send.append(events[:5])
    take_in()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_topics([topic])
    admin.close()
    create_again(kafka, topic)
    again = KafkaLog(kafka.bootstrap, topic, create=False)
    again.append(events)
    again.close()
    summary = take_in()
    assert (summary.events, summary.duplicates) == (len(events) - 5, 5)
    rows = all_rows(case)
    assert [row[1] for row in rows["findings"]] == ["topic_recreated"]
    assert take_in().records == 0
    delete_projection(case)
    ingest_case(case)
    assert all_rows(case) == rows


def create_again(kafka: KafkaCluster, topic: str) -> None:
    """Deleting is not done when the call returns."""
    for _ in range(50):
        try:
            create_topic(kafka.bootstrap, topic)
        except Exception as error:  # the name is taken until the deletion is through
            if "Exists" not in type(error).__name__:
                raise
        else:
            return
    raise AssertionError("the topic could not be made again")


def test_what_a_topic_brought_is_sealed_at_its_end(
    case: Case, maker: Maker, send: KafkaLog, take_in: TakeIn
) -> None:
    send.append(maker.opening() + maker.rounds(2))
    take_in()
    segments = list_segments(case.segments / "run" / "server")
    assert [segment.sealed for segment in segments] == [True]
    assert segments[0].read_seal().count == 7
    send.append(maker.rounds(2))
    take_in()
    assert [s.sealed for s in list_segments(case.segments / "run" / "server")] == [True, True]
    assert all_rows(case)["findings"] == []


def test_many_partitions_are_followed_each_by_itself(case: Case, kafka: KafkaCluster) -> None:
    topic = create_topic(kafka.bootstrap, partitions=3)
    makers = [Maker(run=f"run-{index}") for index in range(6)]
    log = KafkaLog(kafka.bootstrap, topic, create=False)
    for _ in range(2):
        for maker in makers:
            log.append((maker.opening() if maker.seq == 0 else []) + maker.rounds(3))
        with case.own():
            ingest_case(case, source=f"kafka://{kafka.bootstrap}/{topic}")
    log.close()
    rows = all_rows(case)
    assert len(rows["rounds"]) == 6 * 6
    assert rows["findings"] == []
    marks = [row for row in rows["watermarks"] if row[0] == "kafka"]
    assert sum(row[5] for row in marks) == len(rows["events"])


def test_a_recorder_beside_a_topic_is_projected_as_well(
    case: Case, maker: Maker, send: KafkaLog, take_in: TakeIn
) -> None:
    local = Maker(run="local")
    write(case, local.opening() + local.rounds(2))
    append_raw(case, b"torn", partition="local/server")
    send.append(maker.opening() + maker.rounds(2))
    take_in()
    rows = all_rows(case)
    assert sorted({row[0] for row in rows["rounds"]}) == ["local", "run"]
    assert [row[1] for row in rows["findings"]] == ["torn_tail"]
