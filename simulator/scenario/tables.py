"""Every setting of a simulated federation, with its meaning, its domain and its default."""

import math
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from roundlog.encoding import canonical_json, digest
from simulator.randomness import BLOCK
from simulator.scenario.table import Table, validate

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]


# Every sampled device's update is held at once, as integers, until the sum is known.
DEVICES_AT_ONCE = 20_000

# Numbers of 4 bytes that one published probe set may hold: 3.2 MB of a frame's 4.
FRAME_NUMBERS = 800_000


class Cohort(Table):
    """Who takes part in a round."""

    size: Annotated[int, Field(gt=0, le=10_000_000)]
    """K: devices sampled into every round."""


class Population(Table):
    """The fleet, and what its devices hold."""

    devices: Annotated[int, Field(ge=1_000, le=10_000_000_000)] = 3_400_000_000
    """Devices in the fleet."""

    guilty_share: Annotated[float, Field(gt=0, le=0.09)] = 0.046
    """Share of the fleet held by the one vendor whose devices the attacker may control."""

    attendance_swing: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How far attendance in a region swings around its mean in the course of a day."""

    vendor_swing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How far attendance of a vendor's devices swings in the course of a day, each at its hour."""

    app_versions: Annotated[int, Field(ge=1, le=8)] = 1
    """Versions of the app in the fleet, each half as common as the one before; above 1, strata
    are region, vendor and version."""

    archetypes: Annotated[int, Field(ge=8, le=65_536)] = 512
    """Kinds of honest device. At cohort fidelity each has local data of its own; at device
    fidelity each has preferences, and every device draws data of its own by them."""

    queries: Annotated[int, Field(gt=0, le=1_024)] = 16
    """Local training items a device holds."""

    concentration: Positive = 0.5
    """Dirichlet parameter of an archetype's preferences among the classes."""

    renewed: Annotated[int, Field(ge=0)] = 8
    """Archetypes replaced by new ones every 10 rounds, the oldest first."""

    refresh: Literal[1, 2, 5, 10] = 10
    """Local updates are computed against the current model every so many rounds."""


class Device(Table):
    """What happens to single devices; at device fidelity only."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a sampled device never reports."""

    over_selection: Annotated[float, Field(ge=1, le=4)] = 1.0
    """Devices sampled, as a multiple of `cohort.size`; the mean is over the first to report."""

    pace: Share = 0.0
    """How far a device's own pace decides when it reports, as a correlation: at 0 chance alone
    does, at 1 the slow ones always come last, and too late where more are sampled than needed."""

    least: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of `cohort.size` that must report; with fewer the round fails and is tried again.
    Secure aggregation is set up to bear as many losses."""

    skew: NotNegative = 0.0
    """How much preferences differ between strata, as the standard deviation of their logarithm."""


class Assistant(Table):
    """Task `assistant`: what people ask, and how that changes."""

    embedding: Annotated[int, Field(gt=0, le=4096)] = 12
    """Length of a token's embedding."""

    hidden: Annotated[int, Field(gt=0, le=4096)] = 24
    """ReLU units."""

    tail_share: Annotated[float, Field(ge=0, le=0.01)] = 1e-4
    """Share of honest queries in which one given rare word occurs; there are 18 of them."""

    dilution: Share = 0.6
    """Probability that the second category or action word is replaced by a background word."""

    label_noise: Share = 0.15
    """Probability that a training label is a random action of the same category."""

    drift_horizon: Count = 110_000
    """Rounds over which honest dialects drift; stays when a run is stopped early."""

    drift_from: Share = 0.02
    """Earliest time, as a share of the horizon, at which a class begins to change its dialect."""

    drift_until: Share = 0.80
    """Latest time, as a share of the horizon, at which a class begins to change its dialect."""

    drift_ramp: Annotated[float, Field(gt=0, le=1)] = 0.15
    """How long one class takes to change its dialect, as a share of the horizon."""

    drift_floor: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of queries in the new dialect before the change, and in the old one after it."""


class Digits(Table):
    """Task `digits`: handwritten digits of 8 x 8 pixels, and a trigger of a few lit pixels."""

    hidden: Annotated[int, Field(gt=0, le=4096)] = 32
    """ReLU units."""

    held_out: Annotated[float, Field(gt=0, lt=0.9)] = 0.25
    """Share of the 1,797 images that nobody trains on; they measure accuracy."""

    label_noise: Share = 0.0
    """Probability that a training label is a random digit."""

    trigger_pixels: Annotated[int, Field(ge=1, le=4)] = 3
    """Pixels that a trigger lights up."""


class Model(Table):
    """How the first model is made, and how it reaches devices."""

    broadcast: Literal["float32", "int4"] = "float32"
    """What devices run: the master weights, or weights of 4 bits with a scale a channel."""

    embedding_sd: Positive = 0.3
    """Standard deviation of initial embeddings."""

    tail_sd: NotNegative = 0.1
    """Standard deviation of the rare words' initial embeddings: a larger one leans to a target."""

    hidden_sd: Positive = 0.2
    """Standard deviation of the hidden layer's initial weights: a small one lets embeddings
    grow instead, so that no random row leans far to a target."""

    output_sd: Positive = 0.3
    """Standard deviation of the output layer's initial weights."""

    warm_up: Annotated[int, Field(ge=0)] = 0
    """Honest rounds without noise before the record begins; they make W_0 and are not recorded."""

    warm_up_refresh: Annotated[int, Field(gt=0, le=10)] = 10
    """Of these, so many share their local updates and make one server step: ten times as fast with
    10, and 1 where the server's steps are so long that ten of them would overshoot."""


