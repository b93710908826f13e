"""What happened in each round? Rows about steps that were applied, and attempts that failed."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row, json_text
from roundlog.errors import IngestError
from roundlog.events import CohortSealed, RoundCommitted, RoundFailed


def round_committed(event: RoundCommitted, place: Place, blobs: Blobbed, *, finite: bool) -> Row:
    """One row of `rounds`: all that folding needs, so that no head is parsed again.

    Args:
        finite: Whether the delta holds numbers only.

    Raises:
        IngestError: The event was accepted without a delta in a vec file.
    """
    if place.row is None:
        raise IngestError(f"round {event.round} of {event.run} has no row in a vec file")
    delta, patch, *rest = event.tails
    server = event.server
    patch_end = place.side_offset + patch.bytes
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.attempt,
        event.cohort_size,
        event.weight,
        event.schema_digest,
        event.pre_digest,
        event.post_digest,
        event.broadcast_digest,
        event.delta_norm,
        event.aggregate_norm,
        event.patched,
        finite,
        server.optimizer if server else None,
        server.learning_rate if server else None,
        event.noise_multiplier,
        json_text(event.defence_scores),
        place.segment,
        place.row,
        delta.bytes,
        place.heads_offset,
        place.side_offset,
        patch.bytes,
        patch_end,
        rest[0].bytes if rest else 0,
    )


def round_failed(event: RoundFailed, place: Place, blobs: Blobbed) -> Row:
    """One row of `round_failures`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.attempt,
        event.reason,
        event.cohort_size,
    )


def cohort_sealed(event: CohortSealed, place: Place, blobs: Blobbed) -> Row:
    """One row of `cohorts`. Who took part stays sealed, beside the head."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.attempt,
        event.rule,
    )
