"""What every fact has in common: who said it, in which order, and how it is sealed.

Attribute names are those of CloudEvents 1.0. Order is `seq` (dense per producer and run)
and the `prev` chain; `time` is for people and orders nothing.
"""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from roundlog.encoding import digest

NO_DIGEST = "0" * 64
"""`prev` of a producer's first event."""

EMPTY_DIGEST = digest(b"")

INT64_MAX = 2**63 - 1

SEQ_LIMIT = 2**31
"""Events of one producer in one run. An offset of the embedded log holds a `seq` in its upper
half, and must fit the signed 64 bits of a database column."""

# Names become directory and file names, so they may not hold a separator or begin with a dot.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Count = Annotated[int, Field(ge=0, le=INT64_MAX)]

OWNER = "owner"
"""The producer that writes down what people and detectors say of a run: the process that owns the
case (`ingest.said`). No recorder speaks under this name."""

# A name is shown beside what was said, so nothing in it may hide, swap or overwrite: no control
# character, no mark of direction, nothing without width. Stated in code points, since a rule by
# Unicode category would read an old event otherwise under a newer Python.
_UNSEEN = (
    r"\x00-\x1F\x7F-\xA0\u{00AD}\u{061C}\u{200B}-\u{200F}\u{2028}-\u{202E}\u{2060}-\u{206F}\u{FEFF}"
)
Person = Annotated[str, StringConstraints(pattern=f"^[^ {_UNSEEN}]([^{_UNSEEN}]{{0,63}})$")]
Note = Annotated[str, StringConstraints(max_length=2_000)]

Authenticated = Literal["local", "key", "oidc"]
"""How it is known who spoke: `local` for whoever may open the case or reach its server, by the
name that they gave; `key` for a key of their own; `oidc` for an identity provider."""


def _portable(value: JsonValue) -> JsonValue:
    """Refuses numbers that JSON, or a reader in another language, would change silently."""
    if isinstance(value, dict):
        for item in value.values():
            _portable(item)
    elif isinstance(value, list):
        for item in value:
            _portable(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    elif isinstance(value, int) and not -INT64_MAX - 1 <= value <= INT64_MAX:
        raise ValueError(f"{value} does not fit a signed 64-bit integer")
    return value


JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_portable)]


class Record(BaseModel):
    """Base of every part of an event: frozen and closed, and no number is NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Tail(Record):
    """One run of side bytes behind the head."""

    name: Name
    """What it is: `delta`, `patch`, `strata`, `weights`, `inputs`, `labels`, `text`, ..."""

    bytes: Count
    """Its length."""

    erasable: Digest | None = None
    """Set where the bytes may be erased later: SHA-256 of the tail, which begins with 16 random
    salt bytes. Such a tail is not part of the event's `sha256`, so the record still verifies
    when it is gone."""


class Event(Record):
    """One fact in the past tense, by one producer, about one run."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """`fl.` + name + `.v` + version."""

    specversion: str = Field(default="1.0", pattern=r"^1\.0$")
    """CloudEvents version."""

    id: Annotated[str, StringConstraints(max_length=160)]
    """`{run}/{producer}/{seq}`."""

    source: Name
    """The producer: who says this."""

    subject: Name
    """The run that this is about."""

    time: AwareDatetime
    """When, by the producer's clock. For people; it orders nothing."""

    dataschema: str = Field(
        default_factory=lambda known: f"urn:roundlog:{known['type']}", max_length=512
    )
    """URN of the schema of this type and version; filled in where it is left out."""

    seq: Annotated[int, Field(ge=0, lt=SEQ_LIMIT)]
    """The producer's count of its events in this run, from 0, without holes."""

    prev: Digest
    """SHA-256 of the head bytes of the producer's previous event; zeros for the first."""

    sha256: Digest = EMPTY_DIGEST
    """SHA-256 of the side bytes, erasable tails left out."""

    tails: tuple[Tail, ...] = ()
    """The side bytes, in order."""

    tail_names: ClassVar[frozenset[str]] = frozenset()
    """The tails that this kind may carry."""

    # One validator for both, since every event that is read pays for each call.
    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Event":
        if self.id != f"{self.subject}/{self.source}/{self.seq}":
            raise ValueError(f"id {self.id!r} is not {self.subject}/{self.source}/{self.seq}")
        if self.tails:
            names = {tail.name for tail in self.tails}
            if len(names) != len(self.tails):
                named = [tail.name for tail in self.tails]
                raise ValueError(f"two tails have one name: {named}")
            if unknown := self._tails_out_of_place(names):
                raise ValueError(f"{self.name} has no tail named {sorted(unknown)}")
        return self

    def _tails_out_of_place(self, names: set[str]) -> set[str]:
        return names - self.tail_names

    @property
    def run(self) -> str:
        return self.subject

    @property
    def producer(self) -> str:
        return self.source

    @property
    def name(self) -> str:
        """The kind without prefix and version: `round.committed`."""
        return self.type.removeprefix("fl.").rsplit(".v", 1)[0]

    @property
    def side_bytes(self) -> int:
        return sum(tail.bytes for tail in self.tails)

    def head(self) -> bytes:
        """The head's exact bytes: JSON in field order, absent values left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class UnknownEvent(Event):
    """An event of a type or version that this program does not know: stored, never dropped."""

    model_config = ConfigDict(extra="allow")

    def _tails_out_of_place(self, names: set[str]) -> set[str]:
        return set()  # whatever that version may carry
