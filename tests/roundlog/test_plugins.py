"""Does a name mean ours first, then what is installed, then what a person names?"""

from importlib.metadata import EntryPoint

import pytest

from roundlog import plugins
from roundlog.errors import QuestionError, RoundlogError
from roundlog.plugins import Factory, find_factory, known_names

GROUP = "roundlog.things"


def ours() -> str:
    return "ours"


def _find(name: str, error: type[RoundlogError] = RoundlogError) -> Factory | None:
    return find_factory(name, group=GROUP, built_in={"ours": ours}, what="thing", error=error)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("theirs", "json:dumps", GROUP),
        EntryPoint("ours", "json:loads", GROUP),
        EntryPoint("broken", "json:nothing_of_that_name", GROUP),
    ]

    def chosen(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [one for one in points if one.group == group and name in (None, one.name)]

    monkeypatch.setattr(plugins, "entry_points", chosen)


def test_what_is_built_in_comes_first(installed: None) -> None:
    assert _find("ours") is ours


def test_an_installed_entry_point_is_found_by_its_name(installed: None) -> None:
    import json

    assert _find("theirs") is json.dumps
    assert known_names(GROUP, {"ours": ours}) == ["broken", "ours", "theirs"]


def test_a_module_and_its_function_can_be_named() -> None:
    import math

    assert _find("math:sqrt") is math.sqrt


def test_an_unknown_name_is_nobodys() -> None:
    assert _find("nobody") is None


@pytest.mark.parametrize(
    "name", ["math:nothing_of_that_name", "no_module_of_that_name:x", ":sqrt", "math:"]
)
def test_a_path_that_leads_nowhere_is_said(name: str) -> None:
    with pytest.raises(RoundlogError, match=r"the thing .* cannot be imported"):
        _find(name)


def test_a_broken_entry_point_is_said_in_the_callers_error(installed: None) -> None:
    with pytest.raises(QuestionError, match=r"'broken' \(json:nothing_of_that_name\)"):
        _find("broken", QuestionError)
