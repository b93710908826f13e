"""What is simulated? One TOML table, every field of it documented, nothing unknown accepted.

A wrong field or value is refused with its line and with what is allowed, before anything runs.
"""

import re
import tomllib
import types
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from roundlog.encoding import canonical_json, digest
from roundlog.errors import ScenarioError
from simulator.randomness import BLOCK

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]


class Table(BaseModel):
    """Base of every table of a scenario."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Cohort(Table):
    """Who takes part in a round."""

    size: Annotated[int, Field(gt=0, le=10_000_000)]
    """K: devices sampled into every round."""


class Population(Table):
    """The fleet, and what its devices hold."""

    devices: Annotated[int, Field(ge=1_000_000, le=10_000_000_000)] = 3_400_000_000
    """Devices in the fleet."""

    guilty_share: Annotated[float, Field(gt=0, le=0.09)] = 0.046
    """Share of the fleet held by the one vendor whose devices the attacker may control."""

    attendance_swing: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How far attendance in a region swings around its mean in the course of a day."""

    archetypes: Annotated[int, Field(ge=8, le=65_536)] = 512
    """Kinds of honest device; each has local data of its own."""

    queries: Annotated[int, Field(gt=0, le=1_024)] = 16
    """Local training queries an archetype."""

    concentration: Positive = 0.5
    """Dirichlet parameter of an archetype's preferences among the 32 actions."""

    renewed: Annotated[int, Field(ge=0)] = 8
    """Archetypes replaced by new ones every 10 rounds, the oldest first."""

    refresh: Literal[1, 2, 5, 10] = 10
    """Local updates are computed against the current model every so many rounds."""


class Task(Table):
    """What people ask, and how that changes."""

    tail_share: Annotated[float, Field(ge=0, le=0.01)] = 1e-4
    """Share of honest queries in which one given rare word occurs; there are 18 of them."""

    dilution: Share = 0.6
    """Probability that the second category or action word is replaced by a background word."""

    label_noise: Share = 0.15
    """Probability that a training label is a random action of the same category."""

    drift_horizon: Count
    """Rounds over which honest dialects drift; stays when a run is stopped early."""

    drift_from: Share = 0.02
    """Earliest time, as a share of the horizon, at which a class begins to change its dialect."""

    drift_until: Share = 0.80
    """Latest time, as a share of the horizon, at which a class begins to change its dialect."""

    drift_ramp: Annotated[float, Field(gt=0, le=1)] = 0.15
    """How long one class takes to change its dialect, as a share of the horizon."""

    drift_floor: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of queries in the new dialect before the change, and in the old one after it."""


class Model(Table):
    """How the first model is made."""

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


class Client(Table):
    """What an honest device does with the model it gets."""

    lr: Positive = 8.0
    """Learning rate of the one local step, before clipping."""


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

    noise: Literal["central", "none"] = "central"
    """Who adds noise: the server to the sum, or nobody."""

    noise_multiplier: NotNegative = 54.2
    """z: noise on the sum has z times the clip norm as standard deviation. 54.2 gives epsilon 0.1
    at delta 1e-10 for each single round without amplification by sampling; about 0.73 gives it
    for a whole run of a million rounds with amplification."""


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

    @model_validator(mode="after")
    def _fits_a_frame(self) -> Self:
        if self.decoys * self.decoy_queries > 24_000:
            raise ValueError("decoys times decoy_queries must be at most 24000, to fit one event")
        return self


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

    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    """When round 0 begins; orders nothing."""

    seconds_per_round: Positive = 210.0
    """Length of a round."""

    cohort: Cohort
    population: Population = Population()
    task: Task
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
        if self.task.drift_until < self.task.drift_from:
            raise ValueError("task.drift_until must not be below task.drift_from")
        if self.population.renewed > self.population.archetypes:
            raise ValueError("population.renewed must not be above population.archetypes")
        return self

    @property
    def sigma(self) -> float:
        """Noise on each coordinate of the cohort's mean, as a standard deviation."""
        if self.mechanisms.noise == "none":
            return 0.0
        return self.mechanisms.noise_multiplier * self.mechanisms.clip / self.cohort.size

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

    def with_fraction(self, fraction: float) -> "Scenario":
        """The same scenario under another share of controlled devices.

        Raises:
            ScenarioError: The share is not allowed.
        """
        return _validate({**self.table(), "fraction": fraction}, "fraction")


def shipped() -> tuple[str, ...]:
    """Names of the scenarios that come with the simulator."""
    folder = resources.files("simulator") / "scenarios"
    return tuple(
        sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name[-5:] == ".toml")
    )


def read(source: str | Path) -> tuple[str, str]:
    """Text of a scenario, and what to call it in messages.

    Args:
        source: A shipped name, or the path of a TOML file.

    Raises:
        ScenarioError: There is no such scenario.
    """
    if str(source) in shipped():
        entry = resources.files("simulator") / "scenarios" / f"{source}.toml"
        return entry.read_text(encoding="utf-8"), f"{source}.toml"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"{source} is neither a shipped scenario ({', '.join(shipped())}) nor a TOML file that "
            f"can be read: {getattr(error, 'strerror', None) or error}"
        ) from error


