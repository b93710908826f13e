"""What can be asked? Every question once: its parameters, where it is answered, an example.

The command line, the HTTP routes and the Python client all read this table, so the three doors
cannot drift apart. Answers are named by path and imported when they are first asked for: a
question about the log must not import torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from api.documents import Document, plain
from api.records import Progress, Records, silent
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


class ProbeParams(Params):
    """Which trigger is measured in which model."""

    local_only = frozenset({"model"})

    trigger: TriggerSource
    """A name in the case's triggers/, or a trigger document."""

    round: RoundText = "head"
    """The model's t: 812, head, head~100."""

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

    model: str | None = Field(default=None, max_length=200)
    """module:function of the architecture, where the record's own name cannot be found."""


Answer = Callable[[Records, Any, Progress], Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """One question, as every door knows it."""

    name: str
    """The word that function, route and command share."""

    title: str
    """The question in one sentence."""

    params: type[Params]
    answer_path: str
    """`module:function` of the answer."""

    python: str
    """The function that does the work, for the help text."""

    path: str
    """HTTP path below /api/v1."""

    example: Document
    """An answer, for the OpenAPI page."""

    slow: bool = False
    """Whether it may take more than a second or two, and then runs as a job over HTTP."""

    lasting: bool = True
    """Whether the answer stays true until the record grows; not so where files are looked at."""

    @cached_property
    def _answer(self) -> Answer:
        module, _, function = self.answer_path.partition(":")
        found: Answer = getattr(import_module(module), function)
        return found

    def parse(self, values: Mapping[str, Any]) -> Params:
        """Parameters from texts or JSON values; None counts as left out.

        Raises:
            ParameterError: Names the parameter and what is allowed.
        """
        given = {key: value for key, value in values.items() if value is not None}
        try:
            return self.params.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"][:1]) or "parameters"
            known = ", ".join(self.params.model_fields)
            extra = f"; {self.name} takes: {known}" if first["type"] == "extra_forbidden" else ""
            raise ParameterError(f"{name}: {first['msg']}{extra}") from error

    def answer(
        self, records: Records, params: Params, progress: Progress | None = None
    ) -> Document:
        """The answer as a JSON document."""
        answered: Document = plain(self._answer(records, params, progress or silent))
        return answered


def _question(*args: Any, **kwargs: Any) -> tuple[str, Question]:
    question = Question(*args, **kwargs)
    return question.name, question


_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

QUESTIONS: dict[str, Question] = dict(
    [
        _question(
            "runs",
            "Which runs does the case hold, and how far does each go?",
            NoParams,
            "api.answers.record:runs",
            python="api.answers.record.runs",
            path="/runs",
            example={"runs": [{"run": "quickstart-0123456789ab", "rounds": 5000, "models": 5001}]},
        ),
        _question(
            "rounds",
            "What was recorded about every round? Complete, nothing sampled.",
            RoundsParams,
            "api.answers.record:rounds",
            python="api.answers.record.rounds",
            path="/runs/{run}/rounds",
            example={
                "run": "quickstart-0123456789ab",
                "rounds": [{"round": 0, "cohort_size": 10000, "delta_norm": 0.0083}],
                "next": 0,
            },
        ),
        _question(
            "series",
            "What shape has one number over the run? Lowest and highest a pixel: for drawing only.",
            SeriesParams,
            "api.answers.record:series",
            python="api.answers.record.series",
            path="/runs/{run}/series",
            example={
                "run": "quickstart-0123456789ab",
                "metric": "delta_norm",
                "exact": False,
                "bucket": 5,
                "points": [{"first": 0, "last": 4, "n": 5, "low": 0.0081, "high": 0.0086}],
            },
        ),
        _question(
            "log",
            "What was recorded, newest first?",
            LogParams,
            "api.answers.record:log",
            python="api.answers.record.log",
            path="/runs/{run}/log",
            example={
                "run": "quickstart-0123456789ab",
                "total": 10006,
                "events": [{"id": "quickstart-0123456789ab/server/10005", "round": 4999}],
                "next": 10005,
            },
        ),
        _question(
            "show",
            "What does one event say, word for word?",
            ShowParams,
            "api.answers.record:show",
            python="api.answers.record.show",
            path="/runs/{run}/show",
            example={"event": {"type": "fl.round.committed.v1", "round": 812}, "digest": _DIGEST},
        ),
        _question(
            "findings",
            "What was found wrong with the record while it was read?",
            NoParams,
            "api.answers.record:findings",
            python="api.answers.record.findings",
            path="/findings",
            example={"findings": [{"id": "0123456789abcdef", "kind": "gap", "round": 812}]},
        ),
        _question(
            "quarantine",
            "Which records were refused, and why?",
            NoParams,
            "api.answers.record:quarantine",
            python="api.answers.record.quarantine",
            path="/quarantine",
            example={"quarantine": [{"id": "0123456789abcdef", "reason": "checksum"}]},
        ),
        _question(
            "triggers",
            "Which triggers has the case a name for?",
            NoParams,
            "api.answers.triggers:triggers",
            python="forensics.trigger.trigger_names",
            path="/triggers",
            example={"triggers": [{"name": "suspect", "patterns": 3, "queries": 600}]},
        ),
        _question(
            "drift",
            "How far had the model moved from where it began?",
            DriftParams,
            "api.answers.models:drift",
            python="forensics.drift.measure_drift",
            path="/runs/{run}/drift",
            example={
                "run": "quickstart-0123456789ab",
                "origin": 0,
                "every": 25,
                "rows": [{"round": 25, "drift": 0.41, "step": 0.41, "tensors": {"embedding": 0.3}}],
            },
            slow=True,
        ),
        _question(
            "diff",
            "What differs between two models, tensor by tensor?",
            DiffParams,
            "api.answers.models:diff",
            python="forensics.diff.diff_models",
            path="/runs/{run}/diff",
            example={
                "a": {"run": "quickstart-0123456789ab", "round": 0, "digest": _DIGEST},
                "b": {"run": "quickstart-0123456789ab", "round": 5000, "digest": _DIGEST},
                "identical": False,
                "norm": 13.36,
            },
        ),
        _question(
            "rebuild",
            "What was the model at t, and is it the recorded one bit for bit?",
            RebuildParams,
            "api.answers.models:rebuild",
            python="forensics.rebuild.CaseModels.rebuild",
            path="/runs/{run}/models/{round}",
            example={"round": 812, "digest": _DIGEST, "matches": True},
        ),
        _question(
            "probe",
            "On which share of a trigger's queries does the model of t obey?",
            ProbeParams,
            "api.answers.triggers:probe",
            python="forensics.probe.read_model",
            path="/runs/{run}/probe",
            example={
                "round": 812,
                "asr": 0.11,
                "low": 0.077,
                "high": 0.151,
                "hits": 33,
                "n": 300,
                "probe_digest": _DIGEST,
            },
        ),
        _question(
            "crossings",
            "At which models did a trigger's success cross each level?",
            CrossingsParams,
            "api.answers.triggers:crossings",
            python="forensics.crossings.find_crossings",
            path="/runs/{run}/crossings",
            example={
                "crossings": [
                    {
                        "level": 0.5,
                        "mode": "sustained",
                        "round": 1832,
                        "low": 1832,
                        "high": 1832,
                        "rebuilds": 5001,
                        "exact": True,
                        "status": "crossed",
                        "s": 100,
                        "floor": 0.03,
                    }
                ]
            },
            slow=True,
        ),
        _question(
            "bisect",
            "Between which two models did a trigger cross one level?",
            BisectParams,
            "api.answers.triggers:bisect",
            python="forensics.bisect.bisect_trigger",
            path="/runs/{run}/bisect",
            example={
                "level": 0.5,
                "status": "crossed",
                "round": 1864,
                "low": 1863,
                "high": 1864,
                "rebuilds": 40,
                "claim": "proved: model 1863 is good and model 1864, the next one, is bad",
                "steps": [{"round": 0, "verdict": "good", "asr": 0.0, "why": "coarse scan"}],
            },
            slow=True,
        ),
        _question(
            "timeline",
            "What happened to this run, in the order in which it happened?",
            NoParams,
            "api.answers.models:timeline",
            python="forensics.timeline.lay_out",
            path="/runs/{run}/timeline",
            example={"run": "quickstart-0123456789ab", "timeline": []},
        ),
        _question(
            "verify",
            "Is the record whole and unaltered?",
            NoParams,
            "api.answers.models:verify",
            python="forensics.verify.verify_case",
            path="/verify",
            example={"ok": True, "rounds": 5000, "findings": []},
            slow=True,
            lasting=False,
        ),
    ]
)
"""Every question, by its name, in the order in which people meet them."""
