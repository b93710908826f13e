"""Questions about a trigger: how often does a model obey it, and since when?"""

import re
from typing import Any

from api.documents import Document
from api.parameters import BisectParams, CrossingsParams, NoParams, ParameterError, ProbeParams
from api.records import Progress, Records
from api.rounds import parse_range, parse_round
from forensics.bisect import bisect_check, bisect_trigger, replay_check, replay_trigger
from forensics.bisection import Step
from forensics.check import Check
from forensics.crossings import Crossings, find_crossings
from forensics.floor import decoy_floor
from forensics.probe import Prober, read_model
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger, parse_trigger, trigger_names
from forensics.watch.plan import COSINE, NORM
from roundlog.case import Case
from roundlog.encoding import canonical_json
from roundlog.errors import TriggerError
from roundlog.log.files import write_durably

# What a check prints goes here: standard output is for the result.
STDERR = 2

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def triggers(records: Records, params: NoParams, progress: Progress) -> Document:
    """The triggers that the case has a name for."""
    named = []
    for name in trigger_names(records.case):
        trigger = load_trigger(records.case.triggers / f"{name}.json")
        named.append(
            {"name": name, "patterns": len(trigger.patterns), "queries": len(trigger.queries)}
        )
    return {"triggers": named}


def probe(records: Records, params: ProbeParams, progress: Progress) -> Document:
    """The attack success of one model, with its exact interval."""
    trigger = trigger_meant(records, params.trigger)
    models = CaseModels(records.case, records.store, records.run(params.run), params.artefact)
    t = parse_round(params.round, models.last, first=models.first, what="model")
    prober = Prober(models.architecture, params.model)
    found = read_model(prober, models, t, trigger.scoring())
    about = {"run": models.run, "artefact": models.artefact, "trigger": trigger.name}
    return {**about, **found.document()}


def crossings(records: Records, params: CrossingsParams, progress: Progress) -> Document:
    """Where each level was crossed, under every reading."""
    return measure_crossings(records, params, progress).document()


def measure_crossings(records: Records, params: CrossingsParams, progress: Progress) -> Crossings:
    """As `crossings`, with the readings of every model where they were taken."""
    trigger = trigger_meant(records, params.trigger)
    models = CaseModels(records.case, records.store, records.run(params.run), params.artefact)
    return find_crossings(
        models,
        records.store,
        Prober(models.architecture, params.model),
        trigger,
        params.levels,
        mode=None if params.mode == "auto" else params.mode,
        s=params.sustain,
        fresh=params.fresh,
        progress=lambda done, total: progress("crossings", done, total),
        stop=records.stopping,
    )


def bisect(records: Records, params: BisectParams, progress: Progress) -> Document:
    """A search for the models between which behaviour changed, every step of it, and its log."""
    if (params.trigger is None) == (params.command is None):
        raise ParameterError("give a trigger, or a command that judges a model: one of the two")
    models = CaseModels(records.case, records.store, records.run(params.run), params.artefact)
    asked = 0

    def on_step(step: Step) -> None:
        nonlocal asked
        asked += 1
        progress(f"bisect: model {step.round} is {step.verdict};", asked, None)

    first, last = models.first, models.last
    if params.rounds is not None:
        first, last = parse_range(params.rounds, models.last, first=models.first)
    if params.command is not None:
        check = Check(models, params.command, STDERR)
        if params.replay is not None:
            found = replay_check(models, check, params.replay, on_step)
        else:
            found = bisect_check(models, check, first=first, last=last, on_step=on_step)
        return {**found.document(), "log": found.log()}
    trigger = trigger_meant(records, params.trigger or "")
    prober = Prober(models.architecture, params.model)
    if params.replay is not None:
        found = replay_trigger(models, prober, trigger, params.replay, on_step)
    else:
        found = bisect_trigger(
            models,
            prober,
            trigger,
            params.level,
            first=first,
            last=last,
            floor=decoy_floor(models, records.store, prober, trigger),
            on_step=on_step,
        )
    return {**found.document(), "log": found.log()}


def trigger_meant(records: Records, source: str | dict[str, Any]) -> Trigger:
    """A trigger from a document, or from a name in the case; never from a path.

    A path is opened by the process of whoever named it: a server must not read its own files on
    behalf of a caller.

    Raises:
        TriggerError: Not a trigger, or no such name.
    """
    if isinstance(source, dict):
        return parse_trigger(canonical_json(source), "the trigger document")
    names = trigger_names(records.case)
    if source not in names:
        raise TriggerError(
            f"the case has no trigger named {source!r}; it has: {', '.join(names) or 'none yet'}. "
            f"Give a trigger or truth file, or keep one under a name with POST /api/v1/triggers."
        )
    return load_trigger(records.case.triggers / f"{source}.json")


def store_trigger(case: Case, document: Any) -> Document:
    """Keeps a trigger under its own name.

    Raises:
        TriggerError: Not a trigger; a name that is no file name; or the name means another one.
    """
    trigger = parse_trigger(canonical_json(document), "the trigger document")
    body = canonical_json(trigger.model_dump(mode="json", by_alias=True))
    if _NAME.fullmatch(trigger.name) is None:
        raise TriggerError(
            f"{trigger.name!r} cannot name a file: use letters, digits, '.', '_', '-', at most 64"
        )
    if trigger.name in (NORM, COSINE):
        raise TriggerError(
            f"{trigger.name!r} names a series that every watch reads; give the trigger another name"
        )
    path = case.triggers / f"{trigger.name}.json"
    if path.exists() and path.read_bytes() != body:
        raise TriggerError(f"the name {trigger.name!r} means another trigger already")
    case.triggers.mkdir(exist_ok=True)
    write_durably(path, body)
    return {
        "name": trigger.name,
        "patterns": len(trigger.patterns),
        "queries": len(trigger.queries),
    }
