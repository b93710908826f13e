"""Does `roundlog serve` own its case, serve it, and leave in good order?"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from doors import ROUNDS, Process, Recorded, invoke, wait_for

from api.desk import open_desk
from roundlog.case import Case
from roundlog.recorder import Recorder


@pytest.fixture
def process(recorded: Recorded) -> Iterator[Process]:
    found = Process(recorded.case)
    yield found
    if found.popen.poll() is None:
        found.stop(signal.SIGKILL)


def _rounds(url: str) -> int:
    runs = httpx.get(f"{url}/api/v1/runs", trust_env=False).json()["runs"]
    return int(runs[0]["rounds"]) if runs else 0


def test_it_ends_with_zero_within_five_seconds_and_lets_the_case_go(
    process: Process, recorded: Recorded
) -> None:
    wait_for(lambda: _rounds(process.url) == ROUNDS, "ingest")
    code, seconds, said = process.stop()
    assert (code, "Traceback" in said) == (0, False), said
    assert seconds < 5
    assert Case(recorded.case).current_owner() is None
    assert invoke("verify", recorded.case).exit_code == 0


def test_a_stop_does_not_wait_for_a_long_answer_or_an_open_stream(
    process: Process, recorded: Recorded
) -> None:
    wait_for(lambda: _rounds(process.url) == ROUNDS, "ingest")
    trigger = json.loads(recorded.truth.read_bytes())["trigger"]
    body = {"question": "crossings", "params": {"trigger": trigger, "fresh": True}}
    with httpx.Client(base_url=process.url, trust_env=False) as client:
        place = client.post("/api/v1/jobs", json=body).headers["location"]
        with client.stream("GET", f"{place}/events") as stream:
            next(stream.iter_text())
            code, seconds, _ = process.stop()
    assert code == 0
    assert seconds < 5


def test_ctrl_c_ends_it_as_sigterm_does(process: Process) -> None:
    code, seconds, said = process.stop(signal.SIGINT)
    assert code == 0
    assert seconds < 5
    assert "draining" in said


def test_other_commands_ask_the_server_and_say_so(process: Process, recorded: Recorded) -> None:
    wait_for(lambda: _rounds(process.url) == ROUNDS, "ingest")
    result = invoke("runs", recorded.case, "--json")
    assert result.exit_code == 0
    assert f"held by a server; asking {process.url}" in result.stderr
    by_url = invoke("runs", process.url, "--json")
    assert by_url.stdout == result.stdout
    probed = invoke("probe", recorded.case, "--trigger", recorded.truth, "--json")
    assert json.loads(probed.stdout)["n"] > 0
    assert invoke("verify", recorded.case).exit_code == 0
    out = recorded.case.parent / "model.safetensors"
    rebuilt = invoke("rebuild", recorded.case, "--round", "9", "--out", out, "--json")
    assert json.loads(rebuilt.stdout)["matches"]
    assert out.stat().st_size > 3_728 * 4


def test_what_needs_this_machine_s_code_is_not_asked_of_a_server(
    process: Process, recorded: Recorded
) -> None:
    refused = invoke("bisect", recorded.case, "--", "check", "{model}")
    assert refused.exit_code == 5
    assert "runs nobody's code" in refused.stderr


def test_what_is_recorded_beside_it_appears_by_itself(process: Process, recorded: Recorded) -> None:
    from roundlog.events import RunOpened

    with Recorder(recorded.case, run="live", on_error="raise") as recorder:
        recorder.record(RunOpened, framework="the test")

    def there() -> bool:
        listed = httpx.get(f"{process.url}/api/v1/runs", trust_env=False).json()["runs"]
        return "live" in [run["run"] for run in listed]

    wait_for(there, "the new run")


def test_a_second_server_and_ingest_are_told_who_holds_the_case(
    process: Process, recorded: Recorded
) -> None:
    for command in (("serve", recorded.case, "--port", "0"), ("ingest", recorded.case)):
        refused = invoke(*command)
        assert refused.exit_code == 5
        assert process.url in refused.stderr


def test_a_taken_port_is_said_with_a_way_out(process: Process, recorded: Recorded) -> None:
    other = recorded.case.parent / "other"
    shutil.copytree(recorded.case / "segments", other / "segments")
    shutil.copy(recorded.case / "case.json", other)
    refused = invoke("serve", other, "--port", process.url.rsplit(":", 1)[1])
    assert refused.exit_code == 2
    assert "--port 0 takes a free port" in refused.stderr


def test_a_new_case_is_made_only_when_that_was_asked(tmp_path: Path) -> None:
    assert invoke("serve", tmp_path / "nothing", "--port", "0").exit_code == 1
    made = Process(tmp_path / "made", "--new", "--json")
    assert _rounds(made.url) == 0
    assert made.stop()[0] == 0
    assert Case(tmp_path / "made").current_owner() is None


def test_a_killed_server_leaves_a_case_that_opens(process: Process, recorded: Recorded) -> None:
    wait_for(lambda: _rounds(process.url) == ROUNDS, "ingest")
    process.stop(signal.SIGKILL)
    with open_desk(recorded.case) as desk:
        assert desk.ask("runs", {})["runs"][0]["rounds"] == ROUNDS


def test_a_case_that_another_program_holds_without_serving_is_busy(recorded: Recorded) -> None:
    code = (
        "import sys, time; from roundlog.case import Case\n"
        "with Case(sys.argv[1]).own():\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, recorded.case], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        refused = invoke("runs", recorded.case, "--json")
    finally:
        holder.kill()
        holder.communicate()
    assert refused.exit_code == 5
    error = json.loads(refused.stderr)["error"]
    assert (error["type"], error["exit_code"]) == ("CaseBusyError", 5)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    refused = invoke("runs", "http://127.0.0.1:9", "--json")
    assert refused.exit_code == 5
    assert "roundlog serve" in json.loads(refused.stderr)["error"]["message"]
