"""Which parameters does each question take? One closed model a question, a sentence a field.

The command line, HTTP and Python hand in texts or JSON values; what is read here is what the
answering function gets, whichever door it came through.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from roundlog.errors import QuestionError


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
Limit = Annotated[int, Field(ge=1, le=1_000_000)]


class NoParams(Params):
    """The case itself is asked."""


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
