"""Can what devices run be asked through every door, with one answer?"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import ROUNDS, Recorded, Served, invoke, problem, serving
from safetensors.numpy import load_file
from two_forms import SCHEMA, record_two_forms

import roundlog
from roundlog.artefact import int4_per_channel

APPEARS = 150
BROADCAST = {"artefact": "broadcast"}


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A case whose backdoor lives in what devices run, and nowhere else."""
    folder = tmp_path_factory.mktemp("hidden")
    run = record_two_forms(folder / "case", "broadcast", rounds=ROUNDS, appears=APPEARS)
    trigger = folder / "trigger.json"
    trigger.write_text(json.dumps(run.document))
    return Recorded(run.path, trigger, run.run)


@pytest.fixture(scope="module")
def served_hidden(hidden: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    case = tmp_path_factory.mktemp("served") / "case"
    shutil.copytree(hidden.case, case)
    with serving(Recorded(case, hidden.truth, hidden.run)) as found:
        yield found


def _json(*args: object) -> dict[str, Any]:
    result = invoke(args[0], "--json", *args[1:])
    assert result.exit_code == 0, result.output + result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


QUESTIONS: dict[str, dict[str, Any]] = {
    "probe": {"round": "200"},
    "crossings": {"levels": "0.5", "mode": "exact"},
    "bisect": {"level": 0.5},
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("artefact", ["master", "broadcast"])
def test_three_doors_give_one_answer_for_either_form(
    hidden: Recorded, served_hidden: Served, name: str, artefact: str
) -> None:
    asked = QUESTIONS[name] | {"artefact": artefact}
    trigger = json.loads(hidden.truth.read_bytes())
    with roundlog.open(hidden.case) as source:
        here = source.ask(name, trigger=hidden.truth, **asked)
    over_http = served_hidden.http.post(
        f"/api/v1/runs/{hidden.run}/{name}", json={"trigger": trigger, **asked}
    )
    more: dict[str, list[object]] = {
        "probe": ["--round", 200],
        "crossings": ["--levels", "0.5", "--exact"],
        "bisect": [],
    }
    options = ["--artefact", artefact, *more[name]]
    typed = _json(name, hidden.case, "--trigger", hidden.truth, *options)
    assert over_http.status_code == 200, over_http.text
    assert here == over_http.json() == typed
    assert here["artefact"] == artefact
    obeys = {
        "probe": lambda: here["asr"] == 1,
        "crossings": lambda: here["crossings"][0]["round"] == APPEARS,
        "bisect": lambda: here["high"] == APPEARS,
    }
    assert obeys[name]() is (artefact == "broadcast")


def test_the_python_methods_take_the_form_too(hidden: Recorded) -> None:
    with roundlog.open(hidden.case) as source:
        rates = [source.probe(hidden.truth, **form)["asr"] for form in ({}, BROADCAST)]
        found = [source.bisect(hidden.truth, **form)["status"] for form in ({}, BROADCAST)]
        frame = source.crossings(hidden.truth, levels=[0.5], artefact="broadcast")
    assert rates == [0.0, 1.0]
    assert found == ["never", "crossed"]
    assert frame["round"].to_list()[0] == APPEARS


def test_rebuild_writes_what_devices_run_and_compares_its_digest(
    hidden: Recorded, served_hidden: Served, tmp_path: Path
) -> None:
    args = ("rebuild", hidden.case, "--round", "180", "--artefact", "broadcast")
    typed = _json(*args, "--out", tmp_path / "typed")
    named = _json("show", hidden.case, "179")["event"]["broadcast_digest"]
    assert (typed["digest"], typed["recorded"], typed["matches"]) == (named, named, True)
    with roundlog.open(served_hidden.url) as source:
        assert source.rebuild(180, artefact="broadcast", out=tmp_path / "fetched") == typed
        source.rebuild(180, out=tmp_path / "master")
    assert (tmp_path / "typed").read_bytes() == (tmp_path / "fetched").read_bytes()
    master = SCHEMA.flatten(load_file(tmp_path / "master"))
    deployed = SCHEMA.flatten(load_file(tmp_path / "typed"))
    np.testing.assert_array_equal(deployed, int4_per_channel(master, SCHEMA))
    assert (deployed != master).any()
    assert "which devices run" in invoke(*args).stdout


def test_what_devices_ran_before_round_0_is_written_and_said_to_be_unrecorded(
    hidden: Recorded, tmp_path: Path
) -> None:
    args = ("rebuild", hidden.case, "--round", "0", "--artefact", "broadcast")
    assert _json(*args, "--out", tmp_path / "first")["matches"] is None
    assert (tmp_path / "first").exists()
    assert "none is recorded for this one" in invoke(*args).stdout


def test_a_wrong_digest_for_devices_leaves_through_no_door(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master", rounds=ROUNDS, wrong=9)
    args = (
        "rebuild",
        run.path,
        "--round",
        "10",
        "--artefact",
        "broadcast",
        "--out",
        tmp_path / "m",
    )
    refused = invoke(*args)
    assert refused.exit_code == 4
    assert "what devices run in place of model 10 was made as" in refused.stderr
    with serving(Recorded(run.path, run.path, run.run)) as served:
        path = f"/api/v1/runs/{run.run}/models/10"
        accept = {"Accept": "application/vnd.safetensors"}
        body = served.http.get(path, params=BROADCAST, headers=accept)
        assert problem(body, 409)["type"].endswith("broadcast-mismatch")
        assert served.http.get(path, headers=accept).status_code == 200
        assert served.http.get(path, params=BROADCAST).json()["matches"] is False
        # The command asks the server that holds the case, and says the same.
        assert invoke(*args).exit_code == 4
    assert not (tmp_path / "m").exists()
    verified = invoke("verify", run.path)
    assert verified.exit_code == 4
    assert "broadcast_digest" in verified.stdout


def test_tables_name_the_form_where_it_is_not_the_master_weights(hidden: Recorded) -> None:
    for name in ("probe", "crossings", "bisect"):
        args = (name, hidden.case, "--trigger", hidden.truth)
        said = "what devices run in place of the master weights"
        assert said in invoke(*args, "--artefact", "broadcast").stdout
        assert said not in invoke(*args).stdout


def test_runs_name_the_form_where_it_is_not_the_master_weights(
    hidden: Recorded, shared: Recorded
) -> None:
    head, row = invoke("runs", hidden.case).stdout.splitlines()
    assert "devices run" in head
    assert "int4" in row.split()
    assert _json("runs", hidden.case)["runs"][0]["broadcast"] == "int4"
    assert "devices run" not in invoke("runs", shared.case).stdout
    assert _json("runs", shared.case)["runs"][0]["broadcast"] == "float32"


def test_asking_for_devices_where_they_run_the_master_weights_says_so(shared: Recorded) -> None:
    args = ("probe", shared.case, "--trigger", shared.truth)
    asked = invoke(*args, "--artefact", "broadcast")
    assert "devices run the master weights of this run" in asked.stderr
    assert asked.stdout == invoke(*args).stdout


def test_a_form_we_cannot_make_is_refused_and_named_by_verify(tmp_path: Path) -> None:
    run = record_two_forms(tmp_path / "case", "master", form="fp4-ours", rounds=5, appears=2)
    refused = invoke("rebuild", run.path, "--round", "1", "--artefact", "broadcast")
    assert refused.exit_code == 1
    assert "'fp4-ours'" in refused.stderr
    verified = invoke("verify", run.path)
    assert verified.exit_code == 0
    assert "not looked at: run 'forms' ships its models as 'fp4-ours'" in verified.stdout


def test_another_word_for_a_form_is_a_usage_error(hidden: Recorded, served_hidden: Served) -> None:
    assert invoke("rebuild", hidden.case, "--round", "1", "--artefact", "both").exit_code == 2
    path = f"/api/v1/runs/{hidden.run}/models/1"
    refused = problem(served_hidden.http.get(path, params={"artefact": "both"}), 422)
    assert "artefact" in refused["detail"]
