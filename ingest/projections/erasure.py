"""What did people take out of the record? Rows about erasures."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row
from roundlog.events import TextsErased


def texts_erased(event: TextsErased, place: Place, blobs: Blobbed) -> Row:
    """One row of `erasures`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.from_producer,
        event.first_seq,
        event.last_seq,
        event.texts,
        event.before_round,
        event.said_at,
        event.actor,
        event.authenticated,
        event.note,
    )