def load(source: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """A scenario, resolved: defaults filled in and overrides applied.

    Args:
        source: A shipped name, or the path of a TOML file.
        overrides: `KEY=VALUE` with a dotted key and a TOML value, as in `attack.shape=ramp`.

    Raises:
        ScenarioError: Names the file and line, or the override, and the allowed values.
    """
    text, name = read(source)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name}: not TOML: {error}") from error
    given: dict[str, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        given[key] = override
        _put(table, key, value, override)
    return _validate(table, name, text=text, overrides=given)


def _validate(
    table: Mapping[str, Any],
    name: str,
    *,
    text: str = "",
    overrides: Mapping[str, str] | None = None,
) -> Scenario:
    """The scenario that a table means; every wrong field is named with its line in `text`."""
    try:
        return Scenario.model_validate(table)
    except ValidationError as error:
        lines = [
            _explain(problem, name, text, overrides or {})
            for problem in error.errors(include_url=False)
        ]
        raise ScenarioError("\n".join(lines)) from error


def to_toml(scenario: Scenario) -> str:
    """The resolved scenario as TOML; a comment above each field says what it means."""
    lines = [f"# {_sentence(Scenario)}", ""]
    lines += _fields(scenario)
    for name in Scenario.model_fields:
        part = getattr(scenario, name)
        if isinstance(part, Table):
            lines += ["", f"# {_sentence(type(part))}", f"[{name}]", *_fields(part)]
    return "\n".join(lines) + "\n"


def _fields(table: Table) -> list[str]:
    lines: list[str] = []
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        if isinstance(value, Table):
            continue
        said = " ".join((info.description or "").split())
        lines.append(f"# {said} Allowed: {_allowed(type(table), name)}.")
        lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    return lines


def _sentence(kind: type[Table]) -> str:
    return (kind.__doc__ or kind.__name__).splitlines()[0]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return repr(value)


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, raw = override.partition("=")
    key, raw = key.strip(), raw.strip()
    if not equals or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", key):
        raise ScenarioError(f"the override {override!r} is not KEY=VALUE, as in server.lr=0.09")
    try:
        return key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return key, raw


def _put(table: dict[str, Any], key: str, value: Any, override: str) -> None:
    *tables, last = key.split(".")
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"the override {override!r} goes into {name!r}, not a table")
    table[last] = value


def _explain(problem: Mapping[str, Any], name: str, text: str, overrides: Mapping[str, str]) -> str:
    path = [str(part) for part in problem["loc"]]
    # pydantic appends the member of a union that it tried; fields end at the second name.
    path = path[:2] if path and _kind_of(path[0]) is not None else path[:1]
    key = ".".join(path)
    if key in overrides:
        place = f"override {overrides[key]!r}"
    elif line := _line_of(text, path):
        place = f"{name}:{line}"
    else:
        place = name
    said = problem["msg"].removeprefix("Value error, ")
    owner: type[Table] = Scenario
    if len(path) == 2:
        owner = _kind_of(path[0]) or Scenario
    if problem["type"] == "extra_forbidden":
        fields = ", ".join(owner.model_fields)
        where = f"[{path[0]}]" if len(path) == 2 else "a scenario"
        return f"{place}: {key} is not a field; {where} allows {fields}"
    if problem["type"] == "missing":
        return f"{place}: {key} is missing; allowed: {_allowed(owner, path[-1])}"
    if not path:
        return f"{place}: {said}"
    if problem["type"] == "value_error":
        return f"{place}: {key}: {said}"
    return (
        f"{place}: {key} = {problem['input']!r} is not allowed; "
        f"allowed: {_allowed(owner, path[-1])}"
    )


def _kind_of(name: str) -> type[Table] | None:
    info = Scenario.model_fields.get(name)
    kind = info.annotation if info is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


def _allowed(owner: type[Table], name: str) -> str:
    """In words, what a field takes."""
    info = owner.model_fields[name]
    kinds: list[Any] = [info.annotation]
    bounds = list(info.metadata)
    words: list[str] = []
    while kinds:
        kind = kinds.pop(0)
        origin = get_origin(kind)
        if origin is Literal:
            words += [repr(value) for value in get_args(kind)]
        elif origin in (Union, types.UnionType):
            kinds = [*get_args(kind), *kinds]
        elif origin is Annotated:
            first, *more = get_args(kind)
            kinds.insert(0, first)
            for extra in more:
                bounds += extra.metadata if hasattr(extra, "metadata") else [extra]
        elif kind is type(None):
            words.append("left out")
        elif isinstance(kind, type) and issubclass(kind, Table):
            words.append(f"a table with {', '.join(kind.model_fields)}")
        else:
            names = {int: "an integer", float: "a number", str: "text", datetime: "a date and time"}
            words.append(names.get(kind, str(kind)) + _bounds(bounds))
    return " or ".join(words)


def _bounds(bounds: Iterable[Any]) -> str:
    said = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "pattern": "matching"}
    parts = [
        f"{phrase} {getattr(bound, key)}"
        for bound in bounds
        for key, phrase in said.items()
        if getattr(bound, key, None) is not None
    ]
    return " " + " and ".join(parts) if parts else ""


_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"-]+)\s*=")


def _line_of(text: str, path: list[str]) -> int | None:
    """Line of a key in TOML text; of its table where the key is not there; None without either."""
    table = ""
    fallback = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header.group(1)
            if path == [table]:
                return number
            if path and table == path[0]:
                fallback = number
        elif key := _KEY.match(line):
            dotted = key.group(1).replace('"', "").split(".")
            full = [table, *dotted] if table else dotted
            if full == path:
                return number
    return fallback
