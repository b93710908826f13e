"""Does the command line answer every question, as a table and as one document?"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from doors import ROUNDS, Recorded, invoke


def _json(*args: object) -> dict[str, Any]:
    result = invoke(args[0], "--json", *args[1:])
    assert result.exit_code == 0, result.output + result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_commands_ingest_what_is_missing_by_themselves(recorded: Recorded) -> None:
    assert not (recorded.case / "roundlog.duckdb").exists()
    found = _json("runs", recorded.case)["runs"]
    assert [(run["run"], run["rounds"], run["models"]) for run in found] == [
        (recorded.run, ROUNDS, ROUNDS + 1)
    ]
    assert found[0]["mechanism"]["name"] == "central_gaussian"


def test_runs_is_a_table_with_units_for_people(shared: Recorded) -> None:
    shown = invoke("runs", shared.case).stdout
    head, row = shown.splitlines()
    assert head.split() == [
        "run",
        "rounds",
        "models",
        "days",
        "parameters",
        "architecture",
        "findings",
        "refused",
    ]
    assert "0..300" in row
    assert "3,728" in row
    assert "h" in row


def test_the_log_is_newest_first_and_can_be_narrowed(shared: Recorded) -> None:
    events = _json("log", shared.case, "-n", "3")["events"]
    assert [event["round"] for event in events] == [299, 298, 297]
    audits = _json("log", shared.case, "--type", "audit.sampled", "--rounds", "100..100")
    assert len(audits["events"]) == 3
    assert {event["type"] for event in audits["events"]} == {"fl.audit.sampled.v1"}
    assert "event" in invoke("log", shared.case).stdout


def test_the_log_streams_every_event_once_as_lines(shared: Recorded) -> None:
    lines = [json.loads(line) for line in invoke("log", shared.case, "--jsonl").stdout.splitlines()]
    total = _json("log", shared.case)["total"]
    assert len({line["id"] for line in lines}) == len(lines) == total
    few = invoke("log", shared.case, "--jsonl", "-n", "7").stdout.splitlines()
    assert [json.loads(line) for line in few] == lines[:7]


def test_runs_can_be_streamed(shared: Recorded) -> None:
    lines = invoke("runs", shared.case, "--jsonl").stdout.splitlines()
    assert [json.loads(line)["run"] for line in lines] == [shared.run]


def test_show_gives_an_event_by_round_or_by_id(shared: Recorded) -> None:
    by_round = _json("show", shared.case, "head~9")
    assert by_round["event"]["round"] == ROUNDS - 10
    by_id = _json("show", shared.case, by_round["event"]["id"])
    assert by_id == by_round
    assert "cohort_size" in invoke("show", shared.case, "12").stdout


def test_show_gives_the_words_of_an_audited_answer(shared: Recorded) -> None:
    audit = _json("log", shared.case, "--type", "audit.sampled", "-n", "1")["events"][0]
    shown = _json("show", shared.case, audit["id"])
    assert shown["text"]["prompt"]
    table = invoke("show", shared.case, audit["id"]).stdout
    assert "answered" in table


def test_drift_begins_at_nothing_and_splits_into_tensors(shared: Recorded) -> None:
    rows = _json("drift", shared.case, "--every", "100", "--toward", "head")["rows"]
    assert [row["round"] for row in rows] == [0, 100, 200, 300]
    assert rows[0]["drift"] == 0
    assert rows[3]["drift"] == pytest.approx(rows[3]["along"])
    squares = sum(value**2 for value in rows[3]["tensors"].values())
    assert rows[3]["drift"] ** 2 == pytest.approx(squares)
    assert "embedding" in invoke("drift", shared.case).stdout


def test_diff_compares_two_models_and_can_fail_on_a_difference(shared: Recorded) -> None:
    assert _json("diff", shared.case, "7", "7")["identical"]
    document = _json("diff", shared.case, "0", "head")
    assert document["b"]["round"] == ROUNDS
    assert document["norm"] > 0
    assert invoke("diff", shared.case, "0", "--fail-on", "differ").exit_code == 3
    assert invoke("diff", shared.case, "7", "7", "--fail-on", "differ").exit_code == 0
    assert "largest changes" in invoke("diff", shared.case, "0").stdout


def test_rebuild_writes_the_recorded_model(shared: Recorded, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    out = tmp_path / "deep" / "model.safetensors"
    document = _json("rebuild", shared.case, "--round", "123", "--out", out)
    assert set(document) >= {"round", "digest", "matches"}
    assert (document["round"], document["matches"]) == (123, True)
    assert sum(array.size for array in load_file(out).values()) == 3_728
    post = _json("show", shared.case, "122")["event"]["post_digest"]
    assert document["digest"] == post


def test_probe_gives_the_rate_with_its_interval(shared: Recorded) -> None:
    document = _json("probe", shared.case, "--trigger", shared.truth, "--round", "head")
    assert set(document) >= {"round", "asr", "low", "high", "hits", "n", "probe_digest"}
    assert document["asr"] == document["hits"] / document["n"]
    assert document["low"] <= document["asr"] <= document["high"]
    assert "95 %" in invoke("probe", shared.case, "--trigger", shared.truth).stdout
    args = ("probe", shared.case, "--trigger", shared.truth, "--fail-on")
    assert invoke(*args, "0.0").exit_code == 3
    assert invoke(*args, "1.0").exit_code == 0


def test_crossings_have_the_promised_shape_in_both_modes(shared: Recorded) -> None:
    keys = {"level", "mode", "round", "low", "high", "rebuilds", "exact", "status", "s", "floor"}
    exact = _json(
        "crossings", shared.case, "--trigger", shared.truth, "--levels", "0.2,0.99", "--exact"
    )["crossings"]
    assert all(set(row) >= keys for row in exact)
    assert [row["mode"] for row in exact[:4]] == ["first", "sustained", "last", "isotonic"]
    assert {row["level"] for row in exact} == {0.2, 0.99}
    for row in exact:
        assert row["low"] == row["high"] == row["round"]
        assert set(row["interval"]) == {"low", "high", "coverage"}
        assert row["interval"]["coverage"] == 0.95
        assert row["status"] in ("crossed", "never", "at_start", "below_floor")
    search = _json(
        "crossings", shared.case, "--trigger", shared.truth, "--levels", "0.2", "--search"
    )["crossings"]
    assert [row["mode"] for row in search] == ["any", "sustained", "isotonic"]
    assert all(row["rebuilds"] <= 40 for row in search)
    table = invoke("crossings", shared.case, "--trigger", shared.truth).stdout
    assert "decoys reach" in table
    assert "95 % interval   where all such queries may put it: these are a sample" in table


def test_crossings_can_fail_on_a_level(shared: Recorded) -> None:
    args = ("crossings", shared.case, "--trigger", shared.truth, "--levels", "0.2,1.0")
    assert invoke(*args, "--fail-on", "0.2").exit_code == 3
    assert invoke(*args, "--fail-on", "1.0").exit_code == 0


def test_bisect_keeps_a_log_that_replays_to_the_same_answers(
    shared: Recorded, tmp_path: Path
) -> None:
    steps = tmp_path / "steps.txt"
    args = ("bisect", shared.case, "--trigger", shared.truth, "--level", "0.2")
    found = _json(*args, "--log", steps)
    assert found["high"] - found["low"] == 1
    assert found["rebuilds"] <= 40
    again = _json(*args, "--replay", steps)
    assert again["same"]
    lies = steps.read_text().replace("good 0 ", "bad 0 ")
    steps.write_text(lies)
    assert invoke(*args, "--replay", steps).exit_code == 3


def test_bisect_runs_any_check_on_any_model(shared: Recorded, tmp_path: Path) -> None:
    half = _json("drift", shared.case, "--every", "300")["rows"][-1]["drift"] / 2
    _json("rebuild", shared.case, "--round", "0", "--out", tmp_path / "start.safetensors")
    check = tmp_path / "check"
    check.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "from safetensors.numpy import load_file\n"
        f"a, b = load_file({str(tmp_path / 'start.safetensors')!r}), load_file(sys.argv[1])\n"
        "moved = sum(((a[k].astype(float) - b[k]) ** 2).sum() for k in a) ** 0.5\n"
        f"sys.exit(int(moved > {half!r}))\n"
    )
    check.chmod(0o755)
    found = _json("bisect", shared.case, "--", check, "{model}")
    moved = {
        row["round"]: row["drift"] for row in _json("drift", shared.case, "--every", "1")["rows"]
    }
    assert moved[found["low"]] <= half < moved[found["high"]]
    assert found["high"] - found["low"] == 1


def test_bisect_wants_a_trigger_or_a_command(shared: Recorded) -> None:
    refused = invoke("bisect", shared.case)
    assert refused.exit_code == 2
    assert "one of the two" in refused.stderr


def test_timeline_and_verify_answer(shared: Recorded) -> None:
    kinds = {entry["kind"] for entry in _json("timeline", shared.case)["entries"]}
    assert {"opened", "model", "last_round"} <= kinds
    verdict = _json("verify", shared.case)
    assert set(verdict) >= {"ok", "rounds", "findings"}
    assert (verdict["ok"], verdict["rounds"], verdict["findings"]) == (True, ROUNDS, [])
    assert invoke("verify", shared.case).stdout.startswith("ok: 300 rounds")
    assert "last_round" in invoke("timeline", shared.case).stdout


def test_ingest_says_what_it_did_and_does_nothing_twice(recorded: Recorded) -> None:
    first = _json("ingest", recorded.case)
    assert first["rounds"] == ROUNDS
    assert first["in_case"] == {"findings": 0, "quarantined": 0}
    assert _json("ingest", recorded.case, "--until-end")["events"] == 0
    assert invoke("ingest", recorded.case, "--fail-on", "finding").exit_code == 0
    assert "ingested 0 events" in invoke("ingest", recorded.case).stdout


def test_a_named_trigger_is_found_in_the_case(recorded: Recorded) -> None:
    trigger = json.loads(recorded.truth.read_bytes())["trigger"]
    (recorded.case / "triggers").mkdir()
    (recorded.case / "triggers" / "suspect.json").write_text(json.dumps(trigger))
    named = _json("probe", recorded.case, "--trigger", "suspect")
    by_file = _json("probe", recorded.case, "--trigger", recorded.truth)
    assert named == by_file
