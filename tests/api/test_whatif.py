"""Does a what-if replay the same run under other settings, and only for who holds its truth?"""

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Recorded, Served, invoke, problem, serving, wait_for

from api.cli.experiments import bars
from api.desk import LocalDesk, open_desk
from api.lab.simulation import run_scenario
from api.lab.whatif import TruthError, read_base, whatif
from roundlog.errors import ScenarioError
from roundlog.events import RoundCommitted, parse_head
from roundlog.log.embedded import EmbeddedLog

ROUNDS = 40
SMALL = (
    "model.warm_up=20", "population.archetypes=32", "probes.clean=50", "probes.pool=60",
    "probes.decoys=4", "probes.decoy_queries=5", "probes.trigger_queries=20", "audits.every=25",
    "audits.items=2", "attack.onset=5", "fraction=0.02", "rounds=60",
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run that was stopped early; nobody writes into this case."""
    folder = tmp_path_factory.mktemp("base")
    case, truth = folder / "case", folder / "truth.json"
    done = run_scenario("quickstart", 3, case, truth, rounds=ROUNDS, overrides=SMALL)
    return Recorded(case, truth, done["run"])


def _rows(case: Path, run: str) -> list[dict[str, Any]]:
    with open_desk(case) as desk:
        assert isinstance(desk, LocalDesk)
        rows: list[dict[str, Any]] = desk.ask("rounds", {"run": run})["rounds"]
        return rows


def _ask(base: Recorded, tmp_path: Path, *overrides: str) -> dict[str, Any]:
    return whatif(base.case, base.truth, overrides, tmp_path / "case", tmp_path / "truth.json")


def test_without_changes_the_base_run_comes_again_bit_for_bit(
    base: Recorded, tmp_path: Path
) -> None:
    document = _ask(base, tmp_path)
    other = document["other"]["run"]
    assert document["settings"] == {}
    assert other != base.run
    one, two = _rows(base.case, base.run), _rows(tmp_path / "case", other)
    assert len(one) == ROUNDS
    assert [row["post_digest"] for row in one] == [row["post_digest"] for row in two]
    same = ("asr", "accuracy", "highest", "path", "probe_digest", "clean", "crossings")
    for key in same:
        assert document["base"][key] == document["other"][key], key


def test_the_new_run_names_its_base_as_its_parent(base: Recorded, tmp_path: Path) -> None:
    document = _ask(base, tmp_path, "mechanisms.clip=0.5")
    with open_desk(tmp_path / "case") as desk:
        (run,) = desk.ask("runs", {})["runs"]
    assert (run["run"], run["parent"]) == (document["other"]["run"], base.run)
    assert document["other"]["parent"] == base.run
    assert run["mechanism"]["clip"] == 0.5


def test_what_a_setting_does_not_touch_is_drawn_as_it_was(base: Recorded, tmp_path: Path) -> None:
    document = _ask(base, tmp_path, "mechanisms.clip=0.5", "server.lr=0.1")
    assert document["settings"] == {
        "mechanisms.clip": {"base": 1.0, "other": 0.5},
        "server.lr": {"base": 0.25, "other": 0.1},
    }
    # The same devices in every cohort, so the same of them poison.
    malicious = json.loads(base.truth.read_bytes())["malicious"]
    assert json.loads((tmp_path / "truth.json").read_bytes())["malicious"] == malicious
    assert sum(malicious) > 0
    strata = [
        _counts(case, run)
        for case, run in ((base.case, base.run), (tmp_path / "case", document["other"]["run"]))
    ]
    assert strata[0] == strata[1]
    assert document["base"]["asr_n"] == document["other"]["asr_n"]
    assert document["base"]["probe_digest"] == document["other"]["probe_digest"]
    digests = [row["post_digest"] for row in _rows(base.case, base.run)]
    assert digests != [r["post_digest"] for r in _rows(tmp_path / "case", document["other"]["run"])]


def _first_pre_digest(case: Path, run: str) -> str:
    return str(_rows(case, run)[0]["pre_digest"])


def test_both_runs_begin_with_the_same_model_also_in_a_variation_of_a_variation(
    base: Recorded, tmp_path: Path
) -> None:
    begun = _first_pre_digest(base.case, base.run)
    changes = ("mechanisms.clip=0.5", "server.lr=0.1")
    first = _ask(base, tmp_path / "first", *changes)["other"]["run"]
    assert _first_pre_digest(tmp_path / "first" / "case", first) == begun
    again = Recorded(tmp_path / "first" / "case", tmp_path / "first" / "truth.json", first)
    second = _ask(again, tmp_path / "second", "mechanisms.clip=2.0")["other"]["run"]
    assert _first_pre_digest(tmp_path / "second" / "case", second) == begun
    # A setting that shapes W_0 is what was asked for.
    other = _ask(base, tmp_path / "third", "model.hidden_sd=0.3")["other"]["run"]
    assert _first_pre_digest(tmp_path / "third" / "case", other) != begun


def test_a_model_of_another_size_begins_with_a_w_0_of_its_own(
    base: Recorded, tmp_path: Path
) -> None:
    document = _ask(base, tmp_path, "assistant.hidden=30")
    assert document["other"]["rounds"] == ROUNDS


def _counts(case: Path, run: str) -> list[bytes]:
    """Devices of each stratum in every recorded cohort, as the events carry them."""
    counts = []
    log = EmbeddedLog(case / "segments")
    for record in log.read({f"{run}/server": 0}):
        assert record.frame is not None
        event = parse_head(record.frame.head)
        if isinstance(event, RoundCommitted):
            # The last of the tails, which stand one after the other in the side bytes.
            assert event.tails[-1].name == "strata"
            counts.append(bytes(record.frame.side)[-event.tails[-1].bytes :])
    log.close()
    assert len(counts) == ROUNDS
    return counts


def test_cost_counts_updates_and_their_bytes(base: Recorded, tmp_path: Path) -> None:
    document = _ask(base, tmp_path, "cohort.size=1000")
    one, two = document["base"]["cost"], document["other"]["cost"]
    elements = document["base"]["elements"]
    assert one == {
        "cpu_seconds": None,
        "devices": 10_000 * ROUNDS,
        "bytes_uploaded": 10_000 * ROUNDS * elements * 4,
    }
    assert two["devices"] == 1_000 * ROUNDS
    assert two["bytes_uploaded"] == one["bytes_uploaded"] // 10
    assert two["cpu_seconds"] > 0


def test_other_rounds_are_run_where_rounds_are_what_is_changed(
    base: Recorded, tmp_path: Path
) -> None:
    document = _ask(base, tmp_path, "rounds=50")
    assert (document["base"]["rounds"], document["other"]["rounds"]) == (ROUNDS, 50)


def test_one_case_may_hold_both_runs(base: Recorded, tmp_path: Path) -> None:
    case = tmp_path / "case"
    shutil.copytree(base.case, case)
    document = whatif(case, base.truth, ("fraction=0",), case, tmp_path / "twin.json")
    other = document["other"]["run"]
    with open_desk(case) as desk:
        assert {run["run"] for run in desk.ask("runs", {})["runs"]} == {base.run, other}
        assert desk.ask("verify", {})["ok"]
    with pytest.raises(ScenarioError, match="already holds the run"):
        whatif(case, base.truth, ("fraction=0",), case, tmp_path / "again.json")


def test_the_truth_of_another_run_is_refused(base: Recorded, tmp_path: Path) -> None:
    document = json.loads(base.truth.read_bytes())
    other = tmp_path / "other.json"
    out = (tmp_path / "case", tmp_path / "truth.json")
    other.write_text(json.dumps({**document, "run": "quickstart-000000000000"}))
    with pytest.raises(
        TruthError, match=rf"'quickstart-000000000000', and the case holds {base.run}"
    ):
        whatif(base.case, other, (), *out)
    louder = {**document["scenario"], "fraction": 0.04}
    other.write_text(json.dumps({**document, "scenario": louder}))
    with pytest.raises(TruthError, match="file was changed"):
        whatif(base.case, other, (), *out)
    other.write_text(json.dumps({**document, "rounds": 60}))
    with pytest.raises(TruthError, match=r"tells of 60 rounds, and .* recorded 40"):
        whatif(base.case, other, (), *out)
    assert not (tmp_path / "case").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "roundlog.trigger/1"}, "schema must be"),
        ({"seed": "1"}, "schema must be"),
        ({"seed": True}, "schema must be"),
        ({"scenario": None}, "schema must be"),
        ({"scenario": {"name": "x"}}, "does not know its scenario"),
    ],
)
def test_what_is_no_truth_is_refused(base: Recorded, change: dict[str, Any], said: str) -> None:
    document = {**json.loads(base.truth.read_bytes()), **change}
    with pytest.raises(TruthError, match=said):
        read_base(document)


def test_the_truth_never_goes_into_a_case_or_over_the_base_s(
    base: Recorded, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match="lies inside the case"):
        whatif(base.case, base.truth, (), tmp_path / "case", base.case / "truth.json")
    with pytest.raises(ScenarioError, match="is the base run's truth"):
        whatif(base.case, base.truth, (), tmp_path / "case", base.truth)
    with pytest.raises(ScenarioError, match=r"override 'mechanisms\.clip=-1'"):
        _ask(base, tmp_path, "mechanisms.clip=-1")


def test_the_command_shows_both_sides(base: Recorded, tmp_path: Path) -> None:
    words = ("whatif", base.case, "--base", base.truth, "--set", "cohort.size=1000")
    done = invoke(*words, "--out", tmp_path / "case", "--truth", tmp_path / "truth.json")
    assert done.exit_code == 0, done.stderr
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert rows["cohort.size"].split()[1:] == ["10000", "1000"]
    assert rows["devices asked"].split()[2:] == ["400,000", "40,000"]
    assert base.run in rows["run"]
    assert "50.0% sustained from model" in rows
    target = ("--out", tmp_path / "two", "--truth", tmp_path / "two.json")
    done = invoke("whatif", base.case, "--base", base.truth, *target, "--json")
    document = json.loads(done.stdout)
    assert set(document) == {"settings", "seed", "base", "other"}
    assert document["base"]["asr"] == document["other"]["asr"]


def test_a_path_is_drawn_from_nothing_to_all() -> None:
    assert bars([0.0, 0.5, 1.0]) == "▁▅█"
    assert bars([0.0] * 50) == "▁" * 25
    assert bars([]) == ""


@pytest.fixture(scope="module")
def lab(base: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that was started with --lab, over a copy of the base run's case."""
    case = tmp_path_factory.mktemp("lab") / "case"
    shutil.copytree(base.case, case)
    with serving(Recorded(case, base.truth, base.run), rounds=ROUNDS, lab=True) as served:
        yield served


def _post(served: Served, base: Recorded, settings: dict[str, Any]) -> httpx.Response:
    truth = json.loads(base.truth.read_bytes())
    return served.http.post("/api/v1/whatif", json={"truth": truth, "settings": settings})


def test_a_server_replays_as_a_job_what_the_command_line_does(
    lab: Served, base: Recorded, tmp_path: Path
) -> None:
    response = _post(lab, base, {"mechanisms.clip": 0.5})
    assert response.status_code == 202, response.text
    place = response.headers["location"]
    told = response.json()
    assert told["params"] == {"truth": base.run, "settings": {"mechanisms.clip": 0.5}}
    assert "malicious" not in lab.http.get("/api/v1/jobs").text
    wait_for(lambda: lab.http.get(place).json()["state"] in ("done", "failed"), "the replay", 60)
    answer = lab.http.get(f"{place}/result").json()
    mine = _ask(base, tmp_path, "mechanisms.clip=0.5")
    assert answer["settings"] == mine["settings"]
    for side in ("base", "other"):
        for key in ("run", "asr", "accuracy", "path", "crossings", "rounds"):
            assert answer[side][key] == mine[side][key], (side, key)
        assert answer[side]["cost"]["bytes_uploaded"] == mine[side]["cost"]["bytes_uploaded"]
    # Nothing of it was kept: the served case holds the base run only.
    assert [run["run"] for run in lab.http.get("/api/v1/runs").json()["runs"]] == [base.run]
    assert {path.name for path in (lab.recorded.case / "segments").iterdir()} == {base.run}


def test_one_replay_runs_at_a_time_and_is_cancelled_at_once(lab: Served, base: Recorded) -> None:
    # A warm-up without end, so that it still runs when it is cancelled.
    place = _post(lab, base, {"model.warm_up": 100_000_000}).headers["location"]
    wait_for(lambda: bool(multiprocessing.active_children()), "the worker", 60)
    refused = problem(_post(lab, base, {"server.lr": 0.2}), 503)
    assert "already" in refused["detail"]
    lab.http.delete(place)
    wait_for(lambda: lab.http.get(place).json()["state"] == "cancelled", "the cancellation")
    wait_for(lambda: not multiprocessing.active_children(), "the worker to end")


def test_questions_are_answered_while_a_replay_runs(lab: Served, base: Recorded) -> None:
    place = _post(lab, base, {"model.warm_up": 100_000_000}).headers["location"]
    answer = lab.http.get(f"/api/v1/runs/{base.run}/drift", headers={"Prefer": "wait=20"})
    assert answer.status_code == 200
    assert lab.http.get(place).json()["state"] in ("waiting", "running")
    lab.http.delete(place)
    wait_for(lambda: lab.http.get(place).json()["state"] == "cancelled", "the cancellation")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"settings": {}}, "truth"),
        ({"truth": {}}, "not a truth file"),
        ({"truth": {}, "fraction": 1}, "fraction"),
        ([], "object of parameters"),
    ],
)
def test_a_wrong_body_is_refused(lab: Served, body: Any, said: str) -> None:
    assert said in problem(lab.http.post("/api/v1/whatif", json=body), 422)["detail"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounds": 50}, "replays no more"),
        ({"mechanisms.clip": -1}, "not allowed"),
        ({"mechanisms.clip": None}, "takes a number"),
        ({"mechanisms.clap": 1}, "is not a field"),
        ({"mechanisms": {"clip": 1}}, "takes a number"),
    ],
)
def test_wrong_settings_are_refused_before_a_job_is_made(
    lab: Served, base: Recorded, settings: dict[str, Any], said: str
) -> None:
    before = len(lab.http.get("/api/v1/jobs").json()["jobs"])
    assert said in problem(_post(lab, base, settings), 422)["detail"]
    assert len(lab.http.get("/api/v1/jobs").json()["jobs"]) == before


def test_a_page_of_another_origin_is_refused(lab: Served, base: Recorded) -> None:
    truth = json.loads(base.truth.read_bytes())
    headers = {"Origin": "https://elsewhere.example"}
    response = lab.http.post("/api/v1/whatif", json={"truth": truth}, headers=headers)
    problem(response, 403)


def test_a_server_for_investigators_replays_nothing(base: Recorded, served: Served) -> None:
    problem(_post(served, base, {}), 404)
    assert "/api/v1/whatif" not in served.http.get("/openapi.json").json()["paths"]


def test_a_lab_server_documents_the_route(lab: Served) -> None:
    route = lab.http.get("/openapi.json").json()["paths"]["/api/v1/whatif"]["post"]
    schema = route["requestBody"]["content"]["application/json"]["schema"]
    assert {"truth", "settings"} <= set(schema["properties"])
    assert "truth" in schema["required"]
