"""How is a letter sent by something that may hang? In a thread that can be left behind.

No call into a network can be ended from outside for certain: a name that is looked up takes as long
as it takes. Who waits must be able to go.
"""

import threading

from api.outbox.channel import Channel, Letter


class Attempt:
    """One try to send one letter, begun when this is made."""

    def __init__(self, channel: Channel, letter: Letter) -> None:
        self.letter = letter
        self.error: Exception | None = None
        self._channel = channel
        self._ended = threading.Event()
        # A daemon: an interpreter that ends waits for all others.
        threading.Thread(
            target=self._send, name=f"roundlog-{channel.name}-send", daemon=True
        ).start()

    @property
    def delivered(self) -> bool:
        """Whether the other side has taken it."""
        return self._ended.is_set() and self.error is None

    def wait(self, seconds: float) -> bool:
        """Waits so long; whether it has ended."""
        return self._ended.wait(seconds)

    def _send(self) -> None:
        try:
            self._channel.send(self.letter)
        except Exception as error:  # it ends here, and is told by whoever waits
            self.error = error
        finally:
            self._ended.set()
