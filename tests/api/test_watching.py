"""Does a server that ingests a run raise its alarms, once, and carry on after a stop?"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Process, Recorded, Served, invoke, serving, wait_for
from pushed_run import Pushed, record_pushed

from forensics.trigger import parse_trigger
from roundlog.encoding import canonical_json

ONSET, ROUNDS = 200, 420


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    run = record_pushed(tmp_path / "case", seed=9, rounds=ROUNDS, onset=ONSET)
    _name(run)
    return run


def _name(run: Pushed) -> None:
    """Keeps the trigger in the case, as `POST /triggers` does."""
    trigger = parse_trigger(canonical_json(run.document), "the test's trigger")
    folder = run.path / "triggers"
    folder.mkdir(exist_ok=True)
    body = canonical_json(trigger.model_dump(mode="json", by_alias=True))
    (folder / "suspect.json").write_bytes(body)


@pytest.fixture
def served(pushed: Pushed, tmp_path: Path) -> Iterator[Served]:
    recorded = Recorded(pushed.path, tmp_path / "none", pushed.run)
    with serving(recorded, rounds=ROUNDS, watch=True) as server:
        yield server


def _alarms(client: httpx.Client, run: str = "pushed") -> list[dict[str, Any]]:
    # A server answers before it has ingested the first event of a run: 404, without alarms.
    rows: list[dict[str, Any]] = client.get(f"/api/v1/runs/{run}/alarms").json().get("alarms", [])
    return rows


def _read_all(served: Served) -> None:
    wait_for(lambda: served.state.watching.read.get("pushed") == ROUNDS, "the watch", 60)


def test_alarms_are_events_of_the_run_soon_after_the_push(served: Served) -> None:
    _read_all(served)
    rows = sorted(_alarms(served.http), key=lambda row: row["round"])
    assert ONSET < rows[0]["round"] < ONSET + 60
    assert {row["state"] for row in rows} == {"raised"}
    assert {row["direction_name"] for row in rows} == {"suspect"}
    assert served.state.watching.errors == {}


def test_they_are_those_of_a_watch_over_the_past(served: Served) -> None:
    _read_all(served)
    live = {(row["key"], row["round"], row["score"]) for row in _alarms(served.http)}
    answer = served.http.get(
        "/api/v1/runs/pushed/watch", params={"trigger": "suspect"}, headers={"Prefer": "wait=60"}
    )
    assert answer.status_code == 200, answer.text
    past = {(row["key"], row["round"], row["score"]) for row in answer.json()["alarms"]}
    assert past == live


def test_a_trigger_that_is_named_later_is_watched_from_the_beginning(
    served: Served,
) -> None:
    _read_all(served)
    before = _alarms(served.http)
    document = json.loads((served.recorded.case / "triggers" / "suspect.json").read_bytes())
    document["name"] = "second"
    assert served.http.post("/api/v1/triggers", json=document).status_code < 300
    wait_for(
        lambda: any(row["direction_name"] == "second" for row in _alarms(served.http)),
        "alarms of the second trigger",
        60,
    )
    again = [row for row in _alarms(served.http) if row["direction_name"] == "suspect"]
    assert {row["key"] for row in before} <= {row["key"] for row in again}


def test_a_stopped_server_goes_on_and_says_nothing_twice(pushed: Pushed) -> None:
    first = Process(pushed.path)
    with httpx.Client(base_url=first.url, trust_env=False) as client:
        wait_for(lambda: len(_alarms(client)) >= 3, "alarms", 60)
        before = {row["key"]: row["score"] for row in _alarms(client)}
    code, seconds, said = first.stop()
    assert (code, "Traceback" in said) == (0, False), said
    assert seconds < 5
    second = Process(pushed.path)
    with httpx.Client(base_url=second.url, trust_env=False) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "the server")
        time.sleep(2.5)  # two looks of the watch
        after = {row["key"]: row["score"] for row in _alarms(client)}
    second.stop()
    assert {key: after[key] for key in before} == before
    told = json.loads(invoke("log", pushed.path, "--type", "alarm.raised", "--json").stdout)
    assert len(told["events"]) == len(after)
    assert invoke("verify", pushed.path).exit_code == 0


def test_a_run_that_cannot_be_watched_is_said_and_stops_nothing(
    tmp_path: Path,
) -> None:
    bare = record_pushed(tmp_path / "case", seed=2, rounds=120, onset=None, publish=False)
    _name(bare)
    recorded = Recorded(bare.path, tmp_path / "none", bare.run)
    with serving(recorded, rounds=120, watch=True) as server:
        # Norm and cosine are watched all the same.
        wait_for(lambda: server.state.watching.read.get("pushed") == 120, "the watch", 60)
        assert "no honest data" in server.state.watching.errors["pushed"]
        assert _alarms(server.http) == []
