"""Is every refusal one shape, with a hint, and never an error of ours?"""

import json
from typing import Any

import pytest
from doors import Served, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.questions import QUESTIONS


def test_what_is_not_there_says_where_the_list_is(served: Served) -> None:
    assert "openapi.json" in problem(served.http.get("/api/v1/nowhere"), 404)["hint"]
    assert problem(served.http.put("/api/v1/runs"), 405)["hint"]
    missing = problem(served.http.get("/api/v1/runs/nobody/rounds"), 404)
    assert "there is no run 'nobody'" in missing["detail"]
    problem(served.http.get("/api/v1/jobs/0123456789abcdef"), 404)


def test_a_round_beyond_the_run_says_what_there_is(served: Served) -> None:
    response = served.http.get(f"/api/v1/runs/{served.recorded.run}/models/9999")
    found = problem(response, 404)
    assert found == {
        "type": "urn:roundlog:problem:round-range",
        "title": "Not found",
        "status": 404,
        "detail": "there is no model 9999: the run has models 0 to 300",
        "hint": "GET /openapi.json lists every route",
        "exit_code": 1,
        "instance": f"/api/v1/runs/{served.recorded.run}/models/9999",
    }


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("rounds", {"limit": "0"}),
        ("rounds", {"limit": "many"}),
        ("rounds", {"limit": "9" * 30}),
        ("rounds", {"colour": "red"}),
        ("rounds", {"after": "-5"}),
        ("series", {"metric": "secrets"}),
        ("series", {"pixels": "1e3"}),
        ("crossings", {}),
        ("crossings", {"trigger": "x", "levels": "0"}),
        ("crossings", {"trigger": "x", "levels": "nan"}),
        ("crossings", {"trigger": "x", "levels": "1.5"}),
        ("crossings", {"trigger": "x", "levels": ""}),
        ("crossings", {"trigger": "x", "mode": "guess"}),
        ("diff", {}),
        ("bisect", {}),
    ],
)
def test_a_wrong_parameter_is_named(served: Served, path: str, params: dict[str, str]) -> None:
    response = served.http.get(f"/api/v1/runs/{served.recorded.run}/{path}", params=params)
    found = problem(response, 422)
    assert found["exit_code"] == 2
    for name in params:
        if name not in ("trigger",):
            assert name in found["detail"]


def test_a_parameter_that_stands_twice_is_refused(served: Served) -> None:
    response = served.http.get(f"/api/v1/runs/{served.recorded.run}/rounds?limit=1&limit=2")
    assert "stands twice" in problem(response, 422)["detail"]


BAD_BODIES = {
    "nan": b'{"events": [{"head": {"round": NaN}}]}',
    "infinity": b'{"events": [{"head": {"round": -Infinity}}]}',
    "overflow": b'{"events": [{"head": {"round": 1e999}}]}',
    "duplicate key": b'{"events": [], "events": []}',
    "utf-16": '{"events": []}'.encode("utf-16"),
    "utf-8 mark": b'\xef\xbb\xbf{"events": []}',
    "invalid utf-8": b'{"events": ["\xff"]}',
    "2^63": b'{"events": [{"head": {"round": 9223372036854775808}}]}',
    "empty": b"",
    "not an object": b"[]",
    "deep": b"[" * 100_000,
    "surrogate": b'{"events": [{"head": {"id": "\\ud800"}}]}',
    "no events": b'{"events": []}',
    "other field": b'{"events": [], "admin": true}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/triggers", "/api/v1/jobs"])
def test_a_bad_body_is_refused_and_never_breaks_us(served: Served, path: str, name: str) -> None:
    response = served.http.post(
        path, content=BAD_BODIES[name], headers={"Content-Type": "application/json"}
    )
    problem(response, 422)


def test_a_body_of_another_type_is_refused(served: Served) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    found = problem(served.http.post("/api/v1/events", content=b"a=1", headers=form), 415)
    assert "application/json" in found["hint"]


def test_a_body_of_ten_megabytes_is_counted_and_leaves_no_row(served: Served) -> None:
    def refused() -> int:
        lines = served.http.get("/metrics").text.splitlines()
        found = [line for line in lines if 'reason="too-large"' in line]
        return int(found[0].rsplit(" ", 1)[1]) if found else 0

    before, rows = refused(), served.state.records.rows("case_end")
    body = b'{"events": ["' + b"x" * 10_000_000 + b'"]}'
    headers = {"Content-Type": "application/json"}
    problem(served.http.post("/api/v1/events", content=body, headers=headers), 413)

    def slowly() -> Any:
        yield from (body[at : at + 65_536] for at in range(0, len(body), 65_536))

    problem(served.http.post("/api/v1/events", content=slowly(), headers=headers), 413)
    assert refused() == before + 2
    assert served.state.records.rows("case_end") == rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=json_values)
def test_no_json_at_all_makes_a_server_error(served: Served, body: Any) -> None:
    content = json.dumps(body).encode()
    for path in ("/api/v1/events", "/api/v1/jobs"):
        response = served.http.post(
            path, content=content, headers={"Content-Type": "application/json"}
        )
        assert 400 <= response.status_code < 500, response.text


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(sorted(QUESTIONS)),
    params=st.dictionaries(
        st.sampled_from(["rounds", "limit", "event", "before", "levels", "trigger", "x", "every"]),
        st.text(max_size=10),
        max_size=3,
    ),
)
def test_no_parameter_at_all_makes_a_server_error(
    served: Served, name: str, params: dict[str, str]
) -> None:
    path = QUESTIONS[name].path.replace("{run}", served.recorded.run).replace("{round}", "7")
    response = served.http.get(f"/api/v1{path}", params=params)
    assert response.status_code < 500, response.text
