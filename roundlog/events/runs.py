"""Facts about a run: how the federation was set up, and where the recorder lost sight of it."""

from typing import Literal

from pydantic import Field

from roundlog.events.base import Count, Digest, Event, JsonObject, Label, Name, Record

Visibility = Literal["aggregate_only", "individual", "ciphertext"]


class PrivacyMechanism(Record):
    """The differential privacy mechanism that the server runs."""

    name: Literal["none", "central_gaussian", "local_gaussian"]
    """Who adds the noise: nobody, the server to the sum, or each device to its update."""

    clip: float | None = Field(default=None, gt=0)
    """L2 bound C on one device's update, in weight units."""

    noise_multiplier: float | None = Field(default=None, ge=0)
    """z: noise standard deviation on the *sum* of updates, divided by C."""

    epsilon: float | None = Field(default=None, gt=0)
    """The epsilon the operator claims, with `delta`; `accounting` says for what."""

    delta: float | None = Field(default=None, gt=0, lt=1)
    """Failure probability that belongs to `epsilon`."""

    accounting: str | None = None
    """What the claim covers, in words: one round or the whole run, with amplification or not."""


class RunOpened(Event):
    """A training run began to be recorded."""

    type: Literal["fl.run.opened.v1"] = "fl.run.opened.v1"

    framework: Label
    """Who trains: name and version of the federated learning framework or simulator."""

    strategy: JsonObject = {}
    """The server's strategy tree: aggregation rule, server optimiser, filters."""

    config: JsonObject = {}
    """Whatever else the operator wants beside the record."""

    sampler: JsonObject = {}
    """How cohorts are drawn: rule, population, cohort size."""

    strata: tuple[Label, ...] = ()
    """Names of the strata whose counts each round carries, in the order of those counts."""

    mechanism: PrivacyMechanism = PrivacyMechanism(name="none")
    """Differential privacy as configured."""

    visibility: Visibility = "aggregate_only"
    """What the server could see of one device's update."""

    seconds_per_round: float | None = Field(default=None, gt=0)
    """Nominal length of a round, for people who think in days."""

    broadcast: Label = "float32"
    """What devices run: the master weights, or a form of them that `roundlog.artefact` makes."""

    cohort_key: Digest | None = None
    """X25519 public key, hexadecimal, that `cohort.sealed` events are sealed to; whoever keeps the
    private key, which never lies in the case, can tell who took part."""

    scenario_digest: Digest | None = None
    """Simulated runs: digest of the resolved scenario. The scenario itself, which holds the
    attack, stays outside the case."""

    parent: Name | None = None
    """The run that this one replays under other settings."""


class RecorderGap(Event):
    """The recorder could not record some rounds; training went on without it."""

    type: Literal["fl.recorder.gap.v1"] = "fl.recorder.gap.v1"

    reason: Label
    """Why, in words: the spool was full, the disk failed."""

    expected: Count
    """The first round that is missing."""

    got: Count
    """The round at which recording went on."""


class ContinuityBreak(Event):
    """The model changed between two rounds without a recorded server step."""

    type: Literal["fl.continuity.break.v1"] = "fl.continuity.break.v1"

    reason: Label
    """What the recorder noticed."""

    round: Count
    """t: the round before which the model was changed."""

    expected: Digest
    """Digest of W_t as the previous round left it."""

    got: Digest
    """Digest of W_t as the server then held it."""


class CohortSealed(Event):
    """Who took part in a round, readable only to the holders of the run's private key."""

    type: Literal["fl.cohort.sealed.v1"] = "fl.cohort.sealed.v1"
    tail_names = frozenset({"sealed"})

    round: Count
    """t: the round."""

    attempt: Count = 0
    """Failed attempts at this round before it."""

    rule: Label
    """What the sealed bytes hold: `sampler` (seed, rule, no-shows, as `roundlog.cohort` reads
    them) or `ids` (pseudonyms)."""
