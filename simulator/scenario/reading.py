"""Which scenario is meant? From a shipped name or a file, and overrides, to a checked scenario."""

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from roundlog.errors import ScenarioError
from simulator.scenario.table import validate
from simulator.scenario.tables import Scenario

_OLD_HEADER = re.compile(r"^(\s*\[\s*)task(\s*\])", re.MULTILINE)


def shipped() -> tuple[str, ...]:
    """Names of the scenarios that come with the simulator."""
    folder = resources.files("simulator") / "scenarios"
    return tuple(
        sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name[-5:] == ".toml")
    )


def read(source: str | Path) -> tuple[str, str]:
    """Text of a scenario, and what to call it in messages.

    Args:
        source: A shipped name, or the path of a TOML file.

    Raises:
        ScenarioError: There is no such scenario.
    """
    if str(source) in shipped():
        entry = resources.files("simulator") / "scenarios" / f"{source}.toml"
        return entry.read_text(encoding="utf-8"), f"{source}.toml"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"{source} is neither a shipped scenario ({', '.join(shipped())}) nor a TOML file that "
            f"can be read: {getattr(error, 'strerror', None) or error}"
        ) from error


def load(source: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """A scenario, resolved: defaults filled in and overrides applied.

    Args:
        source: A shipped name, or the path of a TOML file.
        overrides: `KEY=VALUE` with a dotted key and a TOML value, as in `attack.shape=ramp`.

    Raises:
        ScenarioError: Names the file and line, or the override, and the allowed values.
    """
    text, name = read(source)
    # `[task]` is what `[assistant]` was called while there was one task; a line stays a line.
    text = _OLD_HEADER.sub(r"\1assistant\2", text)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not TOML: {error}") from error
    return _overridden(table, overrides, name, text)


def altered(scenario: Scenario, overrides: Iterable[str]) -> Scenario:
    """The same scenario with some settings changed.

    Args:
        overrides: `KEY=VALUE`, as `load` takes them.

    Raises:
        ScenarioError: Names the override and the allowed values.
    """
    return _overridden(scenario.table(), overrides, scenario.name, "")


def _overridden(table: dict[str, Any], overrides: Iterable[str], name: str, text: str) -> Scenario:
    given: dict[str, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        given[key] = override
        _put(table, key, value, override)
    return validate(Scenario, table, name, text=text, overrides=given)


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, raw = override.partition("=")
    key, raw = key.strip(), raw.strip()
    if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", key):
        raise ScenarioError(f"the override {override!r} is not KEY=VALUE, as in server.lr=0.09")
    key = re.sub(r"^task\.", "assistant.", key)
    try:
        return key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return key, raw


def _put(table: dict[str, Any], key: str, value: Any, override: str) -> None:
    *tables, last = key.split(".")
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"the override {override!r} goes into {name!r}, not a table")
    table[last] = value
