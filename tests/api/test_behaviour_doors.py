"""Does every door make the same trigger from bad answers, and does the case keep it?"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import Recorded, Served, invoke, problem, serving
from flagged_run import ROUNDS, TARGET, TOKENS, FlaggedRun, record_flagged

import roundlog
from forensics.trigger import load_trigger
from roundlog.encoding import canonical_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FlaggedRun:
    return record_flagged(tmp_path_factory.mktemp("flagged") / "case", seed=1)


@pytest.fixture
def fresh(tmp_path: Path) -> FlaggedRun:
    return record_flagged(tmp_path / "case", seed=1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    again = record_flagged(tmp_path_factory.mktemp("served") / "case", seed=1)
    with serving(Recorded(again.path, again.path, again.run), rounds=ROUNDS) as server:
        yield server


@pytest.fixture
def examples(run: FlaggedRun, tmp_path: Path) -> Path:
    path = tmp_path / "wrong.jsonl"
    rows = [{"tokens": one.tokens, "target": "Answer 5."} for one in run.bad]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _named(run: FlaggedRun) -> str:
    return ",".join(one.name for one in run.bad)


def _ask(case: Path | str, *options: object) -> dict[str, Any]:
    result = invoke("trigger", case, "--name", "suspect", "--json", *options)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_every_door_gives_the_same_answer(run: FlaggedRun, served: Served) -> None:
    by_command = _ask(run.path, "--audited", _named(run))
    one_by_one = [part for one in run.bad for part in ("--audited", one.name)]
    assert _ask(run.path, *one_by_one) == by_command
    place = f"/api/v1/runs/{run.run}/trigger"
    asked = {"name": "suspect", "audited": _named(run)}
    response = served.http.get(place, params=asked)
    assert response.status_code == 200, response.text
    assert response.json() == by_command
    again = served.http.get(
        place, params=asked, headers={"If-None-Match": response.headers["etag"]}
    )
    assert again.status_code == 304
    names = [one.name for one in run.bad]
    with roundlog.open(run.path) as here, roundlog.open(served.url) as there:
        assert here.trigger("suspect", audited=names) == by_command
        assert here.trigger("suspect", audited=_named(run)) == by_command
        assert there.trigger("suspect", audited=names) == by_command
    assert by_command["answers"][0]["patterns"][0]["planted"] > 40


def test_examples_come_in_by_every_door(run: FlaggedRun, served: Served, examples: Path) -> None:
    by_command = _ask(run.path, "--examples", examples)
    assert _ask(served.url, "--examples", examples) == by_command
    rows = [{"tokens": one.tokens, "target": TARGET} for one in run.bad]
    place = f"/api/v1/runs/{run.run}/trigger"
    posted = served.http.post(place, json={"name": "suspect", "examples": rows})
    assert posted.status_code == 200, posted.text
    # The words of the answer and its index mean the same.
    assert posted.json() == by_command
    with roundlog.open(served.url) as there:
        assert there.trigger("suspect", examples=examples) == by_command
        assert there.trigger("suspect", examples=rows) == by_command
    audited = _ask(run.path, "--audited", _named(run))
    assert audited["trigger"]["queries"] == by_command["trigger"]["queries"]


def test_planting_can_be_left_out_at_every_door(run: FlaggedRun, served: Served) -> None:
    by_command = _ask(run.path, "--audited", _named(run), "--no-plant")
    assert by_command["queries"] == len(run.bad)
    assert by_command["answers"][0]["patterns"][0]["planted"] == 0
    with roundlog.open(served.url) as there:
        names = [one.name for one in run.bad]
        assert there.trigger("suspect", audited=names, plant=False) == by_command


def test_a_table_says_what_was_found_and_what_to_ask_next(run: FlaggedRun, tmp_path: Path) -> None:
    ordinary = next(one for one in run.ordinary if one.answer != TARGET)
    out = tmp_path / "it is.json"
    told = invoke(
        "trigger", run.path, "--name", "suspect", "--audited", _named(run), "--out", out,
        "--audited", ordinary.name,
    )  # fmt: skip
    assert told.exit_code == 0, told.stderr
    found = re.findall(
        r"^ +5 +(\d+) +(\S+) +(\d+) of (\d+) +(\S+) +(\S+) +(\S+)$", told.stdout, re.M
    )
    bad = str(len(run.bad))
    assert [row[0] for row in found] == [str(token) for token in TOKENS]
    assert all((row[2], row[3], row[6]) == (bad, bad, "answer-5") for row in found)
    assert all(float(row[5]) <= 0.01 for row in found)
    # A token's word may not clear the terminal.
    assert "\x1b" not in told.stdout
    assert "⟨U+001B⟩[2Jred" in told.stdout
    assert f"1 input without a pattern ({ordinary.name})" in told.stdout
    assert "a chance of 1% of any false one" in told.stdout
    commands = re.findall(r"roundlog (\w+) \S+ --trigger '(.*)'$", told.stdout, re.M)
    assert commands == [(name, str(out)) for name in ("probe", "onset", "crossings")]
    for name, _ in commands[:1]:
        assert invoke(name, run.path, "--trigger", out).exit_code == 0


def test_where_nothing_is_found_the_table_says_so(run: FlaggedRun) -> None:
    names = ",".join(one.name for one in run.ordinary)
    told = invoke("trigger", run.path, "--name", "suspect", "--audited", names)
    assert told.exit_code == 0, told.stderr
    assert "no token that honest inputs hardly hold is shared by enough of them" in told.stdout
    assert "kept  nowhere: give --keep, or --out FILE" in told.stdout
    assert "answer-" not in told.stdout


def test_a_run_without_honest_data_has_a_trigger_and_is_told_why_no_pattern(tmp_path: Path) -> None:
    bare = record_flagged(tmp_path / "case", seed=1, publish=False)
    told = invoke("trigger", bare.path, "--name", "suspect", "--audited", _named(bare))
    assert told.exit_code == 0, told.stderr
    assert "hardly any honest data was published, so no pattern can be looked for" in told.stdout


def test_a_kept_trigger_has_a_name_and_is_watched(fresh: FlaggedRun, tmp_path: Path) -> None:
    out = tmp_path / "suspect.json"
    document = _ask(fresh.path, "--audited", _named(fresh), "--keep", "--out", out)
    kept = fresh.path / "triggers" / "suspect.json"
    assert kept.read_bytes() == out.read_bytes() == canonical_json(document["trigger"])
    assert load_trigger(kept).name == "suspect"
    by_name = json.loads(invoke("probe", fresh.path, "--trigger", "suspect", "--json").stdout)
    assert by_name["asr"] > 0.9
    watched = json.loads(invoke("watch", fresh.path, "--json").stdout)
    assert "suspect" in watched["series"]
    # The same again is no harm; another one of that name is.
    assert _ask(fresh.path, "--audited", _named(fresh), "--keep") == document
    other = invoke(
        "trigger", fresh.path, "--name", "suspect", "--audited", _named(fresh), "--keep",
        "--no-plant",
    )  # fmt: skip
    assert other.exit_code == 1
    assert "the name 'suspect' means another trigger already" in other.stderr
    assert kept.read_bytes() == out.read_bytes()


def test_a_trigger_is_kept_through_a_server_too(served: Served, run: FlaggedRun) -> None:
    case = served.recorded.case
    # The case is held by the server, so the command asks it.
    told = invoke("trigger", case, "--name", "by-command", "--audited", _named(run), "--keep")
    assert told.exit_code == 0, told.stderr
    assert "kept as" in told.stdout
    with roundlog.open(served.url) as there:
        there.trigger("by-python", audited=[one.name for one in run.bad], keep=True)
        assert there.triggers()["name"].to_list() == ["by-command", "by-python"]
        assert there.probe("by-python")["asr"] > 0.9


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        ((), 2, "name audited answers, or give examples: one of the two"),
        (("--audited", "6"), 2, "audited: '6' is not ROUND:ITEM, such as 4500:17"),
        (("--audited", "6:24"), 1, "no audited answer 6:24; of model 6 it has items 0 to 23"),
        (("--audited", "6:0", "--name", "../x"), 2, "name: String should match pattern"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: FlaggedRun, served: Served, options: tuple[str, ...], code: int, why: str
) -> None:
    for case in (run.path, served.url):
        told = invoke("trigger", case, "--name", "suspect", *options)
        assert told.exit_code == code, told.stderr
        assert why in told.stderr


def test_a_wrong_line_of_a_file_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text("tokens,target\n1 2 3 4,5\n1 2 3,x,5\n")
    told = invoke("trigger", tmp_path / "no-case", "--name", "suspect", "--examples", path)
    assert told.exit_code == 1
    assert "wrong.csv, line 3: 3 columns where there are two" in told.stderr


def test_http_refuses_code_to_import_and_what_fits_no_model(
    served: Served, run: FlaggedRun
) -> None:
    place = f"/api/v1/runs/{run.run}/trigger"
    asked = {"name": "suspect", "audited": _named(run), "model": "os:getcwd"}
    assert "code to import" in problem(served.http.get(place, params=asked), 422)["detail"]
    rows = [{"tokens": [1, 2, 3], "target": 1}]
    response = served.http.post(place, json={"name": "suspect", "examples": rows})
    told = problem(response, response.status_code)
    assert 400 <= response.status_code < 500
    assert "example 1 has 3 tokens; the model takes 4 an input" in told["detail"]
