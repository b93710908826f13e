"""How do we get a Kafka client that works, or none at all? Settings, patience, and no noise."""

import logging
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from roundlog.encoding import FRAME_LIMIT
from roundlog.errors import BrokerError
from roundlog.log.address import KafkaAddress

# The client says on its own loggers, several times a second and as errors, that a broker is away.
# What matters of it we raise or log ourselves; whoever set a level before us keeps it.
if logging.getLogger("kafka").level == logging.NOTSET:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)

T = TypeVar("T")

# One batch is one request is one append in the broker: whole or not at all. Larger ones save
# nothing more, and this one stays far below the topic's max.message.bytes.
BATCH_BYTES = 1 << 20

# Length, deltas and key of a record in a batch: generous, since only the limit depends on it.
RECORD_OVERHEAD = 128

# Four frames at most in one answer to a fetch; a larger record comes alone.
FETCH_BYTES = 4 * FRAME_LIMIT

# A topic with raised limits may hold records that no frame can be. They are read, since they have
# to be passed, and 64 KiB of them kept. Above this the client refuses the answer as a whole.
RECEIVE_LIMIT = 256 << 20


# A broker that restarts is away for seconds.
RETRY_S = 0.1


class Clients:
    """Makes the three clients of one address.

    Args:
        connect_s: How long a broker may be silent, in seconds.
    """

    def __init__(self, address: KafkaAddress, connect_s: float) -> None:
        self.address, self.connect_s = address, connect_s

    def admin(self) -> KafkaAdminClient:
        """For topics and their settings."""
        return self._connect(KafkaAdminClient)

    def consumer(self, *, check_crcs: bool = True) -> KafkaConsumer:
        """Assigned by hand, in no group, committed records only."""
        return self._connect(
            KafkaConsumer,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=250,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES,
            receive_message_max_bytes=RECEIVE_LIMIT,
            check_crcs=check_crcs,
            metrics_enabled=False,
        )

    def producer(self, *, limit: int, append_s: float) -> KafkaProducer:
        """Idempotent, one batch on its way at a time.

        Args:
            limit: The topic's `max.message.bytes`.
            append_s: How long an acknowledgement may take, retries included, in seconds.
        """
        return self._connect(
            KafkaProducer,
            acks="all",
            enable_idempotence=True,
            # Vectors do not shrink (measured: lz4 saves 0 %), and they are most of it.
            compression_type=None,
            batch_size=min(BATCH_BYTES, limit),
            max_request_size=max(limit, FRAME_LIMIT + RECORD_OVERHEAD),
            # Nothing leaves before `flush`, so that what we cut as one batch is one.
            linger_ms=1_000,
            max_in_flight_requests_per_connection=1,
            allow_auto_create_topics=False,
            max_block_ms=round(append_s * 1e3),
            delivery_timeout_ms=round(append_s * 1e3),
            metrics_enabled=False,
        )

    def ask(self, question: Callable[[], T], *, patient: bool = True) -> T:
        """The answer to a question that a client asks.

        Args:
            patient: Ask again for `connect_s` while a broker may be on its way back.

        Raises:
            BrokerError: No answer came, or a refusal.
        """
        deadline = time.monotonic() + self.connect_s
        while True:
            try:
                return question()
            except KafkaError as error:
                if patient and error.retriable and time.monotonic() < deadline:
                    time.sleep(RETRY_S)
                    continue
                raise BrokerError(f"{self.address} does not answer: {error}") from error

    def _connect(self, client: Callable[..., T], **settings: Any) -> T:
        """Makes a client, or nothing: a client that finds no broker leaves its thread running."""
        self._wait_for_port()
        made: list[KafkaNetClient] = []

        def keep(**config: Any) -> KafkaNetClient:
            made.append(KafkaNetClient(**config))
            return made[-1]

        try:
            return client(
                bootstrap_servers=list(self.address.servers),
                bootstrap_timeout_ms=round(self.connect_s * 1e3),
                request_timeout_ms=round(self.connect_s / 2 * 1e3),
                reconnect_backoff_max_ms=1_000,
                kafka_client=keep,
                **settings,
            )
        except KafkaError as error:
            for half in made:
                half.close()
            raise BrokerError(f"{self.address} does not answer as Kafka does: {error}") from error

    def _wait_for_port(self) -> None:
        """Returns when one of the servers accepts a connection, which costs a millisecond."""
        deadline = time.monotonic() + self.connect_s
        while True:
            for server in self.address.servers:
                host, _, port = server.rpartition(":")
                try:
                    socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
                except OSError as error:
                    last = error
                else:
                    return
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"nobody listens at {self.address.bootstrap} ({last.strerror or last}; tried "
                    f"for {self.connect_s:g} s). Start the broker, or correct the address."
                )
            time.sleep(RETRY_S)
