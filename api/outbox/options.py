"""Which channels does whoever starts a server ask for? Options and environment, checked together.

Secrets come from the environment only: what stands on a command line, everybody on the machine can
read. A webhook's URL may be a secret of its own, so nothing repeats more of it than its host.
"""

from collections.abc import Mapping, Sequence

from api.outbox.channel import Channel, ChannelError
from api.outbox.mail import Mail, mail_server
from api.outbox.webhook import HOW_TO_MAKE_A_SECRET, Webhook, key_of

WEBHOOK_SECRET = "ROUNDLOG_WEBHOOK_SECRET"
SMTP_PASSWORD = "ROUNDLOG_SMTP_PASSWORD"


def channels_of(
    environment: Mapping[str, str],
    *,
    webhooks: Sequence[str] = (),
    unsigned: bool = False,
    mail_to: Sequence[str] = (),
    mail_from: str | None = None,
    smtp: str | None = None,
) -> list[Channel]:
    """The channels, in the order in which they were named.

    Raises:
        ChannelError: One cannot work, or a webhook would be one that anybody can forge.
    """
    found: list[Channel] = []
    if webhooks:
        secret = environment.get(WEBHOOK_SECRET)
        if not secret and not unsigned:
            raise ChannelError(
                f"--webhook signs what it sends, so that nobody else can raise an alarm there, and "
                f"needs a secret that the receiver knows. Make one: {HOW_TO_MAKE_A_SECRET} Where "
                f"the receiver cannot check it: --webhook-unsigned"
            )
        key = key_of(secret) if secret else None
        found += [Webhook(url, key) for url in webhooks]
    mail = {"--mail-to": mail_to, "--mail-from": mail_from, "--smtp": smtp}
    missing = [option for option, value in mail.items() if not value]
    if missing and len(missing) < len(mail):
        raise ChannelError(
            f"mail needs {', '.join(mail)} together; {' and '.join(missing)} is missing"
        )
    if smtp and mail_from:
        server = mail_server(smtp, environment.get(SMTP_PASSWORD))
        found += [Mail(to, mail_from, server) for to in mail_to]
    return found
