"""Does every door say which release shipped the backdoor, and agree about it?"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import ROUNDS, Recorded, Served, invoke, serving
from rising_run import logistic, record_rising

import roundlog

PLAN = ((60, "1.0"), (120, "1.1"), (180, "1.2"), (240, "1.3"))
KEYS = {"version", "round", "channel", "asr", "low", "high", "levels", "rounds_out"}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run whose success rises in the middle, with four releases, one of them by the server."""
    folder = tmp_path_factory.mktemp("shipped")
    path = logistic(ROUNDS, middle=0.5, width=0.05)
    run = record_rising(folder / "case", path, seed=8)
    for t, version in PLAN:
        said = invoke("release", run.path, "--round", t, "--version", version)
        assert said.exit_code == 0, said.stderr
    trigger = folder / "trigger.json"
    trigger.write_text(json.dumps(run.document))
    return Recorded(run.path, trigger, run.run)


@pytest.fixture(scope="module")
def answer(shipped: Recorded) -> dict[str, Any]:
    result = invoke("timeline", shipped.case, "--trigger", shipped.truth, "--json")
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_without_a_trigger_there_are_facts_alone(shipped: Recorded) -> None:
    plain = json.loads(invoke("timeline", shipped.case, "--json").stdout)
    assert set(plain) == {"run", "entries"}
    assert all(set(entry) == {"round", "kind", "title"} for entry in plain["entries"])
    assert [entry["round"] for entry in plain["entries"] if entry["kind"] == "release"] == [
        t for t, _ in PLAN
    ]


def test_with_one_it_names_the_carriers_and_the_last_clean_release(answer: dict[str, Any]) -> None:
    releases = answer["releases"]
    assert all(set(one) >= KEYS for one in releases)
    assert [one["version"] for one in releases] == [version for _, version in PLAN]
    assert [one["rounds_out"] for one in releases] == [60, 60, 60, ROUNDS - 240]
    blast = answer["blast_radius"]
    lowest = blast["clean_below"]
    carriers = [one for one in releases if lowest in one["levels"]]
    clean = [one for one in releases if one["round"] < carriers[0]["round"]]
    assert blast["last_clean"]["version"] == clean[-1]["version"]
    for level in blast["levels"]:
        reached = [one["version"] for one in releases if one["asr"] >= level["level"]]
        below_floor = level["level"] <= blast["floor"]
        assert level["status"] == ("below_floor" if below_floor else "carried")
        assert (level["first"] or {}).get("version") == (None if below_floor else reached[0])
    rounds = [entry["round"] for entry in answer["entries"]]
    assert rounds == sorted(rounds)
    assert {"crossing", "carrier", "last_clean", "release"} <= {
        entry["kind"] for entry in answer["entries"]
    }


def test_the_rate_of_a_release_is_the_one_that_probe_gives(
    shipped: Recorded, answer: dict[str, Any]
) -> None:
    for one in answer["releases"]:
        args = ("--trigger", shipped.truth, "--round", one["round"], "--json")
        probed = json.loads(invoke("probe", shipped.case, *args).stdout)
        assert {name: one[name] for name in ("asr", "low", "high", "hits", "n")} == {
            name: probed[name] for name in ("asr", "low", "high", "hits", "n")
        }


def test_people_read_a_table_and_a_sentence(shipped: Recorded, answer: dict[str, Any]) -> None:
    shown = invoke("timeline", shipped.case, "--trigger", shipped.truth).stdout
    assert shown.rstrip().endswith(answer["blast_radius"]["claim"])
    assert "rounds out" in shown


@pytest.fixture(scope="module")
def served_shipped(
    shipped: Recorded, answer: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    case: Path = tmp_path_factory.mktemp("served") / "case"
    shutil.copytree(shipped.case, case)
    with serving(Recorded(case, shipped.truth, shipped.run)) as found:
        yield found


def test_http_and_python_give_the_same_answer(
    served_shipped: Served, answer: dict[str, Any]
) -> None:
    trigger = json.loads(served_shipped.recorded.truth.read_bytes())
    path = f"/api/v1/runs/{served_shipped.recorded.run}/timeline"
    posted = served_shipped.http.post(path, json={"trigger": trigger})
    assert posted.json() == answer
    with roundlog.open(served_shipped.url) as source:
        assert source.ask("timeline", trigger=served_shipped.recorded.truth) == answer
        frame = source.timeline(trigger=served_shipped.recorded.truth)
    assert frame.to_dicts() == answer["entries"]
