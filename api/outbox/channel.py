"""What must a way to a person be able to do? Carry one letter, or say why it could not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from roundlog.encoding import digest
from roundlog.errors import RoundlogError

Outcome = Literal["delivered", "refused", "failed", "passed_over"]
"""delivered: the other side took it. refused: it answered, and did not. failed: no answer came.
passed_over: an alarm that rests was not sent."""

OUTCOMES: tuple[Outcome, ...] = ("delivered", "refused", "failed", "passed_over")


class ChannelError(RoundlogError):
    """A channel was asked for in a way that cannot work, or would not be safe."""

    exit_code = 2


class DeliveryError(RoundlogError):
    """A letter was not taken; it is tried again.

    Args:
        refused: Whether the other side answered at all.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        self.outcome: Outcome = "refused" if refused else "failed"
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Letter:
    """What is told, in the words of every channel. No text in it can act on who reads it."""

    id: str
    """The same however often it is tried: whoever receives it twice knows it by this."""

    kind: Literal["alarm.raised", "alarm.summary"]

    time: datetime
    """When the alarm was raised, by the server's clock."""

    subject: str
    """One line."""

    sentence: str
    """What happened, in plain words."""

    data: dict[str, Any]
    """The same for programs: JSON values."""


class Channel(Protocol):
    """One way to one receiver. Its methods are called from threads, one `send` at a time."""

    @property
    def name(self) -> str:
        """What metrics and logs call it: no address, no secret."""

    @property
    def shown(self) -> str:
        """Where it leads, for whoever started the server: no secret."""

    @property
    def patience_s(self) -> float:
        """How long one `send` may take as a whole."""

    def send(self, letter: Letter) -> None:
        """Delivers a letter; when this returns, the other side has taken it.

        Raises:
            DeliveryError: It has not, as far as is known.
        """

    def cut(self) -> None:
        """Breaks the connection of a `send` that runs in another thread, and hangs."""


def channel_name(kind: str, address: str) -> str:
    """A name that is always the same for an address, and does not give it away.

    The names of journals too: `webhook-` or `mail-`, and 16 hex digits of a SHA-256.
    """
    return f"{kind}-{digest(address.encode())[:16]}"
