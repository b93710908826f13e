"""How does a person learn of an alarm by mail? Plain text, by way of the mail server they name.

`smtps://HOST` speaks TLS from the first byte, port 465. `smtp://HOST` turns TLS on by STARTTLS,
port 587, and sends nothing to a server that does not offer it, since whoever sits between could
take the offer away. A server on this machine that asks for no password is spoken to plainly:
nobody sits between, and its certificate is seldom one that anybody vouches for.

A message is delivered when the mail server has taken it; what becomes of it there we do not see.
"""

import re
import smtplib
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from api.outbox.channel import ChannelError, DeliveryError, Letter, channel_name
from api.outbox.letter import text_of
from api.web.security import is_loopback
from roundlog.encoding import digest

CONNECT_S = 3.0

# Between two answers. Many servers let a stranger wait some seconds for the first one, to tell
# programs that send spam from those that keep to the protocol.
ANSWER_S = 10.0
WHOLE_S = 30.0

PORTS = {"smtp": 587, "smtps": 465}

# Whatever else RFC 5322 allows could be more than one address, or a header line of its own.
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over."""

    host: str
    port: int
    tls: bool
    """From the first byte."""

    user: str | None = None
    password: str | None = None

    @property
    def starts_tls(self) -> bool:
        return not self.tls and (self.user is not None or not is_loopback(self.host))


class Mail:
    """One address that letters are mailed to.

    Raises:
        ChannelError: One of the two is no address.
    """

    patience_s = WHOLE_S

    def __init__(self, to: str, sender: str, server: MailServer) -> None:
        for address in (to, sender):
            if _ADDRESS.fullmatch(address) is None:
                raise ChannelError(
                    f"{address!r} is not a mail address such as alice@example.org, without a name "
                    f"beside it"
                )
        self._to, self._sender, self._server = to, sender, server
        self.name = channel_name("mail", to)
        self.shown = f"{to} by way of {server.host}"
        self._client: _Client | None = None

    def send(self, letter: Letter) -> None:
        message = message_of(letter, to=self._to, sender=self._sender)
        client = self._client = _Client(self._server)
        try:
            client.hand_over(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise DeliveryError(f"the recipient is refused ({code})", refused=True) from error
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(
                f"the mail server answered {error.smtp_code}", refused=True
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryError(f"the mail server cannot be used ({_reason(error)})") from error
        finally:
            self._client = None
            client.leave()

    def cut(self) -> None:
        if (client := self._client) is not None:
            client.cut()


def message_of(letter: Letter, *, to: str, sender: str) -> EmailMessage:
    """The letter as a mail; its Message-ID is the same however often it is sent."""
    message = EmailMessage(policy=WIRE)
    message["From"], message["To"] = sender, to
    message["Subject"] = f"[roundlog] {letter.subject}"
    message["Date"] = format_datetime(letter.time)
    domain = sender.rpartition("@")[2]
    message["Message-ID"] = f"<{digest(letter.id.encode())[:32]}@{domain}>"
    # No holiday notice answers it.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text_of(letter))
    return message


def mail_server(url: str, password: str | None) -> MailServer:
    """The server that a URL names: `smtp://USER@HOST:PORT`, or `smtps://`.

    Raises:
        ChannelError: It names none, or gives away a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.password is not None:
        raise ChannelError(
            "a password in --smtp can be read by everybody on this machine; put it into the "
            "environment: ROUNDLOG_SMTP_PASSWORD"
        )
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ChannelError("--smtp is smtp://USER@HOST:PORT, or smtps://; user and port if needed")
    user = None if parts.username is None else unquote(parts.username)
    if user is not None and not password:
        raise ChannelError(f"--smtp names the user {user!r}: set ROUNDLOG_SMTP_PASSWORD")
    tls = parts.scheme == "smtps"
    return MailServer(parts.hostname, port or PORTS[parts.scheme], tls, user, password)


class _Client(smtplib.SMTP):
    """smtplib's client, with a time to connect of its own, that another thread can break off."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._raw: socket.socket | None = None
        # Without a name of ours smtplib would ask the DNS for one, and wait.
        super().__init__(timeout=ANSWER_S, local_hostname=socket.gethostname())

    def hand_over(self, message: EmailMessage) -> None:
        """From the greeting to the server's word that it has the message."""
        self.connect(self._server.host, self._server.port)
        self.ehlo_or_helo_if_needed()
        if self._server.starts_tls:
            if not self.has_extn("starttls"):
                raise smtplib.SMTPNotSupportedError("it offers no STARTTLS")
            # Whom the certificate has to name; `connect` does not set it.
            self._host = self._server.host
            self.starttls(context=ssl.create_default_context())
            self.ehlo()
        if self._server.user is not None:
            self.login(self._server.user, self._server.password or "")
        self.send_message(message)

    def leave(self) -> None:
        """Says goodbye without waiting for the answer: the message is handed over, or it is not."""
        with suppress(OSError, smtplib.SMTPException):
            self.putcmd("quit")
        self.close()

    def cut(self) -> None:
        with suppress(OSError, AttributeError):
            (self.sock or self._raw).shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:
        self._raw = socket.create_connection((host, port), CONNECT_S)
        self._raw.settimeout(ANSWER_S)
        if self._server.tls:
            context = ssl.create_default_context()
            self._raw = context.wrap_socket(self._raw, server_hostname=host)
        return self._raw


def _reason(error: Exception) -> str:
    said = getattr(error, "verify_message", None) or getattr(error, "strerror", None)
    return str(said or str(error) or type(error).__name__)
