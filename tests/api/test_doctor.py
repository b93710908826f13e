"""Does the doctor see what is missing, and say how it is got?"""

import importlib.util
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from doors import Recorded, invoke

from api.doctor import examine


def _check(document: dict[str, list[dict[str, str]]], name: str) -> dict[str, str]:
    return next(check for check in document["checks"] if check["name"] == name)


def test_a_machine_that_runs_these_tests_is_in_order(shared: Recorded) -> None:
    examined = invoke("doctor", shared.case, "--json")
    assert examined.exit_code == 0
    document = json.loads(examined.stdout)
    assert document["ok"]
    assert _check(document, "torch")["health"] == "ok"
    assert "1 run(s); nobody holds it" in _check(document, f"case {shared.case}")["found"]
    assert "GB free" in invoke("doctor").stdout


def test_missing_packages_are_named_with_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> object:
        return None if name in ("duckdb", "torch") else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    document = examine()
    assert not document["ok"]
    assert "duckdb" in _check(document, "extra server")["found"]
    assert "roundlog[server]" in _check(document, "extra server")["get_it"]
    assert _check(document, "torch")["health"] == "missing"
    assert invoke("doctor").exit_code == 1


def test_a_machine_without_java_is_told_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    document = examine()
    assert document["ok"]
    assert _check(document, "java")["health"] == "missing"
    assert _check(document, "java")["needed_for"] == "make kafka, make test"
    assert "Maven" in _check(document, "mvn")["get_it"]


def test_what_is_no_case_is_said(tmp_path: Path) -> None:
    document = examine(str(tmp_path))
    assert not document["ok"]
    assert "is not a case" in _check(document, f"case {tmp_path}")["found"]


def test_a_quarantine_and_an_owner_are_seen(recorded: Recorded) -> None:
    from roundlog.case import Case

    (recorded.case / "quarantine").mkdir()
    (recorded.case / "quarantine" / "one").write_bytes(b"?")
    with Case(recorded.case).own("http://127.0.0.1:1"):
        document = examine(str(recorded.case))
    assert "serves at http://127.0.0.1:1" in _check(document, f"case {recorded.case}")["found"]
    assert _check(document, "its quarantine")["health"] == "warning"
