"""Does a webhook arrive signed, and does nothing that the receiver does get in our way?"""

import json
import logging
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import own_certificate
from told_case import LETTER
from web_receiver import KEY, SECRET, Answer, Hanging, WebReceiver, closed_port

from api.outbox.channel import ChannelError, DeliveryError
from api.outbox.webhook import Webhook, body_of, key_of, signed


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _failure(webhook: Webhook) -> DeliveryError:
    with pytest.raises(DeliveryError, match=r"\w") as caught:
        webhook.send(LETTER)
    return caught.value


def test_the_receiver_gets_the_letter_signed_as_the_specification_says() -> None:
    with WebReceiver() as receiver:
        Webhook(receiver.url, KEY).send(LETTER)
    (received,) = receiver.received
    assert received.is_signed()
    assert not received.is_signed(KEY[::-1])
    assert received.id == LETTER.id
    assert received.headers["content-type"] == "application/json"
    assert received.document == {
        "type": "alarm.raised",
        "timestamp": "2026-11-03T12:30:00+00:00",
        "data": LETTER.data,
    }


def test_the_signature_is_that_of_the_specification_s_own_libraries() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_one_byte_more_in_the_body_is_another_signature() -> None:
    first, second = (signed(KEY, "id", 7, body)["webhook-signature"] for body in (b"{}", b"{} "))
    assert first != second


def test_without_a_key_nothing_pretends_to_be_signed() -> None:
    with WebReceiver() as receiver:
        Webhook(receiver.url, None).send(LETTER)
    assert "webhook-signature" not in receiver.received[0].headers


def test_text_of_any_script_arrives_as_it_is() -> None:
    letter = replace(LETTER, sentence="Überprüfung", data={"direction_name": "вектор ⟨U+202E⟩"})
    assert json.loads(body_of(letter))["data"] == letter.data
    with WebReceiver() as receiver:
        Webhook(receiver.url, KEY).send(letter)
    assert receiver.received[0].is_signed()


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_a_status_that_is_not_2xx_is_a_refusal(status: int) -> None:
    with WebReceiver(lambda received: Answer(status)) as receiver:
        error = _failure(Webhook(receiver.url, KEY))
    assert error.outcome == "refused"
    assert str(error) == f"answered {status}"


def test_a_redirect_is_not_followed() -> None:
    with WebReceiver() as elsewhere:
        answer = Answer(307, {"location": elsewhere.url})
        with WebReceiver(lambda received: answer) as receiver:
            error = _failure(Webhook(receiver.url, KEY))
    assert error.outcome == "refused"
    assert "redirects are not followed" in str(error)
    assert (len(receiver.received), len(elsewhere.received)) == (1, 0)


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_an_end_is_not_read(status: int) -> None:
    endless = Answer(status, body=b"x" * 65_536, endless=True)
    with WebReceiver(lambda received: endless) as receiver:
        began = time.monotonic()
        if status == 200:
            Webhook(receiver.url, KEY).send(LETTER)
        else:
            assert _failure(Webhook(receiver.url, KEY)).outcome == "refused"
        assert time.monotonic() - began < 2
    # What the network's own buffers take; nobody has asked for more.
    assert receiver.sent < 16_000_000


def test_where_nobody_listens_it_fails_at_once_and_says_why() -> None:
    error = _failure(Webhook(f"http://127.0.0.1:{closed_port()}/hooks/s3cret", KEY))
    assert error.outcome == "failed"
    assert "Connection refused" in str(error)


@pytest.mark.parametrize("dripping", [b"", b"H"], ids=["silent", "a byte now and then"])
def test_a_send_that_hangs_ends_when_its_connection_is_cut(dripping: bytes) -> None:
    errors: list[DeliveryError] = []
    with Hanging(dripping) as hanging:
        webhook = Webhook(hanging.url, KEY)
        thread = threading.Thread(target=lambda: errors.append(_failure(webhook)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        began = time.monotonic()
        webhook.cut()
        thread.join(5)
        assert time.monotonic() - began < 3
    assert [error.outcome for error in errors] == ["failed"]


def test_to_cut_what_does_not_run_changes_nothing() -> None:
    with WebReceiver() as receiver:
        webhook = Webhook(receiver.url, KEY)
        webhook.cut()
        webhook.send(LETTER)
        webhook.cut()
        webhook.send(LETTER)
    assert len(receiver.received) == 2


def _secure(receiver: WebReceiver, context: ssl.SSLContext) -> str:
    server = receiver._server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return receiver.url.replace("http://", "https://")


def test_a_certificate_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    context, _ = own_certificate(tmp_path)
    receiver = WebReceiver()
    url = _secure(receiver, context)
    with receiver:
        error = _failure(Webhook(url, KEY))
    assert (error.outcome, receiver.received) == ("failed", [])
    assert "self-signed certificate" in str(error)


@pytest.mark.parametrize(("names", "taken"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_a_certificate_has_to_be_trusted_and_to_name_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, taken: bool
) -> None:
    context, public = own_certificate(tmp_path, names)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    receiver = WebReceiver()
    url = _secure(receiver, context)
    with receiver:
        if taken:
            Webhook(url, KEY).send(LETTER)
        else:
            assert "IP address mismatch" in str(_failure(Webhook(url, KEY)))
    assert len(receiver.received) == taken


def test_what_is_secret_in_the_url_is_said_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    url = f"http://user:pa55@127.0.0.1:{closed_port()}/hooks/s3cret?token=t0ken"
    webhook = Webhook(url, KEY)
    said = f"{webhook.name} {webhook.shown} {_failure(webhook)} {caplog.text}"
    assert not [word for word in ("pa55", "s3cret", "t0ken", "user") if word in said]
    assert webhook.name == Webhook(url, None).name
    assert webhook.name != Webhook(url + "1", KEY).name
    assert webhook.name.startswith("webhook-")


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.org/x", "ftp://example.org/", "file:///etc/passwd", "https://", "h\0"],
)
def test_what_is_no_web_address_is_refused_before_anything_starts(url: str) -> None:
    with pytest.raises(ChannelError, match="begins with https:// or http://"):
        Webhook(url, KEY)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_c2hvcnQ=",
        "whsec_not base64 at all, whatever it says",
        "whsec_" + "A" * 100,
    ],
)
def test_a_secret_that_is_none_is_refused_with_a_way_to_make_one(secret: str) -> None:
    with pytest.raises(ChannelError, match="openssl rand -base64 32") as caught:
        key_of(secret)
    assert secret not in str(caught.value)


def test_a_secret_gives_the_key_that_was_put_into_it() -> None:
    assert key_of(SECRET) == KEY
    assert key_of(SECRET + "\n") == KEY
