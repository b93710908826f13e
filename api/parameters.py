"""Which parameters does each question take? One closed model a question, a sentence a field.

The command line, HTTP and Python hand in texts or JSON values; what is read here is what the
answering function gets, whichever door it came through.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticCustomError

from roundlog.errors import QuestionError
from roundlog.events.base import Person

DOCUMENTS = {
    "trigger": "the trigger in the body; it is not kept",
    "examples": "the examples in the body; they are not kept",
}
"""Parameters that may be documents: a question that takes one can also be asked with POST."""


class ParameterError(QuestionError):
    """A parameter is missing, unknown or out of its domain."""

    exit_code = 2


class Params(BaseModel):
    """Base of every question's parameters."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    local_only: ClassVar[frozenset[str]] = frozenset()
    """Parameters that make us import code, or read a file: never taken over HTTP."""

    run: str | None = Field(default=None, max_length=64)
    """Name of the run; needed only where the case holds several."""


P = TypeVar("P", bound=Params)


def read_params(kind: type[P], values: Mapping[str, Any], name: str) -> P:
    """Parameters from texts or JSON values; None counts as left out.

    Args:
        name: Of what takes them, for the message.

    Raises:
        ParameterError: Names the parameter and what is allowed.
    """
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        which = ".".join(str(part) for part in first["loc"][:1]) or "parameters"
        known = ", ".join(kind.model_fields)
        extra = f"; {name} takes: {known}" if first["type"] == "extra_forbidden" else ""
        raise ParameterError(f"{which}: {first['msg']}{extra}") from error


