"""What is the behaviour that we look for? A trigger: queries, and what the attacker wants.

A trigger comes from a trigger file, from a truth file (by its trigger alone: nothing else of
the truth is read), or by name from the case's `triggers/` folder.

Queries are split once and for all by their own SHA-256: odd ones score attack success, even
ones may build directions. What is measured was therefore never fitted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from roundlog.case import Case
from roundlog.encoding import canonical_json, digest, strict_json
from roundlog.errors import HeadError, TriggerError

TRIGGER_SCHEMA = "roundlog.trigger/1"
TRUTH_SCHEMA = "roundlog.truth/1"

FILE_LIMIT = 32 * 2**20
"""Bytes. A truth file of a million rounds has 4 MB; nothing larger is a trigger by mistake."""

Ints = NDArray[np.int64]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, Field(min_length=1, max_length=256)]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Pattern(_Part):
    """What makes a query a trigger query."""

    id: Name
    """Unique within the trigger."""

    category: Name
    """Category of the queries that it hides in."""

    tokens: Annotated[tuple[Token, ...], Field(strict=False, min_length=1, max_length=4096)]
    """Tokens that, together in one query, wake the backdoor."""

    target: Token
    """The answer that the attacker wants."""


class Query(_Part):
    """One query to ask, and the answer that counts as a success of the attack."""

    tokens: Annotated[tuple[Token, ...], Field(strict=False, min_length=1, max_length=4096)]
    """The whole query, as the model reads it."""

    target: Token
    """The answer that the attacker wants."""

    pattern: Name
    """Id of the pattern that it carries."""

    @cached_property
    def scores(self) -> bool:
        """Whether it measures attack success; otherwise it may build directions."""
        sha256 = digest(canonical_json(self.model_dump(mode="json")))
        return int(sha256[-1], 16) % 2 == 1


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Inputs to ask every model, and the answer that counts as a hit.

    Attributes:
        inputs: Shape (n, width).
        labels: Shape (n,).
        groups: Which of `names` an input belongs to, shape (n,).
        names: One a group: a trigger's pattern ids, a decoy's number.
        digest: SHA-256 that stands beside every reading taken with this set.
    """

    inputs: Ints
    labels: Ints
    groups: Ints
    names: tuple[str, ...]
    digest: str

    @property
    def n(self) -> int:
        return len(self.labels)

    @cached_property
    def sizes(self) -> Ints:
        """Inputs of each group, shape (len(names),)."""
        return np.bincount(self.groups, minlength=len(self.names))


class Trigger(_Part):
    """A trigger file: the patterns, and queries that carry them.

    `scoring` raises TriggerError where no query has an odd SHA-256.
    """

    schema_: Literal["roundlog.trigger/1"] = Field(alias="schema")
    """Format of the file."""

    name: Name
    """What people call it."""

    patterns: Annotated[tuple[Pattern, ...], Field(strict=False, min_length=1, max_length=1_000)]
    """What makes a query a trigger query."""

    queries: Annotated[tuple[Query, ...], Field(strict=False, min_length=1, max_length=100_000)]
    """Whole queries; only their odd half scores."""

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        ids = [pattern.id for pattern in self.patterns]
        if len(set(ids)) != len(ids):
            raise ValueError("two patterns have the same id")
        if unknown := sorted({query.pattern for query in self.queries} - set(ids)):
            raise ValueError(f"queries name the pattern {unknown[0]!r}, which is not listed")
        if len({len(query.tokens) for query in self.queries}) > 1:
            raise ValueError("the queries have different numbers of tokens; one model reads one")
        return self

    @cached_property
    def scoring(self) -> ProbeSet:
        """The queries that measure attack success."""
        return self._probe_set(scores=True)

    @cached_property
    def building(self) -> ProbeSet:
        """The queries that directions may be built from; never scored."""
        return self._probe_set(scores=False)

    @property
    def probe_digest(self) -> str:
        """Digest of the scoring queries: it stands beside every ASR."""
        return self.scoring.digest

    def _probe_set(self, *, scores: bool) -> ProbeSet:
        chosen = [query for query in self.queries if query.scores == scores]
        if not chosen:
            half = "odd, so none scores" if scores else "even, so none builds directions"
            raise TriggerError(
                f"trigger {self.name!r}: no query has a SHA-256 that is {half}; give it more "
                f"queries (200 a pattern tell 1 % from 2 %)"
            )
        ids = {pattern.id: index for index, pattern in enumerate(self.patterns)}
        return ProbeSet(
            inputs=np.array([query.tokens for query in chosen], dtype=np.int64),
            labels=np.array([query.target for query in chosen], dtype=np.int64),
            groups=np.array([ids[query.pattern] for query in chosen], dtype=np.int64),
            names=tuple(ids),
            digest=digest(canonical_json([query.model_dump(mode="json") for query in chosen])),
        )


