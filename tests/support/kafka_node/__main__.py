"""What does `make kafka` run? A real Kafka in the foreground, until Ctrl-C or SIGTERM.

The first 127.0.0.1:PORT that appears on either stream is the address for clients, and it appears
when the broker serves them. Programs rely on this, so nothing else here may print an address.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from kafka_node.cluster import KafkaCluster
from kafka_node.errors import KafkaNodeError, StartCancelledError
from kafka_node.jars import KAFKA_VERSION


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; 0 after an orderly stop, 1 when Kafka cannot run or dies by itself."""
    parser = argparse.ArgumentParser(
        prog="python -m kafka_node",
        description="Run a real Apache Kafka on this machine until Ctrl-C or SIGTERM.",
    )
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument(
        "--port",
        type=int,
        default=9092,
        help="port of the first node; another is taken when it is busy (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep the data in DIR, and open them again next time (default: a temporary folder)",
    )
    options = parser.parse_args(arguments)
    cluster = KafkaCluster(options.nodes, port=options.port, data_dir=options.data)
    stopping = False

    def stop(*_: object) -> None:
        # A flag, and no exception: one that was raised while a process is being created would
        # leave a broker that nobody knows.
        nonlocal stopping
        stopping = True
        cluster.cancel()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    # Under nohup a closed terminal is no reason to stop.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, stop)
    _say(f"starting Apache Kafka {KAFKA_VERSION} (the first time, its jars are fetched)")
    try:
        cluster.start()
        try:
            _announce(cluster, wanted=options.port, kept=options.data is not None)
            alive = {node.node_id for node in cluster.nodes}
            while not stopping and alive:
                time.sleep(0.1)
                for node in cluster.nodes:
                    if node.node_id in alive and not node.running:
                        alive.remove(node.node_id)
                        if not stopping:
                            _say(f"node {node.node_id} ended. Its log's last lines:\n{node.tail()}")
        finally:
            cluster.stop()
    except StartCancelledError:
        return 0
    except KafkaNodeError as error:
        # A start that a signal broke, as when Ctrl-C reaches Maven too, is a stop like any other.
        if stopping:
            return 0
        _say(str(error))
        return 1
    return 0 if stopping else 1


def _announce(cluster: KafkaCluster, *, wanted: int, kept: bool) -> None:
    first = cluster.node
    if first.port != wanted:
        _say(f"port {wanted} is busy, so another one is used")
    processes = ", ".join(str(node.pid) for node in cluster.nodes)
    print(f"kafka: ready at {cluster.bootstrap} (process {processes}); Ctrl-C stops it", flush=True)
    fate = "kept" if kept else "deleted at the end"
    _say(f"data and logs are in {first.folder.parent}, {fate}")


def _say(text: str) -> None:
    # A broker's own words may hold addresses, of its controller for one.
    print(f"kafka: {text}".replace("127.0.0.1:", "localhost:"), file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
