"""Does HTTP answer what the command line answers, byte for byte where history is immutable?"""

import io
import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from doors import ROUNDS, Served, invoke, problem

from api.answers.files import ARROW, CSV, NDJSON, PARQUET, SAFETENSORS
from api.questions import QUESTIONS


def _get(served: Served, path: str, **params: object) -> dict[str, Any]:
    response = served.http.get(f"/api/v1{path}", params={k: str(v) for k, v in params.items()})
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def _trigger(served: Served) -> dict[str, Any]:
    trigger: dict[str, Any] = json.loads(served.recorded.truth.read_bytes())["trigger"]
    return trigger


def test_every_question_has_a_route_and_an_example(served: Served) -> None:
    paths = served.http.get("/openapi.json").json()["paths"]
    for question in QUESTIONS.values():
        route = paths[f"/api/v1{question.path}"]["get"]
        example = route["responses"]["200"]["content"]["application/json"]["example"]
        assert example == question.example
        assert route["summary"] == question.title
        assert "application/problem+json" in route["responses"]["default"]["content"]
        described = {one["name"] for one in route["parameters"]}
        assert described >= set(question.params.model_fields) - question.params.local_only - {"run"}
        assert all(one["description"] for one in route["parameters"])


def test_the_pages_that_would_load_scripts_from_elsewhere_are_absent(served: Served) -> None:
    assert served.http.get("/docs").status_code == 404
    assert served.http.get("/redoc").status_code == 404


def test_runs_and_one_run_are_listed(served: Served) -> None:
    run = _get(served, "/runs")["runs"][0]
    assert (run["run"], run["rounds"]) == (served.recorded.run, ROUNDS)
    assert _get(served, "/runs", run=served.recorded.run)["runs"] == [run]
    assert _get(served, f"/runs/{served.recorded.run}")["run"] == served.recorded.run


def test_rounds_are_complete_over_pages(served: Served) -> None:
    seen: list[int] = []
    after: int | None = None
    while True:
        cursor = {} if after is None else {"after": after}
        page = _get(served, f"/runs/{served.recorded.run}/rounds", limit=77, **cursor)
        seen += [row["round"] for row in page["rounds"]]
        after = page["next"]
        if after is None:
            break
    assert seen == list(range(ROUNDS))


def test_rounds_come_in_four_more_formats_with_the_same_content(served: Served) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/rounds"
    digests = [
        row["post_digest"] for row in _get(served, f"/runs/{served.recorded.run}/rounds")["rounds"]
    ]
    read: dict[str, Callable[[bytes], pl.DataFrame]] = {
        ARROW: lambda body: pl.read_ipc_stream(io.BytesIO(body)),
        PARQUET: lambda body: pl.read_parquet(io.BytesIO(body)),
        NDJSON: lambda body: pl.read_ndjson(io.BytesIO(body)),
        CSV: lambda body: pl.read_csv(io.BytesIO(body)),
    }
    for media_type, parse in read.items():
        response = served.http.get(path, headers={"Accept": media_type})
        assert response.headers["content-type"].partition(";")[0] == media_type
        assert parse(response.content)["post_digest"].to_list() == digests


def test_a_media_type_that_is_not_offered_is_refused_by_name(served: Served) -> None:
    response = served.http.get("/api/v1/runs", headers={"Accept": "image/png"})
    assert "application/json" in problem(response, 406)["detail"]


def test_the_client_s_preference_decides_among_formats(served: Served) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/rounds"
    wanted = f"{CSV};q=0.2, {NDJSON};q=0.9, image/png"
    assert served.http.get(path, headers={"Accept": wanted}).headers["content-type"] == NDJSON


def test_a_series_is_sampled_and_says_so(served: Served) -> None:
    path = f"/runs/{served.recorded.run}/series"
    series = _get(served, path, pixels=10)
    assert (series["exact"], series["bucket"]) == (False, 30)
    assert len(series["points"]) == 10
    rounds = _get(served, f"/runs/{served.recorded.run}/rounds")["rounds"]
    first = [row["delta_norm"] for row in rounds[:30]]
    assert series["points"][0] == {
        "first": 0,
        "last": 29,
        "n": 30,
        "low": min(first),
        "high": max(first),
    }
    part = _get(served, path, pixels=10, rounds="100..109", metric="cohort_size")
    assert part["bucket"] == 1
    assert [point["low"] for point in part["points"]] == [10_000] * 10