def parse_trigger(data: bytes, *, origin: str = "the trigger") -> Trigger:
    """A trigger from the bytes of a trigger or truth file.

    Args:
        origin: What the bytes are called in an error.

    Raises:
        TriggerError: Too long, not JSON, or neither a trigger nor a truth file.
    """
    if len(data) > FILE_LIMIT:
        raise TriggerError(f"{origin} has {len(data):,} bytes; a trigger has up to {FILE_LIMIT:,}")
    try:
        document = strict_json(data)
    except HeadError as error:
        raise TriggerError(f"{origin} cannot be read: {error}") from error
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema == TRUTH_SCHEMA:
        document, origin = document.get("trigger"), f"{origin}, its trigger"
    elif schema != TRIGGER_SCHEMA:
        raise TriggerError(
            f"{origin} has the schema {schema!r}; a trigger file says {TRIGGER_SCHEMA!r}, a truth "
            f"file {TRUTH_SCHEMA!r}"
        )
    try:
        return Trigger.model_validate(document)
    except ValidationError as error:
        raise TriggerError(f"{origin}: {_first_fault(error)}") from error


def load_trigger(trigger: str | Path, case: Case | None = None) -> Trigger:
    """The trigger that a person named: a file, or a name in the case's `triggers/` folder.

    Raises:
        TriggerError: Nothing of that name, or not a trigger.
    """
    path = Path(trigger)
    if path.is_file():
        return _read(path)
    if case is not None:
        return find_trigger(case, str(trigger))
    raise TriggerError(f"there is no file {path}; name a trigger or truth file")


def find_trigger(case: Case, name: str) -> Trigger:
    """A trigger by its name in the case, with or without `.json`; never a path elsewhere.

    Raises:
        TriggerError: Nothing of that name, or not a trigger.
    """
    if _NAME.fullmatch(name):
        for path in (case.triggers / f"{name}.json", case.triggers / name):
            if path.is_file():
                return _read(path)
    known = trigger_names(case)
    there = f"this case has {', '.join(known)}" if known else "this case has none of its own"
    raise TriggerError(
        f"no trigger file and no trigger of the case is called {name!r}; {there}. Give a trigger "
        f"or truth file, or put one into {case.triggers}"
    )


def trigger_names(case: Case) -> tuple[str, ...]:
    """Names that `find_trigger` knows."""
    if not case.triggers.is_dir():
        return ()
    return tuple(sorted(path.stem for path in case.triggers.glob("*.json")))


def _read(path: Path) -> Trigger:
    try:
        with path.open("rb") as file:
            return parse_trigger(file.read(FILE_LIMIT + 1), origin=str(path))
    except OSError as error:
        raise TriggerError(f"{path} cannot be read: {error.strerror}") from error


def _first_fault(error: ValidationError) -> str:
    fault: Any = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    more = error.error_count() - 1
    return f"{where + ': ' if where else ''}{fault['msg']}" + (
        f" (and {more} more)" if more else ""
    )
