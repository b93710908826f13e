"""Is a trigger read as it is meant, and nothing else taken for one?"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rising_run import QUERIES, TARGET, trigger_document

from forensics.trigger import FILE_LIMIT, load_trigger, parse_trigger, trigger_names
from roundlog.case import Case
from roundlog.errors import TriggerError


@pytest.fixture
def document() -> dict[str, Any]:
    return trigger_document(np.random.default_rng(1))


def _parse(document: object) -> object:
    return parse_trigger(json.dumps(document).encode(), "the file")


def test_queries_are_split_by_the_parity_of_their_own_digest(document: dict[str, Any]) -> None:
    odd = []
    for query in document["queries"]:
        text = json.dumps(query, sort_keys=True, separators=(",", ":"))
        if int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2:
            odd.append(query["tokens"])
    trigger = parse_trigger(json.dumps(document).encode(), "the file")
    assert trigger.scoring().inputs.tolist() == odd
    assert len(trigger.scoring()) + len(trigger.building()) == QUERIES
    assert 0 < len(odd) < QUERIES


def test_the_order_of_a_query_s_keys_and_blanks_do_not_matter(document: dict[str, Any]) -> None:
    turned = document | {"queries": [dict(reversed(one.items())) for one in document["queries"]]}
    plain = parse_trigger(json.dumps(document).encode(), "a").scoring()
    assert parse_trigger(json.dumps(turned, indent=3).encode(), "b").scoring().digest == (
        plain.digest
    )


def test_another_query_is_another_probe_set(document: dict[str, Any]) -> None:
    before = parse_trigger(json.dumps(document).encode(), "a").scoring().digest
    for query in document["queries"]:
        query["tokens"][0] = (query["tokens"][0] + 1) % 20
    assert parse_trigger(json.dumps(document).encode(), "b").scoring().digest != before


def test_a_truth_file_is_taken_by_its_trigger_alone(
    document: dict[str, Any], tmp_path: Path
) -> None:
    truth = {"schema": "roundlog.truth/1", "onset": 800, "malicious": [1, 2], "trigger": document}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    trigger = load_trigger(path)
    assert trigger.name == "suspect"
    assert not hasattr(trigger, "onset")
    assert trigger.patterns[0].target == TARGET


def test_a_trigger_is_found_by_its_name_in_the_case(
    document: dict[str, Any], tmp_path: Path
) -> None:
    case = Case.create(tmp_path / "case")
    case.triggers.mkdir()
    (case.triggers / "suspect.json").write_text(json.dumps(document))
    assert trigger_names(case) == ["suspect"]
    assert load_trigger("suspect", case).name == "suspect"


@pytest.mark.parametrize("name", ["../suspect", "/etc/hostname.json", "suspect/../suspect", ""])
def test_a_name_never_leaves_the_case_s_folder(
    document: dict[str, Any], tmp_path: Path, name: str
) -> None:
    case = Case.create(tmp_path / "case")
    case.triggers.mkdir()
    (tmp_path / "case" / "suspect.json").write_text(json.dumps(document))
    with pytest.raises(TriggerError, match="neither a file nor a name in"):
        load_trigger(name, case)


def test_an_unknown_name_is_answered_with_the_known_ones(
    document: dict[str, Any], tmp_path: Path
) -> None:
    case = Case.create(tmp_path / "case")
    case.triggers.mkdir()
    (case.triggers / "suspect.json").write_text(json.dumps(document))
    with pytest.raises(TriggerError, match=r"\(suspect\)"):
        load_trigger("other", case)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TriggerError, match=r"no-such\.json cannot be read"):
        load_trigger(tmp_path / "no-such.json")


def test_a_giant_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "giant.json"
    with path.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(TriggerError, match="is larger than"):
        load_trigger(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not UTF-8"),
        (b'{"schema": NaN}', "is not JSON"),
        (b'{"schema": 1, "schema": 2}', "stands twice"),
        (b"[1, 2]", "its schema must be"),
        (b'{"schema": "roundlog.trigger/9"}', "its schema must be"),
        (b'{"schema": "roundlog.truth/1", "trigger": null}', "its schema must be"),
        (b'{"schema": "roundlog.trigger/1", "name": "x"}', "Field required"),
    ],
)
def test_what_is_no_trigger_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(TriggerError, match=reason):
        parse_trigger(data, "the file")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"tokens": [-1, 2, 3, 4]}, "greater than or equal to 0"),
        ({"tokens": [2**31, 2, 3, 4]}, "less than"),
        ({"tokens": []}, "at least 1 item"),
        ({"tokens": ["word", 2, 3, 4]}, "valid integer"),
        ({"target": -5}, "greater than or equal to 0"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_a_query_out_of_its_domain_is_refused_by_its_place(
    document: dict[str, Any], query: dict[str, Any], reason: str
) -> None:
    document["queries"][3] |= query
    with pytest.raises(TriggerError, match=rf"queries\.3.*{reason}"):
        _parse(document)


def test_queries_of_different_lengths_are_refused(document: dict[str, Any]) -> None:
    document["queries"][0]["tokens"].append(1)
    with pytest.raises(TriggerError, match="different numbers of tokens"):
        _parse(document)
