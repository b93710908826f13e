"""A mail server that speaks as much SMTP as delivering one message needs (RFC 5321, 3207, 4954)."""

import base64
import socket
import ssl
import threading
from dataclasses import dataclass, field
from types import TracebackType


@dataclass
class Mailed:
    """One message and how it came."""

    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    secure: bool = False
    user: str | None = None


class MailReceiver:
    """The server, in a thread, one connection at a time.

    Args:
        context: What to speak TLS with; without it none is offered.
        implicit: TLS from the first byte, instead of after STARTTLS.
        login: `(user, password)`, and what is sent is refused without them.
        answers: For a verb such as `RCPT`, replies to give instead of the usual ones, in turn.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        implicit: bool = False,
        login: tuple[str, str] | None = None,
        answers: dict[str, list[str]] | None = None,
    ) -> None:
        self.mails: list[Mailed] = []
        self.verbs: list[str] = []
        self._context, self._implicit, self._login = context, implicit, login
        self._answers = answers or {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "MailReceiver":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            try:
                if self._implicit and self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                _Session(self, connection).hold()
            except OSError:
                continue  # the client left, or trusted us not
            finally:
                connection.close()


class _Session:
    def __init__(self, server: MailReceiver, connection: socket.socket) -> None:
        self._server, self._connection = server, connection
        self._file = connection.makefile("rb")
        self._mail = Mailed(secure=isinstance(connection, ssl.SSLSocket))

    def hold(self) -> None:
        try:
            self._say("220 mail.test ESMTP")
            while line := self._file.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                self._server.verbs.append(verb.upper())
                instead = self._server._answers.get(verb.upper(), [])
                if instead:
                    self._say(instead.pop(0))
                elif not self._usual(verb.upper(), rest):
                    return
        finally:
            self._file.close()
            self._connection.close()

    def _usual(self, verb: str, rest: str) -> bool:
        server = self._server
        if verb == "EHLO":
            offered = ["mail.test", "8BITMIME"]
            if server._context is not None and not self._mail.secure:
                offered.append("STARTTLS")
            if server._login is not None:
                offered.append("AUTH PLAIN")
            for one in offered[:-1]:
                self._say(f"250-{one}")
            self._say(f"250 {offered[-1]}")
        elif verb == "STARTTLS" and server._context is not None:
            self._say("220 go ahead")
            self._connection = server._context.wrap_socket(self._connection, server_side=True)
            self._file = self._connection.makefile("rb")
            self._mail.secure = True
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.split(" ")[1]).decode().split("\0")
            known = (user, password) == server._login
            self._mail.user = user if known else None
            self._say("235 welcome" if known else "535 who are you")
        elif verb in ("MAIL", "RCPT") and server._login and self._mail.user is None:
            self._say("530 log in first")
        elif verb == "MAIL":
            self._mail.sender = rest.partition("<")[2].partition(">")[0]
            self._say("250 ok")
        elif verb == "RCPT":
            self._mail.recipients.append(rest.partition("<")[2].partition(">")[0])
            self._say("250 ok")
        elif verb == "DATA":
            self._say("354 end with a dot")
            lines = iter(self._file.readline, b".\r\n")
            self._mail.content = b"".join(line.removeprefix(b".") for line in lines)
            server.mails.append(self._mail)
            self._say("250 taken")
        elif verb == "QUIT":
            self._say("221 bye")
            return False
        else:
            self._say("250 ok")
        return True

    def _say(self, line: str) -> None:
        self._connection.sendall(f"{line}\r\n".encode())
