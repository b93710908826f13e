"""Alarms, and what people say of a run: acknowledged, silenced, released.

Whoever acts here is `local`: the case is opened by its owner, or its server was reached from this
machine or with the token that everybody shares. Neither tells one person from another.
"""

from typing import Any

from api.documents import Document
from api.parameters import (
    AcknowledgeParams,
    ActParams,
    AlarmsParams,
    ParameterError,
    ReleaseParams,
    SilenceParams,
)
from api.records import Progress, Records
from api.rounds import parse_round
from forensics import alarms as said
from forensics.rebuild import CaseModels
from forensics.releases import record_release
from roundlog.events import Event


def alarms(records: Records, params: AlarmsParams, progress: Progress) -> Document:
    """Alarms of a run, oldest round first, with what was done about each."""
    run = records.run(params.run)
    listed = said.list_alarms(records.store, run)
    wanted = [row for row in listed if params.state in (None, row["state"])]
    return {"run": run, "total": len(listed), "alarms": wanted}


def acknowledge(records: Records, params: AcknowledgeParams, progress: Progress) -> Document:
    """Somebody has seen an alarm."""
    return _written(
        said.acknowledge(records.store, records.log, params.alarm, _speaker(params), params.run)
    )


def silence(records: Records, params: SilenceParams, progress: Progress) -> Document:
    """An alarm, or a detector's alarms, may rest."""
    how_long: dict[str, Any] = {"rounds": params.rounds, "until": params.until}
    if (params.alarm is None) == (params.detector is None):
        raise ParameterError("give an alarm, or a detector: one of the two")
    if params.alarm is not None:
        if params.direction is not None or params.start is not None:
            raise ParameterError("a direction and a first round go with a detector, not an alarm")
        event = said.silence_alarm(
            records.store, records.log, params.alarm, _speaker(params), run=params.run, **how_long
        )
        return _written(event)
    return _written(
        said.silence_detector(
            records.store,
            records.log,
            records.run(params.run),
            params.detector or "",
            _speaker(params),
            direction=params.direction,
            start=params.start,
            **how_long,
        )
    )


def release(records: Records, params: ReleaseParams, progress: Progress) -> Document:
    """A model of the record was shipped."""
    models = CaseModels(records.case, records.store, records.run(params.run))

    def model(text: str) -> int:
        return parse_round(text, models.last, first=models.first, what="model")

    return _written(
        record_release(
            models,
            records.store,
            records.log,
            model(params.round),
            params.version,
            params.channel,
            said.Speaker(params.actor, "local"),
            shipped_at=None if params.shipped_at is None else model(params.shipped_at),
        )
    )


def _speaker(params: ActParams) -> said.Speaker:
    return said.Speaker(params.actor, "local", params.note)


def _written(event: Event) -> Document:
    return {"event": event.model_dump(mode="json", exclude_none=True)}
