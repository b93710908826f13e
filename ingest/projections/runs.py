"""How is a run set up, and where did its recorder lose sight of it? Rows of runs and breaks."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row, json_text
from roundlog.events import ContinuityBreak, RecorderGap, RunOpened


def run_opened(event: RunOpened, place: Place, blobs: Blobbed) -> Row:
    """One row of `runs`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.framework,
        json_text(event.strategy),
        json_text(event.config),
        json_text(event.sampler),
        json_text(event.strata),
        json_text(event.mechanism.model_dump(mode="json", exclude_none=True)),
        event.visibility,
        event.seconds_per_round,
        event.broadcast,
        event.scenario_digest,
        event.parent,
    )


def recorder_gap(event: RecorderGap, place: Place, blobs: Blobbed) -> Row:
    """One row of `interruptions`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        "recorder_gap",
        event.got,
        str(event.expected),
        str(event.got),
        event.reason,
    )


def continuity_break(event: ContinuityBreak, place: Place, blobs: Blobbed) -> Row:
    """One row of `interruptions`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        "continuity",
        event.round,
        event.expected,
        event.got,
        event.reason,
    )
