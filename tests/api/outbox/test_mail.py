"""Does a mail arrive, and does nobody between us and the mail server read or forge anything?"""

import email
import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from certificates import own_certificate
from mail_receiver import MailReceiver
from told_case import LETTER
from web_receiver import Hanging, closed_port

from api.outbox.channel import ChannelError, DeliveryError
from api.outbox.mail import Mail, MailServer, mail_server, message_of

TO, FROM = "alice@example.org", "roundlog@fl.example.org"
LOGIN = ("robot", "open sesame")


def _mail(server: MailReceiver, scheme: str = "smtp", user: str = "") -> Mail:
    return Mail(TO, FROM, mail_server(f"{scheme}://{user}127.0.0.1:{server.port}", LOGIN[1]))


def _failure(mail: Mail) -> DeliveryError:
    with pytest.raises(DeliveryError, match=r"\w") as caught:
        mail.send(LETTER)
    return caught.value


def _read(content: bytes) -> Message:
    return email.message_from_bytes(content)


def test_the_mail_server_of_this_machine_takes_it_as_it_is() -> None:
    with MailReceiver() as server:
        _mail(server).send(LETTER)
    (mailed,) = server.mails
    assert (mailed.sender, mailed.recipients, mailed.secure) == (FROM, [TO], False)
    message = _read(mailed.content)
    assert message["Subject"] == "[roundlog] Alarm in the-run at round 12"
    assert (message["From"], message["To"]) == (FROM, TO)
    assert message["Date"] == "Tue, 03 Nov 2026 12:30:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    text = str(message.get_payload())
    assert text.startswith(LETTER.sentence)
    assert "score  5.5" in text
    assert "http://127.0.0.1:1" in text


def test_the_same_letter_has_the_same_message_id_and_another_has_another() -> None:
    other = replace(LETTER, id="the-run/owner/4")
    first, again, second = (
        message_of(letter, to=to, sender=FROM)["Message-ID"]
        for letter, to in ((LETTER, TO), (LETTER, "bob@example.org"), (other, TO))
    )
    assert first == again != second
    assert first.endswith("@fl.example.org>")


def test_text_of_any_script_arrives_as_it_is() -> None:
    letter = replace(LETTER, subject="Alarm für вектор", sentence="Der Vektor вектор " * 30)
    with MailReceiver() as server:
        _mail(server).send(letter)
    message = _read(server.mails[0].content)
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().count("вектор") == 30
    assert max(map(len, payload.decode().splitlines())) < 100
    assert "вектор" in str(email.header.make_header(email.header.decode_header(message["Subject"])))


def test_a_line_that_is_a_dot_does_not_end_the_mail() -> None:
    letter = replace(LETTER, data={"a": "\n.\nb"})
    with MailReceiver() as server:
        _mail(server).send(letter)
    assert "\n.\n" in str(_read(server.mails[0].content).get_payload()).replace("\r", "")


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "smtps"])
def test_a_password_travels_only_where_nobody_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    context, public = own_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with MailReceiver(context, implicit=implicit, login=LOGIN) as server:
        _mail(server, "smtps" if implicit else "smtp", "robot@").send(LETTER)
    (mailed,) = server.mails
    assert (mailed.secure, mailed.user) == (True, "robot")
    # STARTTLS comes before anything that tells who is who.
    assert server.verbs.index("AUTH") > (0 if implicit else server.verbs.index("STARTTLS"))


def test_a_server_that_offers_no_tls_gets_no_password_and_no_mail() -> None:
    with MailReceiver(login=LOGIN) as server:
        error = _failure(_mail(server, user="robot@"))
    assert "it offers no STARTTLS" in str(error)
    assert (server.mails, "AUTH" in server.verbs) == ([], False)


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "smtps"])
def test_a_certificate_that_nobody_vouches_for_gets_nothing(tmp_path: Path, implicit: bool) -> None:
    context, _ = own_certificate(tmp_path)
    with MailReceiver(context, implicit=implicit, login=LOGIN) as server:
        error = _failure(_mail(server, "smtps" if implicit else "smtp", "robot@"))
    assert (error.outcome, "self-signed certificate" in str(error)) == ("failed", True)
    assert (server.mails, "AUTH" in server.verbs) == ([], False)


def test_a_certificate_that_names_another_host_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, public = own_certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with MailReceiver(context, login=LOGIN) as server:
        error = _failure(_mail(server, user="robot@"))
    assert "IP address mismatch" in str(error)
    assert server.mails == []


def test_other_machines_are_never_spoken_to_plainly() -> None:
    assert not MailServer("127.0.0.1", 25, tls=False).starts_tls
    assert MailServer("127.0.0.1", 587, tls=False, user="robot").starts_tls
    assert MailServer("mail.example.org", 25, tls=False).starts_tls
    assert not MailServer("mail.example.org", 465, tls=True).starts_tls


