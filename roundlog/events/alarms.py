"""What detectors and people say of a run: an alarm, that somebody has seen it, that it may rest.

The owner of the case says these (`ingest.said`), as one more producer of the run. No clock decides
anything: what holds for a while holds for a range of rounds.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from roundlog.encoding import canonical_json, digest
from roundlog.events.base import (
    INT64_MAX,
    OWNER,
    Authenticated,
    Count,
    Digest,
    Event,
    JsonObject,
    Label,
    Note,
    Person,
    Record,
)
from roundlog.events.erasure import TextsErased
from roundlog.events.rounds import ModelReleased

EVIDENCE_LIMIT = 16_384
"""Bytes of an alarm's evidence as canonical JSON: numbers for people, not the series themselves."""


class AlarmBudget(Record):
    """How many false alarms were put up with when the threshold was set."""

    alarms: float = Field(gt=0)
    """False alarms expected at most ..."""

    rounds: int = Field(gt=0, le=INT64_MAX)
    """... in so many rounds of a run without an attack ..."""

    charts: int = Field(gt=0, le=INT64_MAX)
    """... over so many charts together."""


class AlarmRaised(Event):
    """A detector claims that the model began to move towards a behaviour."""

    type: Literal["fl.alarm.raised.v1"] = "fl.alarm.raised.v1"

    key: Digest
    """As `alarm_key` has it: an alarm that is found again has the same one."""

    detector: Label
    """Which rule."""

    version: Label
    """Of the detector; another version's alarm is another alarm."""

    chart: Label
    """Which of the detector's charts crossed its threshold."""

    direction: Digest | None = None
    """Digest of the direction in weight space along which it looked, if it looked along one."""

    direction_name: Label | None = None
    """What people call that direction, such as the name of a trigger."""

    round: Count
    """t: the round at which the score reached its threshold."""

    score: float
    """The chart's value at that round."""

    threshold: float
    """What it was compared with."""

    false_alarm_rate: float = Field(ge=0, le=1)
    """p: false alarms expected a round at this threshold, where there is no attack."""

    budget: AlarmBudget
    """What the threshold was made for."""

    evidence: JsonObject = {}
    """What a person needs to judge it, in a few numbers."""

    @field_validator("evidence")
    @classmethod
    def _evidence_is_brief(cls, evidence: JsonObject) -> JsonObject:
        size = len(canonical_json(evidence))
        if size > EVIDENCE_LIMIT:
            raise ValueError(f"{size:,} bytes of evidence; an alarm holds {EVIDENCE_LIMIT:,}")
        return evidence

    @model_validator(mode="after")
    def _key_says_what_the_fields_say(self) -> "AlarmRaised":
        expected = alarm_key(
            self.run, self.detector, self.version, direction=self.direction, round=self.round
        )
        if self.key != expected:
            raise ValueError(f"the key of this alarm is {expected}")
        return self


class AlarmAcknowledged(Event):
    """A person has seen an alarm and answers for it."""

    type: Literal["fl.alarm.acknowledged.v1"] = "fl.alarm.acknowledged.v1"

    alarm: Digest
    """Key of the alarm."""

    actor: Person
    """Who."""

    authenticated: Authenticated
    """How it is known who."""

    note: Note = ""
    """What they made of it."""

    said_at: Count
    """t of the run's last model then: a place among the rounds, where a clock would be none."""


class AlarmSilenced(Event):
    """A person wants to hear no more of one alarm, or of one chart, for a range of rounds."""

    type: Literal["fl.alarm.silenced.v1"] = "fl.alarm.silenced.v1"

    alarm: Digest | None = None
    """Key of the alarm that rests until the run reaches `until_round`; None for a chart."""

    detector: Label | None = None
    """Whose alarms rest where they are raised from `from_round` on and before `until_round`."""

    direction_name: Label | None = None
    """With a detector: about this direction only."""

    from_round: Count
    """The first round for which it holds."""

    until_round: Count
    """The first round for which it holds no more."""

    actor: Person
    """Who."""

    authenticated: Authenticated
    """How it is known who."""

    note: Note = ""
    """Why."""

    said_at: Count
    """t of the run's last model then."""

    @model_validator(mode="after")
    def _covers_something(self) -> "AlarmSilenced":
        if (self.alarm is None) == (self.detector is None):
            raise ValueError("either an alarm or a detector is silenced")
        if self.alarm is not None and self.direction_name is not None:
            raise ValueError("a direction is silenced together with its detector")
        if self.until_round <= self.from_round:
            raise ValueError(
                f"no round lies from {self.from_round} on and before {self.until_round}"
            )
        return self


def alarm_key(run: str, detector: str, version: str, *, direction: str | None, round: int) -> str:
    """SHA-256 over canonical JSON of [run, detector, version, direction digest or "", round]."""
    return digest(canonical_json([run, detector, version, direction or "", round]))


_SAID = frozenset({AlarmRaised, AlarmAcknowledged, AlarmSilenced, TextsErased})


def is_owners(event: Event) -> bool:
    """Whether only the owner of a case may have written this; nobody sends such an event in.

    Otherwise whoever can reach a topic, or a server, could speak in another person's name.
    """
    by_a_person = type(event) is ModelReleased and event.actor is not None
    return event.source == OWNER or type(event) in _SAID or by_a_person
