"""Which models left the server, when, and to whom? As the server recorded it, or people say it.

A release stands at `since`: how far the run had got when the model was shipped. That is the model
itself, unless an older one was shipped again, which whoever records it must say. No clock is asked.
"""

from dataclasses import dataclass
from importlib import resources

from forensics.alarms import Speaker
from forensics.rebuild import CaseModels
from ingest.said import CaseLog
from ingest.store import Store
from roundlog.errors import QuestionError
from roundlog.events import ModelReleased


@dataclass(frozen=True, slots=True)
class Release:
    """One model that was shipped."""

    version: str
    round: int
    """t of the model."""
    channel: str
    digest: str
    """Of the model, as whoever shipped it says."""
    actor: str | None
    """The person who recorded it; None where the server did."""
    since: int
    """t of the run's last model when it was shipped."""
    in_record: bool
    """Whether the digest is that of model t in the record, or of what devices run in its place."""
    event: str
    """Id of the event."""


def list_releases(store: Store, run: str) -> tuple[Release, ...]:
    """Every release of a run, in the order in which they were shipped."""
    sql = (resources.files("forensics") / "sql" / "releases.sql").read_text(encoding="utf-8")
    return tuple(Release(**row) for row in store.query(sql, {"run": run}).to_dicts())


def record_release(
    models: CaseModels,
    store: Store,
    log: CaseLog,
    t: int,
    version: str,
    channel: str,
    speaker: Speaker,
    *,
    shipped_at: int | None = None,
) -> ModelReleased:
    """Writes down that a model of the record was shipped; its digest is looked up there.

    The same version may be shipped again, to another channel or after a rollback.

    Args:
        shipped_at: t of the run's last model then, where that is later than `t`.

    Raises:
        RoundRangeError: The run has no such model.
        LogGapError: The record does not name its digest.
        QuestionError: The version means another model already, or `shipped_at` is out of place.
    """
    digest = models.recorded_digest(t)
    if shipped_at is not None:
        models.recorded_digest(shipped_at)
        if shipped_at < t:
            raise QuestionError(
                f"model {t} was not there yet when the run stood at model {shipped_at}"
            )
    for known in list_releases(store, models.run):
        if known.version == version and known.digest != digest:
            raise QuestionError(
                f"version {version!r} is model {known.round} already ({known.event}), and model "
                f"{t} is another one; a version names one model for ever: choose another name"
            )
    return log.say(
        ModelReleased,
        run=models.run,
        version=version,
        round=t,
        digest=digest,
        channel=channel,
        shipped_at=shipped_at if shipped_at != t else None,
        actor=speaker.actor,
        authenticated=speaker.authenticated,
    )
