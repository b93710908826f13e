"""What is watched, and what is an alarm?"""

from collections.abc import Sequence
from dataclasses import dataclass

from forensics.detectors import Budget
from forensics.trigger import Trigger

DETECTORS = ("cusum", "glr", "sequential-ranks")
"""Over each trigger's series, where nobody says otherwise."""

ALARMS, ROUNDS = 0.1, 1_000_000
"""False alarms expected at most, over all charts together, in a run of so many rounds."""

NORM, COSINE = "norm", "cosine"
"""Series without a direction: length of a step, and its cosine with the step before."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A chart rose above its threshold: a claim about behaviour."""

    key: str
    """The same for the same claim, however often it is made."""

    round: int
    series: str
    """Name of a trigger, `norm` or `cosine`."""

    direction: str | None
    """Digest of the direction in use at that round; None for a series without one."""

    model: int | None
    """t of the model at which that direction was taken."""

    detector: str
    version: str
    chart: str
    score: float
    threshold: float
    p: float
    """False alarms of this chart expected a round."""

    budget: Budget

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "key": self.key,
            "round": self.round,
            "series": self.series,
            "direction": self.direction,
            "model": self.model,
            "detector": self.detector,
            "version": self.version,
            "chart": self.chart,
            "score": self.score,
            "threshold": self.threshold,
            "false_alarm_rate": self.p,
            "budget": self.budget.document(),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is watched, how, and how often it may cry wolf."""

    triggers: tuple[Trigger, ...] = ()
    detectors: tuple[str, ...] = DETECTORS
    alarms: float = ALARMS
    rounds: int = ROUNDS
    baselines: bool = True
    """Whether norm and cosine are watched too."""
    plain: bool = False
    """Whether directions are plain gradients, with honest learning in them: the failing control."""


def known_triggers(named: Sequence[Trigger], given: Trigger | None) -> tuple[Trigger, ...]:
    """The case's triggers, and the one that was asked for, each name once."""
    triggers = {trigger.name: trigger for trigger in named}
    if given is not None:
        triggers[given.name] = given
    return tuple(triggers[name] for name in sorted(triggers))