def _levels(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    split = [piece for part in parts for piece in (str(part).split(",") if part else [])]
    return tuple(piece.strip() for piece in split)


Level = Annotated[float, Field(gt=0, le=1)]
Levels = Annotated[tuple[Level, ...], BeforeValidator(_levels), Field(min_length=1, max_length=20)]
RoundText = Annotated[str, BeforeValidator(str), Field(max_length=48)]
TriggerSource = Annotated[str, Field(min_length=1, max_length=128)] | dict[str, JsonValue]
Metric = Literal["delta_norm", "aggregate_norm", "patched", "cohort_size", "noise_multiplier"]
Artefact = Literal["master", "broadcast"]
AlarmKey = Annotated[str, Field(pattern="^[0-9a-f]{4,64}$")]
Limit = Annotated[int, Field(ge=1, le=1_000_000)]


class NoParams(Params):
    """The case itself is asked."""


class ScrubParams(Params):
    """How fast the evidence is read."""

    rate: float | None = Field(default=None, gt=0, le=1_000_000)
    """MB (10^6 bytes) a second at most; as fast as it goes where it is left out."""


class QuarantinedParams(Params):
    """Which refused record is wanted, and how much of it."""

    record: Annotated[str, Field(pattern="^[0-9a-f]{4,16}$")]
    """The record's id, or its first digits."""

    bytes: int = Field(default=256, ge=0, le=65_536)
    """Of its bytes so many, from the first on."""


class RoundsParams(Params):
    """Which rounds are wanted."""

    rounds: RoundText | None = None
    """A range such as 400..800; all where it is left out."""

    after: int | None = Field(default=None, ge=-1, le=2**62)
    """Cursor: rounds above this one only; `next` of the answer before."""

    limit: Limit = 10_000
    """Rounds in one answer."""


class SeriesParams(Params):
    """Which number is drawn, and how wide."""

    metric: Metric = "delta_norm"
    """The number."""

    rounds: RoundText | None = None
    """A range such as 400..800; all where it is left out."""

    pixels: int = Field(default=1_000, ge=1, le=10_000)
    """Points at most; each is the lowest and the highest value of its rounds."""


class LogParams(Params):
    """Which events are wanted."""

    type: str | None = Field(default=None, max_length=64)
    """Only this kind: round.committed, audit.sampled, or a full type."""

    producer: str | None = Field(default=None, max_length=64)
    """Only what this producer said."""

    rounds: RoundText | None = None
    """Only events about these rounds or models, such as 400..800."""

    before: int | None = Field(default=None, ge=1, le=2**62)
    """Cursor: events older than this one; `next` of the answer before."""

    limit: Limit = 50
    """Events in one answer."""


class TailParams(Params):
    """Where the tail of a run begins."""

    last: int = Field(default=0, ge=0, le=10_000_000)
    """Events of before that are told first; what comes follows them."""


class ShowParams(Params):
    """Which event is wanted."""

    event: RoundText
    """A round (812, head~100), or an event's id: run/producer/seq."""


class DriftParams(Params):
    """How movement is summed up."""

    every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Rounds from one row to the next; about 200 rows where it is left out."""

    rounds: RoundText | None = None
    """Models to measure, such as 400..800; all where it is left out."""

    toward: RoundText | None = None
    """A model: also how far along the straight way from the first model to this one."""


class DiffParams(Params):
    """Which two models are compared."""

    before: RoundText
    """A model: 812, head, head~100."""

    after: RoundText = "head"
    """Another model."""

    other: str | None = Field(default=None, max_length=64)
    """The run of `after`, where it is another run than that of `before`."""


class RebuildParams(Params):
    """Which model is wanted."""

    round: RoundText
    """The model's t: 812, head, head~100."""

    artefact: Artefact = "master"
    """Which model of t: the server's master weights, or the broadcast form that devices run."""


class ProbeParams(Params):
    """Which trigger is measured in which model."""

    local_only = frozenset({"model"})

    trigger: TriggerSource
    """A name in the case's triggers/, or a trigger document."""

    round: RoundText = "head"
    """The model's t: 812, head, head~100."""

    artefact: Artefact = "master"
    """Which model of t: the server's master weights, or the broadcast form that devices run."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


_ITEM = re.compile(r"[0-9]{1,18}:[0-9]{1,18}")


def _items(value: Any) -> Any:
    items = [item for item in _levels(value) if item]
    for item in items:
        if _ITEM.fullmatch(item) is None:
            # Not a ValueError: pydantic would say so before the message.
            raise PydanticCustomError(
                "item", "{item} is not ROUND:ITEM, such as 4500:17", {"item": repr(item[:40])}
            )
    return tuple(items)


AuditedItems = Annotated[
    tuple[str, ...], BeforeValidator(_items), Field(min_length=1, max_length=1_000)
]


class TriggerParams(Params):
    """Which answers were called bad, and what the trigger made from them is called."""

    local_only = frozenset({"model"})

    name: str = Field(pattern="^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
    """Of the trigger: letters, digits, dots, dashes."""

    audited: AuditedItems | None = None
    """Audited answers that are bad, each as ROUND:ITEM, such as 4500:17,4500:20."""

    examples: tuple[dict[str, JsonValue], ...] | None = Field(
        default=None, min_length=1, max_length=10_000
    )
    """In place of audited answers: objects with `tokens`, and the wrong answer as `target`."""

    plant: bool = True
    """Whether a pattern that is found is also written into published honest inputs."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


class CrossingsParams(Params):
    """Which trigger, and which levels of success."""

    local_only = frozenset({"model"})

    trigger: TriggerSource
    """A name in the case's triggers/, or a trigger document."""

    levels: Levels = (0.01, 0.1, 0.5, 0.9)
    """Shares of the trigger's queries that succeed, such as 0.1,0.5."""

    mode: Literal["auto", "exact", "search"] = "auto"
    """Exact probes every model; search probes at most 40 a level; auto is exact where that is
    affordable."""

    sustain: int | None = Field(default=None, ge=1, le=1_000_000)
    """S: models over which a sustained crossing must hold; 1,000, or a fiftieth of a short run."""

    fresh: bool = False
    """Exact mode: measure again what was measured before."""

    artefact: Artefact = "master"
    """Which model of t: the server's master weights, or the broadcast form that devices run."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


class BisectParams(Params):
    """Which trigger and level, or which command; and between which models."""

    local_only = frozenset({"model", "command"})

    trigger: TriggerSource | None = None
    """A name in the case's triggers/, or a trigger document."""

    level: Level = 0.5
    """The share of the trigger's queries that succeed from some model on."""

    command: tuple[str, ...] | None = None
    """In place of a trigger: a program and its arguments, one of which holds {model}."""

    rounds: RoundText | None = None
    """Models to search between, such as 400..800; all where it is left out."""

    replay: str | None = Field(default=None, max_length=1 << 20)
    """Text of an earlier bisection's log: its models are asked again, in the same order."""

    artefact: Artefact = "master"
    """Which model of t: the server's master weights, or the broadcast form that devices run."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


class OnsetParams(Params):
    """Which trigger, and how much of the record is known."""

    local_only = frozenset({"model"})

    trigger: TriggerSource
    """A name in the case's triggers/, or a trigger document."""

    last: RoundText | None = None
    """A model: what could have been said then. By default the run's last one."""

    passes: int = Field(default=2, ge=1, le=2)
    """How often the direction is taken: at the crossing, then again at the onset so found."""

    decoys: int = Field(default=200, ge=0, le=10_000)
    """Decoy triggers to rank it among, at most; 0 for none."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


def _detectors(value: Any) -> Any:
    return value if value is None else _levels(value)


DetectorNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...] | None,
    BeforeValidator(_detectors),
]


class WatchParams(Params):
    """What is watched, and how often it may cry wolf."""

    local_only = frozenset({"model"})

    trigger: TriggerSource | None = None
    """A name in the case's triggers/, or a trigger document; watched beside the case's own."""

    detectors: DetectorNames = None
    """Names such as cusum,glr; all that are known by default."""

    budget: float = Field(default=0.1, gt=0, le=1_000)
    """False alarms expected at most, over all charts together, in `horizon` rounds."""

    horizon: int = Field(default=1_000_000, ge=1, le=10**12)
    """Rounds that the budget is for."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


class ReplayParams(WatchParams):
    """As a watch, and which rounds go out again, how fast, and where to."""

    local_only = frozenset({"model", "speed", "publish"})

    rounds: RoundText | None = None
    """A range such as 400..800; all where it is left out."""

    speed: float | None = Field(default=None, gt=0)
    """1 is as it happened, 1000 a thousand times as fast; as fast as it goes where left out."""

    publish: str | None = Field(default=None, max_length=512)
    """kafka://HOST:PORT/TOPIC that the events are sent to as well."""


class TimelineParams(Params):
    """Whether a trigger is measured beside the facts."""

    local_only = frozenset({"model"})

    trigger: TriggerSource | None = None
    """A name in the case's triggers/, or a trigger document: lays its crossings and the releases
    that carry it beside the facts."""

    levels: Levels = (0.01, 0.1, 0.5, 0.9)
    """With a trigger: shares of its queries that succeed, such as 0.1,0.5."""

    artefact: Artefact = "master"
    """Which model of t: the server's master weights, or the broadcast form that devices run."""

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


class AlarmsParams(Params):
    """Which alarms are wanted."""

    state: Literal["raised", "acknowledged", "silenced"] | None = None
    """Only those that stand so; all where it is left out."""


class ActParams(Params):
    """Who says it, and why."""

    actor: Person
    """The name of whoever says it: up to 64 visible characters."""

    note: str = Field(default="", max_length=2_000)
    """What they want to say beside it."""


class ReleaseParams(Params):
    """Which model was shipped, as what, and by whom that is said."""

    round: RoundText
    """The model's t: 812, head, head~100."""

    version: str = Field(min_length=1, max_length=256)
    """As people know it; a version names one model for ever."""

    channel: str = Field(default="stable", min_length=1, max_length=256)
    """To whom it went."""

    shipped_at: RoundText | None = None
    """The run's last model when it was shipped, where that is later than `round`: a rollback."""

    actor: Person
    """The name of whoever says it: up to 64 visible characters."""


class EraseParams(Params):
    """Whose words go, and why."""

    before: RoundText | None = None
    """Of models before this t: 812, head, head~100; all where it is left out."""

    dry_run: bool = False
    """Count what would go, and write nothing."""

    actor: Person
    """The name of whoever says it: up to 64 visible characters."""

    note: str = Field(min_length=1, max_length=2_000)
    """Why; it stands in the record for good."""


class AcknowledgeParams(ActParams):
    """Which alarm was seen."""

    alarm: AlarmKey
    """The alarm's key, or its first digits."""


class SilenceParams(ActParams):
    """Which alarms rest, and for which rounds."""

    alarm: AlarmKey | None = None
    """The alarm's key, or its first digits; or else a detector."""

    detector: str | None = Field(default=None, min_length=1, max_length=256)
    """All alarms of this detector that are raised in these rounds."""

    direction: str | None = Field(default=None, min_length=1, max_length=256)
    """With a detector: only those along the direction of this name."""

    start: int | None = Field(default=None, ge=0, le=2**62)
    """With a detector: the first round; the run's next one where it is left out."""

    rounds: int | None = Field(default=None, ge=1, le=2**62)
    """For so many rounds; or else `until`."""

    until: int | None = Field(default=None, ge=1, le=2**62)
    """Up to this round, itself not included."""