@pytest.mark.parametrize(
    ("verb", "reply", "outcome", "said"),
    [
        ("RCPT", "550 no such person", "refused", "recipient is refused (550)"),
        ("MAIL", "451 later", "refused", "answered 451"),
        ("DATA", "554 no", "refused", "answered 554"),
        ("EHLO", "421 closing", "refused", "answered 421"),
    ],
)
def test_what_the_mail_server_does_not_take_is_said_with_its_code(
    verb: str, reply: str, outcome: str, said: str
) -> None:
    with MailReceiver(answers={verb: [reply], "HELO": [reply]}) as server:
        error = _failure(_mail(server))
        assert (error.outcome, said in str(error)) == (outcome, True), error
        server._answers.clear()
        _mail(server).send(LETTER)
    assert len(server.mails) == 1


def test_a_wrong_password_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, public = own_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    with MailReceiver(context, login=("robot", "another")) as server:
        error = _failure(_mail(server, user="robot@"))
    assert str(error) == "the mail server answered 535"


def test_what_was_taken_is_delivered_whatever_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: smtplib.SMTP, *args: object) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(smtplib.SMTP, "putcmd", _but("quit", smtplib.SMTP.putcmd, broken))
    with MailReceiver() as server:
        _mail(server).send(LETTER)
    assert len(server.mails) == 1


def _but(
    verb: str, usual: Callable[..., None], instead: Callable[..., None]
) -> Callable[..., None]:
    def putcmd(self: smtplib.SMTP, cmd: str, args: str = "") -> None:
        (instead if cmd == verb else usual)(self, cmd, args)

    return putcmd


def test_where_nobody_listens_it_fails_at_once_and_says_why() -> None:
    error = _failure(Mail(TO, FROM, MailServer("127.0.0.1", closed_port(), tls=False)))
    assert error.outcome == "failed"
    assert "Connection refused" in str(error)


@pytest.mark.parametrize("dripping", [b"", b"220-x\r\n"], ids=["silent", "greeting without end"])
def test_a_send_that_hangs_ends_when_its_connection_is_cut(dripping: bytes) -> None:
    errors: list[DeliveryError] = []
    with Hanging(dripping) as hanging:
        mail = Mail(TO, FROM, MailServer("127.0.0.1", hanging.port, tls=False))
        thread = threading.Thread(target=lambda: errors.append(_failure(mail)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        began = time.monotonic()
        mail.cut()
        thread.join(5)
        assert time.monotonic() - began < 3
    assert [error.outcome for error in errors] == ["failed"]
    mail.cut()  # of nothing


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "Alice <a@example.org>",
        "a@b, c@d",
        "a@b\nBcc: c@d",
        "a b@example.org",
        "ä@b.org",
    ],
)
def test_what_is_not_one_plain_address_is_refused(address: str) -> None:
    server = MailServer("127.0.0.1", 25, tls=False)
    for to, sender in ((address, FROM), (TO, address)):
        with pytest.raises(ChannelError, match=r"is not a mail address such as alice@example\.org"):
            Mail(to, sender, server)


def test_the_url_says_how_the_server_is_spoken_to() -> None:
    assert mail_server("smtp://mail.example.org", None) == MailServer(
        "mail.example.org", 587, False
    )
    assert mail_server("smtps://mail.example.org/", None).port == 465
    found = mail_server("smtps://alice%40example.org@mail.example.org:26", "pw")
    assert (found.user, found.password, found.port) == ("alice@example.org", "pw", 26)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mail.example.org", "--smtp is smtp://USER@HOST:PORT"),
        ("http://mail.example.org", "--smtp is smtp://USER@HOST:PORT"),
        ("smtp://mail.example.org:port", "--smtp is smtp://USER@HOST:PORT"),
        ("smtp://mail.example.org/x", "--smtp is smtp://USER@HOST:PORT"),
        ("smtp://robot@mail.example.org", "set ROUNDLOG_SMTP_PASSWORD"),
        ("smtp://robot:pa55@mail.example.org", "can be read by everybody on this machine"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_repeating_a_password(
    url: str, message: str
) -> None:
    with pytest.raises(ChannelError, match=message) as caught:
        mail_server(url, None)
    assert "pa55" not in str(caught.value)


def test_the_channel_s_name_tells_nobody_s_address() -> None:
    mail = Mail(TO, FROM, MailServer("mail.example.org", 465, tls=True))
    moved = Mail(TO, FROM, MailServer("other.example.org", 465, tls=True))
    assert "alice" not in mail.name
    assert mail.name.startswith("mail-")
    # Whoever was told by one mail server was told.
    assert mail.name == moved.name
