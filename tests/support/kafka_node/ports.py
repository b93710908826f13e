"""Which ports can a broker have, and keep over a restart?

Nothing can reserve a port for another process: what is free now may be taken a moment later, so
`KafkaCluster` tries again with other ports when that happens. We draw below the range from which
systems hand out ports for outgoing connections (32768 and above on Linux, 49152 on others), so
that no client's connection settles on the port of a broker that was killed and will come back.
"""

import socket
from random import SystemRandom

FIRST, LAST = 20_000, 32_767


def is_free(port: int) -> bool:
    """Whether a listener could be opened on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the broker does: the remains of closed connections do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def draw(count: int, *, preferred: tuple[int, ...] = ()) -> list[int]:
    """Distinct ports that are free now: the preferred ones where they are, drawn ones elsewhere.

    Position i of the answer is `preferred[i]` when there is such a position and it is free.

    Raises:
        OSError: The machine has hardly any free port between `FIRST` and `LAST`.
    """
    random = SystemRandom()
    chosen: list[int] = []
    for wanted in (*preferred, *([0] * count))[:count]:
        port = wanted
        for _ in range(1_000):
            if port and port not in chosen and is_free(port):
                break
            port = random.randint(FIRST, LAST)
        else:
            raise OSError(f"no free port found between {FIRST} and {LAST} in 1,000 draws")
        chosen.append(port)
    return chosen
