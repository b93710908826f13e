"""Facts about rounds and models: W_0, every applied step, and what was shipped to whom."""

from typing import Literal

from pydantic import Field, model_validator

from roundlog.events.base import (
    INT64_MAX,
    Authenticated,
    Count,
    Digest,
    Event,
    JsonObject,
    Label,
    Person,
    Record,
)
from roundlog.tensors import TensorSchema


class ServerStep(Record):
    """How the server turned the aggregated update into the applied delta."""

    optimizer: Label
    """For example `sgd`, `adam`, `fedavg`."""

    learning_rate: float | None = Field(default=None, gt=0)
    """Server learning rate, where there is one."""


class ModelSchema(Event):
    """The run's model has these tensors, this architecture, and these words."""

    type: Literal["fl.model.schema.v1"] = "fl.model.schema.v1"
    tail_names = frozenset({"texts"})

    layout: TensorSchema
    """Tensors in the order of their bytes."""

    digest: Digest
    """The schema's digest; every round names it."""

    architecture: Label
    """Name that probing resolves in `roundlog.models` or in an entry point of that group."""

    config: JsonObject = {}
    """Arguments of the architecture."""


class ModelGenesis(Event):
    """The model as recording began: W_0, or W_t where a recorder joined a run at round t."""

    type: Literal["fl.model.genesis.v1"] = "fl.model.genesis.v1"
    tail_names = frozenset({"weights"})

    round: Count = 0
    """t of this model."""

    schema_digest: Digest
    """The schema in which the `weights` tail stands."""

    digest: Digest
    """Digest of the model."""

    quantiser: JsonObject = {}
    """The grid on which the server keeps aggregates, where it has one."""


class ModelReleased(Event):
    """A model left the server for people to use."""

    type: Literal["fl.model.released.v1"] = "fl.model.released.v1"

    version: Label
    """As people know it."""

    round: Count
    """t of the model that was shipped."""

    digest: Digest
    """Digest of that model."""

    channel: Label = "production"
    """To whom: production, beta, internal."""

    shipped_at: Count | None = None
    """t of the run's last model when this one was shipped, where that is later than `round`: a
    model was rolled back to."""

    actor: Person | None = None
    """Who said so, where a person did and not the server."""

    authenticated: Authenticated | None = None
    """How it is known who the actor is."""

    @model_validator(mode="after")
    def _ships_what_there_was(self) -> "ModelReleased":
        if (self.actor is None) != (self.authenticated is None):
            raise ValueError("actor and authenticated are given together, or not at all")
        if self.shipped_at is not None and self.shipped_at < self.round:
            raise ValueError(f"model {self.round} was not there yet at model {self.shipped_at}")
        return self


class RoundCommitted(Event):
    """The server applied one cohort's mean update, and W_t became W_{t+1}."""

    type: Literal["fl.round.committed.v1"] = "fl.round.committed.v1"
    tail_names = frozenset({"delta", "patch", "strata"})

    round: Count
    """t: the index of the model the update was applied to."""

    attempt: Count = 0
    """Failed attempts at this round before it succeeded."""

    cohort_size: int = Field(gt=0, le=INT64_MAX)
    """Devices inside the mean, after dropouts; not the number that was sampled."""

    weight: float | None = Field(default=None, gt=0)
    """Sum of the aggregation weights, where devices are not weighted equally."""

    schema_digest: Digest
    """The schema in which delta and models stand."""

    pre_digest: Digest
    """Digest of W_t, before the step."""

    post_digest: Digest
    """Digest of W_{t+1}, after the step."""

    delta_norm: float | None = Field(default=None, ge=0)
    """L2 norm of the applied delta, in weight units; absent where it is not finite."""

    aggregate_norm: float | None = Field(default=None, ge=0)
    """L2 norm of the aggregated update before the server step, noise included."""

    patched: Count = 0
    """Elements that the patch sets bit for bit."""

    server: ServerStep | None = None
    """The server step."""

    noise_multiplier: float | None = Field(default=None, ge=0)
    """z in this round, where it may change from round to round."""

    clip: float | None = Field(default=None, gt=0)
    """C in this round, where it changes from round to round."""

    broadcast_digest: Digest | None = None
    """Digest of what devices will run in place of W_{t+1}, such as its 4-bit form, as a model of
    the same schema; absent where they run W_{t+1} itself."""

    defence_scores: dict[str, float] = {}
    """What the server's own filters said of this aggregate."""


class RoundFailed(Event):
    """An attempt at a round ended without a new model; it consumes no t."""

    type: Literal["fl.round.failed.v1"] = "fl.round.failed.v1"

    round: Count
    """t: the round that was attempted."""

    attempt: Count
    """Which attempt, from 0."""

    reason: Label
    """Why, in words."""

    cohort_size: Count = 0
    """Devices that had answered."""


class SnapshotStored(Event):
    """A whole model was stored elsewhere, so that rebuilding can be checked against it."""

    type: Literal["fl.snapshot.stored.v1"] = "fl.snapshot.stored.v1"

    round: Count
    """t of the model."""

    digest: Digest
    """Digest of the model."""

    location: Label
    """Where the operator keeps it."""
