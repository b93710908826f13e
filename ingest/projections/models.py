"""Which models were recorded whole, released or stored elsewhere? Rows about W_t itself."""

from ingest.place import Place
from ingest.projections.rows import Blobbed, Row, json_text
from roundlog.events import ModelGenesis, ModelReleased, ModelSchema, SnapshotStored


def model_schema(event: ModelSchema, place: Place, blobs: Blobbed) -> Row:
    """One row of `schemas`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.digest,
        event.architecture,
        json_text(event.config),
        json_text(event.layout.model_dump(mode="json")),
        event.layout.nbytes,
        event.layout.elements,
        blobs.get("texts"),
    )


def model_genesis(event: ModelGenesis, place: Place, blobs: Blobbed) -> Row:
    """One row of `geneses`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.schema_digest,
        event.digest,
        json_text(event.quantiser),
        blobs.get("weights"),
    )


def model_released(event: ModelReleased, place: Place, blobs: Blobbed) -> Row:
    """One row of `releases`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.version,
        event.round,
        event.digest,
        event.channel,
        event.shipped_at,
        event.actor,
        event.authenticated,
    )


def snapshot_stored(event: SnapshotStored, place: Place, blobs: Blobbed) -> Row:
    """One row of `snapshots`."""
    return (
        event.run,
        event.producer,
        event.seq,
        event.time,
        event.round,
        event.digest,
        event.location,
    )
