"""How does a test get a topic of its own? Under a name that nobody had before it.

Apart from the rest of the package, since it alone needs kafka-python.
"""

import uuid

from kafka.admin import KafkaAdminClient

from kafka_node.settings import MAX_MESSAGE_BYTES


def create_topic(
    bootstrap: str,
    name: str | None = None,
    *,
    partitions: int = 1,
    copies: int = -1,
    settings: dict[str, str | int] | None = None,
) -> str:
    """Create a topic and wait until every partition has a leader.

    Args:
        bootstrap: `KafkaCluster.bootstrap`.
        name: Made up when not given.
        copies: Replication factor; -1 is the cluster's own (1, or 3 of three nodes).
        settings: Topic settings; `max.message.bytes` is 4,194,304 unless it is among them.

    Returns:
        The topic's name.
    """
    topic = name or f"test-{uuid.uuid4().hex[:12]}"
    configs = {"max.message.bytes": MAX_MESSAGE_BYTES} | (settings or {})
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        admin.create_topics(
            {
                topic: {
                    "num_partitions": partitions,
                    "replication_factor": copies,
                    "configs": {key: str(value) for key, value in configs.items()},
                }
            },
            wait_for_metadata=True,
        )
    finally:
        admin.close()
    return topic
