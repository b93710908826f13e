"""Does the page say what its files say, also where a claim does not hold?"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from api.documents import encode
from api.lab.evaluate_page import (
    INTRODUCTION,
    measured,
    page_text,
    results_beside,
    verdict,
    write_page,
)
from api.parameters import ParameterError

DOCUMENT: dict[str, Any] = {
    "scenario": {"name": "quickstart"},
    "command": "roundlog evaluate quickstart --seeds 101..120 --twin-seeds 101..150",
    "code": "c0de" * 16,
    "judges": "1d9e" * 16,
    "versions": {"python": "3.11.7", "numpy": "2.4.6", "torch": "2.15.0"},
    "bars": "Bars of errors: because pilots said so.",
    "seeds": list(range(101, 121)),
    "twin_seeds": [7, 9],
    "rounds": 5_000,
    "twin_rounds": 5_000,
    "no_replicates": None,
    "errors": [],
    "claims": [],
}


def _claim(**values: Any) -> dict[str, Any]:
    empty = {"claim": "it dates", "bar": "", "holds": None, "k": None, "n": None,
             "low": None, "high": None, "value": None, "unit": ""}  # fmt: skip
    return empty | values


def _document(*claims: dict[str, Any], **values: Any) -> dict[str, Any]:
    return copy.deepcopy(DOCUMENT) | {"claims": list(claims)} | values


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"k": 19, "n": 20, "low": 0.75, "high": 0.999}, "19 of 20"),
        ({"k": 1_950, "n": 2_000, "low": 0.9, "high": 0.99}, "1,950 of 2,000"),
        ({"value": 43.0, "unit": "rounds"}, "43 rounds"),
        ({"value": 1.0, "unit": "rounds"}, "1 round"),
        ({"value": 0.0, "unit": "alarms"}, "0 alarms"),
        ({"value": 4_409.4, "unit": "rounds"}, "4,409 rounds"),
        ({"value": 0.1612, "unit": "sd"}, "0.161 sd"),
        ({"value": -0.0179}, "-0.0179"),
        ({"value": 0.0123, "unit": "share"}, "1.2%"),
        ({"value": 0.765, "unit": "× 2 (sd / mean)²"}, "0.765 × 2 (sd / mean)²"),
        ({"value": float("inf"), "unit": "rounds"}, "not found"),
        ({"value": None, "value_reason": "not a finite number: inf"}, "not found"),
    ],
)
def test_a_measure_is_said_as_people_say_it(values: dict[str, Any], said: str) -> None:
    assert measured(_claim(**values)) == said


def test_what_is_not_judged_is_neither_yes_nor_no() -> None:
    assert [verdict(_claim(holds=holds)) for holds in (True, False, None)] == ["yes", "**no**", ""]


def test_every_claim_is_a_row_with_its_interval_and_its_bar() -> None:
    good = _claim(k=19, n=20, low=0.7513, high=0.9987, bar="at least 16 of 20", holds=True)
    wrong = _claim(claim="the worst", value=1_200.0, unit="rounds", bar="at most 1,100",
                   holds=False)  # fmt: skip
    text = page_text([_document(good, wrong)])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "| it dates | 19 of 20 | 75.1% to 99.9% | at least 16 of 20 | yes |",
        "| the worst | 1,200 rounds |  | at most 1,100 | **no** |",
    ]


def test_a_bar_in_a_text_does_not_break_the_table() -> None:
    text = page_text([_document(_claim(claim="a | b", value=1.0))])
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert row.count("|") == 6


def test_what_made_the_numbers_stands_beside_them() -> None:
    text = page_text([_document()])
    assert text.startswith(INTRODUCTION)
    assert f"```text\n{DOCUMENT['command']}\n```" in text
    said = " ".join(text.split())
    assert "Attacked: seeds 101 to 120, 5,000 rounds each. Twins: seeds 7, 9, 5,000" in said
    assert "Code c0dec0dec0dec0de, judged by 1d9e1d9e1d9e1d9e; python 3.11.7, numpy" in said
    assert said.endswith("Bars of errors: because pilots said so.")
    assert "stop there" not in said
    assert "failed" not in said.removeprefix(" ".join(INTRODUCTION.split()))
    assert max(map(len, text.splitlines())) <= 100


def test_runs_that_stopped_early_or_failed_are_told() -> None:
    failed = [{"twin": False, "seed": 3, "error": "overflow"}]
    text = page_text([_document(rounds=4_000, errors=failed, no_replicates="no series at all")])
    said = " ".join(text.split())
    assert "4,000 rounds each. They stop there, of 5,000: their models until then" in said
    assert "1 runs failed and are not counted." in said
    assert "There are no made onsets: no series at all." in said


def _write(folder: Path, document: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_bytes(encode(document))
    return folder


def test_a_page_is_about_all_evaluations_beside_each_other_in_the_order_of_their_folders(
    tmp_path: Path,
) -> None:
    one = _write(tmp_path / "results" / "b", _document(scenario={"name": "digits"}))
    _write(tmp_path / "results" / "a", _document())
    (tmp_path / "results" / "c").mkdir()
    page = tmp_path / "docs" / "page.md"
    write_page(one, page)
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## quickstart",
        "## digits",
    ]
    assert text == page_text(results_beside(tmp_path / "results" / "a"))


def test_a_number_that_is_not_finite_survives_its_file(tmp_path: Path) -> None:
    claim = _claim(claim="delay", value=float("inf"), unit="rounds", bar="at most 5", holds=False)
    (found,) = results_beside(_write(tmp_path / "one", _document(claim)))
    assert found["claims"][0]["value"] is None
    assert "| delay | not found |  | at most 5 | **no** |" in page_text([found])


def test_without_an_evaluation_there_is_no_page(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(ParameterError, match="no evaluation to write a page of"):
        write_page(tmp_path / "one", tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not what `roundlog evaluate` writes"),
        (json.dumps({"claims": []}), "is not what `roundlog evaluate` writes"),
    ],
)
def test_a_file_that_is_no_evaluation_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "evaluation.json").write_text(text)
    with pytest.raises(ParameterError, match=said):
        results_beside(tmp_path / "one")
