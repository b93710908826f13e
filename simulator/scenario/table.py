"""What do all tables of a scenario have in common, and how is a wrong field explained?

Every field carries a sentence under it; nothing unknown is accepted; a wrong value is named with
its line, or its override, and with what is allowed.
"""

import re
import types
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from roundlog.errors import ScenarioError


class Table(BaseModel):
    """Base of every table of a scenario."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


T = TypeVar("T", bound=Table)


def validate(
    root: type[T],
    table: Mapping[str, Any],
    name: str,
    *,
    text: str = "",
    overrides: Mapping[str, str] | None = None,
) -> T:
    """The tables that plain values mean; every wrong field is named with its line in `text`.

    Args:
        root: The outermost table.
        name: What to call the source in messages.
        overrides: For each key that was overridden, the override as it was typed.

    Raises:
        ScenarioError: One line for each problem.
    """
    try:
        return root.model_validate(table)
    except ValidationError as error:
        lines = [
            _explain(root, problem, name, text, overrides or {})
            for problem in error.errors(include_url=False)
        ]
        raise ScenarioError("\n".join(lines)) from error


def _explain(
    root: type[Table],
    problem: Mapping[str, Any],
    name: str,
    text: str,
    overrides: Mapping[str, str],
) -> str:
    path = [str(part) for part in problem["loc"]]
    # pydantic appends the member of a union that it tried; fields end at the second name.
    path = path[:2] if path and _kind_of(root, path[0]) is not None else path[:1]
    key = ".".join(path)
    if key in overrides:
        place = f"override {overrides[key]!r}"
    elif line := _line_of(text, path):
        place = f"{name}:{line}"
    else:
        place = name
    said = problem["msg"].removeprefix("Value error, ")
    owner: type[Table] = root
    if len(path) == 2:
        owner = _kind_of(root, path[0]) or root
    if problem["type"] == "extra_forbidden":
        fields = ", ".join(owner.model_fields)
        where = f"[{path[0]}]" if len(path) == 2 else "a scenario"
        return f"{place}: {key} is not a field; {where} allows {fields}"
    if problem["type"] == "missing":
        return f"{place}: {key} is missing; allowed: {allowed(owner, path[-1])}"
    if not path:
        return f"{place}: {said}"
    if problem["type"] == "value_error":
        return f"{place}: {key}: {said}"
    return (
        f"{place}: {key} = {problem['input']!r} is not allowed; allowed: {allowed(owner, path[-1])}"
    )


def _kind_of(root: type[Table], name: str) -> type[Table] | None:
    info = root.model_fields.get(name)
    kind = info.annotation if info is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def allowed(owner: type[Table], name: str) -> str:
    """In words, what a field takes."""
    info = owner.model_fields[name]
    kinds: list[Any] = [info.annotation]
    bounds = list(info.metadata)
    words: list[str] = []
    while kinds:
        kind = kinds.pop(0)
        origin = get_origin(kind)
        if origin is Literal:
            words += [repr(value) for value in get_args(kind)]
        elif origin in (Union, types.UnionType):
            kinds = [*get_args(kind), *kinds]
        elif origin is Annotated:
            first, *more = get_args(kind)
            kinds.insert(0, first)
            for extra in more:
                bounds += extra.metadata if hasattr(extra, "metadata") else [extra]
        elif kind is type(None):
            words.append("left out")
        elif isinstance(kind, type) and issubclass(kind, Table):
            words.append(f"a table with {', '.join(kind.model_fields)}")
        else:
            names = {
                bool: "true or false",
                int: "an integer",
                float: "a number",
                str: "text",
                datetime: "a date and time",
            }
            words.append(names.get(kind, str(kind)) + _bounds(bounds))
    return " or ".join(words)


def _bounds(bounds: Iterable[Any]) -> str:
    said = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "pattern": "matching"}
    parts = [
        f"{phrase} {getattr(bound, key)}"
        for bound in bounds
        for key, phrase in said.items()
        if getattr(bound, key, None) is not None
    ]
    return " " + " and ".join(parts) if parts else ""


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"-]+)\s*=")


def _line_of(text: str, path: list[str]) -> int | None:
    """Line of a key in TOML text; of its table where the key is not there; None without either."""
    table = ""
    fallback = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header.group(1)
            if path == [table]:
                return number
            if path and table == path[0]:
                fallback = number
        elif key := _KEY.match(line):
            dotted = key.group(1).replace('"', "").split(".")
            full = [table, *dotted] if table else dotted
            if full == path:
                return number
    return fallback
