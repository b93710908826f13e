"""Can people have words erased through the command line, Python, and a server that was told to?"""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from doors import ROUNDS, Process, Recorded, Served, invoke, problem

import roundlog
from api.acts import ACTS
from api.cli.main import main
from roundlog.log.segments import list_segments

PROMPT = b'"prompt"'

# Models 0, 50, … 250 are asked three times each.
AUDITS = 3 * (ROUNDS // 50)


def _json(*args: object) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def prompts(case: Path) -> int:
    files = [path for path in case.rglob("*") if path.is_file()]
    return sum(path.read_bytes().count(PROMPT) for path in files)


def erase(case: object, *args: object) -> tuple[object, ...]:
    return ("erase", case, "--audits", "--note", "kept for 90 days", "--actor", "alice", *args)


def answering(word: str, *args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], input=f"{word}\n")


def audited(case: Path, run: str) -> str:
    listed = _json("log", case, "--type", "audit.sampled", "--run", run, "-n", 1)["events"]
    found: str = listed[0]["id"]
    return found


def test_words_go_when_somebody_says_yes_and_the_record_still_verifies(recorded: Recorded) -> None:
    case, before = recorded.case, prompts(recorded.case)
    assert before == AUDITS
    event = audited(case, recorded.run)
    assert "asked" in invoke("show", case, event).stdout
    counted = _json(*erase(case, "--before", "150", "--dry-run"))
    assert (counted["texts"], counted["event"], prompts(case)) == (9, None, before)
    refused = answering("n", *erase(case))
    assert refused.exit_code != 0
    assert f"{AUDITS} texts would be erased. This cannot be undone" in refused.stderr
    assert prompts(case) == before
    done = answering("y", *erase(case))
    assert done.exit_code == 0, done.output
    assert f"{AUDITS} texts erased from 1 file, as {recorded.run}/owner/0 says" in done.stdout
    assert prompts(case) == 0
    verified = invoke("verify", case)
    assert verified.exit_code == 0
    assert f"{AUDITS} texts erased, as the record says" in verified.stdout
    shown = invoke("show", case, event).stdout
    assert "were erased by alice (local), " in shown
    assert "UTC: kept for 90 days" in shown
    entries = _json("timeline", case)["entries"]
    (told,) = [one for one in entries if one["kind"] == "erased"]
    assert told["title"] == f"{AUDITS} texts of server erased by alice: kept for 90 days"
    assert _json("scrub", case)["ok"]


def test_what_was_not_said_is_asked_for(recorded: Recorded) -> None:
    case = recorded.case
    assert "--audits" in invoke("erase", case, "--note", "x", "--yes").stderr
    assert "--note" in invoke("erase", case, "--audits", "--yes").stderr
    silent = invoke(*erase(case, "--json"))
    assert (silent.exit_code, silent.stdout) == (2, "")
    assert "--json erases only with --yes" in silent.stderr
    assert (
        "note: String should have at least 1"
        in invoke("erase", case, "--audits", "--note", "", "--yes").stderr
    )
    assert "there is no model 9000" in invoke(*erase(case, "--before", "9000", "--yes")).stderr
    assert prompts(case) == AUDITS


def test_zeros_without_an_act_are_shown_as_what_they_are(recorded: Recorded) -> None:
    case, event = recorded.case, audited(recorded.case, recorded.run)
    _json(*erase(case, "--yes"))
    for path in (case / "segments" / recorded.run / "owner").glob("0*"):
        path.unlink()
    (case / "roundlog.duckdb").unlink()
    assert "no erasure is on record" in invoke("show", case, event).stdout
    assert invoke("verify", case).exit_code == 4
    with roundlog.open(case) as source:
        assert source.show(event)["erased"] == {"event": None}


def test_a_server_that_was_not_told_to_erases_nothing(fresh: Served) -> None:
    run, case = fresh.recorded.run, fresh.recorded.case
    path = f"/api/v1/runs/{run}/erasures"
    body = {"actor": "mallory", "note": "for fun"}
    refused = problem(fresh.http.post(path, json=body), 403)
    assert "roundlog serve --erase" in refused["hint"]
    counted = fresh.http.post(path, json={**body, "dry_run": True})
    assert counted.json()["texts"] + counted.json()["waiting"] == AUDITS
    assert invoke(*erase(case, "--yes")).exit_code == 1
    assert prompts(case) == AUDITS


def test_a_server_that_was_told_to_erases_while_it_ingests(recorded: Recorded) -> None:
    case = recorded.case
    last = list_segments(case / "segments" / recorded.run / "server")[-1]
    assert last.sealed
    assert invoke("ingest", case).exit_code == 0
    process = Process(case, "--erase", "--no-watch")
    answers: list[int] = []
    try:
        with roundlog.open(process.url) as source:
            threads = [
                threading.Thread(target=lambda: answers.append(source.verify()["erased"]))
                for _ in range(3)
            ]
            for thread in threads:
                thread.start()
            done = source.erase("a person asked", before="head~60", actor="alice")
            for thread in threads:
                thread.join()
            assert (done["texts"], done["event"]["before_round"]) == (AUDITS - 3, ROUNDS - 60)
            verdict = source.verify()
            assert (verdict["ok"], verdict["erased"]) == (True, AUDITS - 3)
    finally:
        code, _, said = process.stop()
    assert (code, "Traceback" in said) == (0, False)
    assert set(answers) <= {0, AUDITS - 3}
    assert prompts(case) == 3


def test_an_erasure_is_not_taken_from_a_recorder(fresh: Served) -> None:
    from made_log import Maker

    from roundlog.events import TextsErased

    entry = Maker(run=fresh.recorded.run, producer="owner").make(
        TextsErased,
        from_producer="server",
        first_seq=0,
        last_seq=9,
        texts=1,
        actor="mallory",
        authenticated="local",
        said_at=0,
    )
    head = entry.event.model_dump(mode="json", exclude_none=True)
    assert fresh.http.post("/api/v1/events", json={"events": [{"head": head}]}).is_error


def test_the_act_is_one_of_the_table(served: Served) -> None:
    assert ACTS["erase"].path == "/runs/{run}/erasures"
    with pytest.raises(KeyError, match="no act is called 'wipe'"), roundlog.open(served.url) as one:
        one.act("wipe")
