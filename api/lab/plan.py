"""Which points does a sweep have? Scenarios that differ in a few keys, each for every seed.

Every point is resolved before anything runs, so a wrong key or value costs nothing. Two points
that resolve to the same scenario are one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from api.documents import Document
from api.parameters import ParameterError
from simulator.scenario import Scenario, load

MOST_SEEDS = 100_000
MOST_POINTS = 10_000

_SEEDS = re.compile(r"(\d{1,19})(?:\.\.(\d{1,19}))?")


@dataclass(frozen=True, slots=True)
class Variation:
    """A key and the values that it takes in turn."""

    key: str
    values: tuple[str, ...]
    """As TOML, as in `--set`."""


@dataclass(frozen=True, slots=True)
class Point:
    """One scenario of a sweep."""

    settings: Document
    """The values, as they were resolved, of the keys in which it was made to differ."""

    columns: Document
    """The values of every key that the sweep varies."""

    scenario: Scenario

    @property
    def twin(self) -> bool:
        """Whether nobody attacks."""
        return self.scenario.fraction == 0

    @property
    def label(self) -> str:
        """What it is called."""
        return point_label(self.settings)


def point_label(settings: Document) -> str:
    """`fraction=0.001, cohort.size=500`; for people."""
    said = (
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in settings.items()
    )
    return ", ".join(said) or "as it stands"


def parse_variation(text: str) -> Variation:
    """`KEY=V1,V2,…`; a comma inside quotes or brackets separates nothing.

    Raises:
        ParameterError: It has another form.
    """
    key, equals, rest = text.partition("=")
    values = tuple(piece.strip() for piece in _split(rest))
    if not equals or not key.strip() or not all(values):
        raise ParameterError(
            f"--over {text!r} is not KEY=VALUE,VALUE,…, as in fraction=0,0.001,0.01"
        )
    return Variation(key.strip(), values)


def _split(text: str) -> list[str]:
    pieces, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        if sign == "," and not quote and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return pieces


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from `5` (1 to 5), `3..7`, or a list of both such as `1,4,9..12`.

    Raises:
        ParameterError: It has another form, names a seed twice, or names too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and parts[0].isdecimal():
        parts = [f"1..{parts[0]}"]
    seeds: list[int] = []
    for part in parts:
        found = _SEEDS.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < 2**63 or last - first >= MOST_SEEDS:
            raise ParameterError(
                f"--seeds {text!r} is neither a number of seeds (5), a range (3..7) nor a list of "
                f"seeds and ranges (1,4,9..12); at most {MOST_SEEDS:,}"
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds) or len(seeds) > MOST_SEEDS:
        raise ParameterError(
            f"--seeds {text!r} names a seed twice, or more than {MOST_SEEDS:,}: each is run once"
        )
    return tuple(seeds)


def plan(
    source: str,
    overrides: Sequence[str] = (),
    over: Sequence[Variation] = (),
    *,
    grid: bool = False,
    twin: bool = False,
) -> list[Point]:
    """The points of a sweep, each once, in the order in which they were named.

    Args:
        source: A shipped scenario's name, or the path of a TOML file.
        overrides: `KEY=VALUE`, for every point.
        over: What varies. One variation is walked through; of several, one key at a time is
            varied from the scenario as it stands, which then is the first point itself.
        grid: Multiply the variations instead.
        twin: Add the attack-free twin of every point.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: A key is varied twice, or the points are too many.
    """
    keys = [one.key for one in over]
    if len(set(keys)) < len(keys):
        raise ParameterError("a key is varied by two --over options; give all its values in one")
    number = 1
    for one in over:
        number = number * len(one.values) if grid else number + len(one.values)
    if number > MOST_POINTS:
        raise ParameterError(f"{number:,} points; at most {MOST_POINTS:,} make one sweep")
    steps: list[tuple[tuple[str, str], ...]]
    if grid:
        pairs = [[(one.key, value) for value in one.values] for one in over]
        steps = list(product(*pairs))
    else:
        steps = [((one.key, value),) for one in over for value in one.values]
        # With one key its values are the whole question; with several, or none, the scenario as
        # it stands is what the others are compared with.
        if len(over) != 1:
            steps.insert(0, ())
    points: dict[str, Point] = {}
    for step in steps:
        given = [*overrides, *(f"{key}={value}" for key, value in step)]
        _add(points, load(source, given), [key for key, _ in step], keys)
        if twin:
            _add(points, load(source, [*given, "fraction=0"]), [key for key, _ in step], keys)
    return list(points.values())


def _add(
    points: dict[str, Point], scenario: Scenario, varied: Iterable[str], keys: Sequence[str]
) -> None:
    settings = {key: value_of(scenario, key) for key in varied}
    if scenario.fraction == 0:
        settings["fraction"] = 0.0
    columns = {key: value_of(scenario, key) for key in keys}
    points.setdefault(scenario.digest(), Point(settings, columns, scenario))


def value_of(scenario: Scenario, key: str) -> Any:
    """The resolved value of a dotted key; None where it is left out."""
    value: Any = scenario.table()
    # As in an override: what `[assistant]` was called while there was one task.
    key = re.sub(r"^task\.", "assistant.", key)
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
