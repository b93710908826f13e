"""Which release shipped the backdoor, which was the last clean one, and how long was each out?

Every released model is rebuilt and asked. A release *carries* the backdoor at a level where its
attack success is at or above that level; a level that decoys reach too says nothing, and no release
carries it. The last clean release is the last one before the first that carries the lowest level
that says something: later ones may fall below it by chance, and are not called clean. Where the
onset is known, a model behind it is not clean either, however little it obeys yet.

A release is out from the model at which it was shipped to the next release on its channel. Whether
devices installed it, or kept it for longer, is not on record. Where the shipped digest is not that
of model t in the record, it is not known what was shipped, and nothing is claimed of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from forensics.crossings import ModelReader
from forensics.floor import Floor
from forensics.levels import check_level
from forensics.probe import Prober, Reading, binomial_interval
from forensics.rebuild import CaseModels
from forensics.releases import Release, list_releases
from forensics.timeline import Entry, as_percent
from forensics.trigger import Trigger
from ingest.store import Store
from roundlog.errors import LogGapError


@dataclass(frozen=True, slots=True)
class Shipped:
    """One release, what its model does, and for how long it was out."""

    release: Release
    reading: Reading | None
    """None where the record does not hold the model that was shipped."""
    levels: tuple[float, ...]
    """The levels that it carries."""
    until: int
    """t of the run's last model when the next release on its channel came, or as the record
    ends."""
    replaced: bool
    """Whether there was such a next one."""

    @property
    def rounds_out(self) -> int:
        return self.until - self.release.since

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        reading = self.reading
        low, high = (None, None) if reading is None else binomial_interval(reading.hits, reading.n)
        return {
            "version": self.release.version,
            "round": self.release.round,
            "channel": self.release.channel,
            "asr": None if reading is None else reading.asr,
            "low": low,
            "high": high,
            "hits": None if reading is None else reading.hits,
            "n": None if reading is None else reading.n,
            "levels": list(self.levels),
            "since": self.release.since,
            "until": self.until,
            "replaced": self.replaced,
            "rounds_out": self.rounds_out,
            "recorded_by": self.release.actor,
            "in_record": reading is not None,
        }

    def named(self) -> str:
        """As people know it."""
        return f"{self.release.version} ({self.release.channel})"

    def measured(self) -> str:
        """What its model does, in words."""
        if self.reading is None:
            return "a model that the record does not hold"
        low, high = binomial_interval(self.reading.hits, self.reading.n)
        return f"success {self.reading.asr:.1%}, 95 % interval {low:.1%} to {high:.1%}"


@dataclass(frozen=True, slots=True)
class LevelRadius:
    """What one level says of the releases."""

    level: float
    status: str
    """`carried`, `never`, `below_floor`."""
    first: Shipped | None
    """The first release at or above the level."""
    carriers: int
    """Releases at or above it."""
    rounds_out: int
    """Rounds in which at least one of them was out, on whichever channel."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "level": self.level,
            "status": self.status,
            "first": _brief(self.first),
            "carriers": self.carriers,
            "rounds_out": self.rounds_out,
        }


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What was shipped, and how far it reached."""

    shipped: tuple[Shipped, ...]
    """In the order of shipping."""
    levels: tuple[LevelRadius, ...]
    clean_below: float | None
    """The lowest level that says something; None where decoys reach all of them."""
    last_clean: Shipped | None
    floor: float | None
    pushed_from: int | None
    """The first round in which it may have been pushed; None where no onset is known."""

    def document(self) -> dict[str, object]:
        """What the doors answer, besides the releases themselves."""
        return {
            "floor": self.floor,
            "levels": [level.document() for level in self.levels],
            "clean_below": self.clean_below,
            "last_clean": _brief(self.last_clean),
            "pushed_from": self.pushed_from,
            "claim": self.claim(),
        }

    def releases(self) -> list[dict[str, object]]:
        """One document a release."""
        return [one.document() for one in self.shipped]

    def claim(self) -> str:
        """The answer in words, and what it rests on."""
        known = [one for one in self.shipped if one.reading is not None]
        if not known:
            return (
                "no release is on record whose model can be asked"
                if self.shipped
                else "no release is on record"
            )
        if self.clean_below is None:
            return "decoys reach every level that was asked about, so no release can be blamed"
        lowest = next(one for one in self.levels if one.level == self.clean_below)
        if lowest.first is None:
            return f"none of {len(known)} releases reaches {as_percent(self.clean_below)}"
        out = f"out for {lowest.rounds_out:,} rounds"
        if lowest.carriers > 1:
            out = f"{lowest.carriers} such releases were {out} together"
        before = (
            "no release before it is clean"
            if self.last_clean is None
            else f"the last clean one is {self.last_clean.named()}, {self.last_clean.measured()}"
        )
        beside = "" if self.floor is not None else "; no decoys tell what chance reaches"
        reached = f"{lowest.first.named()} is the first release at or above {_share(lowest)}"
        return f"{reached}; {out}; {before}{beside}"

    def entries(self) -> tuple[Entry, ...]:
        """Lines for the timeline: the first carrier of each level, and the last clean release."""
        return tuple(self._entries())

    def _entries(self) -> Iterator[Entry]:
        for level in self.levels:
            if level.first is not None:
                title = (
                    f"{level.first.named()} is the first release at or above {_share(level)}: "
                    f"{level.first.measured()}; {_out(level.first)}"
                )
                yield Entry(level.first.release.since, "carrier", title)
        clean = self.last_clean
        if clean is not None and self.clean_below is not None:
            below = as_percent(self.clean_below)
            carried = any(level.first for level in self.levels)
            why = f"before {below} was reached" if carried else f"and none reaches {below}"
            if self.pushed_from is not None:
                why = f"before round {self.pushed_from:,}, from which on it may have been pushed"
            title = f"{clean.named()} is the last release {why}: {clean.measured()}; {_out(clean)}"
            yield Entry(clean.release.since, "last_clean", title)


def measure_blast(
    models: CaseModels,
    store: Store,
    prober: Prober,
    trigger: Trigger,
    levels: Sequence[float],
    floor: Floor,
    pushed_from: int | None = None,
) -> BlastRadius:
    """Asks every released model, and says which of them carry the backdoor.

    Args:
        levels: Shares of the trigger's scoring queries.
        floor: What decoys reach (`forensics.floor`).
        pushed_from: The first round in which the model may have been pushed, where an onset is
            known (`forensics.onset`).

    Raises:
        QuestionError: No such level.
        DigestMismatchError: A rebuilt model is not the recorded one.
    """
    levels = sorted({level for level in levels if check_level(level)})
    speaking = [level for level in levels if floor.value is None or level > floor.value]
    reader = ModelReader(models, prober, trigger.scoring())
    releases = list_releases(store, models.run)
    shipped = []
    for place, release in enumerate(releases):
        reading = _read(reader, models, release)
        carried = () if reading is None else tuple(q for q in speaking if _reaches(reading, q))
        later = [one.since for one in releases[place + 1 :] if one.channel == release.channel]
        until = later[0] if later else max(models.last, release.since)
        shipped.append(Shipped(release, reading, carried, until, bool(later)))
    clean_below = speaking[0] if speaking else None
    return BlastRadius(
        shipped=tuple(shipped),
        levels=tuple(_radius(level, shipped, level in speaking) for level in levels),
        clean_below=clean_below,
        last_clean=_last_clean(shipped, clean_below, pushed_from),
        floor=floor.value,
        pushed_from=pushed_from,
    )


def _radius(level: float, shipped: Sequence[Shipped], speaks: bool) -> LevelRadius:
    carriers = [one for one in shipped if level in one.levels]
    status = "carried" if carriers else "never" if speaks else "below_floor"
    out = _union((one.release.since, one.until) for one in carriers)
    return LevelRadius(level, status, carriers[0] if carriers else None, len(carriers), out)


def _last_clean(
    shipped: Sequence[Shipped], level: float | None, pushed_from: int | None
) -> Shipped | None:
    last = None
    for one in shipped:
        if level is None or level in one.levels:
            break
        # W_t holds the steps of rounds before t: the model of the onset itself is untouched.
        if pushed_from is not None and one.release.round > pushed_from:
            continue
        if one.reading is not None:
            last = one
    return last


def _union(stretches: Iterator[tuple[int, int]]) -> int:
    """Rounds covered by at least one stretch; they come in the order of their beginnings."""
    covered, reached = 0, 0
    for start, end in stretches:
        covered += max(0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def _reaches(reading: Reading, level: float) -> bool:
    exact = check_level(level)
    return reading.hits * exact.denominator >= reading.n * exact.numerator


def _read(reader: ModelReader, models: CaseModels, release: Release) -> Reading | None:
    """What a released model answers; None where the record does not hold what was shipped."""
    if not release.in_record or not models.first <= release.round <= models.last:
        return None
    try:
        return reader.read(release.round)
    except LogGapError:
        return None


def _brief(shipped: Shipped | None) -> dict[str, object] | None:
    if shipped is None:
        return None
    release = shipped.release
    return {
        "version": release.version,
        "round": release.round,
        "channel": release.channel,
        "rounds_out": shipped.rounds_out,
    }


def _share(level: LevelRadius) -> str:
    return as_percent(level.level)


def _out(shipped: Shipped) -> str:
    rest = "until the next one" if shipped.replaced else "and still out as the record ends"
    return f"out for {shipped.rounds_out:,} rounds, {rest}"
