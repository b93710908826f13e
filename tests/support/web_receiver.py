"""Somebody who receives webhooks: a real HTTP server in a thread, as bad as a test wants it."""

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass(frozen=True)
class Received:
    """One POST."""

    headers: dict[str, str]
    body: bytes
    at: float
    """On the monotonic clock."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed(self, key: bytes = KEY) -> bool:
        """Checked as a receiver would, by the specification and nothing of ours."""
        stamp = self.headers["webhook-timestamp"]
        content = b".".join([self.id.encode(), stamp.encode(), self.body])
        wanted = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
        given = self.headers.get("webhook-signature", "").split(" ")
        return wanted in given and abs(time.time() - int(stamp)) < 300


@dataclass
class Answer:
    """What the receiver does with a POST."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bool = False
    """Goes on sending `body` until nobody takes it."""


class WebReceiver:
    """The server; answers as `answer` says, 204 by default."""

    def __init__(self, answer: Callable[[Received], Answer] | None = None) -> None:
        self.answer = answer or (lambda received: Answer())
        self.received: list[Received] = []
        self.sent = 0
        """Bytes of bodies that were handed to the network."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/s3cret"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "WebReceiver":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ids(self) -> list[str]:
        """Of all that came, in that order."""
        return [one.id for one in self.received]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(headers, body, time.monotonic())
                receiver.received.append(received)
                answer = receiver.answer(received)
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self._send(answer.body)
                    while answer.endless:
                        self._send(answer.body)
                except OSError:
                    self.close_connection = True

            def _send(self, body: bytes) -> None:
                self.wfile.write(body)
                receiver.sent += len(body)

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler


class Hanging:
    """Takes connections and never says a word; or a byte now and then, for ever."""

    def __init__(self, dripping: bytes = b"") -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.taken: list[socket.socket] = []
        self._dripping, self._over = dripping, threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> "Hanging":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        # Closing alone does not wake who waits in `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.taken:
            connection.close()

    def _take(self) -> None:
        self._listener.settimeout(0.05)
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                pass
            except OSError:
                return
            else:
                self.taken.append(connection)
            if self._dripping:
                for one in self.taken:
                    try:
                        one.sendall(self._dripping)
                    except OSError:
                        continue


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
