"""Can people speak of a run at every door, in their own name, and is it on record the same way?"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import ROUNDS, Recorded, Served, invoke, problem, serving
from said_alarms import raise_alarm

import roundlog
from api.acts import ACTS, myself
from api.client import Source
from api.desk import LocalDesk, open_desk
from api.questions import QUESTIONS
from roundlog.case import Case
from roundlog.errors import QuestionError, RoundlogError
from roundlog.events import OWNER


def _json(*args: object) -> dict[str, Any]:
    result = invoke(args[0], "--json", *args[1:])
    assert result.exit_code == 0, result.output + result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def _post(served: Served, path: str, **body: object) -> dict[str, Any]:
    response = served.http.post(f"/api/v1{path}", json=body)
    assert response.status_code == 201, response.text
    event: dict[str, Any] = response.json()["event"]
    return event


def _without_clock(event: dict[str, Any]) -> dict[str, Any]:
    """What two people would say alike; `prev` is a digest of a head with a time in it."""
    return {name: value for name, value in event.items() if name not in ("time", "prev")}


@pytest.fixture
def alarmed(original: Recorded, tmp_path: Path) -> tuple[Recorded, str]:
    """A case of its own in which an alarm was raised, and its key."""
    case = Path(shutil.copytree(original.case, tmp_path / "alarmed"))
    with open_desk(case) as desk:
        assert isinstance(desk, LocalDesk)
        key = raise_alarm(desk.records.log, original.run, round=60).key
    return Recorded(case, original.truth, original.run), key


@pytest.fixture
def ringing(fresh: Served) -> tuple[Served, str]:
    """A server in which an alarm was raised, and its key."""
    alarm = raise_alarm(fresh.state.records.log, fresh.recorded.run, round=60)
    return fresh, alarm.key


def test_a_release_is_written_down_with_the_recorded_digest(recorded: Recorded) -> None:
    case = recorded.case
    event = _json("release", case, "--round", "head~50", "--version", "1.4", "--actor", "alice")
    event = event["event"]
    assert event["id"] == f"{recorded.run}/{OWNER}/0"
    assert (event["round"], event["channel"], event["actor"]) == (ROUNDS - 50, "stable", "alice")
    assert event["authenticated"] == "local"
    assert event["digest"] == _json("rebuild", case, "--round", "250")["recorded"]
    shown = _json("show", case, event["id"])
    assert shown["event"] == event
    assert shown["file"] == f"segments/{recorded.run}/{OWNER}/000000000000.heads"
    assert "released as 1.4 (stable), says alice" in invoke("timeline", case).stdout
    assert _json("verify", case)["ok"]


def test_a_release_outside_the_run_is_one_sentence(recorded: Recorded) -> None:
    args = ("release", recorded.case, "--round", "9000", "--version", "9")
    failed = invoke(*args)
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr == "error: there is no model 9000: the run has models 0 to 300\n"
    assert json.loads(invoke(*args, "--json").stderr)["error"]["type"] == "RoundRangeError"
    assert not (recorded.case / "segments" / recorded.run / OWNER).exists()


def test_whoever_does_not_say_who_they_are_is_the_user_of_the_system(recorded: Recorded) -> None:
    said = _json("release", recorded.case, "--round", "1", "--version", "0.1")["event"]
    assert said["actor"] == myself()


def test_without_a_user_name_nobody_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert myself() == "unknown"


@pytest.mark.parametrize("name", ["", "two\nlines", "evil\u202egnp", "x" * 65])
def test_a_name_that_hides_something_is_refused_at_each_door(
    served: Served, recorded: Recorded, name: str
) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/releases"
    body = {"round": 1, "version": "0.1", "actor": name}
    assert problem(served.http.post(path, json=body), 422)["detail"].startswith("actor: ")
    if name:
        args = ("release", recorded.case, "--round", "1", "--version", "1", "--actor", name)
        failed = invoke(*args)
        assert failed.exit_code == 2
        assert "actor: " in failed.stderr


def test_alarms_are_listed_as_they_stand_and_answered(alarmed: tuple[Recorded, str]) -> None:
    (recorded, key), case = alarmed, alarmed[0].case
    assert [row["state"] for row in _json("alarms", case)["alarms"]] == ["raised"]
    assert invoke("alarms", case, "--fail-on", "raised").exit_code == 3
    event = _json("acknowledge", case, key[:8], "--note", "asking", "--actor", "alice")["event"]
    assert (event["alarm"], event["note"], event["said_at"]) == (key, "asking", ROUNDS)
    (row,) = _json("alarms", case)["alarms"]
    assert (row["state"], row["acknowledged_by"]) == ("acknowledged", "alice")
    assert invoke("alarms", case, "--fail-on", "raised").exit_code == 0
    table = invoke("alarms", case).stdout
    assert key[:12] in table
    assert "alice" in table
    none = invoke("alarms", case, "--state", "raised").stdout
    assert none.splitlines() == ["(none)", "1 other alarm not shown"]
    assert _json("verify", case, "--run", recorded.run)["ok"]


def test_an_alarm_and_a_detector_can_rest(alarmed: tuple[Recorded, str]) -> None:
    case, key = alarmed[0].case, alarmed[1]
    said = invoke("silence", case, key[:8], "--rounds", "50", "--actor", "bob").stdout
    assert said == f"alarm {key[:12]} rests until the run reaches round 350\n"
    assert [row["silenced_by"] for row in _json("alarms", case)["alarms"]] == ["bob"]
    args = ("silence", case, "--detector", "cusum", "--direction", "suspect")
    said = invoke(*args, "--from", "50", "--until", "70").stdout
    assert said == "alarms of cusum along suspect rest in rounds 50 to 69\n"
    events = _json("log", case, "--producer", OWNER)["events"]
    assert [(event["type"], event["round"]) for event in events] == [
        ("fl.alarm.silenced.v1", ROUNDS),
        ("fl.alarm.silenced.v1", ROUNDS),
        ("fl.alarm.raised.v1", 60),
    ]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("acknowledge", "{case}", "ffffffffffff"), 1, "no alarm has a key that begins with"),
        (("acknowledge", "{case}", "not-hex"), 2, "alarm: "),
        (("silence", "{case}", "--rounds", "5"), 2, "an alarm, or a detector: one of the two"),
        (("silence", "{case}", "{key}", "--detector", "cusum", "--rounds", "5"), 2, "one of the"),
        (("silence", "{case}", "{key}", "--from", "3", "--rounds", "5"), 2, "go with a detector"),
        (("silence", "{case}", "{key}"), 1, "say how long"),
        (("silence", "{case}", "{key}", "--until", "3"), 1, "holds for no round"),
        (("silence", "{case}", "--detector", "x", "--rounds", "1", "--run", "y"), 1, "no run 'y'"),
        (("release", "{case}", "--round", "x", "--version", "1"), 1, "'x' names no model"),
        (("release", "{case}", "--round", "1", "--version", ""), 2, "version: "),
    ],
)
def test_an_act_that_makes_no_sense_is_one_sentence(
    alarmed: tuple[Recorded, str], args: tuple[str, ...], code: int, said: str
) -> None:
    recorded, key = alarmed
    failed = invoke(*(part.format(case=recorded.case, key=key) for part in args))
    assert (failed.exit_code, failed.stdout) == (code, ""), failed.stderr
    assert failed.stderr.startswith("error: ")
    assert said in failed.stderr


def test_every_act_has_a_route_an_example_and_a_command(served: Served) -> None:
    paths = served.http.get("/openapi.json").json()["paths"]
    for name, act in ACTS.items():
        route = paths[f"/api/v1{act.path}"]["post"]
        example = route["responses"]["201"]["content"]["application/json"]["example"]
        assert example == act.example
        assert "200" not in route["responses"]
        body = route["requestBody"]["content"]["application/json"]["schema"]
        described = set(body["properties"]) | {one["name"] for one in route["parameters"]}
        assert described == set(act.params.model_fields)
        assert all(one["description"] for one in body["properties"].values())
        shown = " ".join(invoke(name, "--help").output.split())
        assert f"HTTP: POST /api/v1{act.path}" in shown
        assert act.python in shown
        assert callable(getattr(Source, name))
    assert not ACTS.keys() & QUESTIONS.keys()


def test_http_writes_down_what_the_command_line_writes_down(
    ringing: tuple[Served, str], alarmed: tuple[Recorded, str]
) -> None:
    """Two copies of one case: one is spoken of by HTTP, the other from the command line."""
    (served, key), (recorded, same) = ringing, alarmed
    assert key == same
    run, case, who = recorded.run, recorded.case, ("--actor", "alice")
    by_http = [
        _post(served, f"/runs/{run}/releases", round=99, version="2", actor="alice"),
        _post(served, f"/alarms/{key[:9]}/acknowledgements", note="ok", actor="alice"),
        _post(served, "/silences", alarm=key, rounds=5, actor="alice"),
    ]
    by_hand = [
        _json("release", case, "--round", "99", "--version", "2", *who)["event"],
        _json("acknowledge", case, key[:9], "--note", "ok", *who)["event"],
        _json("silence", case, key, "--rounds", "5", *who)["event"],
    ]
    for here, there in zip(by_hand, by_http, strict=True):
        assert (here["id"], _without_clock(here)) == (there["id"], _without_clock(there))
    listed = served.http.get(f"/api/v1/runs/{run}/alarms").json()
    assert listed == _json("alarms", case)


def test_the_command_line_speaks_through_the_server_that_holds_the_case(
    ringing: tuple[Served, str],
) -> None:
    (served, key), case = ringing, ringing[0].recorded.case
    released = invoke("release", case, "--round", "99", "--version", "2", "--json")
    assert "is held by a server; asking" in released.stderr
    assert json.loads(released.stdout)["event"]["round"] == 99
    assert invoke("acknowledge", case, key[:6], "--note", "ok").exit_code == 0
    assert invoke("silence", served.url, "--detector", "cusum", "--rounds", "9").exit_code == 0
    (row,) = _json("alarms", case)["alarms"]
    assert (row["state"], row["acknowledged_note"]) == ("acknowledged", "ok")
    failed = invoke("release", case, "--round", "9000", "--version", "3")
    assert failed.exit_code == 1
    assert "there is no model 9000" in failed.stderr
    assert problem(
        served.http.post(
            f"/api/v1/runs/{served.recorded.run}/releases",
            json={"round": 9000, "version": "3", "actor": "alice"},
        ),
        404,
    )


def test_what_was_said_is_seen_by_the_next_question(ringing: tuple[Served, str]) -> None:
    served, key = ringing
    path = f"/api/v1/runs/{served.recorded.run}/timeline"
    kinds = [entry["kind"] for entry in served.http.get(path).json()["entries"]]
    assert ("alarm" in kinds, "acknowledged" in kinds) == (True, False)
    _post(served, f"/alarms/{key}/acknowledgements", actor="alice")
    kinds = [entry["kind"] for entry in served.http.get(path).json()["entries"]]
    assert "acknowledged" in kinds


def test_a_server_that_ends_seals_what_was_said_and_another_goes_on(
    alarmed: tuple[Recorded, str],
) -> None:
    recorded, key = alarmed
    for note in ("one", "two"):
        with serving(recorded) as served:
            _post(served, f"/alarms/{key}/acknowledgements", actor="alice", note=note)
    folder = recorded.case / "segments" / recorded.run / OWNER
    assert len(list(folder.glob("*.seal"))) == 3
    events = _json("log", recorded.case, "--producer", OWNER)["events"]
    assert [event["seq"] for event in events] == [2, 1, 0]
    assert _json("verify", recorded.case)["ok"]


@pytest.mark.parametrize("source", [OWNER, "server"])
def test_nobody_posts_an_event_in_a_person_s_name(ringing: tuple[Served, str], source: str) -> None:
    served, key = ringing
    run = served.recorded.run
    event = _post(served, f"/alarms/{key}/acknowledgements", actor="alice")
    forged = {
        **{name: value for name, value in event.items() if name != "dataschema"},
        "source": source,
        "seq": 2 if source == OWNER else 0,
        "actor": "malice",
        "authenticated": "oidc",
    }
    forged["id"] = f"{run}/{source}/{forged['seq']}"
    response = served.http.post("/api/v1/events", json={"events": [{"head": forged}]})
    found = problem(response, 422)
    assert found["type"] == "urn:roundlog:problem:reserved"
    assert "only the owner of the case says alarm.acknowledged" in found["detail"]
    assert _owner_events(served) == 2


def _owner_events(served: Served) -> int:
    params = {"producer": OWNER}
    listed = served.http.get(f"/api/v1/runs/{served.recorded.run}/log", params=params).json()
    return len(listed["events"])


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"actor": "alice"},
        {"actor": "alice", "version": "1", "round": 1, "surprise": 1},
        {"actor": "alice", "version": "1", "round": 1, "channel": ""},
        {"actor": "alice", "version": "1", "round": 1, "authenticated": "oidc"},
        {"actor": ["alice"], "version": "1", "round": 1},
    ],
)
def test_a_body_that_is_no_act_is_refused(served: Served, body: Any) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/releases"
    problem(served.http.post(path, json=body), 422)
    assert served.http.get(path).status_code == 405


def test_a_page_of_another_origin_cannot_act(served: Served) -> None:
    path = f"/api/v1/runs/{served.recorded.run}/releases"
    body = {"actor": "alice", "version": "1", "round": 1}
    headers = {"Origin": "http://evil.example"}
    assert problem(served.http.post(path, json=body, headers=headers), 403)
    as_text = {"content-type": "text/plain"}
    assert problem(served.http.post(path, content=json.dumps(body), headers=as_text), 415)


@pytest.fixture(params=["directory", "server"])
def source(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[Source, str]]:
    """A case opened from Python, here or through its server, and the key of its alarm."""
    name = {"directory": "alarmed", "server": "ringing"}[request.param]
    found, key = request.getfixturevalue(name)
    place = found.case if isinstance(found, Recorded) else found.url
    with roundlog.open(place) as opened:
        yield opened, key


def test_python_speaks_as_the_other_doors_do(source: tuple[Source, str]) -> None:
    opened, key = source
    assert opened.alarms()["state"].to_list() == ["raised"]
    released = opened.release("head", "3", channel="beta", actor="alice")
    assert (released["round"], released["channel"]) == (ROUNDS, "beta")
    assert opened.acknowledge(key[:10], "seen", actor="alice")["alarm"] == key
    assert opened.silence(detector="cusum", rounds=5, actor="alice")["until_round"] == ROUNDS + 5
    assert opened.alarms(state="acknowledged")["acknowledged_by"].to_list() == ["alice"]
    assert "release" in opened.timeline()["kind"].to_list()
    with pytest.raises(RoundlogError, match="there is no model 9000"):
        opened.release(9000, "4")
    with pytest.raises(KeyError, match="no act is called 'whisper'"):
        opened.act("whisper")


def test_a_case_that_is_only_asked_gets_no_log_of_its_owner(recorded: Recorded) -> None:
    assert _json("alarms", recorded.case) == {"run": recorded.run, "total": 0, "alarms": []}
    assert not (recorded.case / "segments" / recorded.run / OWNER).exists()
    assert Case(recorded.case).current_owner() is None


def test_an_alarm_is_found_among_several_runs_by_its_key_alone(
    alarmed: tuple[Recorded, str], tmp_path: Path
) -> None:
    recorded, key = alarmed
    args = ("simulate", "quickstart", "--seed", "9", "--rounds", "10", "--out", recorded.case)
    made = invoke(*args, "--set", "model.warm_up=0", "--truth", tmp_path / "t.json", "--json")
    assert made.exit_code == 0, made.stderr
    assert "the case holds 2 runs" in invoke("alarms", recorded.case).stderr
    event = _json("acknowledge", recorded.case, key[:12])["event"]
    assert event["subject"] == recorded.run
    wrong = invoke("acknowledge", recorded.case, key[:12], "--run", json.loads(made.stdout)["run"])
    assert "no alarm has a key" in wrong.stderr


def test_an_error_that_is_ours_keeps_its_class(alarmed: tuple[Recorded, str]) -> None:
    with (
        open_desk(alarmed[0].case) as desk,
        pytest.raises(QuestionError, match="no alarm has a key"),
    ):
        desk.act("acknowledge", {"alarm": "0" * 64, "actor": "alice"})
