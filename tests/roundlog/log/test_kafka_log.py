"""What does the Kafka log do that no other log has to? Lost ranges, giants, dead brokers."""

import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka_node import KafkaCluster
from kafka_node.topics import create_topic
from made_log import Maker

from roundlog.encoding import encode_frame
from roundlog.errors import (
    BrokerError,
    LostRangeError,
    OversizedEventError,
    TopicReplacedError,
)
from roundlog.events import parse_head
from roundlog.log.kafka import TOPIC_SETTINGS, KafkaLog
from roundlog.log.port import RAW_LIMIT, Record

T = TypeVar("T")

pytestmark = pytest.mark.kafka

MIB = 1 << 20


@pytest.fixture
def log(kafka: KafkaCluster, topic: str) -> Iterator[KafkaLog]:
    opened = KafkaLog(kafka.bootstrap, topic, connect_s=3)
    yield opened
    opened.close()


@pytest.fixture
def admin(kafka: KafkaCluster) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    yield client
    client.close()


def read_to_end(log: KafkaLog, within_s: float = 20.0, start: int = 0) -> list[Record]:
    positions, end = dict.fromkeys(log.end(), start), log.end()
    records: list[Record] = []
    deadline = time.monotonic() + within_s
    while any(positions[p] < end[p] for p in end):
        assert time.monotonic() < deadline, f"at {positions} of {end}"
        found = log.read(positions, timeout_s=0.2)
        for record in found:
            positions[record.partition] = record.next_offset
        records += found
        if not found:
            positions = log.reached()
    return records


def read_until(log: KafkaLog, error: type[Exception], within_s: float = 20.0) -> None:
    """Reads a topic of one partition from its first offset until a read raises, as it should."""
    positions = {"0": 0}
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for record in log.read(positions, timeout_s=0.1):
            positions[record.partition] = record.next_offset
    pytest.fail(f"no {error.__name__} within {within_s} s")


def seqs(records: list[Record]) -> list[int]:
    return [parse_head(record.frame.head).seq for record in records if record.frame]


def test_a_missing_topic_is_made_with_our_settings(
    kafka: KafkaCluster, admin: KafkaAdminClient
) -> None:
    name = f"made-{os.urandom(4).hex()}"
    log = KafkaLog(kafka.bootstrap, name, partitions=2)
    assert log.identity().partitions == ("0", "1")
    assert log.end() == {"0": 0, "1": 0}
    log.close()
    wanted = ConfigResource("topic", name, dict.fromkeys(TOPIC_SETTINGS))
    settings = admin.describe_configs([wanted], config_filter="all")["topic"][name]
    assert {key: settings[key]["value"] for key in TOPIC_SETTINGS} == TOPIC_SETTINGS


def test_with_three_brokers_a_topic_is_kept_three_times(kafka_cluster: KafkaCluster) -> None:
    name = f"made-{os.urandom(4).hex()}"
    KafkaLog(kafka_cluster.bootstrap, name).close()
    admin = KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap.split(","))
    found = admin.describe_topics([name])[0]["partitions"]
    wanted = ConfigResource("topic", name, {"min.insync.replicas": None})
    settings = admin.describe_configs([wanted], config_filter="all")["topic"][name]
    admin.close()
    assert [len(partition["replica_nodes"]) for partition in found] == [3, 3, 3]
    assert settings["min.insync.replicas"]["value"] == "2"


def test_two_that_make_the_same_topic_at_once_both_get_it(kafka: KafkaCluster) -> None:
    name = f"made-{os.urandom(4).hex()}"
    found: list[str] = []

    def make() -> None:
        log = KafkaLog(kafka.bootstrap, name)
        found.append(log.identity().topic_id)
        log.close()

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_missing_topic_is_an_error_where_it_may_not_be_made(kafka: KafkaCluster) -> None:
    with pytest.raises(BrokerError, match=r"no such topic.*retention\.ms=-1"):
        KafkaLog(kafka.bootstrap, "never-made", create=False)


def test_a_topic_that_was_deleted_and_made_again_is_noticed_while_reading(
    kafka: KafkaCluster, log: KafkaLog, admin: KafkaAdminClient
) -> None:
    log.append(Maker().rounds(3))
    before = log.identity()
    assert len(read_to_end(log)) == 6
    admin.delete_topics([log.topic])
    time.sleep(0.5)
    create_topic(kafka.bootstrap, log.topic)
    with pytest.raises(TopicReplacedError, match="deleted and made again"):
        read_until(log, TopicReplacedError)
    again = KafkaLog(kafka.bootstrap, log.topic)
    assert again.identity().topic_id != before.topic_id
    assert again.identity().cluster_id == before.cluster_id
    again.close()


