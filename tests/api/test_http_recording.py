"""Can a server without Kafka record from afar, each event once, in order, durably?"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import Served, problem, wait_for

from roundlog.log.segments import delta_bytes, list_segments, scan_heads
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

RUN = "remote-run"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a recorder wrote elsewhere, as it would be posted."""
    case: Path = tmp_path_factory.mktemp("elsewhere") / "case"
    weights = {"w": np.zeros(5, np.float32)}
    schema = schema_of(weights)
    with Recorder(case, run=RUN, on_error="raise") as recorder:
        recorder.genesis(schema, schema.flatten(weights), architecture="theirs")
        for t in range(4):
            weights = {"w": weights["w"] + np.float32(0.5)}
            recorder.commit(schema.flatten(weights), round=t, cohort_size=10)
    (segment,) = list_segments(case / "segments" / RUN / "server")
    vec = segment.vec.read_bytes()
    events = []
    for stored in scan_heads(segment.heads.read_bytes()):
        assert stored.frame is not None
        size = delta_bytes(stored.frame)
        start = (stored.frame.row or 0) * size
        side = vec[start : start + size] + stored.frame.side
        events.append(
            {"head": json.loads(stored.frame.head), "side": base64.b64encode(side).decode()}
        )
    return events


def _rounds(served: Served) -> list[int]:
    response = served.http.get(f"/api/v1/runs/{RUN}/rounds")
    return [row["round"] for row in response.json().get("rounds", [])]


def test_posted_events_are_a_run_like_any_other(fresh: Served, sent: list[dict[str, Any]]) -> None:
    response = fresh.http.post("/api/v1/events", json={"events": sent})
    assert response.status_code == 201
    assert [one["duplicate"] for one in response.json()["events"]] == [False] * len(sent)
    wait_for(lambda: _rounds(fresh) == [0, 1, 2, 3], "the rounds to be projected")
    model = fresh.http.get(f"/api/v1/runs/{RUN}/models/head").json()
    last = sent[-1]["head"]["post_digest"]
    assert (model["round"], model["digest"], model["recorded"]) == (4, last, last)
    assert model["matches"] is True
    assert fresh.http.get("/api/v1/verify").json()["ok"]


def test_events_can_come_one_by_one_and_again(fresh: Served, sent: list[dict[str, Any]]) -> None:
    for event in sent:
        assert fresh.http.post("/api/v1/events", json=event).status_code == 201
    again = fresh.http.post("/api/v1/events", json=sent[-1]).json()
    assert again["events"][0]["duplicate"]
    wait_for(lambda: _rounds(fresh) == [0, 1, 2, 3], "the rounds to be projected")
    all_again = fresh.http.post("/api/v1/events", json={"events": sent}).json()
    assert all(one["duplicate"] for one in all_again["events"])
    assert fresh.http.get("/api/v1/verify").json()["ok"]


def test_an_event_out_of_turn_says_which_one_is_due(
    fresh: Served, sent: list[dict[str, Any]]
) -> None:
    early = problem(fresh.http.post("/api/v1/events", json=sent[2]), 409)
    assert "seq 0 with prev 0000" in early["detail"]
    assert fresh.http.post("/api/v1/events", json=sent[0]).status_code == 201
    head = {**sent[1]["head"], "prev": "1" * 64}
    problem(fresh.http.post("/api/v1/events", json={**sent[1], "head": head}), 409)


def test_an_event_is_never_replaced(fresh: Served, sent: list[dict[str, Any]]) -> None:
    fresh.http.post("/api/v1/events", json={"events": sent})
    wait_for(lambda: _rounds(fresh) == [0, 1, 2, 3], "the rounds to be projected")
    head = {**sent[3]["head"], "cohort_size": 11}
    refused = problem(fresh.http.post("/api/v1/events", json={**sent[3], "head": head}), 409)
    assert refused["type"].endswith(":equivocation")
    assert refused["exit_code"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"side": "AAAA"}, "side bytes"),
        ({"side": "not base64!"}, "events.0"),
        ({"head": {"type": "fl.round.committed.v1"}}, "events.0"),
        ({"head": {}}, "not a JSON object with a type"),
        ({"extra": 1}, "events.0.extra"),
    ],
)
def test_a_malformed_event_is_refused_whole(
    served: Served, sent: list[dict[str, Any]], change: dict[str, Any], said: str
) -> None:
    response = served.http.post("/api/v1/events", json={"events": [{**sent[0], **change}]})
    assert said in problem(response, 422)["detail"]
    assert not (served.recorded.case / "segments" / RUN).exists()


def test_a_producer_that_records_here_itself_is_not_written_over(
    fresh: Served, sent: list[dict[str, Any]]
) -> None:
    with Recorder(fresh.recorded.case, run=RUN):
        refused = problem(fresh.http.post("/api/v1/events", json=sent[0]), 409)
    assert refused["exit_code"] == 5
