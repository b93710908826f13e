"""What would each detector have said, had it been there? The record once more, as it happened.

A replay reads the run's rounds in their order and at any pace, gives them to the detectors of
`forensics.watch` a round (or a block) at a time, and to another log where one is named. Nothing of
the case changes. Since a watch depends on nothing but the rounds that it read, its alarms are
those that a live watch raised, bit for bit.

Beside each alarm stands how far the attack was: the trigger's success in the model after that
round, which is what a server that stopped there would have shipped at worst.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from forensics.probe import Prober, Reading, check_probes, read_model
from forensics.readings import StoppedError
from forensics.rebuild import CaseModels
from forensics.reemission import Reemission
from forensics.trigger import ProbeSet, Trigger
from forensics.watch import Alarm, Watch
from roundlog.errors import QuestionError

SECONDS_PER_ROUND = 210.0
"""Where the run did not say how long its rounds took."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an alarm was worth."""

    alarm: Alarm
    reading: Reading | None
    """The trigger's success in the model after the alarm's round; None without a trigger."""

    rounds_left: int
    """Rounds that were recorded after it."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        success: dict[str, object] = {}
        if self.reading is not None:
            told = self.reading.document()
            success = {name: told[name] for name in ("asr", "low", "high")}
        return {**self.alarm.document(), **success, "rounds_left": self.rounds_left}


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a replay is."""

    round: int
    """The newest round that was given out."""

    alarms: tuple[Alarm, ...]
    """Raised since the moment before."""


class Pace:
    """Rounds at so many times the speed at which they were made.

    Args:
        speed: 1 is as it happened; None is as fast as it goes.
        seconds_per_round: As the run was opened.
    """

    def __init__(self, speed: float | None, seconds_per_round: float | None) -> None:
        if speed is not None and not speed > 0:
            raise QuestionError(f"a speed of {speed} never ends; give a number above 0")
        each = seconds_per_round or SECONDS_PER_ROUND
        self._seconds = None if speed is None else each / speed
        self._begun = time.monotonic()

    def wait(self, rounds: int, stop: threading.Event | None) -> None:
        """Waits until so many rounds are due, or `stop` is set."""
        if self._seconds is None:
            return
        left = self._begun + rounds * self._seconds - time.monotonic()
        if left > 0:
            (stop or threading.Event()).wait(left)

    @property
    def single(self) -> bool:
        """Whether rounds are given out one by one."""
        return self._seconds is not None


def replay_run(
    models: CaseModels,
    watch: Watch,
    pace: Pace,
    *,
    first: int | None = None,
    last: int | None = None,
    reemission: Reemission | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Moment]:
    """Gives out rounds `first` … `last`.

    Args:
        watch: Has read nothing yet; from `first` on it learns what is usual.
        reemission: To another log, up to each round.

    Yields:
        After each round, or each block where nobody waits.

    Raises:
        QuestionError: There is no such round.
        StoppedError: `stop` was set.
        RoundlogError: What projecting, rebuilding or the other log said.
    """
    first = models.first if first is None else first
    last = models.last - 1 if last is None else last
    if not models.first <= first <= last < models.last:
        raise QuestionError(
            f"run {models.run!r} has rounds {models.first} to {models.last - 1}; {first} to {last} "
            f"cannot be replayed"
        )
    watch.next = first
    at = first - 1
    while at < last:
        due = at + 1 if pace.single else last
        for alarms in watch.advance(models, due, stop):
            at = watch.next - 1
            pace.wait(at - first + 1, stop)
            if stop is not None and stop.is_set():
                raise StoppedError(f"stopped after round {at}")
            if reemission is not None:
                reemission.up_to(at)
            yield Moment(at, tuple(alarms))
    if reemission is not None and last == models.last - 1:
        # What was recorded after the last round: released models, audits of the last model.
        reemission.up_to(None)


def consequences(
    models: CaseModels, prober: Prober | None, trigger: Trigger | None, alarms: tuple[Alarm, ...]
) -> tuple[Consequence, ...]:
    """What each alarm was worth.

    Raises:
        RoundlogError: A model cannot be rebuilt, or the trigger does not fit it.
    """
    probes: ProbeSet | None = None
    if trigger is not None and prober is not None:
        probes = trigger.scoring()
        check_probes(probes)
    known: dict[int, Reading] = {}
    found: list[Consequence] = []
    for alarm in alarms:
        t = alarm.round + 1
        if probes is not None and prober is not None and t not in known:
            known[t] = read_model(prober, models, t, probes)
        found.append(Consequence(alarm, known.get(t), models.last - t))
    return tuple(found)
