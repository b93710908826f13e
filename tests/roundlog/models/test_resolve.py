"""Names of architectures become networks, or a clear refusal."""

import sys
import types
from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
from pydantic import JsonValue

from roundlog import plugins
from roundlog.errors import RoundlogError
from roundlog.models import GROUP, Architecture, AssistantBag, resolve


def _small(config: Mapping[str, JsonValue]) -> AssistantBag:
    del config
    return AssistantBag(vocabulary=5, width=2, embedding=3, hidden=4, classes=2)


@pytest.fixture
def module_of_a_stranger(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("someones_network")
    module.make = _small  # type: ignore[attr-defined]
    module.nothing = lambda config: object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_the_built_in_name_takes_the_recorded_config() -> None:
    bag = resolve("assistant-bag", {"hidden": 30})
    assert isinstance(bag, AssistantBag)
    assert bag.hidden == 30
    assert bag.vocabulary == 218


def test_the_reference_model_is_an_architecture() -> None:
    assert isinstance(AssistantBag(), Architecture)


def test_a_module_and_function_name_any_network(module_of_a_stranger: str) -> None:
    assert resolve(f"{module_of_a_stranger}:make", {}).classes == 2


def test_an_entry_point_of_the_group_is_found(
    module_of_a_stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("theirs", f"{module_of_a_stranger}:make", GROUP)

    def installed(**query: Any) -> EntryPoints:
        return EntryPoints([point]).select(**query)

    monkeypatch.setattr(plugins, "entry_points", installed)
    assert resolve("theirs", {}).width == 2


def test_an_entry_point_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "no_such_module_at_all:make", GROUP)

    def installed(**query: Any) -> EntryPoints:
        return EntryPoints([point]).select(**query)

    monkeypatch.setattr(plugins, "entry_points", installed)
    with pytest.raises(RoundlogError, match=r"entry point 'theirs' \(no_such_module_at_all"):
        resolve("theirs", {})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RoundlogError, match=r"'transformer'; known are assistant-bag"):
        resolve("transformer", {})


@pytest.mark.parametrize("name", ["no_such_module_at_all:make", "json:no_such_function", ":x"])
def test_a_path_that_cannot_be_imported_is_refused(name: str) -> None:
    with pytest.raises(RoundlogError, match="cannot be imported"):
        resolve(name, {})


def test_a_function_that_makes_something_else_is_refused(module_of_a_stranger: str) -> None:
    with pytest.raises(RoundlogError, match="made a object, which lacks"):
        resolve(f"{module_of_a_stranger}:nothing", {})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": 3}, "has no setting layers"),
        ({"hidden": "many"}, "setting hidden"),
        ({"hidden": 0}, "setting hidden must be positive"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict[str, JsonValue], message: str) -> None:
    with pytest.raises(RoundlogError, match=message):
        resolve("assistant-bag", config)
