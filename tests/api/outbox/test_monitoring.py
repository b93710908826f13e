"""Does /metrics say what nobody has seen, and do the rules that we ship look at what it says?"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from doors import wait_for
from mail_receiver import MailReceiver
from said_alarms import raise_alarm
from told_case import BRISK, Notebook, told_case

from api.outbox.channel import DeliveryError
from api.outbox.mail import Mail, MailServer
from api.outbox.outbox import Outbox
from api.outbox.webhook import Webhook
from api.records import Records
from api.web.metrics import exposition
from api.web.security import Guard
from api.web.serve import from_log, running
from api.web.state import ServerState
from forensics.alarms import Speaker, acknowledge, silence_detector
from ingest.store import Store, StoreError
from roundlog.case import Case

RULES = Path(__file__).resolve().parents[3] / "docs/how-to/prometheus/roundlog.rules.yml"

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ServerState]:
    """A server with a channel that takes everything and one that takes nothing."""
    with told_case(tmp_path / "case", "the-run"):
        case = Case(tmp_path / "case")
    good, bad = Notebook("webhook-good"), Notebook("mail-bad")
    bad.fails = lambda letter: DeliveryError("answered 500", refused=True)

    def outbox(records: Records) -> Outbox:
        return Outbox(records, [good, bad], "http://server.test", BRISK)

    with case.own(), running(case, Guard(), from_log(case, None), outbox=outbox) as found:
        wait_for(lambda: bool(found.records.rows("run_names")), "ingest")
        yield found


def _samples(state: ServerState) -> dict[str, float]:
    lines = exposition(state).splitlines()
    found = [SAMPLE.match(line) for line in lines if not line.startswith("#")]
    assert all(found), lines
    return {
        f"{match[1]}{{{match[2]}}}" if match[2] else match[1]: float(match[3])
        for match in found
        if match is not None
    }


def test_alarms_are_counted_by_what_was_done_about_them(state: ServerState) -> None:
    store, log, alice = state.records.store, state.records.log, Speaker("alice", "local")
    for round in (1, 2, 3):
        raise_alarm(log, "the-run", round=round)
    acknowledge(store, log, raise_alarm(log, "the-run", round=4).key, alice)
    silence_detector(store, log, "the-run", "cusum", alice, start=50, until=60)
    raise_alarm(log, "the-run", round=55)
    samples = _samples(state)
    assert {key: value for key, value in samples.items() if key.startswith("roundlog_alarms")} == {
        'roundlog_alarms{state="raised"}': 3,
        'roundlog_alarms{state="acknowledged"}': 1,
        'roundlog_alarms{state="silenced"}': 1,
    }


def test_deliveries_are_counted_by_channel_and_outcome(state: ServerState) -> None:
    before = _samples(state)
    assert before['roundlog_deliveries_total{channel="webhook-good",outcome="delivered"}'] == 0
    for round in (1, 2):
        raise_alarm(state.records.log, "the-run", round=round)

    def done() -> bool:
        now = _samples(state)
        return (
            now['roundlog_deliveries_waiting{channel="webhook-good"}'] == 0
            and now['roundlog_deliveries_total{channel="mail-bad",outcome="refused"}'] >= 2
        )

    wait_for(done, "both channels")
    after = _samples(state)
    assert after['roundlog_deliveries_total{channel="webhook-good",outcome="delivered"}'] == 2
    assert after['roundlog_deliveries_waiting{channel="mail-bad"}'] == 2
    assert after['roundlog_deliveries_total{channel="mail-bad",outcome="delivered"}'] == 0


def test_every_family_is_described_once_before_its_numbers(state: ServerState) -> None:
    text = exposition(state)
    described = re.findall(r"^# TYPE (\w+) (?:counter|gauge)$", text, flags=re.MULTILINE)
    assert len(set(described)) == len(described)
    assert {key.partition("{")[0] for key in _samples(state)} <= set(described)
    assert text.endswith("\n")


def test_while_the_store_is_opened_again_the_rest_is_still_told(
    state: ServerState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*args: object) -> None:
        raise StoreError("it is opened again")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "query", closed)
        samples = _samples(state)
    assert samples["roundlog_ingest_up"] == 1
    assert 'roundlog_alarms{state="raised"}' not in samples


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_rules_look_at_numbers_that_the_server_really_exports(state: ServerState) -> None:
    exported = _samples(state)
    for rule in _rules():
        selectors = re.findall(r"(roundlog_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert selectors, rule["expr"]
        for name, matchers in selectors:
            wanted = re.findall(r'(\w+)(=~?)"([^"]*)"', matchers)
            # Each alternative of a pattern is a value that some series has.
            for label, how, values in wanted or [("", "", "")]:
                for value in values.split("|") if how == "=~" else [values]:
                    needle = f'{label}="{value}"' if label else ""
                    assert [
                        key for key in exported if key.partition("{")[0] == name and needle in key
                    ], f"{rule['alert']}: nothing is exported as {name}{{{needle}}}"


def test_the_rules_are_what_prometheus_takes(state: ServerState) -> None:
    labels = {
        name: set(re.findall(r'(\w+)="', key))
        for key in _samples(state)
        for name in [key.split("{")[0]]
    }
    rules = _rules()
    assert [rule["alert"] for rule in rules] == [
        "RoundlogAlarmRaised",
        "RoundlogAlarmNotTold",
        "RoundlogIngestStopped",
        "RoundlogIngestLags",
        "RoundlogRecordGap",
    ]
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        # A label that a message names is one of the series', or the scrape's own.
        known = {"instance", "job"}.union(*(labels[name] for name in _names(rule)))
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert used <= known, rule["alert"]
    assert next(rule for rule in rules if rule["alert"] == "RoundlogAlarmNotTold")["for"] == "10m"


def _names(rule: dict[str, Any]) -> list[str]:
    return re.findall(r"roundlog_\w+", rule["expr"])


def test_no_channel_is_called_by_its_address() -> None:
    with MailReceiver() as server:
        mail = Mail(
            "alice@example.org", "x@example.org", MailServer("127.0.0.1", server.port, False)
        )
    for channel in (mail, Webhook("https://hooks.example.org/s3cret", None)):
        assert re.fullmatch(r"(mail|webhook)-[0-9a-f]{16}", channel.name)
