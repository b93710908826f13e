"""Which rows does an event become? One function for each kind of event, and this table of them.

A kind without a function has its row in `events` alone.
"""

from collections.abc import Callable
from typing import Any

from ingest.place import Place
from ingest.projections.alarms import alarm_acknowledged, alarm_raised, alarm_silenced
from ingest.projections.behaviour import audit_sampled, probes_published
from ingest.projections.erasure import texts_erased
from ingest.projections.models import (
    model_genesis,
    model_released,
    model_schema,
    snapshot_stored,
)
from ingest.projections.rounds import cohort_sealed, round_committed, round_failed
from ingest.projections.rows import Blobbed, Row
from ingest.projections.runs import continuity_break, recorder_gap, run_opened
from roundlog.events import (
    AlarmAcknowledged,
    AlarmRaised,
    AlarmSilenced,
    AuditSampled,
    CohortSealed,
    ContinuityBreak,
    Event,
    ModelGenesis,
    ModelReleased,
    ModelSchema,
    ProbesPublished,
    RecorderGap,
    RoundFailed,
    RunOpened,
    SnapshotStored,
    TextsErased,
)

Projection = Callable[[Any, Place, Blobbed], Row]

PROJECTIONS: dict[type[Event], tuple[str, Projection]] = {
    RunOpened: ("runs", run_opened),
    ModelSchema: ("schemas", model_schema),
    ModelGenesis: ("geneses", model_genesis),
    ModelReleased: ("releases", model_released),
    SnapshotStored: ("snapshots", snapshot_stored),
    RecorderGap: ("interruptions", recorder_gap),
    ContinuityBreak: ("interruptions", continuity_break),
    RoundFailed: ("round_failures", round_failed),
    CohortSealed: ("cohorts", cohort_sealed),
    ProbesPublished: ("probe_sets", probes_published),
    AuditSampled: ("audits", audit_sampled),
    AlarmRaised: ("alarms", alarm_raised),
    AlarmAcknowledged: ("alarm_acts", alarm_acknowledged),
    AlarmSilenced: ("alarm_acts", alarm_silenced),
    TextsErased: ("erasures", texts_erased),
}
"""Table and function by kind. `round.committed` also needs what was found about its delta."""

BLOBBED: frozenset[type[Event]] = frozenset({ModelSchema, ModelGenesis, ProbesPublished})
"""Kinds whose tails are stored as blobs."""

__all__ = ["BLOBBED", "PROJECTIONS", "Blobbed", "Projection", "Row", "round_committed"]
