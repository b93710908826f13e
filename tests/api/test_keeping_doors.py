"""Can people scrub a case, and look at what was refused, through every door?"""

import json
from pathlib import Path
from typing import Any

import pytest
from doors import Recorded, Served, invoke, problem, serving, wait_for
from made_log import Maker, append_raw, on_disk, write

import roundlog
from api.parameters import ParameterError
from roundlog.case import Case
from roundlog.encoding import Frame, encode_frame
from roundlog.errors import QuestionError

HOSTILE = b"\x1b[2J no frame at all " * 20


def _json(*args: object) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """A case with two refused records: bytes that are no frame, and a delta that is too short."""
    case, maker = Case.create(tmp_path / "refused"), Maker()
    write(case, [*maker.opening(), *maker.rounds(3)])
    append_raw(case, HOSTILE, on_disk(maker.audit()))
    write(case, [maker.commit(delta=b"short"), maker.audit()])
    return case.path


def test_a_whole_case_scrubs_and_says_so(shared: Recorded) -> None:
    document = _json("scrub", shared.case)
    assert document["ok"]
    assert document.keys() >= _json("verify", shared.case).keys()
    said = invoke("scrub", shared.case, "--rate", 10_000)
    assert said.stdout.startswith("ok: 300 rounds")
    assert said.stdout.splitlines()[-1].endswith("MB, deltas twice")


def test_a_damaged_blob_makes_scrub_exit_4_and_verify_does_not_look_at_it(
    recorded: Recorded,
) -> None:
    assert invoke("scrub", recorded.case).exit_code == 0
    blob = sorted((recorded.case / "blobs").iterdir())[0]
    data = bytearray(blob.read_bytes())
    data[3] ^= 1
    blob.write_bytes(data)
    assert invoke("verify", recorded.case).exit_code == 0
    failed = invoke("scrub", recorded.case, "--json")
    assert failed.exit_code == 4
    (found,) = json.loads(failed.stdout)["findings"]
    assert (found["kind"], found["file"]) == ("bad_digest", f"blobs/{blob.name}")
    assert found["run"] == recorded.run
    shown = invoke("scrub", recorded.case)
    assert shown.exit_code == 4
    assert "NOT ok: 1 finding" in shown.stdout


@pytest.mark.parametrize("rate", ["0", "-3", "fast"])
def test_a_rate_that_is_none_is_refused(shared: Recorded, rate: str) -> None:
    assert invoke("scrub", shared.case, "--rate", rate).exit_code == 2
    with roundlog.open(shared.case) as source, pytest.raises(ParameterError, match="rate"):
        source.ask("scrub", rate=rate)


def test_a_scrub_over_http_holds_nobody_up(fresh: Served) -> None:
    # At this rate it takes days; a question that takes a moment is answered meanwhile.
    response = fresh.http.get(
        "/api/v1/scrub", params={"rate": "0.00001"}, headers={"Prefer": "respond-async"}
    )
    assert response.status_code == 202
    place = response.headers["location"]
    wait_for(lambda: fresh.http.get(place).json()["done"] > 0, "the scrub to begin")
    assert fresh.http.get("/api/v1/verify").json()["ok"]
    assert fresh.http.get(place).json()["state"] == "running"
    problem(fresh.http.get("/api/v1/scrub"), 503)
    fresh.http.delete(place)
    wait_for(lambda: fresh.http.get(place).json()["state"] == "cancelled", "the scrub to end")
    with roundlog.open(fresh.url) as source:
        assert source.scrub()["ok"]


def test_refused_records_are_listed_with_reason_offset_and_bytes(refused: Path) -> None:
    records = _json("quarantine", "list", refused)["records"]
    assert [(one["reason"], one["bytes"]) for one in records] == [
        ("not_a_frame", len(HOSTILE)),
        ("dimension", records[1]["bytes"]),
    ]
    assert all(isinstance(one["offset"], int) for one in records)
    assert [one["id"] for one in records] == sorted(
        (path.stem for path in (refused / "quarantine").iterdir()),
        key=[one["id"] for one in records].index,
    )
    shown = invoke("quarantine", "list", refused).stdout
    assert all(one["id"] in shown and one["reason"] in shown for one in records)
    with roundlog.open(refused) as source:
        assert source.quarantine()["reason"].to_list() == ["not_a_frame", "dimension"]


def test_an_empty_quarantine_is_an_empty_list(shared: Recorded) -> None:
    assert _json("quarantine", "list", shared.case) == {"records": []}
    assert invoke("quarantine", "list", shared.case).stdout == "(none)\n"


