"""How does a program elsewhere learn of an alarm, and know that it came from us? Signed POSTs.

Signed as Standard Webhooks 1.0.0 says (standardwebhooks.com): HMAC-SHA256 over
`{webhook-id}.{webhook-timestamp}.{body}`. The spec warns of ids with full stops, which could shift
the borders of what is signed. Ours may hold one in the name of a run; but they end in
`/owner/NUMBER`, and a timestamp holds digits only, so the borders stay where they are.

An answer counts by its status alone: redirects are not followed, and its body is not read.
"""

import base64
import binascii
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx

from api.outbox.channel import ChannelError, DeliveryError, Letter, channel_name
from roundlog import __version__

# A receiver that is there answers a handshake within a few hundred milliseconds from anywhere on
# earth. It should take a letter and answer at once; the spec suggests 15 to 30 s, but an alarm that
# waits behind this one is late by as much.
CONNECT_S = 3.0
WHOLE_S = 10.0

SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)

HOW_TO_MAKE_A_SECRET = 'export ROUNDLOG_WEBHOOK_SECRET="whsec_$(openssl rand -base64 32)"'


class Webhook:
    """One URL that takes letters by POST.

    Args:
        url: http:// or https://; whatever is secret in it stays between us and the receiver.
        key: What signs, or None.

    Raises:
        ChannelError: The URL is none.
    """

    patience_s = WHOLE_S

    def __init__(self, url: str, key: bytes | None) -> None:
        self._url, self._key = _checked(url), key
        self.name = channel_name("webhook", url)
        self.shown = f"{self._url.scheme}://{self._url.netloc.decode()}/…"
        self._client = httpx.Client(
            timeout=httpx.Timeout(WHOLE_S, connect=CONNECT_S),
            follow_redirects=False,
            # Alarms are days apart: a connection that is kept would be dead by the next.
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"user-agent": f"roundlog/{__version__}", "accept-encoding": "identity"},
        )
        self._socket: socket.socket | None = None

    def send(self, letter: Letter) -> None:
        body = body_of(letter)
        headers = {"content-type": "application/json", "webhook-id": letter.id}
        headers |= signed(self._key, letter.id, int(time.time()), body)
        try:
            with self._client.stream(
                "POST",
                self._url,
                content=body,
                headers=headers,
                extensions={"trace": self._watch},
            ) as response:
                status = response.status_code
        # A message of httpx may hold the URL, and so a secret: only its kind is told on.
        except httpx.TimeoutException as error:
            raise DeliveryError(f"no answer in time ({type(error).__name__})") from error
        except (httpx.HTTPError, OSError) as error:
            raise DeliveryError(f"cannot be reached ({_reason(error)})") from error
        finally:
            self._socket = None
        if 300 <= status < 400:
            raise DeliveryError(
                f"answered {status}; redirects are not followed: give the URL that it leads to",
                refused=True,
            )
        if not 200 <= status < 300:
            raise DeliveryError(f"answered {status}", refused=True)

    def cut(self) -> None:
        if (found := self._socket) is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:
        # TLS takes the plain socket's place.
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")


def body_of(letter: Letter) -> bytes:
    """The JSON document that is sent: type, timestamp and data, as the spec recommends."""
    document = {"type": letter.kind, "timestamp": letter.time.isoformat(), "data": letter.data}
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def signed(key: bytes | None, id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers that say when this was sent and, with a key, prove by whom."""
    headers = {"webhook-timestamp": str(seconds)}
    if key is not None:
        content = f"{id}.{seconds}.".encode() + body
        found = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        headers["webhook-signature"] = f"v1,{found}"
    return headers


def key_of(secret: str) -> bytes:
    """The key in a secret, as people carry it around.

    Args:
        secret: `whsec_` and 24 to 64 bytes in base64.

    Raises:
        ChannelError: It is none; the secret itself is not repeated.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ChannelError(
            f"ROUNDLOG_WEBHOOK_SECRET is not {SECRET_PREFIX} and {SECRET_BYTES.start} to "
            f"{SECRET_BYTES[-1]} bytes in base64. Make one: {HOW_TO_MAKE_A_SECRET}"
        )
    return key


def _checked(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        found = httpx.URL()
    if found.scheme not in ("http", "https") or not found.host:
        raise ChannelError("--webhook is a URL that begins with https:// or http://, and a host")
    return found


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    said = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None)
    return str(said or type(error).__name__)
