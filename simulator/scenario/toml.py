"""How does a scenario look as TOML, with the meaning of every field above it?"""

from datetime import datetime

from simulator.scenario.table import Table, allowed
from simulator.scenario.tables import Scenario


def to_toml(scenario: Scenario) -> str:
    """The resolved scenario as TOML; a comment above each field says what it means."""
    lines = [f"# {_sentence(Scenario)}", ""]
    lines += _fields(scenario)
    for name in Scenario.model_fields:
        part = getattr(scenario, name)
        if isinstance(part, Table):
            lines += ["", f"# {_sentence(type(part))}", f"[{name}]", *_fields(part)]
    return "\n".join(lines) + "\n"


def _fields(table: Table) -> list[str]:
    lines: list[str] = []
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, Table):
            continue
        said = " ".join((info.description or "").split())
        lines.append(f"# {said} Allowed: {allowed(type(table), name)}.")
        lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    return lines


def _sentence(kind: type[Table]) -> str:
    return (kind.__doc__ or kind.__name__).splitlines()[0]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return repr(value)