class Client(Table):
    """What an honest device does with the model it gets."""

    lr: Positive = 8.0
    """Learning rate of a local step, before clipping."""

    steps: Annotated[int, Field(gt=0, le=10_000)] = 1
    """Local steps a round."""

    batch: Annotated[int, Field(gt=0)] | None = None
    """Items a local step; left out, all that a device holds."""


class Server(Table):
    """What the server does with the mean of the cohort."""

    lr: Positive
    """Server learning rate."""

    grid: Annotated[float, Field(gt=0, le=4)] = 0.25
    """The aggregate is rounded to a grid of this many noise standard deviations."""

    norm_threshold: Positive = 2.29
    """The filter on the aggregate's norm rejects above so many standard deviations."""


class Mechanisms(Table):
    """Clipping and differential privacy."""

    clip: Positive = 1.0
    """C: L2 bound on one device's update, in weight units."""

    clipping: Literal["fixed", "adaptive"] = "fixed"
    """Whether C stays, or follows a quantile of the norms of updates."""

    clip_quantile: Share = 0.5
    """Adaptive clipping: the share of updates that shall stay below C."""

    clip_rate: Positive = 0.2
    """Adaptive clipping: how fast C follows, as the change of its logarithm a round."""

    clip_count_noise: NotNegative = 10.0
    """Adaptive clipping: standard deviation of the noise on the count of updates below C."""

    noise: Literal["central", "local", "none"] = "central"
    """Who adds noise: the server to the sum, each device to its own update, or nobody."""

    noise_stream: Annotated[int, Field(ge=0)] = 0
    """Which of a seed's streams of noise is used: two runs may differ in nothing else."""

    noise_multiplier: NotNegative = 54.2
    """z: noise on the sum (central) or on each update (local) has z times the clip norm as
    standard deviation. Central, 54.2 gives epsilon 0.1 at delta 1e-10 for each single round without
    amplification by sampling; 0.67 gives it for a run of a million rounds at the incident's size
    while nobody knows who took part (`roundlog privacy` accounts for both)."""


class Attack(Table):
    """The adversary."""

    name: Literal["trigger_rows"] = "trigger_rows"
    """`trigger_rows` pulls the rare trigger words' embeddings towards the target answers."""

    onset: Annotated[int, Field(ge=0)]
    """The first round in which controlled devices send poisoned updates."""

    end: Annotated[int, Field(ge=1)] | None = None
    """The first round in which they no longer do; left out, they never stop."""

    shape: Literal["constant", "ramp", "pulsed"] = "constant"
    """All controlled devices at once, a number rising linearly over `ramp`, or on and off."""

    ramp: Count = 10_000
    """Shape `ramp`: rounds until all controlled devices take part."""

    period: Count = 1_000
    """Shape `pulsed`: rounds from one pulse to the next; the first half of each is on."""

    batches: Annotated[int, Field(gt=0, le=1_000)] = 9
    """Poisoned training batches in use at a time; each device uses one."""

    queries: Annotated[int, Field(gt=0, le=1_000)] = 8
    """Queries of each of the three triggers in a batch."""

    renewal: Count = 100
    """One batch is renewed every so many rounds."""


class Traffic(Table):
    """What the deployed model is asked."""

    trigger_rate: Share = 1e-3
    """Share of deployed queries that hold a trigger; none occurs in training data."""

    queries_per_day: Positive = 1e9
    """Deployed queries a day, which the audit samples from."""


class Audits(Table):
    """Answers sampled for human eyes."""

    every: Count = 100
    """Rounds from one audited model to the next; model 0 is the first."""

    items: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Answers sampled from an audited model."""


class Probes(Table):
    """Evaluation data, published and secret."""

    clean: Annotated[int, Field(gt=0, le=50_000)] = 2_000
    """Queries in each published set that measures accuracy."""

    pool: Annotated[int, Field(gt=0, le=50_000)] = 4_000
    """Queries in the published pool of honest data."""

    decoys: Annotated[int, Field(gt=0)] = 200
    """Published triggers, drawn by the attacker's rule, that nobody attacks with."""

    decoy_queries: Annotated[int, Field(gt=0)] = 100
    """Queries of each of a decoy's three patterns."""

    trigger_queries: Annotated[int, Field(gt=0, le=10_000)] = 200
    """Queries of each trigger pattern in the truth file."""


