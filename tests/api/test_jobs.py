"""Does long work run once, tell how far it is, and stop when it is told to?"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from doors import Served, problem, wait_for

from api.parameters import NoParams
from api.questions import QUESTIONS, Question
from api.records import Progress, Records
from roundlog.errors import QuestionError

RELEASE = threading.Event()


def slow_answer(records: Records, params: NoParams, progress: Progress) -> dict[str, Any]:
    """Tells how far it is until it is released or cancelled."""
    done = 0
    while not RELEASE.wait(0.01):
        done += 1
        progress("waiting", done, None)
    return {"done": done}


def failing_answer(records: Records, params: NoParams, progress: Progress) -> dict[str, Any]:
    """Cannot be answered."""
    raise QuestionError("the record does not say")


def breaking_answer(records: Records, params: NoParams, progress: Progress) -> dict[str, Any]:
    """Runs into an error of ours."""
    raise ZeroDivisionError("one over none")


@pytest.fixture(autouse=True)
def questions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three more questions, which can be asked as jobs only."""
    RELEASE.clear()
    for name in ("slow", "failing", "breaking"):
        path = f"{__name__}:{name}_answer"
        question = Question(name, "?", NoParams, path, "none", f"/{name}", {}, True, lasting=False)
        question.__dict__["_answer"] = globals()[f"{name}_answer"]
        monkeypatch.setitem(QUESTIONS, name, question)
    yield
    RELEASE.set()


def _submit(served: Served, question: str, **params: object) -> str:
    response = served.http.post("/api/v1/jobs", json={"question": question, "params": params})
    assert response.status_code == 202, response.text
    assert response.headers["retry-after"] == "1"
    place: str = response.headers["location"]
    assert place == f"/api/v1/jobs/{response.json()['id']}"
    return place


def _state(served: Served, place: str) -> str:
    state: str = served.http.get(place).json()["state"]
    return state


def test_a_job_tells_how_far_it_is_and_then_its_answer(served: Served) -> None:
    place = _submit(served, "slow")
    wait_for(lambda: served.http.get(place).json()["done"] > 2, "progress")
    assert served.http.get(place).json()["what"] == "waiting"
    assert "is running" in problem(served.http.get(f"{place}/result"), 409)["detail"]
    RELEASE.set()
    wait_for(lambda: _state(served, place) == "done", "the end")
    assert served.http.get(f"{place}/result").json()["done"] > 2


def test_the_same_question_about_the_same_record_is_one_job(served: Served) -> None:
    place = _submit(served, "slow")
    wait_for(lambda: _state(served, place) == "running", "the start")
    assert _submit(served, "slow") == place
    other = _submit(served, "slow", run=served.recorded.run)
    assert other != place
    served.http.delete(other)
    RELEASE.set()
    wait_for(lambda: _state(served, place) == "done", "the end")


def test_a_job_is_cancelled_while_it_waits_or_runs(served: Served) -> None:
    RELEASE.clear()
    running = _submit(served, "slow", run=served.recorded.run)
    wait_for(lambda: _state(served, running) == "running", "the start")
    waiting = _submit(served, "failing", run=served.recorded.run)
    served.http.delete(waiting)
    assert _state(served, waiting) == "cancelled"
    served.http.delete(running)
    wait_for(lambda: _state(served, running) == "cancelled", "the cancellation")
    problem(served.http.get(f"{running}/result"), 409)


def test_a_failure_is_told_as_its_own_problem_and_may_be_tried_again(served: Served) -> None:
    place = _submit(served, "failing")
    wait_for(lambda: _state(served, place) == "failed", "the failure")
    failure = problem(served.http.get(f"{place}/result"), 422)
    assert failure["detail"] == "the record does not say"
    assert _submit(served, "failing") == place


def test_an_error_of_ours_does_not_end_the_worker(served: Served) -> None:
    place = _submit(served, "breaking")
    wait_for(lambda: _state(served, place) == "failed", "the failure")
    assert "ZeroDivisionError" in problem(served.http.get(f"{place}/result"), 500)["detail"]
    RELEASE.set()
    after = _submit(served, "slow")
    wait_for(lambda: _state(served, after) == "done", "the next job")


def test_progress_streams_as_server_sent_events(served: Served) -> None:
    RELEASE.set()
    place = _submit(served, "slow", run=served.recorded.run)
    with served.http.stream("GET", f"{place}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    *_, last = [block for block in text.split("\n\n") if block]
    kind, data = last.split("\n")
    assert kind == "event: end"
    assert json.loads(data.removeprefix("data: "))["state"] == "done"


def test_a_slow_answer_comes_at_once_or_as_a_job_as_the_client_prefers(served: Served) -> None:
    path = "/api/v1/verify"
    assert served.http.get(path, headers={"Prefer": "wait=30"}).status_code == 200
    response = served.http.get(path, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    place = response.headers["location"]
    wait_for(lambda: _state(served, place) == "done", "verification")
    assert served.http.get(f"{place}/result").json()["ok"]


def test_jobs_are_listed_latest_first_without_their_trigger_s_queries(served: Served) -> None:
    trigger = json.loads(served.recorded.truth.read_bytes())["trigger"]
    place = _submit(served, "crossings", trigger=trigger, levels=[0.5])
    wait_for(lambda: _state(served, place) == "done", "crossings")
    listed = served.http.get("/api/v1/jobs").json()["jobs"]
    assert listed[0]["question"] == "crossings"
    assert listed[0]["params"]["trigger"] == trigger["name"]


@pytest.mark.parametrize(
    "body",
    [{}, {"question": "rewind"}, {"question": "verify", "params": []}, {"question": ["verify"]}, 7],
)
def test_what_is_no_job_is_refused(served: Served, body: Any) -> None:
    assert "crossings" in problem(served.http.post("/api/v1/jobs", json=body), 422)["hint"]
