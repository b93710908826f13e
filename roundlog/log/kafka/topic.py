"""Which topic is this, and with which settings do we make one?"""

import logging
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError

from roundlog.errors import BrokerError
from roundlog.log.kafka.clients import Clients

logger = logging.getLogger(__name__)

# A record of what was done to a model is evidence: it does not expire by itself.
TOPIC_SETTINGS = {"max.message.bytes": "4194304", "retention.ms": "-1"}

# One run is one partition, so partitions only spread runs; three let three brokers share them.
PARTITIONS = 3

# Three copies, two of which acknowledge: one broker may die without stopping a recorder.
REPLICAS = 3
IN_SYNC = 2


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which topic this is, so that one deleted and made again under its name is another one."""

    cluster_id: str
    topic: str
    topic_id: str
    partitions: tuple[str, ...]


class Topic:
    """One topic, as an administrator sees it."""

    def __init__(self, clients: Clients) -> None:
        self._clients, self._name = clients, clients.address.topic
        self._admin: KafkaAdminClient | None = None

    def identity(self, *, patient: bool = True) -> TopicIdentity | None:
        """What the broker knows now; None where there is no such topic."""
        admin = self._open()
        cluster = self._clients.ask(admin.describe_cluster, patient=patient)["cluster_id"]
        topic = self._clients.ask(lambda: admin.describe_topics([self._name]), patient=patient)[0]
        if not topic["partitions"]:
            return None
        numbers = sorted(int(part["partition_index"]) for part in topic["partitions"])
        return TopicIdentity(
            cluster_id=str(cluster),
            topic=self._name,
            topic_id=str(topic["topic_id"]),
            partitions=tuple(str(number) for number in numbers),
        )

    def make(self, partitions: int) -> None:
        """Creates the topic with our settings and waits until it has leaders."""
        admin = self._open()
        brokers = len(self._clients.ask(admin.describe_cluster)["brokers"])
        replicas = min(REPLICAS, brokers)
        in_sync = IN_SYNC if replicas == REPLICAS else 1
        plan = {
            "num_partitions": partitions,
            "replication_factor": replicas,
            "configs": TOPIC_SETTINGS | {"min.insync.replicas": str(in_sync)},
        }
        try:
            self._clients.ask(
                lambda: admin.create_topics({self._name: plan}, wait_for_metadata=True)
            )
        except BrokerError as error:
            # Two recorders may find it missing in the same second.
            if not isinstance(error.__cause__, TopicAlreadyExistsError):
                raise
            self._clients.ask(lambda: admin.wait_for_topics([self._name]))
        else:
            logger.info(
                "made %s: %d partition(s), %d replica(s)",
                self._clients.address,
                partitions,
                replicas,
            )

    def largest_message(self) -> int:
        """The topic's `max.message.bytes`."""
        admin = self._open()
        wanted = ConfigResource("topic", self._name, {"max.message.bytes": None})
        found: dict[str, Any] = self._clients.ask(
            lambda: admin.describe_configs([wanted], config_filter="all")
        )
        return int(found["topic"][self._name]["max.message.bytes"]["value"])

    def close(self) -> None:
        """Ends the connection."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _open(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = self._clients.admin()
        return self._admin