def test_crossings_are_the_command_line_s(served: Served) -> None:
    run, truth = served.recorded.run, served.recorded.truth
    stored = served.http.post("/api/v1/triggers", json={**_trigger(served), "name": "suspect"})
    assert stored.status_code == 201
    by_name = _get(served, f"/runs/{run}/crossings", trigger="suspect", levels="0.1,0.2")
    by_cli = json.loads(
        invoke(
            "crossings", served.recorded.case, "--trigger", truth, "--levels", "0.1,0.2", "--json"
        ).stdout
    )
    assert by_name["crossings"] == by_cli["crossings"]
    body = {"trigger": _trigger(served), "levels": [0.1, 0.2]}
    by_document = served.http.post(f"/api/v1/runs/{run}/crossings", json=body).json()
    assert by_document["crossings"] == by_cli["crossings"]


def test_a_trigger_name_keeps_its_meaning(served: Served) -> None:
    mine = {**_trigger(served), "name": "kept"}
    assert served.http.post("/api/v1/triggers", json=mine).status_code == 201
    assert served.http.post("/api/v1/triggers", json=mine).status_code == 201
    other = {**mine, "queries": mine["queries"][:10]}
    refused = problem(served.http.post("/api/v1/triggers", json=other), 422)
    assert "means another trigger already" in refused["detail"]
    assert "kept" in [one["name"] for one in _get(served, "/triggers")["triggers"]]


@pytest.mark.parametrize("name", ["norm", "cosine"])
def test_a_trigger_cannot_be_called_as_what_every_watch_reads(served: Served, name: str) -> None:
    response = served.http.post("/api/v1/triggers", json={**_trigger(served), "name": name})
    assert "another name" in problem(response, 422)["detail"]
    assert name not in [one["name"] for one in _get(served, "/triggers")["triggers"]]


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "x" * 65])
def test_a_trigger_name_never_leaves_its_folder(served: Served, name: str) -> None:
    response = served.http.post("/api/v1/triggers", json={**_trigger(served), "name": name})
    problem(response, 422)
    assert not list(served.recorded.case.parent.glob("escape*"))


def test_a_server_opens_no_path_for_a_caller(served: Served) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/probe"
    response = served.http.get(path, params={"trigger": str(served.recorded.truth)})
    assert "no trigger named" in problem(response, 422)["detail"]


@pytest.mark.parametrize("question", ["probe", "crossings", "bisect"])
def test_a_server_imports_and_runs_nobody_s_code(served: Served, question: str) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/{question}"
    extra = {"trigger": "suspect", "model": "os:system"}
    assert "not taken over HTTP" in problem(served.http.get(path, params=extra), 422)["detail"]
    body = {"trigger": _trigger(served), "command": ["rm", "{model}"]}
    problem(served.http.post(path, json=body), 422)


def test_probe_diff_drift_timeline_and_show_answer(served: Served) -> None:
    run = served.recorded.run
    body = {"trigger": _trigger(served), "round": "head"}
    probed = served.http.post(f"/api/v1/runs/{run}/probe", json=body).json()
    assert probed["round"] == ROUNDS
    assert _get(served, f"/runs/{run}/diff", before=0, after="head")["b"]["round"] == ROUNDS
    assert _get(served, f"/runs/{run}/drift", every=100)["rows"][0]["drift"] == 0
    assert _get(served, f"/runs/{run}/timeline")["entries"]
    assert _get(served, f"/runs/{run}/show", event="head~3")["event"]["round"] == ROUNDS - 4
    assert _get(served, f"/runs/{run}/log", limit=5)["next"]
    assert _get(served, "/findings") == {"findings": []}
    assert _get(served, "/quarantine") == {"records": []}
    assert _get(served, "/verify")["ok"]


def test_a_model_is_a_document_or_a_file(served: Served) -> None:
    from safetensors.numpy import load

    path = f"/runs/{served.recorded.run}/models/123"
    document = _get(served, path)
    assert document["matches"]
    response = served.http.get(f"/api/v1{path}", headers={"Accept": SAFETENSORS})
    assert sum(array.size for array in load(response.content).values()) == 3_728


def test_history_has_strong_tags_and_costs_nothing_twice(served: Served) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/rounds"
    first = served.http.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    again = served.http.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert served.http.get(path, params={"limit": "3"}).headers["etag"] != tag


def test_supervisors_and_monitors_get_their_plain_answers(served: Served) -> None:
    assert served.http.get("/livez").text == "ok\n"
    assert served.http.get("/readyz").text == "ok\n"
    metrics = served.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert f"roundlog_ingested_rounds_total {ROUNDS}" in metrics.text
    assert "roundlog_ingest_up 1" in metrics.text