def test_a_topic_that_was_deleted_is_told(log: KafkaLog, admin: KafkaAdminClient) -> None:
    log.append(Maker().rounds(1))
    assert len(read_to_end(log)) == 2
    admin.delete_topics([log.topic])
    with pytest.raises(BrokerError, match="was deleted"):
        read_until(log, BrokerError)


def test_offsets_that_retention_deleted_are_a_lost_range_and_reading_can_go_on(
    log: KafkaLog, admin: KafkaAdminClient
) -> None:
    log.append(Maker().rounds(10))
    admin.delete_records({TopicPartition(log.topic, 0): 7})
    assert log.begin() == {"0": 7}
    with pytest.raises(LostRangeError, match="offsets 3 to 6 were deleted") as caught:
        log.read({"0": 3}, timeout_s=5)
        log.read({"0": 3}, timeout_s=5)
    lost = caught.value
    assert (lost.partition, lost.expected, lost.earliest, lost.resume) == ("0", 3, 7, 7)
    assert lost.exit_code == 4
    assert seqs(read_to_end(log, start=lost.resume)) == list(range(7, 20))


def test_an_offset_behind_the_end_is_told_and_not_waited_for(log: KafkaLog) -> None:
    log.append(Maker().rounds(2))
    with pytest.raises(LostRangeError, match="the topic ends at 4: it was truncated") as caught:
        log.read({"0": 9}, timeout_s=5)
        log.read({"0": 9}, timeout_s=5)
    assert caught.value.resume == 4


def test_transaction_markers_and_aborted_events_are_passed_over(
    kafka: KafkaCluster, log: KafkaLog
) -> None:
    maker = Maker()
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=log.topic)
    producer.init_transactions()
    for commits in (True, False, True, False):
        producer.begin_transaction()
        for entry in maker.rounds(2):
            producer.send(log.topic, key=b"run", value=encode_frame(entry.frame))
        producer.flush()
        _ = producer.commit_transaction() if commits else producer.abort_transaction()
    producer.close()
    records = read_to_end(log)
    assert seqs(records) == [0, 1, 2, 3, 8, 9, 10, 11]
    # The last five offsets, an aborted transaction and its marker, hold nothing to read.
    assert log.end() == {"0": 20}
    assert records[-1].next_offset == 14
    assert log.reached() == {"0": 20}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x00\xff" * 50_000, "not_a_frame"),
        (b"", "truncated"),
        (encode_frame(Maker().audit().frame) + b"!", "lengths"),
        (encode_frame(Maker().audit().frame)[:-1], "truncated"),
    ],
)
def test_a_value_that_is_no_frame_keeps_its_first_64_kib_and_a_reason(
    log: KafkaLog, value: bytes, reason: str
) -> None:
    log.send([("run", value)])
    (record,) = read_to_end(log)
    assert (record.frame, record.reason, record.size) == (None, reason, len(value))
    assert record.raw == value[:RAW_LIMIT]
    assert record.detail


def test_a_record_without_a_value_is_reported_like_an_empty_one(
    kafka: KafkaCluster, log: KafkaLog
) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(log.topic, key=b"run", value=None)
    producer.close()
    (record,) = read_to_end(log)
    assert (record.reason, record.size, record.raw) == ("truncated", 0, b"")


def test_a_50_mb_record_is_passed_in_bounded_memory(kafka: KafkaCluster) -> None:
    topic = create_topic(kafka.bootstrap, settings={"max.message.bytes": 60 * MIB})
    log = KafkaLog(kafka.bootstrap, topic)
    maker = Maker()
    first, second = maker.rounds(1)
    log.append([first])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=60 * MIB)
    giant = b"rl\x01\x00" + os.urandom(50 * MIB)
    producer.send(topic, key=b"run", value=giant).get(timeout=60)
    producer.close()
    del giant
    log.append([second])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    records = read_to_end(log, within_s=40)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    log.close()
    assert [record.frame is not None for record in records] == [True, False, True]
    assert (records[1].size, len(records[1].raw)) == (50 * MIB + 4, RAW_LIMIT)
    assert records[1].reason == "oversized"
    assert grown < 256, f"{grown:.0f} MiB more for one record"


