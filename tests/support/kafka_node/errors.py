"""What can keep a broker from running?

KafkaNodeError
 ├── KafkaUnavailableError   Java, Maven or the jars are missing: a test may skip on this one
 └── KafkaStartError         the broker was started and did not become ready
      ├── PortTakenError     another process listens on its port
      └── StartCancelledError  `KafkaCluster.cancel` was called meanwhile
"""


class KafkaNodeError(Exception):
    """Base of every error this package raises on purpose."""


class KafkaUnavailableError(KafkaNodeError):
    """No broker can be started on this machine; the message says what to install."""


class KafkaStartError(KafkaNodeError):
    """A broker died, or was not ready in time; the message ends with its log's last lines."""


class PortTakenError(KafkaStartError):
    """Another process took the port between our look at it and the broker's bind."""


class StartCancelledError(KafkaStartError):
    """Somebody asked for a stop while the broker was starting."""
