"""Does whoever follows a run hear every event, once, in order, also after the line broke?"""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from doors import ROUNDLOG, Process, invoke, problem, wait_for
from httpx_sse import ServerSentEvent, connect_sse

from api.answers.tail import PAGE, Cursor, parse_cursor
from roundlog.events import RunOpened
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

# A reader that misses an event waits for it without end.
pytestmark = pytest.mark.timeout(60)

BEFORE = 30
MODEL = np.zeros(4, dtype=np.float32)


@contextmanager
def _recording(case: Path, rounds: int = BEFORE, run: str = "live") -> Iterator[Recorder]:
    with Recorder(case, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="by hand")
        recorder.genesis(schema_of({"w": MODEL}), MODEL, architecture="none")
        _commit(recorder, 0, rounds)
        yield recorder


def _commit(recorder: Recorder, first: int, stop: int) -> None:
    for t in range(first, stop):
        recorder.commit(MODEL + np.float32(t + 1), round=t, cohort_size=10)
    recorder.flush()


@pytest.fixture
def case(tmp_path: Path) -> Path:
    with _recording(tmp_path / "case"):
        pass
    return tmp_path / "case"


@contextmanager
def _server(case: Path) -> Iterator[tuple[Process, httpx.Client]]:
    server = Process(case, "--no-watch")
    try:
        with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as http:

            def whole() -> bool:
                runs = http.get("/api/v1/runs").json()["runs"]
                return bool(runs) and all(run["rounds"] >= BEFORE for run in runs)

            wait_for(whole, "the record to be ingested")
            yield server, http
    finally:
        if server.popen.poll() is None:
            server.stop()


@contextmanager
def _tail(
    http: httpx.Client, cursor: str | None = None, **params: Any
) -> Iterator[Iterator[ServerSentEvent]]:
    headers = {} if cursor is None else {"Last-Event-ID": cursor}
    place = "/api/v1/runs/live/tail"
    with connect_sse(http, "GET", place, params=params, headers=headers) as source:
        yield source.iter_sse()


def _take(messages: Iterator[ServerSentEvent], number: int) -> list[ServerSentEvent]:
    taken: list[ServerSentEvent] = []
    for message in messages:
        if message.event == "recorded":
            taken.append(message)
        if len(taken) == number:
            break
    return taken


def _rounds(messages: list[ServerSentEvent]) -> list[int | None]:
    return [message.json()["round"] for message in messages]


def test_events_come_as_they_are_recorded_and_in_order(case: Path) -> None:
    with _server(case) as (_, http), _tail(http) as messages:
        assert next(messages).event == "begin"
        with Recorder(case, run="live", on_error="raise") as recorder:
            recorder.genesis(
                schema_of({"w": MODEL}), MODEL + np.float32(BEFORE), architecture="none", round=30
            )
            _commit(recorder, BEFORE, BEFORE + 5)
            heard = _take(messages, 5)
    assert _rounds(heard) == [30, 31, 32, 33, 34]
    first = heard[-1].json()
    assert set(first) == {"id", "producer", "seq", "type", "round", "time", "status", "digest"}
    assert first["id"] == f"live/server/{first['seq']}"
    assert first["type"] == "fl.round.committed.v1"


def test_the_last_events_are_told_first_where_they_are_asked_for(case: Path) -> None:
    with _server(case) as (_, http):
        with _tail(http, last=3) as messages:
            assert _rounds(_take(messages, 3)) == [27, 28, 29]
        with _tail(http, last=1_000_000) as messages:
            whole = _take(messages, BEFORE + 3)
    assert _rounds(whole)[-BEFORE:] == list(range(BEFORE))
    assert [message.json()["seq"] for message in whole] == list(range(BEFORE + 3))


def test_whoever_was_cut_off_goes_on_behind_what_came(case: Path) -> None:
    with _server(case) as (_, http):
        with _tail(http, last=20) as messages:
            first = _take(messages, 7)
        with _tail(http, first[-1].id, last=5) as messages:
            second = _take(messages, 13)
    assert _rounds(first + second) == list(range(10, 30))