def test_bytes_that_were_refused_are_shown_and_not_obeyed(refused: Path) -> None:
    first, second = _json("quarantine", "list", refused)["records"]
    document = _json("quarantine", "show", refused, first["id"], "--bytes", "7")
    assert document["hex"] == HOSTILE[:7].hex()
    assert (document["head"], document["shown"], document["record"]) == (None, 7, first)
    shown = invoke("quarantine", "show", refused, first["id"][:6]).stdout
    assert "\x1b" not in shown
    assert "1b 5b 32 4a" in shown
    assert "|.[2J no frame at|" in shown
    assert "164 bytes not shown: --bytes 420" in shown
    whole = _json("quarantine", "show", refused, second["id"])
    assert json.loads(whole["head"])["type"] == "fl.round.committed.v1"
    assert (
        "run/server/10 (fl.round.committed.v1)"
        in invoke("quarantine", "show", refused, second["id"]).stdout
    )


def test_a_head_that_is_no_text_is_shown_sanitised(tmp_path: Path) -> None:
    case, maker = Case.create(tmp_path / "case"), Maker()
    write(case, maker.opening())
    append_raw(case, encode_frame(Frame(b"\xff\x1b]0;title\x07 \xe2\x80\xae")))
    (record,) = _json("quarantine", "list", case.path)["records"]
    shown = invoke("quarantine", "show", case.path, record["id"]).stdout
    assert "⟨U+001B⟩]0;title⟨U+0007⟩ ⟨U+202E⟩" in shown


def test_a_record_that_is_not_there_is_said(refused: Path) -> None:
    missing = invoke("quarantine", "show", refused, "ffffffffffffffff")
    assert missing.exit_code == 1
    assert "no refused record has an id that begins with" in missing.stderr
    assert invoke("quarantine", "show", refused, "../../etc").exit_code == 2
    first, second = _json("quarantine", "list", refused)["records"]
    (refused / "quarantine" / first["file"]).unlink()
    (refused / "quarantine" / second["file"]).write_bytes(b"{}")
    with roundlog.open(refused) as source:
        with pytest.raises(QuestionError, match=r"cannot be read: No such file"):
            source.quarantined(first["id"])
        with pytest.raises(QuestionError, match=r"is damaged"):
            source.quarantined(second["id"])


def test_a_server_tells_of_refused_records_too(refused: Path) -> None:
    here = _json("quarantine", "list", refused)
    run = Recorded(refused, refused, "run")
    with serving(run, rounds=3) as served, roundlog.open(served.url) as source:
        assert served.http.get("/api/v1/quarantine").json() == here
        one = here["records"][1]["id"]
        there = source.quarantined(one)
        assert there == served.http.get(f"/api/v1/quarantine/{one}").json()
        assert there["head"]
        gone = problem(served.http.get("/api/v1/quarantine/ffffffff"), 422)
        assert "roundlog quarantine list" in gone["detail"]


def test_what_was_refused_is_tried_again(refused: Path, tmp_path: Path) -> None:
    tried = _json("quarantine", "replay", refused)["records"]
    assert [one["accepted"] for one in tried] == [False, False]
    assert [one["why"].partition(":")[0] for one in tried] == ["not_a_frame", "dimension"]
    shown = invoke("quarantine", "replay", refused, tried[0]["id"]).stdout
    assert tried[0]["id"] in shown
    assert tried[1]["id"] not in shown
    assert invoke("quarantine", "replay", refused, "ffff").exit_code == 1
    with Case(refused).own("http://127.0.0.1:1"):
        held = invoke("quarantine", "replay", refused)
    assert held.exit_code == 5
    assert "is owned by process" in held.stderr


def test_an_event_that_was_sent_again_whole_is_shown_as_accepted(tmp_path: Path) -> None:
    case, maker = Case.create(tmp_path / "case"), Maker()
    write(case, maker.opening())
    entry = maker.audit()
    append_raw(case, encode_frame(Frame(entry.frame.head, entry.frame.side[:-1] + b"?")))
    append_raw(case, on_disk(entry))
    (record,) = _json("quarantine", "list", case.path)["records"]
    assert (record["reason"], record["accepted"]) == ("side_digest", True)
    assert "accepted since" in invoke("quarantine", "list", case.path).stdout
    assert "; accepted since" in invoke("quarantine", "show", case.path, record["id"]).stdout
