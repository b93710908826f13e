"""How rightly is one run dated, watched and cleared? Everything that is claimed about *when*, once.

Of an attacked run: the onset by one pass and by two, what a responder sees once success reaches
10 % (rank among decoys), and what a live watch says, up to there or to its first alarm. Of an
attack-free twin: whether an onset is found all the same, the trigger's rank among all published
decoys, every alarm of a watch over the whole run, and the series that replicates are made of.

Each watch is run a second time along the plain gradient, with honest learning left in it: the
control. Nothing is tuned here, and nothing is judged: `forensics.evaluation.when_summary` does.
"""

import base64
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np

from forensics.crossings import ModelReader
from forensics.dating import Floats, spread
from forensics.decoys import WANTED
from forensics.directions import Direction, Honest, honest_sets
from forensics.onset import SIGNIFICANT, Onset, Pass, find_onset
from forensics.probe import Prober, read_model
from forensics.projection import project
from forensics.rebuild import CaseModels
from forensics.search import search_level
from forensics.trigger import Trigger
from forensics.watch import Alarm, Plan, Watch
from ingest.store import Store

EARLY = 0.1
"""Success at which somebody may suspect the trigger: the decoys are asked then, and an alarm that
comes later is late."""

STEPS = 5
"""Parts that progress is told in: onset, at 10 %, watch, control, series."""

Document = dict[str, Any]

Progress = Callable[[int, int], None]


def measure_when(
    models: CaseModels,
    store: Store,
    trigger: Trigger,
    onset: int | None,
    *,
    watch_until: int | None = None,
    decoys: int = WANTED,
    progress: Progress | None = None,
) -> Document:
    """Measures one run whose truth is known.

    Args:
        onset: The first attacked round; None for an attack-free twin.
        watch_until: The last round that is watched. By default a twin is watched whole, and an
            attacked run until its trigger's series has raised an alarm and success has reached
            10 % (or would have: where it never does, until that alarm).
        decoys: At most so many in a comparison.
        progress: Called with (parts done, parts in all), and now and then in between.

    Returns:
        `onset`, `last_model`; `one_pass`, `two_pass`; `at_ten` (attacked, where 10 % is reached);
        `ranks` and `series` (twins); `watch`, `control`; `seconds` of CPU by step.

    Raises:
        RoundlogError: What dating, watching or rebuilding said.
    """
    clock = _Clock(progress)
    prober = Prober(models.architecture)
    dated = find_onset(models, store, prober, trigger, decoys=0 if onset is not None else decoys)
    found: Document = {
        "onset": onset,
        "last_model": models.last,
        "one_pass": _pass(dated.passes[0], onset),
        "two_pass": _pass(dated.passes[-1], onset),
        "at_ten": None,
        "ranks": None,
        "series": None,
    }
    clock.done("onset")
    reached = _reached(models, prober, trigger)
    if onset is None:
        found["ranks"] = _published(dated)
    elif reached is not None:
        then = find_onset(models, store, prober, trigger, last=reached, decoys=decoys)
        found["at_ten"] = {
            "reached": reached,
            "decoy_rank": then.apart.rank,
            "decoys": then.apart.decoys,
            **_pass(then.passes[-1], onset),
        }
    clock.done("at_ten")
    case = _Case(models, store, prober, trigger, onset, reached, watch_until)
    for name, plain in (("watch", False), ("control", True)):
        found[name] = _watched(case, plain, clock)
        clock.done(name)
    if onset is None:
        found["series"] = _series(models, store, prober, trigger, dated.passes[-1].direction)
    clock.done("series")
    return {**found, "seconds": clock.seconds}


