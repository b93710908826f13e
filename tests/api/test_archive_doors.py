"""Can people take a case away as one file, while a server holds it, and ask the copy the same?"""

import json
from pathlib import Path
from typing import Any

from doors import Recorded, Served, invoke
from said_alarms import raise_alarm

import roundlog
from api.questions import QUESTIONS

# What is asked of both: everything that needs no trigger, and is about the record as it stands.
ASKED: dict[str, dict[str, Any]] = {
    "runs": {},
    "run": {},
    "rounds": {},
    "series": {},
    "log": {},
    "show": {"event": "12"},
    "findings": {},
    "quarantine": {},
    "triggers": {},
    "drift": {"every": 50},
    "diff": {"before": "0"},
    "rebuild": {"round": "head"},
    "alarms": {},
    "timeline": {},
    "verify": {},
}


def _json(*args: object) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_copy_of_a_served_case_answers_as_the_case_does(fresh: Served, tmp_path: Path) -> None:
    case, trigger = fresh.recorded.case, json.loads(fresh.recorded.truth.read_bytes())["trigger"]
    assert fresh.http.post("/api/v1/triggers", json={**trigger, "name": "kept"}).is_success
    raise_alarm(fresh.state.records.log, fresh.recorded.run)
    exported = _json("export", case, "--out", tmp_path / "case.tar")
    assert (exported["runs"], exported["open_segments"]) == ([fresh.recorded.run], 1)
    _json("import", tmp_path / "case.tar", tmp_path / "copy")
    with roundlog.open(fresh.url) as here, roundlog.open(tmp_path / "copy") as there:
        for name, values in ASKED.items():
            assert there.ask(name, **values) == here.ask(name, **values), name
        probed = here.probe("kept", round=50)
        assert there.probe("kept", round=50) == probed
    assert len(ASKED) > len(QUESTIONS) / 2


def test_people_are_told_what_was_written_and_what_to_do_next(
    shared: Recorded, tmp_path: Path
) -> None:
    out = tmp_path / "case.tar"
    said = invoke("export", shared.case, "--out", out, "--run", shared.run).stdout
    assert said.startswith(f"{out}: 1 run in ")
    assert "sha256 " in said
    said = invoke("import", out, tmp_path / "copy").stdout
    assert "`roundlog verify`" in said
    assert invoke("verify", tmp_path / "copy").exit_code == 0


def test_what_goes_wrong_is_one_sentence_and_an_exit_code(shared: Recorded, tmp_path: Path) -> None:
    out = tmp_path / "case.tar"
    assert invoke("export", shared.case).exit_code == 2
    assert invoke("export", shared.case, "--out", out, "--run", "none").exit_code == 1
    assert not out.exists()
    assert invoke("export", shared.case, "--out", out).exit_code == 0
    again = invoke("export", shared.case, "--out", out)
    assert (again.exit_code, "exists already" in again.stderr) == (1, True)
    assert invoke("import", out, shared.case).exit_code == 1
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1
    out.write_bytes(data)
    altered = invoke("import", out, tmp_path / "copy")
    assert altered.exit_code == 4
    assert "does not have the digest in SHA256SUMS" in altered.stderr
    assert not (tmp_path / "copy").exists()
    elsewhere = invoke("export", "http://127.0.0.1:1", "--out", tmp_path / "x.tar")
    assert elsewhere.exit_code == 1
    assert "is not a case" in elsewhere.stderr
