"""Since which round has somebody pushed the model toward a trigger? A set of rounds, with coverage.

Two passes. The first takes the direction at the model where the trigger's success crosses half
(or where it got to), projects every recorded step on it, and dates the rise of that series. The
second takes the direction again at the model so found, and dates again: near the onset the
direction fits the first steps of the attack best. Later steps are left out of the dating, since a
trigger that already works is pushed less and less.

Everything here is hindsight; live detectors (`forensics.watch`) use earlier models only.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.crossings import ModelReader
from forensics.dating import (
    COVERAGE,
    FEWEST,
    Change,
    Floats,
    date_change,
    difference_profile,
    spread,
)
from forensics.decoys import WANTED, apart, decoy_patterns, whole
from forensics.directions import Direction, Honest, honest_sets
from forensics.models import numbers
from forensics.probe import Prober
from forensics.projection import project
from forensics.rebuild import CaseModels
from forensics.search import search_level
from forensics.shape import Shape, find_shape
from forensics.timeline import Entry
from forensics.trigger import ProbeSet, Trigger
from ingest.store import Store
from roundlog.errors import QuestionError
from roundlog.tensors import Array

LEVELS = (0.5, 0.1)
"""Levels of success at whose crossing the first direction is taken: the first that is reached."""

SIGNIFICANT = 1e-3
"""An onset is claimed where a series without a change would show as much this rarely."""

COARSE_STEPS = 2_000
"""Steps that a run is divided into where decoys are compared: sums of many rounds' steps, in which
a shift is as visible as in single ones and which hundreds of directions are quickly asked of."""

COARSE_BLOCK = 64
"""Models that are held at once meanwhile: 128 MB of them at a million elements."""

EARLIEST = 4 * FEWEST
"""Steps before a crossing without which nothing can be dated there. A model that hardly works yet
crosses 10 % by luck, and what lies behind must still be looked at."""

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, eq=False)
class Pass:
    """One dating with one direction."""

    direction: Direction
    why: str
    """How its model was chosen."""

    first: int
    """Rounds that were looked at."""
    last: int
    rounds: int
    change: Change | None
    round: int | None
    """Of the likeliest onset, likewise `low` and `high` of the set."""
    low: int | None
    high: int | None
    shape: Shape | None
    """How it went on from the likeliest onset to the last round that is known."""
    after: NDArray[np.int64]
    """The rounds from the onset on, for `shape`."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "direction": self.direction.document(),
            "why": self.why,
            "first": self.first,
            "last": self.last,
            "rounds": self.rounds,
            "round": self.round,
            "low": self.low,
            "high": self.high,
            "signal": None if self.change is None else self.change.shift,
            "p": None if self.change is None else self.change.p,
        }

    def shape_document(self) -> dict[str, object] | None:
        """How the push went on, its places as rounds."""
        if self.shape is None or self.round is None:
            return None
        end, low, high = (
            None if place is None else int(self.after[min(place, len(self.after) - 1)])
            for place in (self.shape.end, self.shape.end_low, self.shape.end_high)
        )
        last = int(self.after[-1]) + 1 if end is None else end
        return {
            "name": self.shape.name,
            "rounds": last - self.round,
            "end": None if end is None else {"round": end, "low": low, "high": high},
            "period": self.shape.period,
            "duty": self.shape.duty,
            "length": self.shape.length,
            "criteria": self.shape.criteria,
        }


@dataclass(frozen=True, slots=True)
class Rank:
    """Where the trigger stands among decoys; 1 is above all of them."""

    rank: int | None
    decoys: int
    """None and 0 where there are none to compare with."""


@dataclass(frozen=True, eq=False)
class Onset:
    """The answer for one run and one trigger."""

    run: str
    trigger: str
    passes: tuple[Pass, ...]
    apart: Rank
    """Among decoys that share no token with the trigger."""
    published: Rank
    """Among all published decoys: uniform where there is no attack."""

    @property
    def found(self) -> Pass | None:
        """The last pass, where what it saw is significant."""
        last = self.passes[-1]
        if last.change is None or last.change.p > SIGNIFICANT:
            return None
        return last

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        last, found = self.passes[-1], self.found
        onset = None
        if found is not None and found.change is not None:
            onset = {
                "round": found.round,
                "low": found.low,
                "high": found.high,
                "coverage": COVERAGE,
                "members": found.change.members,
            }
        return {
            "run": self.run,
            "trigger": self.trigger,
            "onset": onset,
            "signal": None if last.change is None else last.change.shift,
            "p": None if last.change is None else last.change.p,
            "significant": SIGNIFICANT,
            "shape": None if found is None else found.shape_document(),
            "decoy_rank": self.apart.rank,
            "decoys": self.apart.decoys,
            "published_rank": self.published.rank,
            "published_decoys": self.published.decoys,
            "passes": [one.document() for one in self.passes],
        }


