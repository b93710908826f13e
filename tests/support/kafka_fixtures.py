"""Which Kafka do the tests talk to? A real one of their own, started once for a test process.

`tests/conftest.py` lists this module as a plugin. Where Java, Maven or the jars are missing, the
tests that need a broker are skipped with the reason; ROUNDLOG_REQUIRE_KAFKA=1 makes that a failure,
so that the whole check cannot pass without them. A broker that is there and does not start is a
failure always.
"""

import os
from collections.abc import Iterator
from typing import Literal

import pytest
from kafka_node import KafkaCluster, KafkaUnavailableError

# kafka-python 3.0.12 makes two kinds of noise that a run with warnings as errors would stop at.
CLIENT_NOISE = (
    # It loads its protocol tables with a function that Python 3.11 calls deprecated, and 3.13 not.
    r"ignore:(open|read)_text is deprecated:DeprecationWarning",
    # It forgets to close a socket whose connection was refused, as by a broker that we killed. Such
    # a socket was never bound, so its own address is still 0.0.0.0.
    r"ignore:unclosed <socket\.socket .*laddr=..0\.0\.0\.0:ResourceWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Ignore what the client library gets wrong, and nothing else."""
    for line in CLIENT_NOISE:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One node. Shared: a test that kills, freezes or reconfigures brokers starts its own."""
    yield from _cluster(1)


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[KafkaCluster]:
    """Three nodes. A test that kills one of them starts it again before it ends."""
    yield from _cluster(3)


@pytest.fixture
def topic(kafka: KafkaCluster) -> str:
    """The name of a fresh topic of one partition on `kafka`, for messages up to 4,194,304 bytes."""
    # Every test run loads this plugin; only those that ask for a topic need kafka-python.
    from kafka_node.topics import create_topic

    return create_topic(kafka.bootstrap)


def kafka_is_required() -> bool:
    """Whether a missing broker is a failure instead of a skip."""
    return os.environ.get("ROUNDLOG_REQUIRE_KAFKA", "") not in ("", "0")


def _cluster(nodes: Literal[1, 3]) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(nodes)
    try:
        cluster.start()
    except KafkaUnavailableError as error:
        if kafka_is_required():
            pytest.fail(f"ROUNDLOG_REQUIRE_KAFKA is set, and {error}", pytrace=False)
        pytest.skip(str(error))
    try:
        yield cluster
    finally:
        cluster.stop()
