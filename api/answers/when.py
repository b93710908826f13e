"""Questions of time: since when is a trigger pushed, and who would have said so, how early?"""

import polars as pl

from api.answers.triggers import trigger_meant
from api.documents import Document
from api.parameters import OnsetParams, ReplayParams, WatchParams
from api.records import Progress, Records
from api.rounds import parse_range, parse_round
from forensics.onset import find_onset
from forensics.probe import Prober, read_model
from forensics.rebuild import CaseModels
from forensics.reemission import Reemission
from forensics.replay import Pace, consequences, replay_run
from forensics.trigger import Trigger, load_trigger, trigger_names
from forensics.watch import Plan, Watch, known_triggers
from forensics.watch.plan import DETECTORS
from roundlog.log.address import KafkaAddress, connector


def onset(records: Records, params: OnsetParams, progress: Progress) -> Document:
    """The rounds in which a push toward the trigger may have begun."""
    trigger = trigger_meant(records, params.trigger)
    models = CaseModels(records.case, records.store, records.run(params.run))
    last = None
    if params.last is not None:
        last = parse_round(params.last, models.last, first=models.first, what="model")
    found = find_onset(
        models,
        records.store,
        Prober(models.architecture, params.model),
        trigger,
        last=last,
        passes=params.passes,
        decoys=params.decoys,
        progress=progress,
        stop=records.stopping,
    )
    return found.document()


def watch(records: Records, params: WatchParams, progress: Progress) -> Document:
    """The alarms that a live watch would have raised."""
    models = CaseModels(records.case, records.store, records.run(params.run))
    watching, prober, trigger = _watch(records, models, params)
    for _ in watching.advance(models, stop=records.stopping):
        progress("watch", watching.next, models.last)
    return _watched(models, watching, prober, trigger, models.first)


def replay(records: Records, params: ReplayParams, progress: Progress) -> Document:
    """As `watch`, at a pace, from one round to another, and to another log where one is named."""
    models = CaseModels(records.case, records.store, records.run(params.run))
    watching, prober, trigger = _watch(records, models, params)
    first, last = models.first, models.last - 1
    if params.rounds is not None:
        first, last = parse_range(params.rounds, last, first=first)
    log = None
    if params.publish is not None:
        log = connector(KafkaAddress.parse(params.publish))()
    try:
        reemission = None if log is None else Reemission(records.case, models.run, log)
        pace = Pace(params.speed, _seconds_per_round(records, models.run))
        for moment in replay_run(
            models,
            watching,
            pace,
            first=first,
            last=last,
            reemission=reemission,
            stop=records.stopping,
        ):
            progress("replay", moment.round - first + 1, last - first + 1)
    finally:
        if log is not None:
            log.close()
    return {
        **_watched(models, watching, prober, trigger, first),
        "first": first,
        "last": last,
        "sent": 0 if reemission is None else reemission.sent,
    }


def _seconds_per_round(records: Records, run: str) -> float | None:
    found = records.query("runs").filter(pl.col("run") == run)["seconds_per_round"].to_list()
    return found[0] if found else None


def _watch(
    records: Records, models: CaseModels, params: WatchParams
) -> tuple[Watch, Prober | None, Trigger | None]:
    given = None if params.trigger is None else trigger_meant(records, params.trigger)
    named = [
        load_trigger(records.case.triggers / f"{name}.json") for name in trigger_names(records.case)
    ]
    triggers = known_triggers(named, given)
    prober = Prober(models.architecture, params.model) if triggers else None
    plan = Plan(
        triggers,
        detectors=DETECTORS if params.detectors is None else params.detectors,
        alarms=params.budget,
        rounds=params.horizon,
    )
    return Watch(models, records.store, plan, prober), prober, given


def _watched(
    models: CaseModels,
    watching: Watch,
    prober: Prober | None,
    trigger: Trigger | None,
    first: int,
) -> Document:
    told = consequences(models, prober, trigger, tuple(watching.alarms))
    end = None
    if trigger is not None and prober is not None:
        end = read_model(prober, models, models.last, trigger.scoring()).document()
    return {
        "run": models.run,
        "trigger": None if trigger is None else trigger.name,
        "read": watching.next - first,
        "budget": watching.budget.document(),
        "series": {name: list(charts) for name, charts in watching.charts.items()},
        "alarms": [one.document() for one in told],
        "end": end,
    }
