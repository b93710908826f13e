"""Which behaviour are we looking for? A trigger: patterns, and queries that carry them.

Queries are split once and for all by their own digest: even ones may build directions, odd ones
score. What a direction was built from never measures its success.

A truth file is accepted wherever a trigger is asked for; only its trigger is read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roundlog.case import Case
from roundlog.encoding import canonical_json, digest, strict_json
from roundlog.errors import HeadError, TriggerError

TRIGGER_SCHEMA = "roundlog.trigger/1"
TRUTH_SCHEMA = "roundlog.truth/1"

FILE_LIMIT = 64 << 20
"""Bytes. A truth file of a million rounds is 6 MB; more is a mistake or an attack on our memory."""

Token = Annotated[int, Field(ge=0, lt=2**31)]
Inputs = NDArray[np.int64]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(_Closed):
    """One way to set the backdoor off."""

    id: str = Field(min_length=1, max_length=128)
    category: str = Field(min_length=1, max_length=128)
    tokens: tuple[Token, ...] = Field(min_length=1)
    target: Token
    """Class that the attacker wants."""


class Query(_Closed):
    """One input that carries a pattern."""

    tokens: tuple[Token, ...] = Field(min_length=1)
    target: Token
    pattern: str

    def digest(self) -> str:
        return digest(canonical_json(self.model_dump(mode="json")))


class Trigger(_Closed):
    """A trigger file."""

    schema_: Literal["roundlog.trigger/1"] = Field(alias="schema")
    name: str = Field(min_length=1, max_length=128)
    patterns: tuple[Pattern, ...] = ()
    queries: tuple[Query, ...] = Field(min_length=1)

    def scoring(self) -> "ProbeSet":
        """The queries that measure attack success: those whose digest is odd."""
        return self._half(1)

    def building(self) -> "ProbeSet":
        """The queries that directions may be built from: those whose digest is even."""
        return self._half(0)

    def _half(self, parity: int) -> "ProbeSet":
        chosen = [query for query in self.queries if int(query.digest()[-1], 16) % 2 == parity]
        return probe_set(
            self.name,
            np.array([query.tokens for query in chosen], dtype=np.int64),
            np.array([query.target for query in chosen], dtype=np.int64),
            tuple(query.pattern for query in chosen),
        )


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Inputs and the answer that counts as a hit."""

    name: str
    inputs: Inputs
    """Shape (n, width)."""
    targets: Inputs
    """Shape (n,)."""
    patterns: tuple[str, ...]
    """For each input, the pattern it carries; empty where there are none."""
    digest: str
    """SHA-256 over inputs and targets as little-endian int32; printed with every rate."""

    def __len__(self) -> int:
        return len(self.targets)


def probe_set(
    name: str, inputs: Inputs, targets: Inputs, patterns: tuple[str, ...] = ()
) -> ProbeSet:
    """A probe set with its digest."""
    parts = (np.ascontiguousarray(part, dtype="<i4").tobytes() for part in (inputs, targets))
    return ProbeSet(name, inputs, targets, patterns, digest(*parts))


def load_trigger(source: str | Path, case: Case | None = None) -> Trigger:
    """A trigger from a trigger file, a truth file, or a name in the case's `triggers/`.

    Raises:
        TriggerError: No such file or name, or not a trigger.
    """
    path = Path(source)
    if not path.is_file() and case is not None:
        if named := _named(str(source), case):
            path = named
        else:
            known = ", ".join(trigger_names(case)) or "none yet"
            raise TriggerError(
                f"{source} is neither a file nor a name in {case.triggers} ({known}); give a "
                f"trigger or truth file"
            )
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise TriggerError(f"{path} is larger than {FILE_LIMIT >> 20} MiB; not a trigger file")
        return parse_trigger(path.read_bytes(), str(path))
    except OSError as error:
        raise TriggerError(f"{path} cannot be read: {error.strerror}") from error


def parse_trigger(data: bytes, name: str) -> Trigger:
    """A trigger from the bytes of a trigger or truth file.

    Raises:
        TriggerError: Which field is wrong.
    """
    try:
        document: Any = strict_json(data)
    except HeadError as error:
        raise TriggerError(f"{name} is not a trigger file: {error}") from error
    if isinstance(document, dict) and document.get("schema") == TRUTH_SCHEMA:
        document = document.get("trigger")
    if not isinstance(document, dict) or document.get("schema") != TRIGGER_SCHEMA:
        raise TriggerError(
            f"{name} is not a trigger file: its schema must be {TRIGGER_SCHEMA!r} or "
            f"{TRUTH_SCHEMA!r}"
        )
    try:
        trigger = Trigger.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TriggerError(f"{name}: {where}: {first['msg']}") from error
    if len({len(query.tokens) for query in trigger.queries}) > 1:
        raise TriggerError(f"{name}: queries have different numbers of tokens")
    return trigger


def trigger_names(case: Case) -> list[str]:
    """The names in the case's `triggers/`."""
    return sorted(path.stem for path in case.triggers.glob("*.json"))


def _named(name: str, case: Case) -> Path | None:
    # Compared with the listing, never joined to a path: a name cannot leave the folder.
    return case.triggers / f"{name}.json" if name in trigger_names(case) else None
