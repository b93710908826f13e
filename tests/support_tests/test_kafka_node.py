"""Does the Kafka that other tests rely on really start, keep, lose nothing, and go away?"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import kafka_fixtures
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka_node import (
    KafkaCluster,
    KafkaStartError,
    KafkaUnavailableError,
    PortTakenError,
    jars,
    ports,
)
from kafka_node.settings import server_properties
from kafka_node.topics import create_topic

SUPPORT = Path(kafka_fixtures.__file__).parent
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


@pytest.fixture(scope="module")
def own_kafka(kafka: KafkaCluster) -> Iterator[KafkaCluster]:
    """A node that these tests may kill; depends on `kafka` for its skip where there is no Java."""
    with KafkaCluster() as cluster:
        yield cluster


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Send, and return when each record was acknowledged by every replica in sync."""
    producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all")
    try:
        sent = [producer.send(topic, value) for value in values]
        producer.flush(timeout=30)
        for future in sent:
            future.get(timeout=1)
    finally:
        producer.close()


def consume(bootstrap: str, topic: str, *, within_s: float = 20.0) -> list[bytes]:
    """Every record of the topic's only partition, from the first to the present end."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","), enable_auto_commit=False, group_id=None
    )
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek(partition, 0)
        values: list[bytes] = []
        deadline = time.monotonic() + within_s
        while consumer.position(partition) < end and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
        return values
    finally:
        consumer.close()


def lives(pid: int) -> bool:
    """Whether a process runs. A dead one that nobody has collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip() not in ("", "Z", "Z+", "Zs", "Zsl")


