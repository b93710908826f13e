"""What do the tests of the logs share? A broker of their own that they may kill."""

from collections.abc import Iterator

import pytest
from kafka_node import KafkaCluster


@pytest.fixture(scope="session")
def mortal(kafka: KafkaCluster) -> Iterator[KafkaCluster]:
    """One node. Depends on `kafka` for its skip where there is no Java.

    A test that kills it starts it again before it ends.
    """
    with KafkaCluster() as cluster:
        yield cluster
