"""Names of detectors become detectors, or a clear refusal."""

import sys
import types
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from forensics.detectors import GROUP, Cusum, Detector, Glr, SequentialRanks, resolve
from roundlog import plugins
from roundlog.errors import QuestionError


@pytest.fixture
def module_of_a_stranger(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("someones_detector")
    module.make = lambda slack=0.3: Cusum(slacks=(slack,))  # type: ignore[attr-defined]
    module.nothing = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def install(point: EntryPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(**query: Any) -> EntryPoints:
        return EntryPoints([point]).select(**query)

    monkeypatch.setattr(plugins, "entry_points", installed)


@pytest.mark.parametrize(
    ("name", "kind"), [("cusum", Cusum), ("glr", Glr), ("sequential-ranks", SequentialRanks)]
)
def test_built_in_names_are_known_and_are_detectors(name: str, kind: type) -> None:
    found = resolve(name)
    assert isinstance(found, kind)
    assert isinstance(found, Detector)
    assert found.name == name
    assert found.charts


def test_settings_reach_the_detector() -> None:
    found = resolve("cusum", {"slacks": [0.2], "two_sided": True})
    assert found.charts == ("cusum k=0.2", "cusum k=0.2 down")


def test_a_module_and_function_name_any_detector(module_of_a_stranger: str) -> None:
    assert resolve(f"{module_of_a_stranger}:make", {"slack": 0.4}).charts == ("cusum k=0.4",)


def test_an_entry_point_of_the_group_is_found(
    module_of_a_stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(EntryPoint("theirs", f"{module_of_a_stranger}:make", GROUP), monkeypatch)
    assert GROUP == "roundlog.detectors"
    assert resolve("theirs").charts == ("cusum k=0.3",)


def test_an_entry_point_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(EntryPoint("theirs", "no_such_module_at_all:make", GROUP), monkeypatch)
    with pytest.raises(QuestionError, match=r"entry point 'theirs' \(no_such_module_at_all"):
        resolve("theirs")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(QuestionError, match=r"'ewma'; known are cusum, glr, sequential-ranks"):
        resolve("ewma")


@pytest.mark.parametrize("name", ["no_such_module_at_all:make", "json:no_such_function", ":x"])
def test_a_path_that_cannot_be_imported_is_refused(name: str) -> None:
    with pytest.raises(QuestionError, match="cannot be imported"):
        resolve(name)


def test_a_function_that_makes_something_else_is_refused(module_of_a_stranger: str) -> None:
    with pytest.raises(QuestionError, match="made a object, which lacks some of name"):
        resolve(f"{module_of_a_stranger}:nothing")


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(QuestionError, match=r"'glr' does not take the settings \{'slack': 1\}"):
        resolve("glr", {"slack": 1})
    with pytest.raises(QuestionError, match="3 <= minimum <= memory"):
        resolve("glr", {"minimum": 1})
