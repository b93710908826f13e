"""Which settings make a small, honest broker? The ones here, and Kafka's defaults for the rest.

Durability is Kafka's own: nothing is relaxed to make a test pass. What is smaller than usual is
memory and the number of partitions of the internal topics.
"""

from collections.abc import Sequence

# What roundlog's topics need: a frame of up to 4,000,000 bytes and the overhead of its batch.
MAX_MESSAGE_BYTES = 4_194_304


def server_properties(
    node_id: int, *, ports: Sequence[tuple[int, int]], data: str
) -> dict[str, str]:
    """The server.properties of one node.

    Args:
        node_id: From 1 on; the position in `ports`, plus one.
        ports: For every node of the cluster, its client and its controller port.
        data: The folder of the node's log segments.
    """
    port, controller_port = ports[node_id - 1]
    copies = len(ports)
    in_sync = 2 if copies > 1 else 1
    voters = ",".join(f"{n}@127.0.0.1:{pair[1]}" for n, pair in enumerate(ports, start=1))
    properties: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node_id,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        # Voters by address, for one node as for three: unlike a dynamic quorum, which keeps the
        # addresses in its log, it opens old data on new ports.
        "controller.quorum.voters": voters,
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        # The default of 128 MB would be half of our heap.
        "log.cleaner.dedupe.buffer.size": 2_097_152,
        # A broker that was killed may register again only when its former session is over: 3 s
        # instead of 9. It is also how soon the others notice a dead leader.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # And a dead follower in 1 s instead of 30.
        "replica.lag.time.max.ms": 1_000,
    }
    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        properties[f"{topic}.replication.factor"] = copies
        properties[f"{topic}.num.partitions"] = 1
    for topic in ("transaction.state.log", "share.coordinator.state.topic"):
        properties[f"{topic}.min.isr"] = in_sync
    return {key: str(value) for key, value in properties.items()}