def wait_until_gone(pid: int, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not lives(pid)


class Foreground:
    """`python -m kafka_node` as a person runs it, its two streams read as one."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kafka_node", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SUPPORT)},
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Foreground":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def wait_for(self, pattern: str, within_s: float = 60.0) -> re.Match[str]:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.said):
                return found
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} was not said within {within_s:.0f} s:\n{self.said}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=15)
        self._reader.join()
        return code


@pytest.mark.kafka
class TestOneNode:
    def test_what_was_produced_is_consumed_in_order(self, kafka: KafkaCluster, topic: str) -> None:
        values = [b"%d" % n for n in range(500)]
        produce(kafka.bootstrap, topic, values)
        assert consume(kafka.bootstrap, topic) == values

    def test_a_frame_of_four_million_bytes_fits_the_fresh_topic(
        self, kafka: KafkaCluster, topic: str
    ) -> None:
        frame = os.urandom(4_000_000)
        producer = KafkaProducer(
            bootstrap_servers=kafka.bootstrap, max_request_size=5_000_000, acks="all"
        )
        try:
            producer.send(topic, frame).get(timeout=20)
        finally:
            producer.close()
        assert consume(kafka.bootstrap, topic) == [frame]

    def test_each_test_gets_a_topic_of_its_own(self, kafka: KafkaCluster, topic: str) -> None:
        assert create_topic(kafka.bootstrap) != topic
        assert consume(kafka.bootstrap, topic) == []

    def test_acknowledged_records_survive_kill_9_and_a_restart_on_the_same_port(
        self, own_kafka: KafkaCluster
    ) -> None:
        node, before = own_kafka.node, own_kafka.bootstrap
        topic = create_topic(before)
        values = [os.urandom(10_000) for _ in range(200)]
        produce(before, topic, values)
        dead = node.pid
        node.kill()
        assert not lives(dead)
        assert not node.running
        node.start()
        assert own_kafka.bootstrap == before
        assert node.pid != dead
        assert consume(before, topic) == values

    def test_a_paused_node_answers_nobody_until_it_is_resumed(
        self, own_kafka: KafkaCluster
    ) -> None:
        topic = create_topic(own_kafka.bootstrap)
        producer = KafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all")
        try:
            producer.send(topic, b"before").get(timeout=10)
            own_kafka.node.pause()
            late = producer.send(topic, b"during")
            time.sleep(1.0)
            assert not late.is_done
            own_kafka.node.resume()
            late.get(timeout=10)
        finally:
            own_kafka.node.resume()
            producer.close()
        assert consume(own_kafka.bootstrap, topic) == [b"before", b"during"]

    def test_a_port_taken_while_the_node_was_down_is_named_as_the_reason(
        self, own_kafka: KafkaCluster
    ) -> None:
        node = own_kafka.node
        assert node.stop()
        with socket.create_server(("127.0.0.1", node.port)):
            with pytest.raises(PortTakenError, match=str(node.port)):
                node.start()
            assert not node.running
        node.start()

    def test_a_node_that_does_not_run_has_no_pid(self, own_kafka: KafkaCluster) -> None:
        own_kafka.node.stop()
        with pytest.raises(KafkaStartError, match=r"node 1 does not run; call start\(\) first"):
            _ = own_kafka.node.pid
        own_kafka.node.start()


@pytest.mark.kafka
class TestCluster:
    def test_raised_limits_take_a_record_of_50_megabytes_and_kept_data_open_on_other_ports(
        self, kafka: KafkaCluster, tmp_path: Path
    ) -> None:
        limit = 60_000_000
        raised = {"message.max.bytes": limit, "replica.fetch.max.bytes": limit}
        giant = b"g" * 50_000_000
        with KafkaCluster(properties=raised, data_dir=tmp_path) as cluster:
            first = cluster.node.port
            topic = create_topic(cluster.bootstrap, settings={"max.message.bytes": limit})
            producer = KafkaProducer(
                bootstrap_servers=cluster.bootstrap,
                max_request_size=limit,
                acks="all",
            )
            try:
                producer.send(topic, giant).get(timeout=30)
            finally:
                producer.close()
            process = cluster.node.pid
        assert not lives(process)
        with (
            socket.create_server(("127.0.0.1", first)),
            KafkaCluster(properties=raised, data_dir=tmp_path) as cluster,
        ):
            assert cluster.node.port != first
            assert consume(cluster.bootstrap, topic) == [giant]

    def test_a_port_lost_between_the_look_and_the_bind_is_replaced(
        self, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free = ports.is_free
        with socket.create_server(("127.0.0.1", 0)) as rival:
            taken = rival.getsockname()[1]
            looks: list[int] = []

            def deceived_once(port: int) -> bool:
                looks.append(port)
                return free(port) or looks.count(port) == 1

            monkeypatch.setattr(ports, "is_free", deceived_once)
            with KafkaCluster(port=taken) as cluster:
                assert looks.count(taken) == 2
                assert cluster.node.port != taken

    def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(
        self, kafka: KafkaCluster, tmp_path: Path
    ) -> None:
        cluster = KafkaCluster(properties={"num.io.threads": 0}, data_dir=tmp_path)
        with pytest.raises(KafkaStartError, match=r"num\.io\.threads"):
            cluster.start()
        assert not any(node.running for node in cluster.nodes)

    def test_the_data_of_one_node_are_not_opened_as_three(
        self, kafka: KafkaCluster, tmp_path: Path
    ) -> None:
        (tmp_path / "cluster.json").write_text('{"cluster_id": "x", "nodes": 1, "ports": [1, 2]}')
        with pytest.raises(KafkaStartError, match=r"holds the data of 1 node\(s\), and 3 were"):
            KafkaCluster(3, data_dir=tmp_path).start()

    def test_two_nodes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="1 or 3 nodes, not 2"):
            KafkaCluster(2)  # type: ignore[arg-type]

    def test_a_leader_killed_under_an_idempotent_producer_loses_nothing_and_repeats_nothing(
        self, kafka_cluster: KafkaCluster
    ) -> None:
        topic = create_topic(kafka_cluster.bootstrap)
        admin = KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap.split(","))
        try:
            [described] = admin.describe_topics([topic])
        finally:
            admin.close()
        [partition] = described["partitions"]
        assert len(partition["replica_nodes"]) == 3
        leader = kafka_cluster.nodes[partition["leader_id"] - 1]
        values = [b"%d" % n for n in range(1_000)]
        producer = KafkaProducer(
            bootstrap_servers=kafka_cluster.bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
        )
        try:
            sent = []
            for n, value in enumerate(values):
                sent.append(producer.send(topic, value))
                if n == 300:
                    sent[0].get(timeout=10)
                    leader.kill()
            producer.flush(timeout=60)
            for future in sent:
                future.get(timeout=1)
            assert consume(kafka_cluster.bootstrap, topic) == values
        finally:
            producer.close()
            leader.start()


@pytest.mark.kafka
class TestForeground:
    def test_a_busy_9092_gives_another_address_that_works_until_sigterm(
        self, kafka: KafkaCluster
    ) -> None:
        rival = socket.create_server(("127.0.0.1", 9092)) if ports.is_free(9092) else None
        try:
            with Foreground() as command:
                address = command.wait_for(ADDRESS.pattern)
                assert address[1] != "9092"
                assert "port 9092 is busy" in command.said
                topic = create_topic(address[0])
                produce(address[0], topic, [b"hello"])
                assert consume(address[0], topic) == [b"hello"]
                broker = int(command.wait_for(r"\(process (\d+)\)")[1])
                folder = Path(command.wait_for(r"data and logs are in (\S+), deleted")[1])
                assert folder.is_dir()
                began = time.monotonic()
                assert command.end(signal.SIGTERM) == 0
                assert time.monotonic() - began < 5.0
                assert not lives(broker)
                assert not folder.exists()
        finally:
            if rival is not None:
                rival.close()

    def test_ctrl_c_ends_it_with_code_0_and_data_stay_where_they_were_asked_for(
        self, kafka: KafkaCluster, tmp_path: Path
    ) -> None:
        port = ports.draw(1)[0]
        with Foreground("--port", str(port), "--data", str(tmp_path)) as command:
            assert command.wait_for(ADDRESS.pattern)[1] == str(port)
            assert command.end(signal.SIGINT) == 0
        assert (tmp_path / "node-1" / "data" / "meta.properties").is_file()

    def test_a_signal_during_the_start_ends_it_with_code_0_and_no_address(
        self, kafka: KafkaCluster
    ) -> None:
        with Foreground() as command:
            command.wait_for("starting")
            time.sleep(0.3)
            assert command.end(signal.SIGTERM) == 0
            assert not ADDRESS.search(command.said)

    def test_no_broker_outlives_a_command_that_was_killed(self, kafka: KafkaCluster) -> None:
        with Foreground("--port", str(ports.draw(1)[0])) as command:
            broker = int(command.wait_for(r"\(process (\d+)\)")[1])
            folder = Path(command.wait_for(r"data and logs are in (\S+), ")[1])
            assert lives(broker)
            command.end(signal.SIGKILL)
            assert wait_until_gone(broker)
        # Killed, it could not tidy up; we do.
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()

    def test_a_broker_that_dies_by_itself_ends_it_with_code_1(self, kafka: KafkaCluster) -> None:
        with Foreground("--port", str(ports.draw(1)[0])) as command:
            broker = int(command.wait_for(r"\(process (\d+)\)")[1])
            os.kill(broker, signal.SIGKILL)
            assert command.process.wait(timeout=10) == 1
            command.wait_for("node 1 ended")
            assert len(set(ADDRESS.findall(command.said))) == 1


class TestMissingTools:
    @pytest.fixture
    def bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty cache and an empty PATH, whose one folder is returned."""
        tools = tmp_path / "bin"
        tools.mkdir()
        monkeypatch.setenv("PATH", str(tools))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        return tools

    @staticmethod
    def tool(folder: Path, name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def test_without_java_the_message_names_the_package_to_install(self, bare: Path) -> None:
        with pytest.raises(KafkaUnavailableError, match="apt install openjdk-17-jre-headless"):
            jars.find_kafka()

    def test_an_old_java_is_refused_with_its_version(self, bare: Path) -> None:
        self.tool(bare, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
        with pytest.raises(KafkaUnavailableError, match=r"too old \(openjdk version \"11"):
            jars.find_kafka()

    def test_a_wrong_java_home_is_named(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
        with pytest.raises(KafkaUnavailableError, match=r"nowhere.*or correct JAVA_HOME"):
            jars.find_kafka()

    def test_without_maven_and_jars_the_message_names_the_package_to_install(
        self, bare: Path
    ) -> None:
        self.tool(bare, "java", "echo 'openjdk version \"17.0.1\" 2021-10-19' >&2")
        with pytest.raises(KafkaUnavailableError, match="apt install maven"):
            jars.find_kafka()

    def test_a_failed_fetch_repeats_what_maven_said_and_keeps_nothing(self, bare: Path) -> None:
        self.tool(bare, "java", "echo 'openjdk version \"21\" 2023-09-19' >&2")
        self.tool(bare, "mvn", "echo 'could not resolve host'; exit 1")
        with pytest.raises(KafkaUnavailableError, match=r"(?s)exit code 1.*could not resolve host"):
            jars.find_kafka()
        assert [path.name for path in jars.cache_folder().iterdir()] == ["lock"]

    def test_a_relative_cache_setting_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "here")
        assert jars.cache_folder() == Path.home() / ".cache" / "roundlog" / "kafka-4.3.1"

    def test_the_fixtures_skip_with_the_reason_unless_kafka_is_required(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ROUNDLOG_REQUIRE_KAFKA", raising=False)
        with pytest.raises(pytest.skip.Exception, match="no `java` command"):
            next(kafka_fixtures._cluster(1))
        monkeypatch.setenv("ROUNDLOG_REQUIRE_KAFKA", "1")
        with pytest.raises(pytest.fail.Exception, match="ROUNDLOG_REQUIRE_KAFKA is set, and"):
            next(kafka_fixtures._cluster(1))


class TestPorts:
    def test_ports_are_distinct_free_and_below_the_outgoing_range(self) -> None:
        drawn = ports.draw(20)
        assert len(set(drawn)) == 20
        assert all(ports.FIRST <= port <= ports.LAST for port in drawn)

    def test_a_preferred_port_is_kept_where_it_is_free_and_replaced_where_it_is_not(self) -> None:
        free = ports.draw(1)[0]
        with socket.create_server(("127.0.0.1", 0)) as rival:
            busy = rival.getsockname()[1]
            drawn = ports.draw(3, preferred=(busy, free))
        assert drawn[0] != busy
        assert drawn[1] == free
        assert len(drawn) == 3


class TestSettings:
    def test_three_nodes_keep_everything_three_times_and_two_must_acknowledge(self) -> None:
        properties = server_properties(2, ports=[(1, 2), (3, 4), (5, 6)], data="d")
        assert properties["controller.quorum.voters"] == "1@127.0.0.1:2,2@127.0.0.1:4,3@127.0.0.1:6"
        assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:3"
        factors = {v for k, v in properties.items() if k.endswith("replication.factor")}
        assert factors == {"3"}
        in_sync = {v for k, v in properties.items() if "min.isr" in k or k == "min.insync.replicas"}
        assert in_sync == {"2"}

    def test_one_node_asks_for_no_second_copy(self) -> None:
        properties = server_properties(1, ports=[(1, 2)], data="d")
        copies = {v for k, v in properties.items() if k.endswith((".factor", ".isr", ".replicas"))}
        assert copies == {"1"}
