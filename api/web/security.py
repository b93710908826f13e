"""Who may ask? Loopback by default, known host names, same-origin writes, bounded bodies.

A page on the web that makes a browser resolve its own name to 127.0.0.1 (DNS rebinding) arrives
with its own name in `Host`: unknown names are refused before anything is read. Other addresses
than loopback are served only with a token, which such a page does not have.
"""

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.web.problems import ProblemError, problem_response
from roundlog.errors import RoundlogError

# A frame is at most 4 MB; as base64 in JSON that is 5.4 MB.
BODY_LIMIT = 6_000_000

# A refused body is read on so far and thrown away: a client that is still sending when we close
# sees a broken connection in place of the reason.
DISCARD_LIMIT = 64_000_000

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Asked by supervisors, which hold no token; they tell nothing about the case."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}


class ServeError(RoundlogError):
    """The server was asked to start in a way that would not be safe."""

    exit_code = 2


@dataclass
class Guard:
    """What a server lets through."""

    host: str = "127.0.0.1"
    """The address that it is bound to."""

    token: str | None = None
    names: tuple[str, ...] = ()
    """Further host names by which it may be called."""

    refused: dict[str, int] = field(default_factory=dict)
    """Refusals by reason, for /metrics."""

    def check_bind(self) -> None:
        """Refuses to listen beyond this machine without a token.

        Raises:
            ServeError: It would.
        """
        if not is_loopback(self.host) and not self.token:
            raise ServeError(
                f"--host {self.host} can be reached from other machines, so it needs a token that "
                f"callers must know: --token TOKEN, or ROUNDLOG_TOKEN in the environment"
            )

    def knows(self, host_header: str) -> bool:
        """Whether a `Host` header names this server."""
        name = urlsplit(f"//{host_header}").hostname or ""
        if is_loopback(name) or name in {self.host, *self.names}:
            return True
        # An address cannot be rebound as a name can; it arrives only where it was bound.
        return not is_loopback(self.host) and (is_address(name) or name == socket.gethostname())

    def count(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


def is_loopback(name: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if name == "localhost":
        return True
    return is_address(name) and ipaddress.ip_address(name).is_loopback


def is_address(name: str) -> bool:
    """Whether this is an IP address rather than a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class GuardMiddleware:
    """Checks every request against a `Guard`, and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._refusal(request)
        if problem is None and request.method not in SAFE_METHODS:
            body = await _read_body(receive, request.headers)
            if body is None:
                problem = ProblemError(
                    413,
                    f"the body is larger than {BODY_LIMIT:,} bytes; nothing of it was kept",
                    "one frame is at most 4,000,000 bytes: send events in several requests",
                    kind="too-large",
                    headers=(("Connection", "close"),),
                )
            else:
                receive = _replay(body, receive)
        if problem is not None:
            self._guard.count(problem.kind)
            await problem_response(problem, request)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> ProblemError | None:
        guard = self._guard
        host = request.headers.get("host", "")
        if not guard.knows(host):
            return ProblemError(
                421,
                f"this server is not called {host[:80]!r}",
                "call it by its address, or start it with --allow-host NAME",
                kind="host",
            )
        if guard.token and request.url.path not in OPEN_PATHS and not self._has_token(request):
            return ProblemError(
                401,
                "this server asks for a token",
                "send it as `Authorization: Bearer TOKEN`; the command line takes --token",
                kind="token",
                exit_code=5,
                headers=(("WWW-Authenticate", "Bearer"),),
            )
        if request.method not in SAFE_METHODS and not _same_origin(request.headers, host):
            return ProblemError(
                403,
                "writes are taken from pages of this server only",
                "send no Origin header, as tools that are no browser do",
                kind="origin",
            )
        return None

    def _has_token(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        wanted = (self._guard.token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), wanted)


def _same_origin(headers: Headers, host: str) -> bool:
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


async def _read_body(receive: Receive, headers: Headers) -> bytes | None:
    """The whole body; None where it is above the limit, and then nothing of it is kept."""
    announced = headers.get("content-length", "")
    refused = announced.isdigit() and (len(announced) > 12 or int(announced) > BODY_LIMIT)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None if refused else b"".join(parts)
        size += len(message.get("body", b""))
        refused = refused or size > BODY_LIMIT
        if refused:
            parts.clear()
        else:
            parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return None if refused else b"".join(parts)
        if size > DISCARD_LIMIT:
            return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that hands out a body that was read already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def allowed_names(names: Iterable[str]) -> tuple[str, ...]:
    """Host names as given on the command line, in lower case."""
    return tuple(name.strip().lower() for name in names if name.strip())