def find_onset(
    models: CaseModels,
    store: Store,
    prober: Prober,
    trigger: Trigger,
    *,
    last: int | None = None,
    passes: int = 2,
    decoys: int = WANTED,
    workers: int = 1,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Onset:
    """Dates the onset.

    Args:
        last: The last model that is known; by default the run's. An investigation at that time.
        passes: One or two.
        decoys: At most so many decoys to compare with; 0 for none.
        workers: Processes that project.

    Raises:
        QuestionError: No honest data was published, the run is too short, or it was stopped.
        TriggerError: The trigger does not fit the model, or one of its halves is empty.
        LogGapError: A model that is needed cannot be rebuilt.
        DigestMismatchError: A rebuilt model is not the recorded one.
    """
    last = models.last if last is None else last
    if not models.first < last <= models.last:
        raise QuestionError(
            f"run {models.run!r} has models {models.first} to {models.last}; an onset up to model "
            f"{last} cannot be looked for"
        )
    sets, wanted = honest_sets(models, store), trigger.building()
    at, why = _where_it_works(models, prober, trigger, last)

    def dated(t: int, because: str, known: Honest | None = None) -> Pass:
        direction = (known or Honest(models, prober, sets, t)).direction(wanted)
        projected = project(
            models,
            direction.unit[None],
            first=models.first,
            last=last - 1,
            workers=workers,
            progress=None if progress is None else lambda d, n: progress("project", d, n),
            stop=stop,
        )
        return _dated(direction, because, projected.rounds, projected.values[:, 0], at)

    honest = Honest(models, prober, sets, at)
    done = [dated(at, why, honest)]
    if passes > 1 and (found := done[0].round) is not None:
        done.append(dated(found, "the onset as the pass before dated it"))
    ranks = _ranks(models, store, honest, trigger, at, decoys)
    return Onset(models.run, trigger.name, tuple(done), *ranks)


def _dated(
    direction: Direction, because: str, rounds: NDArray[np.int64], values: Floats, at: int
) -> Pass:
    """Dates the rise among the rounds before model `at`, and tells the shape of all behind it."""
    known = int(np.searchsorted(rounds, at))
    change = date_change(values[:known])
    low = mid = high = shape = None
    after = rounds[:0]
    if change is not None:
        low, mid, high = (int(rounds[i]) for i in (change.low, change.index, change.high))
        usual = float(values[: change.index].mean())
        after = rounds[change.index :]
        shape = find_shape((values[change.index :] - usual) / spread(values[:known]))
    first, last = (int(rounds[0]), int(rounds[known - 1])) if known else (at, at)
    return Pass(direction, because, first, last, known, change, mid, low, high, shape, after)


def _where_it_works(
    models: CaseModels, prober: Prober, trigger: Trigger, last: int
) -> tuple[int, str]:
    """The model at which the first direction is taken, and up to which steps are looked at."""
    probes = trigger.scoring()
    reader = ModelReader(models, prober, probes)
    for level in LEVELS:
        found = search_level(reader.hits, len(probes), level, models.first, last)
        at = found.estimate
        if found.status == "crossed" and at is not None and at - models.first >= EARLIEST:
            return at, f"where the trigger's success reaches {level:.0%}, as far as 40 models tell"
    return last, f"the last model; none of those asked reaches {LEVELS[-1]:.0%}"


def _ranks(
    models: CaseModels, store: Store, honest: Honest, trigger: Trigger, last: int, wanted: int
) -> tuple[Rank, Rank]:
    """The ranks of the trigger, by the largest rise along its direction."""
    if wanted < 1:
        return Rank(None, 0), Rank(None, 0)
    patterns = decoy_patterns(models, store)
    groups = (apart(patterns, trigger, wanted), whole(patterns)[:wanted])
    found = rises(models, honest, [trigger.building(), *groups[0], *groups[1]], last)
    if found is None:
        return Rank(None, 0), Rank(None, 0)
    mine, first, second = found[0], found[1 : 1 + len(groups[0])], found[1 + len(groups[0]) :]
    ranks = [
        Rank(1 + int((others >= mine).sum()) if len(others) else None, len(others))
        for others in (first, second)
    ]
    return ranks[0], ranks[1]


def rises(
    models: CaseModels, honest: Honest, wanted: Sequence[ProbeSet], last: int
) -> Floats | None:
    """The largest standardised rise along the direction of each set, up to model `last`.

    Steps are W_{t+k} − W_t for every k-th t, `COARSE_STEPS` to twice as many, a block at a time.

    Returns:
        Shape (len(wanted),); None where there are too few steps to date anything.
    """
    directions = np.stack([honest.direction(one).unit for one in wanted])
    every = max(1, (last - models.first) // COARSE_STEPS)
    series: list[Floats] = []
    before: Array | None = None
    for _, block in models.blocks(models.first, last, step=every, size=COARSE_BLOCK):
        weights = numbers(block, models.schema).astype(np.float64)
        if before is not None:
            weights = np.concatenate([before, weights])
        series.append((np.diff(weights, axis=0).astype(np.float32) @ directions.T).astype(float))
        before = weights[-1:]
    values = np.concatenate(series)
    if len(values) <= 2 * FEWEST:
        return None
    return np.array([difference_profile(one / spread(one)).max() for one in values.T])


def onset_entries(found: Onset) -> list[Entry]:
    """The onset as an entry of a timeline, where there is one."""
    last = found.found
    if last is None or last.round is None:
        return []
    title = (
        f"pushed toward {found.trigger} from here on, or from another of rounds {last.low:,} to "
        f"{last.high:,} ({COVERAGE:.0%})"
    )
    return [Entry(last.round, "onset", title)]