def test_a_batch_whose_structure_is_damaged_becomes_records_and_reading_goes_on(
    kafka: KafkaCluster, log: KafkaLog
) -> None:
    maker = Maker()
    for _ in range(3):
        log.append(maker.rounds(2))
    path = kafka.node.folder / "data" / f"{log.topic}-0" / "00000000000000000000.log"
    data = path.read_bytes()
    size = int.from_bytes(data[8:12], "big") + 12
    with path.open("r+b") as file:
        # The length of the second batch's first record, a varint behind 61 bytes of header.
        file.seek(size + 61)
        file.write(b"\xff\xff\xff\xff\x7f")
    records = read_to_end(log, within_s=30)
    assert seqs(records) == [0, 1, 2, 3, 8, 9, 10, 11]
    damaged = [record for record in records if record.frame is None]
    assert [(record.offset, record.reason) for record in damaged] == [
        (offset, "batch") for offset in range(4, 8)
    ]


def test_a_topic_with_a_lower_limit_refuses_an_event_before_anything_is_sent(
    kafka: KafkaCluster,
) -> None:
    topic = create_topic(kafka.bootstrap, settings={"max.message.bytes": 100_000})
    log = KafkaLog(kafka.bootstrap, topic)
    maker = Maker(parameters=30_000)
    with pytest.raises(OversizedEventError, match="the limit is 99,872"):
        log.append([Maker().audit(), maker.commit()])
    assert log.end() == {"0": 0}
    small = Maker(parameters=20_000).rounds(4)
    log.append(small)
    assert len(read_to_end(log)) == 8
    log.close()


def test_nobody_listening_is_an_error_within_the_stated_time() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(BrokerError, match=r"nobody listens at 127\.0\.0\.1:\d+") as caught:
            KafkaLog(f"127.0.0.1:{port}", "t", connect_s=0.5)
    assert time.monotonic() - started < 3
    assert caught.value.exit_code == 5


def test_a_port_that_is_not_kafka_is_an_error_and_no_thread_stays() -> None:
    before = set(threading.enumerate())
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(BrokerError, match="does not answer as Kafka does"):
            KafkaLog(f"127.0.0.1:{mute.getsockname()[1]}", "t", connect_s=0.5)
    assert set(threading.enumerate()) == before


def test_closing_ends_every_thread(kafka: KafkaCluster, topic: str) -> None:
    before = set(threading.enumerate())
    log = KafkaLog(kafka.bootstrap, topic)
    log.append(Maker().rounds(1))
    read_to_end(log)
    assert set(threading.enumerate()) > before
    log.close()
    log.close()
    assert set(threading.enumerate()) == before


def until_it_answers(call: Callable[[], T], within_s: float = 30) -> T:
    """What the call returns once the broker answers again; its last error if it never does."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return call()
        except BrokerError:
            if time.monotonic() > deadline:
                raise


def test_a_broker_that_is_away_is_an_error_after_a_stated_time_and_not_a_hang(
    mortal: KafkaCluster,
) -> None:
    log = KafkaLog(mortal.bootstrap, create_topic(mortal.bootstrap), connect_s=1, append_s=2)
    maker = Maker()
    log.append([maker.commit()])
    assert seqs(read_to_end(log)) == [0]
    mortal.node.kill()
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: log.append([maker.commit()]), "did not acknowledge within 2 s.*send them again"),
        (lambda: read_until(log, BrokerError), "has been silent for|nobody listens"),
        (log.end, "does not answer"),
        (log.identity, "does not answer"),
    )
    for call, message in calls:
        started = time.monotonic()
        with pytest.raises(BrokerError, match=message):
            call()
        took = time.monotonic() - started
        assert took < 8, f"{message}: {took:.1f} s"
    mortal.node.start()
    again = maker.commit()
    # The client's patience is one second here; a broker that has just started may need more.
    until_it_answers(lambda: log.append([again]))
    assert until_it_answers(lambda: seqs(read_to_end(log)))[0] == 0
    log.close()


def test_a_reader_carries_on_when_the_broker_comes_back(mortal: KafkaCluster) -> None:
    log = KafkaLog(mortal.bootstrap, create_topic(mortal.bootstrap), connect_s=20)
    maker = Maker()
    log.append(maker.rounds(1))
    assert len(read_to_end(log)) == 2
    mortal.node.kill()
    for _ in range(10):
        assert log.read({"0": 2}, timeout_s=0.05) == []
    mortal.node.start()
    log.append(maker.rounds(1))
    assert seqs(read_to_end(log, start=2)) == [2, 3]
    log.close()
