"""Which facts can be recorded? One discriminated union, and the two ways in and out of bytes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from roundlog.encoding import Frame, digest, strict_json
from roundlog.errors import HeadError
from roundlog.events.alarms import (
    AlarmAcknowledged,
    AlarmBudget,
    AlarmRaised,
    AlarmSilenced,
    alarm_key,
    is_owners,
)
from roundlog.events.base import (
    EMPTY_DIGEST,
    INT64_MAX,
    NO_DIGEST,
    OWNER,
    Authenticated,
    Event,
    Person,
    Record,
    Tail,
    UnknownEvent,
)
from roundlog.events.behaviour import AuditSampled, ProbesPublished
from roundlog.events.erasure import TextsErased
from roundlog.events.rounds import (
    ModelGenesis,
    ModelReleased,
    ModelSchema,
    RoundCommitted,
    RoundFailed,
    ServerStep,
    SnapshotStored,
)
from roundlog.events.runs import (
    CohortSealed,
    ContinuityBreak,
    PrivacyMechanism,
    RecorderGap,
    RunOpened,
)

AnyEvent = Annotated[
    RunOpened
    | ModelSchema
    | ModelGenesis
    | ModelReleased
    | RoundCommitted
    | RoundFailed
    | RecorderGap
    | ContinuityBreak
    | CohortSealed
    | SnapshotStored
    | ProbesPublished
    | AuditSampled
    | AlarmRaised
    | AlarmAcknowledged
    | AlarmSilenced
    | TextsErased,
    Field(discriminator="type"),
]

EVENT_TYPES: dict[str, type[Event]] = {
    str(kind.model_fields["type"].default): kind
    for kind in AnyEvent.__origin__.__args__  # type: ignore[attr-defined]
}
"""Every kind that this version knows, by its `type`."""

_known: TypeAdapter[Event] = TypeAdapter(AnyEvent)

__all__ = [
    "EMPTY_DIGEST",
    "EVENT_TYPES",
    "INT64_MAX",
    "NO_DIGEST",
    "OWNER",
    "AlarmAcknowledged",
    "AlarmBudget",
    "AlarmRaised",
    "AlarmSilenced",
    "AuditSampled",
    "Authenticated",
    "CohortSealed",
    "ContinuityBreak",
    "Event",
    "ModelGenesis",
    "ModelReleased",
    "ModelSchema",
    "Person",
    "PrivacyMechanism",
    "ProbesPublished",
    "Record",
    "RecorderGap",
    "RoundCommitted",
    "RoundFailed",
    "RunOpened",
    "ServerStep",
    "SnapshotStored",
    "Tail",
    "TextsErased",
    "UnknownEvent",
    "alarm_key",
    "check_side",
    "is_erased",
    "is_owners",
    "parse_head",
    "split_side",
]


def parse_head(head: bytes) -> Event:
    """The event that a head holds; an `UnknownEvent` for a type or version we do not know.

    Raises:
        HeadError: `reason` is one of those of `strict_json`, `not_an_event` (the envelope is
            wrong) or `field` (a known type with a missing, extra or impossible field).
    """
    problem = None
    try:
        event = _known.validate_json(head, strict=True)
    except ValidationError as error:
        problem = error
    else:
        # A head that we would write ourselves has no second reading. Any other is read again by
        # the strict parser, since pydantic's takes the last of two equal keys, and NaN.
        if event.head() == head:
            return event
    raw: Any = strict_json(head)
    if problem is None:
        return event
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise HeadError("not_an_event", "the head is not a JSON object with a type")
    if raw["type"] in EVENT_TYPES:
        raise HeadError("field", _explain(problem, skip=1)) from problem
    try:
        return UnknownEvent.model_validate_json(head, strict=True)
    except ValidationError as error:
        raise HeadError("not_an_event", _explain(error, skip=0)) from error


def split_side(event: Event, side: bytes | memoryview) -> dict[str, memoryview]:
    """The tails by name, without copying.

    Raises:
        HeadError: `side_length` where the side is not as long as the head says.
    """
    view = memoryview(side)
    if len(view) != event.side_bytes:
        raise HeadError(
            "side_length", f"{len(view)} side bytes, the head's tails add up to {event.side_bytes}"
        )
    tails: dict[str, memoryview] = {}
    at = 0
    for tail in event.tails:
        tails[tail.name] = view[at : at + tail.bytes]
        at += tail.bytes
    return tails


def check_side(event: Event, side: bytes | memoryview) -> dict[str, memoryview]:
    """The tails by name, after their digests were compared with the head.

    An erasable tail may have been overwritten with zeros; `is_erased` tells.

    Raises:
        HeadError: `side_length`, or `side_digest` where the bytes are not those that were sealed.
    """
    tails = split_side(event, side)
    erasable = [tail for tail in event.tails if tail.erasable is not None]
    if not erasable:
        found = digest(side)
    elif len(erasable) == len(event.tails):
        found = EMPTY_DIGEST
    else:
        found = digest(*[tails[tail.name] for tail in event.tails if tail.erasable is None])
    if found != event.sha256:
        raise HeadError("side_digest", "the side bytes do not have the digest that the head names")
    for tail in erasable:
        text = tails[tail.name]
        if digest(text) != tail.erasable and any(text):
            raise HeadError("side_digest", f"tail {tail.name!r} does not have its salted digest")
    return tails


def is_erased(event: Event, tails: Mapping[str, memoryview]) -> bool:
    """Whether words of an event that passed `check_side` were overwritten with zeros."""
    return any(
        tail.erasable is not None and digest(tails[tail.name]) != tail.erasable
        for tail in event.tails
    )


def event_digest(frame: Frame) -> str:
    """What the producer's next event names as `prev`: SHA-256 of the exact head bytes."""
    return digest(frame.head)


def _explain(error: ValidationError, *, skip: int) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"][skip:]) or "head"
    rest = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg']}{rest}"
