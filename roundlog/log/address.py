"""Where is the broker? `kafka://HOST:PORT[,HOST:PORT]/TOPIC`, and the one lazy door to it.

Apart from `roundlog.log.kafka`, so that a recorder into a directory, and a command line that
only prints its help, never load the Kafka client (0.2 s).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from roundlog.errors import AddressError

if TYPE_CHECKING:
    from roundlog.log.kafka import KafkaLog

SCHEME = "kafka://"
DEFAULT_TOPIC = "fl.rounds"

# How long brokers may be silent before we say that they are away, in seconds. A leader that was
# killed is replaced within 7 s (measured with three brokers): this tells away from moving house.
CONNECT_S = 10.0

# Kafka's own rule for names of topics.
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A topic, and the brokers at which a client begins."""

    servers: tuple[str, ...]
    """`host:port`, at least one."""

    topic: str = DEFAULT_TOPIC

    @property
    def bootstrap(self) -> str:
        """The servers as Kafka clients take them, joined by commas."""
        return ",".join(self.servers)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bootstrap}/{self.topic}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address; without a topic it means `fl.rounds`.

        Raises:
            AddressError: Not such an address; the message says which part is wrong.
        """
        if not text.startswith(SCHEME):
            raise _refusal(text, f"it does not begin with {SCHEME}")
        place, _, topic = text.removeprefix(SCHEME).partition("/")
        servers = tuple(place.split(","))
        for server in servers:
            match = SERVER.fullmatch(server)
            if match is None:
                raise _refusal(text, f"{server!r} is not HOST:PORT")
            if not 0 < int(match["port"]) < 65_536:
                raise _refusal(text, f"{match['port']} is not a port")
        topic = topic or DEFAULT_TOPIC
        if TOPIC.fullmatch(topic) is None or topic in (".", ".."):
            raise _refusal(text, f"{topic!r} is not a topic's name (letters, digits, . _ -)")
        return cls(servers, topic)


def is_kafka(target: object) -> bool:
    """Whether a target names a topic, not a directory."""
    return isinstance(target, str) and target.startswith(SCHEME)


def connector(address: KafkaAddress, *, connect_s: float = CONNECT_S) -> "Callable[[], KafkaLog]":
    """A function that connects; calling it is what loads the Kafka client."""

    def connect() -> "KafkaLog":
        # The door: everything above reaches the client through this line or by importing
        # `roundlog.log.kafka` because it cannot do without a broker.
        from roundlog.log.kafka import KafkaLog

        return KafkaLog(address.bootstrap, address.topic, connect_s=connect_s)

    return connect


def _refusal(text: str, why: str) -> AddressError:
    return AddressError(f"{text!r} is not kafka://HOST:PORT[,HOST:PORT]/TOPIC: {why}")
