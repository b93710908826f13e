"""Does the receiver on our page take what we sign, and nothing else?"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from doors import wait_for
from told_case import LETTER
from web_receiver import KEY, SECRET, closed_port

from api.cli.keeping import serve
from api.outbox.channel import DeliveryError
from api.outbox.letter import alarm_letter
from api.outbox.webhook import Webhook, body_of, signed

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/be-told-of-alarms.md").read_text()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The page's own code, on another port."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    port = closed_port()
    assert "9000" in code
    process = subprocess.Popen(
        [sys.executable, "-c", code.replace("9000", str(port))],
        env={**os.environ, "ROUNDLOG_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = f"http://127.0.0.1:{port}/"

    def up() -> bool:
        try:
            return httpx.get(url).status_code == 501
        except httpx.TransportError:
            return False

    wait_for(up, "the receiver")
    try:
        yield url, process
    finally:
        process.kill()
        process.communicate()


def test_the_receiver_of_the_page_takes_what_is_signed_and_nothing_else(
    receiver: tuple[str, "subprocess.Popen[str]"],
) -> None:
    url, process = receiver
    letter = replace(LETTER, data={**LETTER.data, "sentence": LETTER.sentence})
    for webhook in (Webhook(url, KEY[::-1]), Webhook(url, None)):
        with pytest.raises(DeliveryError, match="answered 401"):
            webhook.send(letter)
    body = body_of(letter)
    old = {"webhook-id": letter.id, **signed(KEY, letter.id, 1_600_000_000, body)}
    assert httpx.post(url, content=body, headers=old).status_code == 401
    Webhook(url, KEY).send(letter)
    assert process.stdout is not None
    # One line, so the others were not taken for an alarm.
    assert process.stdout.readline() == f"{letter.id} {letter.sentence}\n"


def test_the_page_names_every_field_that_is_sent() -> None:
    alarm = {
        "event": "r/owner/0",
        "key": "9f" * 32,
        "run": "r",
        "round": 1,
        "detector": "cusum",
        "version": "1",
        "chart": "k=0.5",
        "direction_name": None,
        "score": 5.5,
        "threshold": 5.0,
        "false_alarm_rate": 1e-6,
        "budget": {"alarms": 0.1, "rounds": 100, "charts": 4},
        "state": "raised",
    }
    sent = alarm_letter(alarm, LETTER.time, "http://127.0.0.1:1").data
    shown = PAGE[PAGE.index("`data` holds") : PAGE.index("- Answer with")]
    assert set(re.findall(r"`(\w+)`", shown)) - {"data"} == set(sent)


def test_the_page_shows_every_option_and_no_other() -> None:
    ours = ("webhook", "mail", "smtp", "reached")
    known = {
        option
        for parameter in serve.params
        for option in parameter.opts
        if option[2:].startswith(ours)
    }
    shown = set(re.findall(r"--(?:webhook|mail|smtp|reached)[\w-]*", PAGE))
    assert shown == known
