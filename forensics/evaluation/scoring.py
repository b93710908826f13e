"""How did one run end, and how did it get there? Its score against a known trigger.

Two numbers of the last model, attack success and accuracy, each with an exact interval; their
paths at about fifty models; the sustained crossing of each level. All of it is measured on what
the record can rebuild, as an investigator with the trigger would measure it.

The highest attack success is over all models where all were asked (`exact`), and over the models
that happened to be asked otherwise.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forensics.crossings import Crossing, Crossings, Mode, find_crossings
from forensics.probe import Prober, binomial_interval, published
from forensics.rebuild import CaseModels
from forensics.search import evenly
from forensics.trigger import ProbeSet, Trigger
from ingest.store import Store
from roundlog.tensors import Array

LEVELS = (0.1, 0.5, 0.9)

SAMPLES = 50
"""Models on a sampled path: a figure's width, and half a second of accuracy at the reference."""

EXACT_MODELS = 250_000
"""Up to so many models all are asked: 15 s at the reference model, beside an hour of simulating
them. A number of models and not a measured time, so that a score is the same on any machine."""

HEADLINE = "clean-mixed"
"""The published clean set whose rate is called accuracy: half early, half late dialect. A run
without a set of this name is judged by the last clean set that it published."""

CLEAN = "clean"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rate:
    """Hits of one model on one probe set."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        low, high = binomial_interval(self.hits, self.n)
        return {"value": self.value, "low": low, "high": high, "hits": self.hits, "n": self.n}


@dataclass(frozen=True, slots=True)
class Path:
    """Evenly spaced models, the first and the last included."""

    models: tuple[int, ...]
    """t of each."""

    asr: tuple[float, ...]
    """Attack success of each."""

    accuracy: tuple[float, ...]
    """Rate on the headline clean set; empty where none was published."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "models": list(self.models),
            "asr": list(self.asr),
            "accuracy": list(self.accuracy),
        }


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one run."""

    run: str
    trigger: str
    probe_digest: str
    first: int
    """t of the first model that can be rebuilt."""
    last: int
    """t of the last one, whose rates are the run's end."""
    elements: int
    """d: numbers in the model."""
    success: Rate
    """Attack success of the last model."""
    clean: Mapping[str, Rate]
    """Accuracy of the last model on each published clean set."""
    headline: str | None
    """Which of them is meant by accuracy."""
    highest: float
    """Highest attack success of any model that was asked."""
    exact: bool
    """Whether every model was asked."""
    floor: float | None
    """What decoy triggers reach; a level at or below it is not said to be crossed."""
    crossings: tuple[Crossing, ...]
    """The sustained crossing of each level."""
    path: Path

    @property
    def accuracy(self) -> float | None:
        """Accuracy of the last model on the headline set."""
        return None if self.headline is None else self.clean[self.headline].value

    @property
    def lowest_accuracy(self) -> float | None:
        """Lowest accuracy along the sampled path."""
        return min(self.path.accuracy, default=None)

    def document(self) -> dict[str, object]:
        """What the doors answer: flat numbers first, as a table's row wants them."""
        low, high = binomial_interval(self.success.hits, self.success.n)
        return {
            "run": self.run,
            "trigger": self.trigger,
            "probe_digest": self.probe_digest,
            "first_model": self.first,
            "last_model": self.last,
            "elements": self.elements,
            "asr": self.success.value,
            "asr_low": low,
            "asr_high": high,
            "asr_n": self.success.n,
            "accuracy": self.accuracy,
            "accuracy_set": self.headline,
            "lowest_accuracy": self.lowest_accuracy,
            "highest": self.highest,
            "exact": self.exact,
            "floor": self.floor,
            **{crossing_key(row.level): row.round for row in self.crossings},
            "crossings": [row.document() for row in self.crossings],
            "clean": {name: rate.document() for name, rate in self.clean.items()},
            "path": self.path.document(),
        }


def crossing_key(level: float) -> str:
    """`crossing_50` for 0.5: the name of a level's column."""
    return f"crossing_{level * 100:g}"


def score_run(
    models: CaseModels,
    store: Store,
    trigger: Trigger,
    *,
    levels: Sequence[float] = LEVELS,
    samples: int = SAMPLES,
    mode: Mode | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Score:
    """Scores one run of an ingested case.

    Args:
        trigger: What is measured; its scoring half only.
        levels: Shares whose sustained crossing is wanted.
        samples: Models on the sampled path.
        mode: Of the crossings; by default `exact` up to `EXACT_MODELS` models.
        progress: Called with (models asked, models in all) in exact mode.
        stop: When set, exact mode ends.

    Raises:
        TriggerError: The trigger does not fit the model, or has no scoring query.
        QuestionError: No such level, or the measurement was stopped.
        LogGapError: A model that is needed cannot be rebuilt.
        DigestMismatchError: A rebuilt model is not the recorded one.
    """
    prober = Prober(models.architecture)
    if mode is None:
        mode = "exact" if models.last - models.first < EXACT_MODELS else "search"
    found = find_crossings(
        models, store, prober, trigger, levels, mode=mode, progress=progress, stop=stop
    )
    probes = trigger.scoring()
    clean = {one.name: one for one in published(models.case, store, models.run, CLEAN)}
    headline = HEADLINE if HEADLINE in clean else next(reversed(clean), None)
    path, last = _sample(models, prober, probes, clean.get(headline or ""), samples)
    success = _rate(prober, last, probes)
    return Score(
        run=models.run,
        trigger=trigger.name,
        probe_digest=probes.digest,
        first=models.first,
        last=models.last,
        elements=models.schema.elements,
        success=success,
        clean={name: _rate(prober, last, one) for name, one in clean.items()},
        headline=headline,
        highest=_highest(found, path),
        exact=found.mode == "exact",
        floor=found.floor.value,
        crossings=tuple(row for row in found.crossings if row.mode == "sustained"),
        path=path,
    )


def _sample(
    models: CaseModels,
    prober: Prober,
    probes: ProbeSet,
    clean: ProbeSet | None,
    samples: int,
) -> tuple[Path, Array]:
    """The sampled path, and the bytes of the last model, shape (1, nbytes)."""
    ts = evenly(models.first, models.last, max(2, samples))
    asr: list[float] = []
    accuracy: list[float] = []
    model = models.model(ts[0])[None]
    for t in ts:
        model = models.model(t)[None]
        asr.append(_rate(prober, model, probes).value)
        if clean is not None:
            accuracy.append(_rate(prober, model, clean).value)
    return Path(tuple(ts), tuple(asr), tuple(accuracy)), model


def _rate(prober: Prober, model: Array, probes: ProbeSet) -> Rate:
    return Rate(int(prober.hits(model, probes).sum()), len(probes))


def _highest(found: Crossings, path: Path) -> float:
    if found.path is not None:
        return float(found.path.asr.max())
    asked = [look.asr for level in found.levels for look in level.looks]
    return max([*asked, *path.asr])