def test_a_cursor_before_anything_came_misses_nothing(case: Path) -> None:
    with _server(case) as (_, http):
        with _tail(http) as messages:
            begun = next(messages)
        with _recording(case, run="other"):
            pass
        with Recorder(case, run="live", on_error="raise") as recorder:
            recorder.record(RunOpened, framework="again")
        with _tail(http, begun.id) as messages:
            assert _take(messages, 1)[0].json()["type"] == "fl.run.opened.v1"


def test_more_than_a_page_comes_whole(tmp_path: Path) -> None:
    rounds = 2 * PAGE + 100
    with _recording(tmp_path / "case", rounds):
        pass
    with _server(tmp_path / "case") as (_, http), _tail(http, last=rounds) as messages:
        assert _rounds(_take(messages, rounds)) == list(range(rounds))


def test_a_projection_made_anew_is_told_and_read_from_its_beginning(case: Path) -> None:
    with _server(case) as (_, http), _tail(http, last=1) as messages:
        old = _take(messages, 1)[0].id
    for path in case.glob("roundlog.duckdb*"):
        path.unlink()
    with _server(case) as (_, http), _tail(http, old) as messages:
        assert next(messages).event == "restart"
        assert len(_take(messages, BEFORE + 3)) == BEFORE + 3


def test_what_is_no_cursor_and_no_run_is_refused(case: Path) -> None:
    with _server(case) as (_, http):
        place = "/api/v1/runs/live/tail"
        answer = http.get(place, headers={"Last-Event-ID": "12"})
        assert "Last-Event-ID" in problem(answer, 422)["detail"]
        assert "last" in problem(http.get(place, params={"last": -1}), 422)["detail"]
        assert "no run" in problem(http.get("/api/v1/runs/none/tail"), 404)["detail"]


def test_a_server_that_ends_ends_its_tails(case: Path) -> None:
    with _server(case) as (server, http), _tail(http) as messages:
        next(messages)
        code, seconds, _ = server.stop()
        assert (code, list(messages)) == (0, [])
    assert seconds < 5


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("00112233aabbccdd-17", Cursor("00112233aabbccdd", 17)),
        ("00112233aabbccdd--1", Cursor("00112233aabbccdd", -1)),
        ("00112233aabbccdd-017", None),
        ("00112233aabbccdd-", None),
        ("0011-17", None),
        ("", None),
    ],
)
def test_a_cursor_is_read_as_it_was_written(text: str, cursor: Cursor | None) -> None:
    assert parse_cursor(text) == cursor
    assert cursor is None or str(cursor) == text


@pytest.mark.parametrize("served", [True, False])
def test_log_follows(case: Path, served: bool) -> None:
    options = ["log", str(case), "--follow", "--limit", "2", "--run", "live"]
    with _server(case) if served else contextlib.nullcontext():
        follower = subprocess.Popen(
            [ROUNDLOG, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(2)]
        with Recorder(case, run="live", on_error="raise") as recorder:
            recorder.record(RunOpened, framework="again")
        lines.append(follower.stdout.readline())
        follower.terminate()
        _, said = follower.communicate(timeout=20)
    assert [re.search(r"round (\d+)", line) is not None for line in lines] == [True, True, False]
    assert "round.committed.v1" in lines[1]
    assert "run.opened.v1" in lines[2]
    assert "Traceback" not in said


def test_log_follows_as_json_lines(case: Path) -> None:
    follower = subprocess.Popen(
        [ROUNDLOG, "log", case, "--follow", "--jsonl", "-n", "1"], stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    event = json.loads(follower.stdout.readline())
    follower.terminate()
    follower.communicate(timeout=20)
    assert (event["round"], event["status"]) == (BEFORE - 1, "ok")


def test_log_follows_everything_or_says_so(case: Path) -> None:
    refused = invoke("log", case, "--follow", "--type", "round.committed")
    assert refused.exit_code == 2
    assert "--follow tells every event" in refused.stderr


def test_lag_and_last_round_are_shown_to_a_monitor(case: Path) -> None:
    with _server(case) as (_, http):
        shown = http.get("/metrics").text
    assert f'roundlog_last_round{{run="live"}} {BEFORE - 1}' in shown
    # Of a case's own log nothing is behind for longer than a look takes.
    assert "roundlog_ingest_lag_records 0" in shown
