"""Does every door date an onset, watch and replay, and agree about it?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import Recorded, Served, invoke, problem, serving
from pushed_run import Pushed, record_pushed

import roundlog

ONSET, ROUNDS = 300, 600
ALARM = {"round", "detector", "score", "threshold", "budget"}


def _written(run: Pushed, folder: Path) -> Recorded:
    trigger = folder / "trigger.json"
    trigger.write_text(json.dumps(run.document))
    return Recorded(run.path, trigger, run.run)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("when")
    return _written(record_pushed(folder / "case", seed=4, rounds=ROUNDS, onset=ONSET), folder)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("when-twin")
    return _written(record_pushed(folder / "case", seed=4, rounds=ROUNDS, onset=None), folder)


@pytest.fixture(scope="module")
def served(pushed: Recorded) -> Iterator[Served]:
    with serving(pushed, rounds=ROUNDS) as server:
        yield server


def _ask(recorded: Recorded, name: str, *options: object) -> dict[str, Any]:
    result = invoke(name, recorded.case, "--trigger", recorded.truth, "--json", *options)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_an_onset_is_a_set_with_coverage_a_signal_and_a_rank(pushed: Recorded) -> None:
    found = _ask(pushed, "onset")
    assert set(found["onset"]) == {"round", "low", "high", "coverage", "members"}
    assert found["onset"]["low"] <= ONSET <= found["onset"]["high"]
    assert found["onset"]["coverage"] == 0.95
    assert found["signal"] > 1
    assert (found["decoy_rank"], found["decoys"]) == (1, 11)
    assert len(found["passes"]) == 2
    removed = found["passes"][1]["direction"]["removed"]
    assert all(abs(one["after"]) < 1e-6 for one in removed)


def test_a_twin_has_none_and_its_table_says_so(twin: Recorded) -> None:
    assert _ask(twin, "onset")["onset"] is None
    told = invoke("onset", twin.case, "--trigger", twin.truth)
    assert told.exit_code == 0
    assert "none found: a run without an attack shows as much" in told.stdout
    failing = invoke("onset", twin.case, "--trigger", twin.truth, "--fail-on-onset")
    assert failing.exit_code == 0


def test_a_table_of_an_onset_is_for_people(pushed: Recorded) -> None:
    told = invoke("onset", pushed.case, "--trigger", pushed.truth, "--fail-on-onset")
    assert told.exit_code == 3
    assert "95% coverage" in told.stdout
    assert "of 12, decoys that share no token" in told.stdout
    assert "honest span of 8 dimensions removed" in told.stdout


def test_one_pass_and_an_earlier_time_can_be_asked_for(pushed: Recorded) -> None:
    assert len(_ask(pushed, "onset", "--passes", 1)["passes"]) == 1
    early = _ask(pushed, "onset", "--last", ONSET - 10)
    assert early["onset"] is None
    assert early["passes"][0]["last"] < ONSET - 10


def test_a_watch_names_round_detector_score_threshold_and_budget(pushed: Recorded) -> None:
    found = _ask(pushed, "watch")
    assert found["alarms"]
    assert all(set(one) >= ALARM for one in found["alarms"])
    first = found["alarms"][0]
    assert ONSET < first["round"] < ONSET + 60
    assert first["score"] >= first["threshold"]
    assert first["asr"] <= found["end"]["asr"]
    assert {one["series"] for one in found["alarms"]} == {"suspect"}


def test_a_twin_raises_no_alarm_at_any_door(twin: Recorded) -> None:
    assert _ask(twin, "watch")["alarms"] == []
    told = invoke("watch", twin.case, "--trigger", twin.truth, "--fail-on-alarm")
    assert told.exit_code == 0
    assert "no alarm" in told.stdout


def test_an_alarm_can_end_a_pipeline(pushed: Recorded) -> None:
    told = invoke("watch", pushed.case, "--trigger", pushed.truth, "--fail-on-alarm")
    assert told.exit_code == 3
    assert "0.1 false alarms in 1,000,000 rounds over 14 charts" in told.stdout


def test_detectors_and_budget_can_be_chosen(pushed: Recorded) -> None:
    found = _ask(pushed, "watch", "--detectors", "glr", "--budget", 1, "--horizon", 10_000)
    assert {one["detector"] for one in found["alarms"]} <= {"glr", "cusum of norm"}
    assert found["budget"] == {"alarms": 1.0, "rounds": 10_000, "charts": 9}
    strict = _ask(pushed, "watch", "--detectors", "glr")
    assert strict["alarms"][0]["round"] > found["alarms"][0]["round"]
    wrong = invoke("watch", pushed.case, "--detectors", "nose", "--trigger", pushed.truth)
    assert wrong.exit_code == 1
    assert "no detector is called 'nose'" in wrong.stderr


def test_a_replay_says_what_the_watch_said(pushed: Recorded) -> None:
    watched, replayed = _ask(pushed, "watch"), _ask(pushed, "replay")
    assert replayed["alarms"] == watched["alarms"]
    paced = _ask(pushed, "replay", "--speed", 1e9)
    assert paced["alarms"] == watched["alarms"]


def test_a_part_is_replayed(pushed: Recorded) -> None:
    part = _ask(pushed, "replay", "--from", 150, "--to", 449)
    assert (part["first"], part["last"], part["read"]) == (150, 449, 300)
    assert ONSET < part["alarms"][0]["round"] < 450
    beyond = invoke("replay", pushed.case, "--to", ROUNDS, "--trigger", pushed.truth)
    assert beyond.exit_code != 0


def test_a_timeline_with_a_trigger_shows_the_onset(pushed: Recorded, twin: Recorded) -> None:
    found = _ask(pushed, "timeline")
    entries = [one for one in found["entries"] if one["kind"] == "onset"]
    assert [one["round"] for one in entries] == [found["onset"]["round"]]
    assert f"{found['onset']['low']:,} to {found['onset']['high']:,}" in entries[0]["title"]
    without = _ask(twin, "timeline")
    assert without["onset"] is None
    assert "onset" not in {one["kind"] for one in without["entries"]}


def test_http_and_python_answer_alike(served: Served, pushed: Recorded) -> None:
    document = json.loads(pushed.truth.read_text())
    assert served.http.post("/api/v1/triggers", json=document).status_code < 300
    with roundlog.open(served.url) as source:
        onset = source.onset(trigger="suspect")
        watched = source.watch(trigger="suspect")
        replayed = source.replay(trigger="suspect")
    assert onset["onset"]["low"] <= ONSET <= onset["onset"]["high"]
    assert watched["alarms"] == replayed["alarms"]
    assert watched["alarms"][0]["round"] > ONSET


@pytest.mark.parametrize("refused", ["speed=2", "publish=kafka://localhost:9092/x"])
def test_a_server_neither_paces_nor_publishes_for_others(served: Served, refused: str) -> None:
    place = f"/api/v1/runs/{served.recorded.run}/replay?{refused}"
    told = served.http.get(place)
    problem(told, told.status_code)
    assert 400 <= told.status_code < 500
