"""How is a run watched? Directions at keyframes, series through detectors, votes into alarms."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from forensics.detectors import Block, Budget, Detector, State, Vote, resolve
from forensics.directions import Direction, Honest, honest_sets
from forensics.probe import Prober
from forensics.projection import neighbours, project
from forensics.readings import StoppedError
from forensics.rebuild import KEYFRAME_EVERY, CaseModels
from forensics.trigger import ProbeSet
from forensics.watch.plan import COSINE, NORM, Alarm, Plan
from forensics.watch.state import SeriesState, WatchState
from ingest.store import Store
from roundlog.encoding import canonical_json, digest
from roundlog.errors import LogGapError, QuestionError, RoundRangeError
from roundlog.events.alarms import alarm_key

CODE_VERSION = "roundlog.watch/2"
"""Changes whenever the same rounds could give other alarms."""

BLOCK = 64
"""Rounds between two looks at whether to stop, while the past is read."""


@dataclass(slots=True)
class _Series:
    """One series while it is read."""

    name: str
    wanted: ProbeSet | None
    """What its direction looks for; None where it has none."""

    detectors: tuple[Detector, ...]
    states: list[State]
    unit: np.ndarray | None = None
    direction: str | None = None
    model: int | None = None


class Watch:
    """The detectors of one run, and how far they have read.

    Args:
        models: Of the run, as far as it is recorded now.
        plan: What is watched.
        prober: Knows the architecture; needed where a trigger is watched.

    Attributes:
        next: The first round that was not read yet.
        alarms: Raised so far, in the order of rounds.
        budget: Of each chart's threshold.

    Raises:
        QuestionError: No such detector, or two triggers have one name.
    """

    def __init__(
        self, models: CaseModels, store: Store, plan: Plan, prober: Prober | None = None
    ) -> None:
        names = [trigger.name for trigger in plan.triggers]
        if len({*names, NORM, COSINE}) < len(names) + 2:
            raise QuestionError(
                f"the triggers {', '.join(names)} cannot be told apart in alarms; give each a "
                f"name of its own, other than {NORM} and {COSINE}"
            )
        self._prober, self._plain = prober, plan.plain
        self._sets = honest_sets(models, store) if plan.triggers else []
        self._series = [
            _Series(trigger.name, trigger.building(), tuple(map(resolve, plan.detectors)), [])
            for trigger in plan.triggers
        ]
        if plan.baselines:
            # A push makes steps longer or more alike; training that settles does the reverse, so
            # what falls is no alarm.
            self._series += [
                _Series(name, None, (resolve("cusum"),), []) for name in (NORM, COSINE)
            ]
        charts = sum(len(each.charts) for one in self._series for each in one.detectors)
        self.budget = Budget(plan.alarms, plan.rounds, max(1, charts))
        for one in self._series:
            one.states = [each.calibrate(np.empty(0), self.budget) for each in one.detectors]
        self.next = models.first
        self.alarms: list[Alarm] = []
        self._keys: set[str] = set()
        self.identity = digest(
            canonical_json(
                {
                    "version": CODE_VERSION,
                    "run": models.run,
                    "triggers": [trigger.building().digest for trigger in plan.triggers],
                    "names": names,
                    "plain": plan.plain,
                    "detectors": [
                        [one.name, each.name, each.version, *each.charts]
                        for one in self._series
                        for each in one.detectors
                    ],
                    "budget": self.budget.document(),
                }
            )
        )

    @property
    def charts(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the charts of each series."""
        return {
            one.name: tuple(chart for each in one.detectors for chart in each.charts)
            for one in self._series
        }

    def advance(
        self, models: CaseModels, last: int | None = None, stop: threading.Event | None = None
    ) -> Iterator[list[Alarm]]:
        """Reads the rounds up to `last`, a block at a time.

        Args:
            models: Of the same run, as far as it is recorded now.
            last: A round, itself included; by default the newest.

        Yields:
            After each block, the alarms that it raised; `next` says how far it read.

        Raises:
            StoppedError: `stop` was set; what was read stays read.
            DigestMismatchError: A model that a direction is taken at is not the recorded one.
        """
        end = models.last if last is None else min(last + 1, models.last)
        while self.next < end:
            if stop is not None and stop.is_set():
                raise StoppedError(f"stopped before round {self.next}")
            frame = self.next - self.next % KEYFRAME_EVERY
            to = min(frame + KEYFRAME_EVERY, self.next + BLOCK, end) - 1
            self._aim(models, max(frame, models.first), self._series)
            found = self._read(models, self.next, to)
            self.next = to + 1
            self.alarms += found
            yield found

    def state(self, models: CaseModels) -> WatchState:
        """What has been read, to be put away.

        Raises:
            LogGapError: The model after the last round is not recorded.
        """
        return WatchState(
            schema="roundlog.watch-state/1",
            identity=self.identity,
            next=self.next,
            digest=models.recorded_digest(self.next),
            series=tuple(
                SeriesState(
                    name=one.name,
                    model=one.model,
                    detectors=tuple(state.document() for state in one.states),
                )
                for one in self._series
            ),
        )

    def resume(self, state: WatchState, models: CaseModels) -> bool:
        """Goes on from a state, where it is one of this watch on this history; whether it is.

        Alarms that were raised before are not raised again, and not listed.
        """
        try:
            same = models.recorded_digest(state.next) == state.digest
        except (LogGapError, RoundRangeError):
            return False
        named = [(one.name, len(one.detectors)) for one in self._series]
        stored = [(one.name, len(one.detectors)) for one in state.series]
        if state.identity != self.identity or not same or named != stored:
            return False
        for one, kept in zip(self._series, state.series, strict=True):
            one.states = [
                each.load(document)
                for each, document in zip(one.detectors, kept.detectors, strict=True)
            ]
        for t in {kept.model for kept in state.series if kept.model is not None}:
            aimed = [kept.name for kept in state.series if kept.model == t]
            self._aim(models, t, [one for one in self._series if one.name in aimed])
        self.next = state.next
        return True

    def _aim(self, models: CaseModels, t: int, series: list[_Series]) -> None:
        """Takes the directions of some series at W_t, where they were not taken there already."""
        aimed = [one for one in series if one.wanted is not None and one.model != t]
        if not aimed or self._prober is None:
            return
        try:
            honest = Honest(models, self._prober, self._sets, t)
        except (LogGapError, QuestionError):
            # Behind a hole no model is known: the directions of before are still the best guess.
            return
        for one in aimed:
            direction = self._direction(honest, one)
            if direction is not None:
                one.unit, one.direction, one.model = direction.unit, direction.digest, t

    def _direction(self, honest: Honest, one: _Series) -> Direction | None:
        """None where the model obeys so surely that no gradient is left; an earlier one had it."""
        if one.wanted is None:
            return None
        try:
            return honest.plain(one.wanted) if self._plain else honest.direction(one.wanted)
        except QuestionError:
            return None

    def _read(self, models: CaseModels, first: int, last: int) -> list[Alarm]:
        rounds, norms, cosines = neighbours(models, first, last)
        along = [one for one in self._series if one.unit is not None]
        values = {NORM: norms, COSINE: cosines}
        if along and len(rounds):
            units = np.stack([one.unit for one in along if one.unit is not None])
            # Not cached: these directions serve for 256 rounds and are never asked of again.
            projected = project(models, units, first=first, last=last, cache=False)
            values |= {one.name: projected.values[:, i] for i, one in enumerate(along)}
        raised: list[Alarm] = []
        for one in self._series:
            if one.name not in values:
                continue
            block = Block(rounds, values[one.name])
            for place, each in enumerate(one.detectors):
                one.states[place], votes = each.update(one.states[place], block)
                raised += [self._alarm(models.run, one, each, vote) for vote in votes]
        fresh = []
        for alarm in sorted(raised, key=lambda alarm: alarm.round):
            # Two charts of one detector in one round make one claim.
            if alarm.key not in self._keys:
                self._keys.add(alarm.key)
                fresh.append(alarm)
        return fresh

    def _alarm(self, run: str, one: _Series, each: Detector, vote: Vote) -> Alarm:
        name = each.name if one.wanted is not None else f"{each.name} of {one.name}"
        return Alarm(
            key=alarm_key(run, name, each.version, direction=one.direction, round=vote.round),
            round=vote.round,
            series=one.name,
            direction=one.direction,
            model=one.model,
            detector=name,
            version=each.version,
            chart=vote.chart,
            score=vote.score,
            threshold=vote.threshold,
            p=vote.p,
            budget=self.budget,
        )
