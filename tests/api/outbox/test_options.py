"""Are channels that cannot work, or that would leak a secret, refused before a server starts?"""

from pathlib import Path

import pytest
from doors import invoke
from web_receiver import SECRET

from api.outbox.channel import ChannelError
from api.outbox.mail import Mail
from api.outbox.options import channels_of
from api.outbox.webhook import Webhook
from roundlog.case import Case

URL = "https://hooks.example.org/s3cret"
SIGNING = {"ROUNDLOG_WEBHOOK_SECRET": SECRET}
FROM, SMTP = "roundlog@example.org", "smtps://mail.example.org"


def test_who_asks_for_nothing_gets_no_channel() -> None:
    assert channels_of({}) == []
    assert channels_of(SIGNING) == []


def test_every_webhook_and_every_address_is_a_channel_of_its_own() -> None:
    to = ["alice@example.org", "bob@example.org"]
    found = channels_of(SIGNING, webhooks=[URL, URL + "2"], mail_to=to, mail_from=FROM, smtp=SMTP)
    assert [type(channel) for channel in found] == [Webhook, Webhook, Mail, Mail]
    assert len({channel.name for channel in found}) == 4
    assert found[0].shown == "https://hooks.example.org/…"
    assert found[2].shown == "alice@example.org by way of mail.example.org"


def test_a_webhook_that_anybody_could_forge_has_to_be_asked_for() -> None:
    with pytest.raises(ChannelError, match=r"openssl rand -base64 32.* --webhook-unsigned"):
        channels_of({}, webhooks=[URL])
    assert len(channels_of({}, webhooks=[URL], unsigned=True)) == 1


def test_a_secret_that_is_there_has_to_be_one_whatever_else_is_asked() -> None:
    with pytest.raises(ChannelError, match="ROUNDLOG_WEBHOOK_SECRET is not whsec_ and 24 to 64"):
        channels_of({"ROUNDLOG_WEBHOOK_SECRET": "hunter2"}, webhooks=[URL], unsigned=True)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"mail_to": ["a@example.org"]}, "--mail-from and --smtp is missing"),
        ({"mail_from": "a@example.org", "smtp": "smtp://localhost"}, "--mail-to is missing"),
        ({"smtp": "smtp://localhost"}, "--mail-to and --mail-from is missing"),
    ],
)
def test_half_of_what_a_mail_needs_is_refused_with_the_other_half(
    given: dict[str, object], missing: str
) -> None:
    with pytest.raises(ChannelError, match=missing):
        channels_of({}, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--webhook", URL), "ROUNDLOG_WEBHOOK_SECRET="),
        (("--webhook", "hooks.example.org", "--webhook-unsigned"), "https:// or http://"),
        (("--mail-to", "alice@example.org"), "mail needs"),
    ],
)
def test_the_command_line_says_so_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("ROUNDLOG_WEBHOOK_SECRET", raising=False)
    Case.create(tmp_path / "case")
    refused = invoke("serve", tmp_path / "case", "--port", "0", *options)
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert "s3cret" not in refused.stderr
    assert not (tmp_path / "case" / "roundlog.duckdb").exists()