class _Clock:
    """CPU seconds of each step, and progress."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._at, self._begun = progress, 0, process_time()
        self.seconds: dict[str, float] = {}

    def tell(self) -> None:
        if self._progress is not None:
            self._progress(self._at, STEPS)

    def done(self, step: str) -> None:
        now = process_time()
        self.seconds[step] = round(now - self._begun, 3)
        self._begun, self._at = now, self._at + 1
        self.tell()


def _pass(one: Pass, onset: int | None) -> Document:
    """One dating beside the truth; covered and error are None in a twin."""
    change = one.change
    found = change is not None and change.p <= SIGNIFICANT
    covered = error = None
    if onset is not None:
        inside = one.low is not None and one.high is not None and one.low <= onset <= one.high
        covered = found and inside
        error = None if one.round is None else one.round - onset
    return {
        "found": found,
        "round": one.round,
        "low": one.low,
        "high": one.high,
        "covered": covered,
        "error": error,
        "signal": None if change is None else change.shift,
        "p": None if change is None else change.p,
        "rounds": one.rounds,
        "model": one.direction.model,
    }


def _published(dated: Onset) -> Document:
    return {
        "published_rank": dated.published.rank,
        "published_decoys": dated.published.decoys,
        "decoy_rank": dated.apart.rank,
        "decoys": dated.apart.decoys,
    }


def _reached(models: CaseModels, prober: Prober, trigger: Trigger) -> int | None:
    """t of the model at which success reaches 10 %, as far as 40 models tell."""
    probes = trigger.scoring()
    reader = ModelReader(models, prober, probes)
    found = search_level(reader.hits, len(probes), EARLY, models.first, models.last)
    return found.estimate if found.status == "crossed" else None


@dataclass(frozen=True, slots=True)
class _Case:
    """What a watch is held over."""

    models: CaseModels
    store: Store
    prober: Prober
    trigger: Trigger
    onset: int | None
    reached: int | None
    until: int | None


def _watched(case: _Case, plain: bool, clock: _Clock) -> Document:
    """The default plan over the run, and what its first true alarm was worth."""
    name = case.trigger.name
    watch = Watch(case.models, case.store, Plan((case.trigger,), plain=plain), case.prober)
    enough = None
    if case.onset is not None and case.until is None:
        enough = case.onset if case.reached is None else case.reached
    for _ in watch.advance(case.models, case.until):
        clock.tell()
        if enough is not None and watch.next >= enough and _first(watch, name, case.onset):
            break
    first = _first(watch, name, case.onset)
    alarms = watch.alarms
    before = [one for one in alarms if case.onset is None or one.round < case.onset]
    counts = Counter(one.series for one in before)
    return {
        "rounds": watch.next - case.models.first,
        "budget": watch.budget.document(),
        "charts": {
            ("trigger" if series == name else series): len(charts)
            for series, charts in watch.charts.items()
        },
        "alarms": [
            {
                "round": one.round,
                "series": "trigger" if one.series == name else one.series,
                "detector": one.detector,
                "chart": one.chart,
            }
            for one in alarms
        ],
        "false_alarms": len(before),
        "false_by_series": {
            ("trigger" if series == name else series): counts[series] for series in watch.charts
        },
        "alarmed": sorted({"trigger" if one.series == name else one.series for one in alarms}),
        "first": None if first is None or case.onset is None else _worth(case, first),
    }


def _first(watch: Watch, series: str, onset: int | None) -> Alarm | None:
    """The first alarm along the trigger's direction that is not false."""
    if onset is None:
        return None
    true = (one for one in watch.alarms if one.series == series and one.round >= onset)
    return next(true, None)


def _worth(case: _Case, alarm: Alarm) -> Document:
    """How far the attack was in the model after the alarm's round."""
    reading = read_model(
        case.prober, case.models, alarm.round + 1, case.trigger.scoring()
    ).document()
    return {
        "round": alarm.round,
        "detector": alarm.detector,
        "chart": alarm.chart,
        "delay": alarm.round - int(case.onset or 0),
        "before_ten": case.reached is None or alarm.round < case.reached,
        **{key: reading[key] for key in ("asr", "low", "high", "hits", "n")},
    }


def _series(
    models: CaseModels, store: Store, prober: Prober, trigger: Trigger, direction: Direction
) -> Document:
    """A twin's series: its numbers along the direction that dated it, and one for replicates."""
    values = project(models, direction.unit[None]).values[:, 0]
    middle = (models.first + models.last) // 2
    other = Honest(models, prober, honest_sets(models, store), middle).direction(trigger.building())
    recorded = project(models, other.unit[None]).values[:, 0]
    return {
        **series_numbers(values),
        "rounds": len(values),
        "recorded": pack(recorded / spread(recorded)),
    }


def series_numbers(values: Floats) -> Document:
    """What dating takes for granted of a series without a change, as three numbers.

    Args:
        values: Shape (n,), in order; not all the same.

    Returns:
        `mean` in standard deviations, `sd_ratio` of the second half to the first, and the
        `autocorrelation` at lag 1: 0, 1 and 0 for independent values of one law around 0.
    """
    half = len(values) // 2
    centred = values - values.mean()
    return {
        "mean": float(values.mean() / values.std()),
        "sd_ratio": float(values[half:].std() / values[:half].std()),
        "autocorrelation": float(centred[1:] @ centred[:-1] / (centred @ centred)),
    }


def pack(values: Floats) -> str:
    """A series as text: little-endian float32 in base 64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def unpack(text: str) -> Floats:
    """A series that was packed, shape (n,)."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)
