"""Does a server tell of its alarms, whatever becomes of who is told, and never twice?"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from doors import Process, wait_for
from mail_receiver import MailReceiver
from said_alarms import raise_alarm
from told_case import BRISK, told_case
from web_receiver import KEY, SECRET, Answer, Hanging, Received, WebReceiver, closed_port

from api.outbox.channel import Channel
from api.outbox.mail import Mail, MailServer
from api.outbox.outbox import Outbox
from api.outbox.pace import Pace
from api.outbox.webhook import Webhook
from api.records import Records
from api.web.security import Guard
from api.web.serve import from_log, running
from api.web.state import ServerState
from roundlog.case import Case
from roundlog.events import RunOpened
from roundlog.recorder import Recorder


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ROUNDLOG_WEBHOOK_SECRET", SECRET)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """With one run, and no alarm."""
    with told_case(tmp_path / "case", "the-run"):
        return tmp_path / "case"


@contextlib.contextmanager
def _serving(path: Path, channels: Sequence[Channel], pace: Pace = BRISK) -> Iterator[ServerState]:
    """A server's threads, as `roundlog serve` has them; it has to end in good order."""
    case = Case(path)

    def outbox(records: Records) -> Outbox:
        return Outbox(records, channels, "http://server.test", pace)

    with case.own():
        with running(case, Guard(), from_log(case, None), outbox=outbox) as state:
            wait_for(lambda: bool(state.records.rows("run_names")), "ingest")
            yield state
        assert state.drained


def _raise(state: ServerState, round: int) -> str:
    return raise_alarm(state.records.log, "the-run", round=round).id


def _waiting(state: ServerState) -> list[int]:
    return [worker.backlog.waiting() for worker in state.outbox.workers]


def test_an_alarm_reaches_a_webhook_signed_and_a_mailbox(case: Path) -> None:
    with WebReceiver() as web, MailReceiver() as post:
        server = MailServer("127.0.0.1", post.port, tls=False)
        mail = Mail("alice@example.org", "roundlog@example.org", server)
        with _serving(case, [Webhook(web.url, KEY), mail]) as state:
            event = _raise(state, 12)
            wait_for(lambda: bool(web.received) and bool(post.mails), "both")
    assert web.received[0].is_signed()
    data = web.received[0].document["data"]
    assert (data["event"], data["round"], data["run"]) == (event, 12, "the-run")
    assert data["link"] == "http://server.test/api/v1/runs/the-run/alarms"
    assert b"raised an alarm at round 12" in post.mails[0].content.replace(b"\r\n", b" ")


def test_a_receiver_that_stumbles_gets_it_again_under_the_same_id(case: Path) -> None:
    answers = [Answer(500), Answer(301, {"location": "/elsewhere"})]

    def stumble(received: Received) -> Answer:
        return answers.pop(0) if answers else Answer(200)

    with WebReceiver(stumble) as web, _serving(case, [Webhook(web.url, KEY)]) as state:
        event = _raise(state, 12)
        wait_for(lambda: _waiting(state) == [0], "the delivery")
        time.sleep(0.1)
        assert web.ids == [event] * 3
        assert all(one.is_signed() for one in web.received)


def test_a_restart_tells_the_rest_to_whoever_was_away(case: Path) -> None:
    with WebReceiver() as web:
        dead = Webhook(f"http://127.0.0.1:{closed_port()}/", KEY)
        with _serving(case, [Webhook(web.url, KEY), dead]) as state:
            first = _raise(state, 1)
            wait_for(lambda: _waiting(state) == [0, 1], "the living one")
        web.answer = lambda received: Answer(500)
        # No second try that a stop could leave on its way.
        slow = replace(BRISK, first=60.0, most=60.0)
        with _serving(case, [Webhook(web.url, KEY)], slow) as state:
            second = _raise(state, 2)
            wait_for(lambda: state.outbox.workers[0].counts["refused"] == 1, "the try")
        web.answer = lambda received: Answer(204)
        with _serving(case, [Webhook(web.url, KEY)]) as state:
            wait_for(lambda: _waiting(state) == [0], "the delivery")
            time.sleep(0.1)
        assert (web.ids.count(first), web.ids.count(second)) == (1, 2)


def test_ingest_and_the_other_channels_go_on_while_one_hangs(case: Path) -> None:
    with Hanging() as hanging, WebReceiver() as web:
        channels = [Webhook(hanging.url, KEY), Webhook(web.url, KEY)]
        with _serving(case, channels) as state:
            for round in (1, 2):
                _raise(state, round)
            wait_for(lambda: bool(hanging.taken), "the hanging one to be tried")
            with Recorder(case, run="beside", on_error="raise") as recorder:
                recorder.record(RunOpened, framework="the test")
            wait_for(lambda: ("beside",) in state.records.rows("run_names"), "the new run", 5)
            wait_for(lambda: len(web.received) == 2, "the living channel", 5)
            assert state.ingesting.running
            wait_for(lambda: _waiting(state) == [2, 0], "the journal")
            began = time.monotonic()
        # All of it: the outbox, ingest, the watch, the jobs.
        assert time.monotonic() - began < 2


Make = Callable[[], contextlib.AbstractContextManager[WebReceiver | Hanging]]


@pytest.mark.parametrize(
    "receiver",
    [Hanging, lambda: Hanging(b"H"), lambda: WebReceiver(lambda received: Answer(500))],
    ids=["hanging", "dripping", "refusing"],
)
def test_the_outbox_stops_within_half_a_second(case: Path, receiver: Make) -> None:
    with receiver() as bad, _serving(case, [Webhook(bad.url, KEY)]) as state:
        _raise(state, 1)
        tried = bad.taken if isinstance(bad, Hanging) else bad.received
        wait_for(lambda: bool(tried), "a try")
        began = time.monotonic()
        assert state.outbox.stop(0.5)
        assert time.monotonic() - began < 0.5


def test_the_command_tells_and_stops_and_tells_nothing_again(tmp_path: Path) -> None:
    with told_case(tmp_path / "case", "the-run") as told:
        events = {told.alarm(round).id for round in (3, 4)}
    with WebReceiver() as web, Hanging() as hanging:
        options = [
            "--webhook",
            web.url,
            "--webhook",
            hanging.url,
            "--reached-at",
            "https://fl.test/",
        ]
        first = Process(tmp_path / "case", *options)
        wait_for(lambda: set(web.ids) == events and bool(hanging.taken), "both")
        code, seconds, said = first.stop()
        assert (code, "Traceback" in said) == (0, False), said
        assert seconds < 5
        assert "alarms go to webhook-" in said
        assert "s3cret" not in said
        assert web.received[0].is_signed()
        link = web.received[0].document["data"]["link"]
        assert link == "https://fl.test/api/v1/runs/the-run/alarms"
        taken = len(hanging.taken)
        second = Process(tmp_path / "case", *options)
        wait_for(lambda: len(hanging.taken) > taken, "the hanging one to be tried again")
        assert second.stop()[0] == 0
        assert len(web.ids) == 2
