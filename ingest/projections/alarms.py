"""What did detectors and people say? Rows about alarms, and what somebody did about them."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row, json_text
from roundlog.events import AlarmAcknowledged, AlarmRaised, AlarmSilenced


def alarm_raised(event: AlarmRaised, place: Place, blobs: Blobbed) -> Row:
    """One row of `alarms`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.key,
        event.detector,
        event.version,
        event.chart,
        event.direction,
        event.direction_name,
        event.round,
        event.score,
        event.threshold,
        event.false_alarm_rate,
        json_text(event.budget.model_dump(mode="json")),
        json_text(event.evidence),
    )


def alarm_acknowledged(event: AlarmAcknowledged, place: Place, blobs: Blobbed) -> Row:
    """One row of `alarm_acts`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        "acknowledged",
        event.alarm,
        None,
        None,
        None,
        None,
        event.said_at,
        event.actor,
        event.authenticated,
        event.note,
    )


def alarm_silenced(event: AlarmSilenced, place: Place, blobs: Blobbed) -> Row:
    """One row of `alarm_acts`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        "silenced",
        event.alarm,
        event.detector,
        event.direction_name,
        event.from_round,
        event.until_round,
        event.said_at,
        event.actor,
        event.authenticated,
        event.note,
    )
