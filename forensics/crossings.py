"""When did the backdoor cross 1, 10, 50, 90 % activation, and how sure is that?

Exact mode rebuilds and asks every model: its answers are facts about the queries that were
asked. It is the default wherever it takes less than two minutes. Search mode asks at most 40
models a level and answers with a bracket and a zone (`forensics.search`).

Every level is compared with what decoy triggers reach (`forensics.floor`): at or below that, a
crossing would mean nothing and none is claimed. `low` and `high` are about the path of the queries
that were asked; `interval` is about all queries of their kind (`forensics.sampling_error`).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from forensics.artefact import Artefact
from forensics.floor import Floor, decoy_floor
from forensics.levels import AsrPath, check_level, default_s, read_level
from forensics.probe import Prober, Reading, check_probes, reading
from forensics.readings import RunReadings, read_run
from forensics.rebuild import CaseModels
from forensics.sampling_error import SamplingInterval, look_intervals, path_intervals
from forensics.search import COARSE, Findings, Look, margin, search_level
from forensics.trigger import ProbeSet, Trigger
from ingest.store import Store

LEVELS = (0.01, 0.1, 0.5, 0.9)

AFFORDABLE_S = 120.0
"""Exact mode is the default up to this estimate: what a person waits for without a job."""

SAMPLE = 64
"""Models that are asked once more to estimate how long all of them take."""

Mode = Literal["exact", "search"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One reading of one level."""

    level: float
    mode: str
    """`first`, `sustained`, `last`, `isotonic`; in search mode `any`, `sustained`, `isotonic`."""
    status: str
    """`crossed`, `never`, `at_start`, `below_floor`."""
    round: int | None
    """t of the model; in search mode the best single guess between `low` and `high`."""
    low: int | None
    high: int | None
    interval: SamplingInterval
    """Where all queries of this kind would put it; both ends None unless it was crossed."""
    rebuilds: int
    """Models that this level's readings rest on."""
    exact: bool
    """Whether every model was asked, so that `round` is a fact."""
    s: int
    """S of `sustained`, in models."""
    floor: float | None
    """What decoys reach; None where none could be asked."""
    reached: int | None
    """`round` as it would be without regard to the floor."""
    claim: str
    """What is proved, and what is not, in a sentence."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "interval": self.interval.document()}


@dataclass(frozen=True, slots=True)
class LevelAnswer:
    """All readings of one level."""

    crossings: tuple[Crossing, ...]
    upward: int | None
    """Upward crossings of the whole path; None in search mode, which cannot count them."""
    looks: tuple[Look, ...]
    """Search mode: the models that were asked, in order."""


@dataclass(frozen=True, eq=False)
class Crossings:
    """The answer for one run and one trigger.

    Attributes:
        artefact: Which models were asked, W_t or what devices run in their place.
        readings: Exact mode: every model's hits. None in search mode.
        path: Exact mode: the pooled path of ASR.
    """

    run: str
    artefact: Artefact
    trigger: str
    probe_digest: str
    n: int
    first: int
    last: int
    mode: Mode
    why: str
    s: int
    floor: Floor
    rebuilds: int
    levels: tuple[LevelAnswer, ...]
    readings: RunReadings | None

    @property
    def path(self) -> AsrPath | None:
        return None if self.readings is None else self.readings.path

    @property
    def crossings(self) -> tuple[Crossing, ...]:
        """Every reading of every level."""
        return tuple(row for level in self.levels for row in level.crossings)

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "run": self.run,
            "artefact": self.artefact,
            "trigger": self.trigger,
            "probe_digest": self.probe_digest,
            "n": self.n,
            "models": {"first": self.first, "last": self.last},
            "mode": self.mode,
            "why": self.why,
            "s": self.s,
            "floor": self.floor.document(),
            "rebuilds": self.rebuilds,
            "crossings": [row.document() for row in self.crossings],
            "levels": [
                {
                    "level": level.crossings[0].level,
                    "upward_crossings": level.upward,
                    "readings": [look.document() for look in level.looks],
                }
                for level in self.levels
            ],
        }


def find_crossings(
    models: CaseModels,
    store: Store,
    prober: Prober,
    trigger: Trigger,
    levels: Sequence[float] = LEVELS,
    *,
    mode: Mode | None = None,
    s: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Crossings:
    """The crossings of some levels.

    Args:
        mode: `exact` or `search`; by default exact where it is affordable.
        s: S of `sustained`; by default 1,000 models, or a fiftieth of a shorter run.
        fresh: Exact mode measures again what it has measured before.
        progress: Called with (models done, models in all) in exact mode.
        stop: When set, exact mode ends; what it measured is kept.

    Raises:
        QuestionError: No such level or S, or the measurement was stopped.
        TriggerError: The trigger does not fit the model, or has no scoring query.
        LogGapError: A model that is needed cannot be rebuilt.
        DigestMismatchError: A rebuilt model is not the recorded one.
    """
    for level in levels:
        check_level(level)
    probes = trigger.scoring()
    check_probes(probes)
    s = default_s(models.last - models.first + 1) if s is None else s
    why = "as asked for"
    if mode is None:
        mode, why = _choose(models, prober, probes)
    floor = decoy_floor(models, store, prober, trigger)
    readings: RunReadings | None = None
    if mode == "exact":
        readings = read_run(models, prober, probes, fresh=fresh, progress=progress, stop=stop)
        answers = [exact_level(readings.path, level, s, floor) for level in levels]
        rebuilds = len(readings.path.hits)
    else:
        reader = ModelReader(models, prober, probes)
        found = [
            search_level(reader.hits, len(probes), level, models.first, models.last)
            for level in levels
        ]
        answers = [searched_level(one, s, floor) for one in found]
        rebuilds = reader.rebuilds
    return Crossings(
        run=models.run,
        artefact=models.artefact,
        trigger=trigger.name,
        probe_digest=probes.digest,
        n=len(probes),
        first=models.first,
        last=models.last,
        mode=mode,
        why=why,
        s=s,
        floor=floor,
        rebuilds=rebuilds,
        levels=tuple(answers),
        readings=readings,
    )


class ModelReader:
    """Asks single models, each at most once, whatever number of levels wants to know.

    Attributes:
        rebuilds: Different models that were rebuilt.
    """

    def __init__(self, models: CaseModels, prober: Prober, probes: ProbeSet) -> None:
        check_probes(probes)
        self._models, self._prober, self._probes = models, prober, probes
        self._known: dict[int, Reading] = {}

    @property
    def rebuilds(self) -> int:
        return len(self._known)

    def read(self, t: int) -> Reading:
        """What W_t answers."""
        if t not in self._known:
            hits = self._prober.hits(self._models.model(t)[None], self._probes)[0]
            self._known[t] = reading(t, hits, self._probes)
        return self._known[t]

    def hits(self, t: int) -> int:
        """How many queries W_t answers as the attacker wants."""
        return self.read(t).hits


def exact_level(path: AsrPath, level: float, s: int, floor: Floor) -> LevelAnswer:
    """The four readings of a level on an exact path."""
    read = read_level(path, level, s)
    intervals = path_intervals(path, level, s)
    claims = {
        "first": f"the earliest model of {path.first} to {path.last} at or above the level",
        "sustained": f"the earliest model from which all of {s} models are at or above it",
        "last": f"from this model to {path.last}, all are at or above it",
        "isotonic": "where the monotone fit of all models reaches it",
    }
    rows = []
    for name, claim in claims.items():
        reached = getattr(read, name)
        status = _status(level, reached, path.first, floor)
        round_ = None if status == "below_floor" else reached
        proved = "there is no such model" if reached is None else claim
        rows.append(
            Crossing(
                level=level,
                mode=name,
                status=status,
                round=round_,
                low=round_,
                high=round_,
                interval=_told(status, intervals[name]),
                rebuilds=len(path.hits),
                exact=True,
                s=s,
                floor=floor.value,
                reached=reached,
                claim=_claim(status, f"proved: {proved}", intervals[name]),
            )
        )
    return LevelAnswer(tuple(rows), read.upward, ())


def searched_level(found: Findings, s: int, floor: Floor) -> LevelAnswer:
    """The bracket and the zone of a level as rows."""
    return LevelAnswer(tuple(_searched_rows(found, s, floor)), None, found.looks)


def _searched_rows(found: Findings, s: int, floor: Floor) -> Iterator[Crossing]:
    asked = len(found.looks)
    first = min(look.round for look in found.looks)
    intervals = look_intervals(found)
    for name in ("any", "sustained", "isotonic"):
        low, high, reached, claim = _place(found, name, first)
        status = found.status
        if floor.value is not None and found.level <= floor.value:
            status = "below_floor"
        hidden = status in {"below_floor", "never"}
        if status == "never":
            claim = f"not proved: none of the {asked} models asked reaches the level"
        yield Crossing(
            level=found.level,
            mode=name,
            status=status,
            round=None if hidden else reached,
            low=None if hidden else low,
            high=None if hidden else high,
            interval=_told(status, intervals[name]),
            rebuilds=asked,
            exact=False,
            s=s,
            floor=floor.value,
            reached=reached,
            claim=_claim(status, claim, intervals[name]),
        )


def _place(
    found: Findings, name: str, first: int
) -> tuple[int | None, int | None, int | None, str]:
    """Low, high, best guess and claim of one reading in search mode."""
    if found.zone is None:
        return None, None, None, ""
    if name == "any":
        if found.bracket is None:
            return first, first, first, "proved: the first model is at or above the level"
        low, high = found.bracket
        return low, high, high, f"proved: model {low} is below the level, model {high} is not"
    zone = found.zone
    d = margin(found.level)
    below = f"every model asked up to {zone.low} is below {found.level - d:.3f}"
    above = f"every one from {zone.high} on is at or above {found.level + d:.3f}"
    if not zone.closed_below:
        below = f"no model asked is safely below the level, so it begins at {zone.low}"
    if not zone.closed_above:
        above = "the last ones are not safely above it, so it may not be reached for good"
    guess = zone.high if found.estimate is None else found.estimate
    guess = min(max(guess, zone.low), zone.high)
    return zone.low, zone.high, guess, f"not proved, measured: {below}; {above}"


def _status(level: float, reached: int | None, first: int, floor: Floor) -> str:
    if floor.value is not None and level <= floor.value:
        return "below_floor"
    if reached is None:
        return "never"
    return "at_start" if reached == first else "crossed"


def _told(status: str, interval: SamplingInterval) -> SamplingInterval:
    """The interval of a row, which has none where there is no crossing to be uncertain about."""
    if status in {"never", "below_floor"}:
        return SamplingInterval(None, None, interval.coverage)
    return interval


def _claim(status: str, of_these: str, interval: SamplingInterval) -> str:
    """What is proved of the queries that were asked, and of all others where none reached it."""
    if status == "below_floor":
        return "none: triggers that nobody attacked with reach this level too"
    # A row that was crossed has its interval in numbers; here it would only be said again.
    return f"{of_these}; {interval.sentence()}" if status == "never" else of_these


def _choose(models: CaseModels, prober: Prober, probes: ProbeSet) -> tuple[Mode, str]:
    """Exact mode where it is affordable, judged by a few models of this run on this machine."""
    total = models.last - models.first + 1
    if total <= SAMPLE + COARSE:
        return "exact", f"{total} models are quickly asked"
    model = models.model(models.first)[None].repeat(SAMPLE, axis=0)
    prober.hits(model[:1], probes)
    started = time.perf_counter()
    prober.hits(model, probes)
    seconds = (time.perf_counter() - started) / SAMPLE * total
    if seconds <= AFFORDABLE_S:
        about = "under a second" if seconds < 1 else f"about {seconds:.0f} s"
        return "exact", f"asking all {total:,} models takes {about}"
    return "search", (
        f"asking all {total:,} models would take about {seconds:,.0f} s; exact mode must be asked "
        f"for, and goes on where it was stopped"
    )
