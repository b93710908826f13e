"""Does an evaluation date attacked runs, clear their twins, keep what it knows, and say it all?"""

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from doors import invoke

from api.cli.evaluate import evaluate
from api.lab.cache import code_digest, judge_digest
from api.lab.evaluate import MEASURE, STOP, Evaluation, run_evaluation
from api.lab.evaluate_page import page_text, results_beside
from api.lab.plan import parse_seeds
from api.lab.workers import Task, Workers
from api.parameters import ParameterError
from forensics.evaluation.when_bars import BARS, least_successes
from roundlog.errors import ScenarioError
from simulator.scenario import load

ROOT = Path(__file__).resolve().parents[2]

SMALL = (
    "model.warm_up=300", "population.archetypes=64", "probes.clean=200", "probes.pool=600",
    "probes.decoys=20", "probes.decoy_queries=10", "probes.trigger_queries=40", "audits.items=0",
    "fraction=0.04", "attack.onset=150", "rounds=300",
)  # fmt: skip
SETS = tuple(word for setting in SMALL for word in ("--set", setting))
WORDS = (
    "evaluate",
    "quickstart",
    *SETS,
    "--seeds",
    "1..1",
    "--twin-seeds",
    "1..2",
    "--rounds",
    280,
)

Found = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """One attacked run and two twins by the real command, and the folder that holds all it left."""
    folder = tmp_path_factory.mktemp("evaluated")
    done = invoke(
        *WORDS, "--workers", 1, "--cache", folder / "cache", "--out", folder / "out" / "small",
        "--page", folder / "page.md", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), folder


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be given to a worker."""

    def refuse(self: Workers, task: Task) -> None:
        raise AssertionError(f"seed {task.seed} was run again")

    monkeypatch.setattr(Workers, "_give", refuse)


def _claims(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {claim["key"]: claim for claim in document["claims"]}


def _evaluation(folder: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "seeds": (1,), "twin_seeds": (1, 2), "overrides": SMALL, "rounds": 280,
        "workers": 1, "cache": folder / "cache",
    } | options  # fmt: skip
    return run_evaluation(Evaluation("quickstart", **given))


def test_the_attacked_run_is_dated_and_its_twins_are_not(evaluated: Found) -> None:
    document, _ = evaluated
    attacked, *twins = document["rows"]
    assert [(row["seed"], row["twin"]) for row in document["rows"]] == [
        (1, False), (1, True), (2, True),
    ]  # fmt: skip
    assert attacked["two_pass"]["found"]
    assert attacked["two_pass"]["covered"]
    assert abs(attacked["two_pass"]["error"]) <= 2
    assert attacked["at_ten"]["decoy_rank"] == 1
    assert attacked["watch"]["first"]["delay"] < 20
    assert attacked["watch"]["first"]["before_ten"]
    for twin in twins:
        assert not twin["two_pass"]["found"]
        assert twin["watch"]["false_by_series"]["trigger"] == 0
        assert twin["watch"]["first"] is None
    assert document["errors"] == []


def test_runs_stop_where_they_are_told_and_twins_run_whole(evaluated: Found) -> None:
    document, _ = evaluated
    attacked, *twins = document["rows"]
    assert (attacked["rounds"], attacked["last_model"], attacked["whole"]) == (280, 280, False)
    assert all((twin["rounds"], twin["whole"]) == (300, True) for twin in twins)
    assert all(twin["watch"]["rounds"] == twin["control"]["rounds"] == 300 for twin in twins)
    assert (document["rounds"], document["twin_rounds"]) == (280, 300)


def test_the_claims_count_the_rows(evaluated: Found) -> None:
    document, _ = evaluated
    claims = _claims(document)
    assert (claims["coverage"]["k"], claims["coverage"]["n"]) == (1, 1)
    assert (claims["onset_in_twin"]["k"], claims["onset_in_twin"]["n"]) == (0, 2)
    alarms = sum(row["watch"]["false_alarms"] for row in document["rows"] if row["twin"])
    assert claims["false_alarms"]["value"] == alarms
    assert claims["false_alarms"]["bar"] == "at most 0 in 600 rounds"
    assert claims["false_alarms_trigger"]["holds"]
    assert claims["cpu_twin"]["value"] > 0.5
    assert all({"claim", "bar", "holds", "low", "high"} <= set(claim) for claim in claims.values())


def test_made_onsets_come_from_the_twins_series_and_the_attacked_run_s_shift(
    evaluated: Found,
) -> None:
    document, _ = evaluated
    made = document["replicates"]
    assert document["no_replicates"] is None
    assert made["n"] == 2_000
    # At so large a shift every round is a place of its own.
    assert made["independent"] == 600
    assert made["covered"] >= least_successes(600) / 600 * 2_000
    assert made["left_out"] == 0
    assert _claims(document)["replicates_coverage"]["k"] == made["covered"]
    assert all("recorded" not in (row["series"] or {}) for row in document["rows"])


def test_settings_of_one_s_own_have_no_bars_for_errors(evaluated: Found) -> None:
    document, _ = evaluated
    claims = _claims(document)
    assert document["world"] is None
    assert document["bars"] == ""
    assert claims["error_largest"]["holds"] is None
    assert "error_within" not in claims
    assert claims["replicates_error"]["holds"] is True, "the law holds everywhere"


def test_the_document_names_what_made_it(evaluated: Found) -> None:
    document, _ = evaluated
    assert document["code"] == code_digest(MEASURE)
    assert document["judges"] == judge_digest()
    assert set(document["versions"]) == {"python", "numpy", "torch"}
    assert document["scenario"]["digest"] == load("quickstart", SMALL).digest()
    assert document["command"].startswith(
        "roundlog evaluate quickstart --seeds 1..1 --twin-seeds 1..2 --set model.warm_up=300 "
    )
    assert document["command"].endswith(" --rounds 280")
    steps = {"simulate", "ingest", "onset", "at_ten", "watch", "control", "series"}
    for row in document["rows"]:
        assert set(row["seconds"]) == steps
        assert row["seconds"]["simulate"] > 0


def test_the_files_hold_the_rows_the_alarms_and_the_claims(evaluated: Found) -> None:
    document, folder = evaluated
    out = folder / "out" / "small"
    assert set(document["files"]) == {"parquet", "csv", "json", "page"}
    table = pl.read_parquet(out / "evaluation.parquet")
    written = pl.read_csv(out / "evaluation.csv")
    assert table.height == written.height == 3
    assert table["two_pass_covered"].to_list() == [True, None, None]
    assert table["onset"].to_list() == [150, None, None]
    assert table["published_rank"].to_list()[0] is None
    assert table["published_decoys"].to_list()[1:] == [20, 20]
    for index, row in enumerate(document["rows"]):
        assert table["run"][index] == written["run"][index] == row["run"]
        assert table["cpu_seconds"][index] == pytest.approx(sum(row["seconds"].values()), abs=0.01)
        alarms = row["watch"]["alarms"]
        assert table["watch_alarm_round"][index].to_list() == [one["round"] for one in alarms]
        counts = Counter(table["watch_alarm_series"][index].to_list())
        if row["twin"]:
            assert counts["norm"] == table["false_norm"][index]
    kept = json.loads((out / "evaluation.json").read_bytes())
    assert kept["claims"] == document["claims"]
    assert kept["command"] == document["command"]
    assert "rows" not in kept
    assert str(folder) not in (out / "evaluation.json").read_text()


def test_the_same_command_goes_on_and_runs_nothing_twice(
    evaluated: Found, unstarted: None, tmp_path: Path
) -> None:
    document, folder = evaluated
    out = ("--cache", folder / "cache", "--out", tmp_path / "out")
    again = json.loads(invoke(*WORDS, *out, "--json").stdout)
    same = ("rows", "claims", "replicates", "code", "command")
    assert [again[key] for key in same] == [document[key] for key in same]
    part = _evaluation(folder, twin_seeds=(2,))
    assert [row["run"] for row in part["rows"]] == [
        document["rows"][0]["run"],
        document["rows"][2]["run"],
    ]
    assert "seed 2 was run again" in invoke(*WORDS, *out, "--seeds", "1,2").output
    with pytest.raises(AssertionError, match="seed 1 was run again"):
        _evaluation(folder, rounds=290)


def test_twins_have_the_attacked_seeds_where_nobody_says_otherwise(
    evaluated: Found, unstarted: None
) -> None:
    _, folder = evaluated
    document = _evaluation(folder, twin_seeds=None)
    assert document["seeds"] == document["twin_seeds"] == [1]
    assert [row["twin"] for row in document["rows"]] == [False, True]
    assert _claims(document)["rank_even"]["bar"] == "10 twins needed"


def test_without_twins_there_are_no_made_onsets_and_it_says_why(
    evaluated: Found, unstarted: None
) -> None:
    _, folder = evaluated
    document = _evaluation(folder, twin_seeds=())
    assert document["replicates"] is None
    assert "0 series" in document["no_replicates"]
    assert "no made onsets" not in json.dumps(document["claims"])
    text = page_text([{**document, "command": "roundlog evaluate"}])
    assert "There are no made onsets: no replicate can be made of 0 series" in " ".join(
        text.split()
    )


def test_people_see_every_claim_with_its_bar(evaluated: Found, tmp_path: Path) -> None:
    document, folder = evaluated
    done = invoke(*WORDS, "--cache", folder / "cache", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    for claim in document["claims"]:
        assert claim["claim"] in done.stdout
        assert claim["bar"] in done.stdout
    assert "1 of 1" in done.stdout
    assert str(tmp_path / "out" / "evaluation.parquet") in done.stdout


def test_a_run_that_fails_is_reported_and_counts_for_nothing(tmp_path: Path) -> None:
    # At this server rate a model overflows, and the recorder refuses numbers that are not finite.
    done = invoke(
        "evaluate", "quickstart", *SETS, "--set", "server.lr=1e38", "--seeds", "1..1",
        "--workers", 1, "--cache", tmp_path / "cache", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["rows"] == []
    assert document["claims"] == []
    assert [(one["twin"], one["seed"]) for one in document["errors"]] == [(False, 1), (True, 1)]
    assert "failed: attacked, seed 1:" in done.stderr
    assert (tmp_path / "out" / "evaluation.csv").read_text().strip() == ""
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_what_cannot_be_evaluated_costs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="nobody attacks: fraction 0, onset 150"):
        _evaluation(tmp_path, overrides=[*SMALL, "fraction=0"])
    with pytest.raises(ParameterError, match="onset 150, and 150 rounds; there is no onset"):
        _evaluation(tmp_path, rounds=150)
    with pytest.raises(ParameterError, match=r"--rounds 301 is not allowed: quickstart has 300"):
        _evaluation(tmp_path, rounds=301)
    with pytest.raises(ScenarioError, match=r"mechanisms\.clap is not a field"):
        _evaluation(tmp_path, overrides=["mechanisms.clap=1"])
    assert invoke("evaluate", "quickstart", "--out", tmp_path).exit_code == 2
    refused = invoke("evaluate", "quickstart", "--seeds", "5..3", "--out", tmp_path)
    assert "neither a number of seeds" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_attacked_runs_of_the_reference_stop_after_their_use_and_before_their_end() -> None:
    for name, stop in STOP.items():
        scenario = load(name)
        assert scenario.attack.onset < stop < scenario.rounds


def test_the_page_tells_every_evaluation_beside_it(evaluated: Found, tmp_path: Path) -> None:
    document, folder = evaluated
    page = (folder / "page.md").read_text()
    assert page.startswith("# How well it dates\n")
    assert page.count("\n## quickstart\n") == 1
    assert document["command"] in page
    assert document["code"][:16] in page
    assert "Attacked: seeds 1, 280 rounds each. They stop there, of 300" in page
    for claim in document["claims"]:
        assert f"| {claim['claim']} |" in page
    assert max(len(line) for line in page.splitlines() if line and line[0] not in "|r") <= 100
    shutil.copytree(folder / "out" / "small", tmp_path / "b")
    shutil.copytree(folder / "out" / "small", tmp_path / "a")
    assert page_text(results_beside(tmp_path / "a")).count("\n## quickstart\n") == 2


def test_the_make_target_asks_for_three_worlds_with_their_twins() -> None:
    def dry(*words: str) -> str:
        done = subprocess.run(
            ["make", "--dry-run", "--no-print-directory", "evaluate", *words],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.replace("\\\n", " ")

    lines = [line.split() for line in dry("SEEDS=201..220").splitlines() if " evaluate " in line]
    asked = {}
    for words in lines:
        if not words[0].endswith("roundlog"):
            continue
        with evaluate.make_context("evaluate", words[2:]) as context:
            asked[context.params["scenario"]] = context.params
    assert set(asked) == set(BARS), "every world that has bars is evaluated"
    twins = {name: parse_seeds(one["twin_seeds"]) for name, one in asked.items()}
    assert {name: len(seeds) for name, seeds in twins.items()} == {
        "quickstart": 50, "digits": 10, "mobileai7": 10,
    }  # fmt: skip
    assert all(seeds[0] == 201 for seeds in twins.values())
    assert all(parse_seeds(one["seeds"]) == tuple(range(201, 221)) for one in asked.values())
    assert len({one["out"] for one in asked.values()}) == 3
    pages = [one["page"] for one in asked.values() if one["page"] is not None]
    assert pages == [Path("docs/explanation/how-well-it-dates.md")]
    assert {one["out"].parent for one in asked.values()} == {pages[0].with_suffix("")}


def test_the_make_target_does_nothing_without_seeds() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "evaluate", "-o", "setup"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "SEEDS": "five"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "say which seeds: make evaluate SEEDS=101..120" in done.stdout
    assert "roundlog evaluate" not in done.stdout.replace("make evaluate", "")
