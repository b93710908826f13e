"""Is every failure one sentence, with the promised exit code, and never a traceback?"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from doors import Recorded, invoke

import api.cli.output
import api.desk

ROUNDLOG = Path(sys.executable).with_name("roundlog")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("runs", "{tmp}/nowhere"), 1, "is not a case"),
        (("show", "{case}", "9999"), 1, "there is no round 9999: the run has rounds 0 to 299"),
        (("rebuild", "{case}", "--round", "banana"), 1, "'banana' names no model"),
        (("runs", "{case}", "--run", "other"), 1, "there is no run 'other'"),
        (("probe", "{case}", "--trigger", "nobody"), 1, "no trigger named 'nobody'"),
        (("probe", "{case}", "--trigger", "{case}/case.json"), 1, "is not a trigger file"),
        (("crossings", "{case}", "--trigger", "{truth}", "--levels", "2"), 2, "levels"),
        (("log", "{case}", "--rounds", "9..3"), 1, "ends before it begins"),
        (("scenario", "check", "{tmp}/none.toml"), 2, "neither a shipped scenario"),
        (
            (
                "simulate",
                "quickstart",
                "--seed=1",
                "--set=server.lr=x",
                "--to=x",
                "--truth={tmp}/t",
            ),
            2,
            "server.lr",
        ),
        (("ingest", "{tmp}/nowhere"), 1, "is not a case"),
        (("ingest", "{case}", "--from", "kafka://nobody"), 2, "is not HOST:PORT"),
        (("demo", "--out", "{case}"), 2, "holds something already"),
    ],
)
def test_a_failure_is_one_sentence_with_its_exit_code(
    shared: Recorded, tmp_path: Path, command: tuple[str, ...], code: int, said: str
) -> None:
    names = {"tmp": tmp_path, "case": shared.case, "truth": shared.truth}
    args = [part.format(**names) for part in command]
    failed = invoke(*args)
    assert (failed.exit_code, failed.stdout) == (code, ""), failed.stderr
    assert failed.stderr.startswith("error: ")
    assert said in failed.stderr
    as_json = invoke(*args, "--json")
    assert (as_json.exit_code, as_json.stdout) == (code, "")
    error = json.loads(as_json.stderr)["error"]
    assert set(error) == {"type", "message", "hint", "exit_code"}
    assert error["exit_code"] == code
    assert said in error["message"]


def test_a_usage_error_is_json_too_where_json_was_asked_for(shared: Recorded) -> None:
    failed = invoke("drift", shared.case, "--every", "nine", "--json")
    assert failed.exit_code == 2
    assert "nine" in json.loads(failed.stderr)["error"]["message"]
    plain = invoke("drift", shared.case, "--every", "nine")
    assert plain.exit_code == 2
    assert "Usage:" in plain.stderr


def test_simulate_wants_one_target(tmp_path: Path) -> None:
    args = ("simulate", "quickstart", "--seed", "1", "--truth", tmp_path / "t.json")
    for more in ((), ("--out", tmp_path / "c", "--to", "kafka://127.0.0.1:9/x")):
        refused = invoke(*args, *more)
        assert refused.exit_code == 2
        assert "either --out CASE or --to kafka://" in refused.stderr


def test_a_flipped_bit_makes_verify_exit_4_and_names_file_and_round(recorded: Recorded) -> None:
    (vec,) = (recorded.case / "segments" / recorded.run / "server").glob("*.vec")
    data = bytearray(vec.read_bytes())
    data[len(data) // 2] ^= 1
    vec.write_bytes(data)
    failed = invoke("verify", recorded.case, "--json")
    assert failed.exit_code == 4
    verdict = json.loads(failed.stdout)
    assert not verdict["ok"]
    named = [one for one in verdict["findings"] if one["file"] and one["file"].endswith(vec.name)]
    assert named
    assert 100 < named[0]["round"] < 200
    table = invoke("verify", recorded.case)
    assert table.exit_code == 4
    assert table.stdout.startswith("NOT ok")
    assert vec.name in table.stdout


def test_a_model_that_is_not_the_recorded_one_leaves_through_no_door(recorded: Recorded) -> None:
    assert invoke("ingest", recorded.case).exit_code == 0
    (vec,) = (recorded.case / "segments" / recorded.run / "server").glob("*.vec")
    data = bytearray(vec.read_bytes())
    data[5 * 3_728 * 4 + 3] ^= 1
    vec.write_bytes(data)
    out = recorded.case.parent / "model.safetensors"
    failed = invoke("rebuild", recorded.case, "--round", "9", "--out", out)
    assert failed.exit_code == 4
    assert not out.exists()
    assert invoke("rebuild", recorded.case, "--round", "3", "--out", out).exit_code == 0


def test_several_runs_want_a_name_and_one_does_not(recorded: Recorded, tmp_path: Path) -> None:
    shutil.copytree(recorded.case / "segments" / recorded.run, tmp_path / "kept")
    args = ("simulate", "quickstart", "--seed", "9", "--rounds", "10", "--out", recorded.case)
    made = invoke(*args, "--set", "model.warm_up=0", "--truth", tmp_path / "t.json", "--json")
    other = json.loads(made.stdout)["run"]
    refused = invoke("drift", recorded.case)
    assert refused.exit_code == 1
    assert "name one with --run" in refused.stderr
    assert other in refused.stderr
    named = json.loads(invoke("drift", recorded.case, "--run", other, "--json").stdout)
    assert named["rows"][-1]["round"] == 10


def test_an_error_of_ours_is_one_sentence_unless_debugging(
    shared: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("one over none")

    monkeypatch.setattr(api.desk.LocalDesk, "ask", broken)
    failed = invoke("runs", shared.case)
    assert failed.exit_code == 1
    assert "an error of ours: ZeroDivisionError" in failed.stderr
    assert "ROUNDLOG_DEBUG=1" in failed.stderr
    monkeypatch.setenv("ROUNDLOG_DEBUG", "1")
    assert isinstance(invoke("runs", shared.case).exception, ZeroDivisionError)


def test_a_missing_extra_is_named_with_how_to_get_it(
    shared: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(api.desk.LocalDesk, "ask", missing)
    failed = invoke("runs", shared.case)
    assert "torch is not installed" in failed.stderr
    assert "roundlog[sim]" in failed.stderr


def test_ctrl_c_exits_130_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    case, truth = tmp_path / "case", tmp_path / "truth.json"
    command = [ROUNDLOG, "simulate", "quickstart", "--seed", "1", "--set", "model.warm_up=0"]
    running = subprocess.Popen(
        [*map(str, command), "--out", str(case), "--truth", str(truth)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(case.glob("segments/*/*/*.heads")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert truth.exists()
    assert invoke("verify", case).exit_code == 0


def test_a_reader_that_has_enough_is_no_error(shared: Recorded) -> None:
    piped = subprocess.run(
        f"{ROUNDLOG} log {shared.case} --jsonl | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert len(piped.stdout.splitlines()) == 1
    assert piped.stderr == ""


def test_no_colour_leaves_a_program_and_tables_are_aligned() -> None:
    text = api.cli.output.table([("a", 1, 0.5), ("bb", 22_000, None)], ("name", "n", "share"))
    assert text.splitlines()[1:] == ["a          1    0.5", "bb    22,000      –"]
    environment = {**os.environ, "NO_COLOR": "1"}
    shown = subprocess.run(
        [ROUNDLOG, "scenario"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert "\x1b" not in shown.stdout


def test_text_of_a_model_cannot_drive_the_terminal() -> None:
    text = click.unstyle(api.cli.output.table([("\x1b[2Jgone\u202e\nnext",)], ("said",)))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text.splitlines()) == 2


def test_text_in_an_error_cannot_drive_the_terminal(shared: Recorded) -> None:
    failed = invoke("runs", shared.case, "--run", "\x1b[2Jgone")
    assert failed.exit_code == 1
    assert "\x1b" not in failed.stderr
