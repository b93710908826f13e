"""How do we get a real Apache Kafka, without Docker? From its jars, as processes of our own.

`KafkaCluster` runs one or three KRaft nodes for a `with` block; tests kill, freeze and restart
its nodes. `python -m kafka_node` runs one for a person. The brokers are the released ones, set
small: 256 MB of heap, one partition for each internal topic. Nothing here is tuned to be fast.
"""

from kafka_node.cluster import KafkaCluster
from kafka_node.errors import (
    KafkaNodeError,
    KafkaStartError,
    KafkaUnavailableError,
    PortTakenError,
    StartCancelledError,
)
from kafka_node.node import KafkaNode

__all__ = [
    "KafkaCluster",
    "KafkaNode",
    "KafkaNodeError",
    "KafkaStartError",
    "KafkaUnavailableError",
    "PortTakenError",
    "StartCancelledError",
]
