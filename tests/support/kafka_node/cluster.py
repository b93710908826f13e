"""How do one or three brokers become a cluster that a `with` block can use?

The cluster draws its ports, formats its storage, starts its nodes together and waits until each
says that it serves. On the way out it stops them and deletes what it made. Its ports stay the same
for as long as it lives, so a node that was killed comes back where clients look for it.
"""

import base64
import json
import logging
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from kafka_node import ports
from kafka_node.errors import KafkaStartError, PortTakenError, StartCancelledError
from kafka_node.jars import JavaKafka, find_kafka, locked
from kafka_node.node import STOP_TIMEOUT_S, KafkaNode
from kafka_node.settings import server_properties

logger = logging.getLogger(__name__)

# Losing a port between the look and the bind is rare; losing it five times running means that
# something else is wrong.
PORT_ATTEMPTS = 5

# Measured: 3 s to write 50 MB of classes. It happens once for each Java.
TRAINING_STOP_TIMEOUT_S = 60.0


class KafkaCluster:
    """A real Kafka of one or three nodes, each broker and controller, on 127.0.0.1.

    Args:
        nodes: 1, or 3 with every topic kept three times and two copies needed to acknowledge.
        properties: Server settings that override ours, for every node.
        port: Where the first node should listen; another port is taken when this one is busy.
        data_dir: Keep the data here, and open them again the next time. Without it they lie in a
            temporary folder that goes away with the cluster.
    """

    def __init__(
        self,
        nodes: Literal[1, 3] = 1,
        *,
        properties: Mapping[str, str | int] | None = None,
        port: int | None = None,
        data_dir: Path | None = None,
    ) -> None:
        if nodes not in (1, 3):
            raise ValueError(f"a cluster has 1 or 3 nodes, not {nodes}: two cannot outvote one")
        self.nodes: list[KafkaNode] = []
        """The nodes, in the order of `bootstrap`; their ids are 1, 2, 3."""
        self._size = nodes
        self._properties = {key: str(value) for key, value in (properties or {}).items()}
        self._port = port
        self._data_dir = data_dir
        self._train_into: Path | None = None
        self._cancelled = False
        self._cleanup = ExitStack()

    @property
    def bootstrap(self) -> str:
        """Where clients begin: "127.0.0.1:PORT", joined by commas for three nodes."""
        return ",".join(node.address for node in self.nodes)

    @property
    def node(self) -> KafkaNode:
        """The first node: the only one of a cluster of one."""
        return self.nodes[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node; return when all of them serve clients. `stop` must follow.

        Raises:
            KafkaUnavailableError: Java, Maven or the jars are missing.
            KafkaStartError: A node did not come up; the message ends with its log's tail.
        """
        kafka = find_kafka()
        if self._train_into is None:
            _make_class_archive(kafka)
        try:
            folder = self._open_folder()
            for attempt in range(1, PORT_ATTEMPTS + 1):
                try:
                    self._start_once(kafka, folder)
                    return
                except PortTakenError:
                    self._kill_all()
                    if attempt == PORT_ATTEMPTS:
                        raise
                    logger.info("a port was taken meanwhile; trying others (attempt %d)", attempt)
        except BaseException:
            self._kill_all()
            self._cleanup.close()
            raise

    def cancel(self) -> None:
        """Make a `start` that is under way give up; safe to call from a signal handler."""
        self._cancelled = True

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop every node, then delete the data unless they have a folder to stay in.

        Returns:
            False when a node did not shut down in order within the time, and was killed.
        """
        deadline = time.monotonic() + timeout_s
        try:
            for node in self.nodes:
                node.begin_stop()
            ends = [node.finish_stop(max(0.0, deadline - time.monotonic())) for node in self.nodes]
        finally:
            self._kill_all()
            self._cleanup.close()
        return all(ends)

    def _open_folder(self) -> Path:
        if self._data_dir is not None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            return self._data_dir.resolve()
        scratch = tempfile.TemporaryDirectory(prefix="roundlog-kafka-", ignore_cleanup_errors=True)
        return Path(self._cleanup.enter_context(scratch)).resolve()

    def _start_once(self, kafka: JavaKafka, folder: Path) -> None:
        identity, drawn = self._identify(folder)
        self.nodes = [
            KafkaNode(
                node_id,
                kafka=kafka,
                folder=folder / f"node-{node_id}",
                port=port,
                controller_port=controller_port,
                train_into=self._train_into,
            )
            for node_id, (port, controller_port) in enumerate(drawn, start=1)
        ]
        self._format(identity, drawn)
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_until_ready(cancelled=lambda: self._cancelled)

    def _identify(self, folder: Path) -> tuple[str, list[tuple[int, int]]]:
        """The cluster's id, made up once for a folder, and its ports, the last ones where free."""
        record = folder / "cluster.json"
        known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
        if known is not None and known["nodes"] != self._size:
            raise KafkaStartError(
                f"{folder} holds the data of {known['nodes']} node(s), and {self._size} were asked "
                "for. Ask for as many as it holds, or give another folder."
            )
        last: list[int] = known["ports"] if known is not None else [0] * (2 * self._size)
        drawn = ports.draw(2 * self._size, preferred=(self._port or last[0], *last[1:]))
        cluster_id = known["cluster_id"] if known is not None else _new_cluster_id()
        now = {"cluster_id": cluster_id, "nodes": self._size, "ports": drawn}
        record.write_text(json.dumps(now), encoding="utf-8")
        return cluster_id, list(zip(drawn[::2], drawn[1::2], strict=True))

    def _format(self, cluster_id: str, drawn: Sequence[tuple[int, int]]) -> None:
        under_way: list[tuple[KafkaNode, subprocess.Popen[bytes]]] = []
        for node in self.nodes:
            data = str(node.folder / "data")
            properties = server_properties(node.node_id, ports=drawn, data=data) | self._properties
            if node.formatted:
                node.write_settings(properties)
            else:
                under_way.append((node, node.begin_format(cluster_id, properties)))
        # All are waited for before one is judged, so that none is left behind by an error.
        codes = [(node, process.wait()) for node, process in under_way]
        for node, code in codes:
            if code != 0:
                raise KafkaStartError(
                    f"the storage of node {node.node_id} cannot be formatted:\n{node.tail()}"
                )
        if self._cancelled:
            raise StartCancelledError("the start was cancelled before a node ran")

    def _kill_all(self) -> None:
        for node in self.nodes:
            node.kill()


def _new_cluster_id() -> str:
    # Kafka's own form of a UUID. Its first character is a digit or a letter here: the format tool
    # would read a leading "-" as an option.
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


def _make_class_archive(kafka: JavaKafka) -> None:
    """Once for each Java and set of jars: have Java write down the classes that a start loads.

    With the archive every later start is quicker and costs less processor time. It is a
    convenience: when it cannot be made we say so and go on without.
    """
    if kafka.class_archive.is_file():
        return
    with locked(kafka.cache):
        if kafka.class_archive.is_file():
            return
        unfinished = kafka.class_archive.with_suffix(".unfinished")
        training = KafkaCluster()
        training._train_into = unfinished
        try:
            training.start()
            # Java writes the archive at its end. One that was cut short must not be kept.
            if training.stop(TRAINING_STOP_TIMEOUT_S):
                unfinished.rename(kafka.class_archive)
        except (KafkaStartError, OSError) as error:
            logger.warning("no class archive, so each broker starts about 1 s later: %s", error)
        finally:
            training.stop()
            unfinished.unlink(missing_ok=True)