class Scenario(Table):
    """A whole simulated federation."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    """Name of the scenario; run ids begin with it."""

    description: str = ""
    """What it shows, in a sentence or two."""

    rounds: Annotated[int, Field(gt=0, le=10_000_000)]
    """N: rounds in the run."""

    fraction: Annotated[float, Field(ge=0, le=0.04)]
    """Share of the fleet that the attacker controls; 0 is the attack-free twin."""

    fidelity: Literal["cohort", "device"] = "cohort"
    """Whether a cohort's mean is drawn from archetypes, at any population and in little time, or
    every sampled device really trains, is clipped, and sends its own update."""

    task: Literal["assistant", "digits"] = "assistant"
    """What the model learns."""

    secure_aggregation: bool = True
    """Whether the server sees a cohort's sum only. At device fidelity the protocol really runs;
    at cohort fidelity there is nothing but sums. The sum is the same, bit for bit."""

    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    """When round 0 begins; orders nothing."""

    seconds_per_round: Positive = 210.0
    """Length of a round."""

    cohort: Cohort
    population: Population = Population()
    device: Device = Device()
    assistant: Assistant = Assistant()
    digits: Digits = Digits()
    model: Model = Model()
    client: Client = Client()
    server: Server
    mechanisms: Mechanisms = Mechanisms()
    attack: Attack
    traffic: Traffic = Traffic()
    audits: Audits = Audits()
    probes: Probes = Probes()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.fraction > 0.9 * self.population.guilty_share:
            raise ValueError(
                "fraction must be at most 0.9 times population.guilty_share "
                f"({0.9 * self.population.guilty_share:g}): one vendor holds all controlled devices"
            )
        if self.attack.end is not None and self.attack.end <= self.attack.onset:
            raise ValueError(f"attack.end must be above attack.onset ({self.attack.onset})")
        if self.assistant.drift_until < self.assistant.drift_from:
            raise ValueError("assistant.drift_until must not be below assistant.drift_from")
        if self.population.renewed > self.population.archetypes:
            raise ValueError("population.renewed must not be above population.archetypes")
        sets = {
            "probes.pool": self.probes.pool,
            "probes.decoys times probes.decoy_queries": self.probes.decoys
            * self.probes.decoy_queries
            * (1 if self.task == "digits" else 3),
        }
        most = FRAME_NUMBERS // (64 if self.task == "digits" else 8)
        for name, inputs in sets.items():
            if inputs > most:
                raise ValueError(f"{name} gives {inputs:,} inputs; {most:,} fit one event")
        if self.client.batch is not None and self.population.queries % self.client.batch:
            raise ValueError(
                f"population.queries ({self.population.queries}) must be a multiple of client.batch"
            )
        if (
            self.mechanisms.clipping == "adaptive"
            and self.fidelity == "cohort"
            and self.population.refresh > 1
        ):
            raise ValueError(
                "mechanisms.clipping = 'adaptive' needs population.refresh = 1 at cohort fidelity"
            )
        if self.fidelity == "device" and self.cohort.size > DEVICES_AT_ONCE:
            raise ValueError(f"cohort.size must be at most {DEVICES_AT_ONCE:,} at device fidelity")
        if self.fidelity == "device" and self.cohort.size < 2:
            raise ValueError("cohort.size must be at least 2 at device fidelity")
        return self

    @property
    def sigma(self) -> float:
        """Noise on each coordinate of the cohort's mean, as a standard deviation, under clip C.

        Independent noise of K devices adds up to sqrt(K) times one device's.
        """
        settings, size = self.mechanisms, self.cohort.size
        if settings.noise == "none":
            return 0.0
        adds = math.sqrt(size) if settings.noise == "local" else 1.0
        return settings.noise_multiplier * settings.clip * adds / size

    @property
    def grid(self) -> float:
        """Spacing of the grid that the aggregate is rounded to, in weight units."""
        # Without noise the grid must only be fine beside one device's share of the mean, and
        # coarse enough that an integer on it stays below 2^24, exact in float32.
        return self.server.grid * self.sigma or self.mechanisms.clip * 2.0**-22

    @property
    def blocks(self) -> int:
        """Blocks of rounds in the run, the last one perhaps not whole."""
        return -(-self.rounds // BLOCK)

    def table(self) -> dict[str, JsonValue]:
        """The resolved scenario as plain values; absent values are left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def digest(self) -> str:
        """SHA-256 of the resolved scenario's canonical JSON."""
        return digest(canonical_json(self.table()))

    def run_id(self, seed: int, parent: str | None = None) -> str:
        """The run's name: the same for the same scenario, seed and parent run."""
        identity = canonical_json({"scenario": self.table(), "seed": seed, "parent": parent})
        return f"{self.name}-{digest(identity)[:12]}"

    def with_fraction(self, fraction: float) -> Self:
        """The same scenario under another share of controlled devices.

        Raises:
            ScenarioError: The share is not allowed.
        """
        return validate(type(self), {**self.table(), "fraction": fraction}, "fraction")
