"""What did people take out of a record, and why? The words of sampled answers, and nothing else.

The owner of the case says it (`ingest.erasure`) before a byte is overwritten. What stays is the
head, with the salted digest of what is gone.
"""

from typing import Literal

from pydantic import Field, model_validator

from roundlog.events.base import INT64_MAX, Authenticated, Count, Event, Name, Note, Person


class TextsErased(Event):
    """A person had the erasable tails of some events overwritten, for good.

    It holds for whatever stands under these `seq`, so also for a copy that comes in later.
    """

    type: Literal["fl.texts.erased.v1"] = "fl.texts.erased.v1"

    from_producer: Name
    """Whose events."""

    first_seq: Count
    """The first event that has no text any more ..."""

    last_seq: Count
    """... and the last one; those between have none either."""

    texts: int = Field(gt=0, le=INT64_MAX)
    """How many texts were there and are gone."""

    before_round: Count | None = None
    """What was asked for: texts of models before this t; None for all there were."""

    actor: Person
    """Who."""

    authenticated: Authenticated
    """How it is known who."""

    note: Note = ""
    """Why."""

    said_at: Count
    """t of the run's last model then."""

    @model_validator(mode="after")
    def _covers_something(self) -> "TextsErased":
        if self.last_seq < self.first_seq:
            raise ValueError(f"no event lies from {self.first_seq} to {self.last_seq}")
        return self

    def covers(self, producer: str, seq: int) -> bool:
        """Whether the texts of an event are gone by this."""
        return self.from_producer == producer and self.first_seq <= seq <= self.last_seq
