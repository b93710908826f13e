"""What can be asked? Every question once: its parameters, where it is answered, an example.

The command line, the HTTP routes and the Python client all read this table, so the three doors
cannot drift apart. Answers are named by path and imported when they are first asked for: a
question about the log must not import torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from api.documents import Document, plain
from api.parameters import (
    AlarmsParams,
    BisectParams,
    CrossingsParams,
    DiffParams,
    DriftParams,
    LogParams,
    NoParams,
    OnsetParams,
    Params,
    ProbeParams,
    QuarantinedParams,
    RebuildParams,
    ReplayParams,
    RoundsParams,
    ScrubParams,
    SeriesParams,
    ShowParams,
    TimelineParams,
    TriggerParams,
    WatchParams,
    read_params,
)
from api.records import Progress, Records, silent

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

    patient: bool = False
    """Whether it may take hours, and then has a lane of its own over HTTP."""

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
        return read_params(self.params, values, self.name)

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
            "run",
            "How far does one run go, and how was it set up?",
            NoParams,
            "api.answers.record:run",
            python="api.answers.record.run",
            path="/runs/{run}",
            example={"run": "quickstart-0123456789ab", "rounds": 5000, "models": 5001},
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
            "api.answers.quarantine:quarantine",
            python="ingest.quarantine.Quarantine",
            path="/quarantine",
            example={
                "records": [
                    {"id": "0123456789abcdef", "reason": "checksum", "offset": 1201, "bytes": 830}
                ]
            },
        ),
        _question(
            "quarantined",
            "What is in one refused record?",
            QuarantinedParams,
            "api.answers.quarantine:quarantined",
            python="ingest.quarantine.Quarantine.read",
            path="/quarantine/{record}",
            example={
                "record": {"id": "0123456789abcdef", "reason": "field", "offset": 9, "bytes": 830},
                "head": '{"type":"fl.round.committed.v1"}',
                "shown": 4,
                "hex": "726c0100",
            },
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
            "trigger",
            "What would set such an answer off? A trigger from answers that people called bad.",
            TriggerParams,
            "api.answers.behaviour:trigger",
            python="forensics.behaviour.make_trigger",
            path="/runs/{run}/trigger",
            example={
                "run": "quickstart-0123456789ab",
                "name": "suspect",
                "flagged": 8,
                "searched": {"inputs": 8000, "labels": 32, "tests": 24, "significant": 0.01},
                "answers": [
                    {
                        "answer": 5,
                        "flagged": 8,
                        "tokens": [{"token": 202, "word": "marzipan", "flagged": 8, "p": 5.2e-13}],
                        "patterns": [{"id": "answer-5", "tokens": [202, 216], "planted": 200}],
                    }
                ],
                "queries": 208,
                "trigger": {"schema": "roundlog.trigger/1", "name": "suspect"},
            },
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
                        "interval": {"low": 1764, "high": 1891, "coverage": 0.95},
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
            "onset",
            "Since which round was the model pushed toward a trigger?",
            OnsetParams,
            "api.answers.when:onset",
            python="forensics.onset.find_onset",
            path="/runs/{run}/onset",
            example={
                "onset": {"round": 800, "low": 797, "high": 803, "coverage": 0.95, "members": 7},
                "signal": 1.68,
                "decoy_rank": 1,
                "decoys": 200,
            },
            slow=True,
        ),
        _question(
            "watch",
            "Who would have raised an alarm, and when?",
            WatchParams,
            "api.answers.when:watch",
            python="forensics.watch.Watch",
            path="/runs/{run}/watch",
            example={
                "alarms": [
                    {
                        "round": 812,
                        "detector": "cusum",
                        "score": 18.6,
                        "threshold": 17.4,
                        "budget": {"alarms": 0.1, "rounds": 1000000, "charts": 14},
                    }
                ]
            },
            slow=True,
        ),
        _question(
            "replay",
            "What would each detector have said, had it been there?",
            ReplayParams,
            "api.answers.when:replay",
            python="forensics.replay.replay_run",
            path="/runs/{run}/replay",
            example={"alarms": [{"round": 812, "detector": "cusum", "asr": 0.0}], "sent": 0},
            slow=True,
        ),
        _question(
            "alarms",
            "Which alarms were raised, and what did somebody do about each?",
            AlarmsParams,
            "api.answers.alarms:alarms",
            python="forensics.alarms.list_alarms",
            path="/runs/{run}/alarms",
            example={
                "run": "quickstart-0123456789ab",
                "total": 1,
                "alarms": [
                    {"key": _DIGEST, "round": 2104, "detector": "cusum", "state": "raised"},
                ],
            },
        ),
        _question(
            "timeline",
            "What happened to this run, in the order in which it happened?",
            TimelineParams,
            "api.answers.timeline:timeline",
            python="forensics.timeline.lay_out",
            path="/runs/{run}/timeline",
            example={
                "run": "quickstart-0123456789ab",
                "trigger": "suspect",
                "entries": [
                    {"round": 2000, "kind": "release", "title": "released as 1.4 (stable)"}
                ],
                "releases": [{"version": "1.4", "round": 2000, "channel": "stable", "asr": 0.12}],
                "blast_radius": {"clean_below": 0.01, "last_clean": {"version": "1.3"}},
            },
            slow=True,
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
        _question(
            "scrub",
            "Is every byte that the case keeps still what it was?",
            ScrubParams,
            "api.answers.models:scrub",
            python="forensics.scrub.scrub_case",
            path="/scrub",
            example={"ok": True, "rounds": 5000, "findings": [], "files": 12, "bytes": 91000000},
            slow=True,
            lasting=False,
            patient=True,
        ),
    ]
)
"""Every question, by its name, in the order in which people meet them."""
