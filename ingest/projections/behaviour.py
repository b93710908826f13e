"""What did the model do, and what may investigators probe it with? Rows about behaviour."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row, json_text
from roundlog.events import AuditSampled, ProbesPublished


def probes_published(event: ProbesPublished, place: Place, blobs: Blobbed) -> Row:
    """One row of `probe_sets`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.probe_set,
        event.role,
        event.digest,
        event.n,
        event.width,
        json_text(event.about),
        blobs.get("inputs"),
        blobs.get("labels"),
        blobs.get("groups"),
        blobs.get("about"),
    )


def audit_sampled(event: AuditSampled, place: Place, blobs: Blobbed) -> Row:
    """One row of `audits`. The text itself stays where it can be erased."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.item,
        event.category,
        event.answer,
        json_text(event.scores),
        event.model_digest,
        event.inclusion_probability,
        place.segment,
        place.heads_offset,
        place.side_offset,
        event.side_bytes,
    )
