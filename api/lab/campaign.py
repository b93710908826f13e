"""How are many runs worked off, so that none is done twice and a stop loses none?

What is known already (`api.lab.cache`) is told first; the rest goes to worker processes, and each
answer is kept as soon as it is there. What is measured of a run is the caller's: a function by its
name, which is also part of what an answer is kept under.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from api.documents import Document
from api.lab.cache import POINT, PointCache, code_digest, default_folder
from api.lab.workers import Task, Workers
from api.records import Progress, silent
from simulator.scenario import Scenario

SIMULATED_SHARE = 0.9
"""Of a run's time, roughly; the rest is ingesting and measuring. For the progress line only."""


@dataclass(frozen=True, slots=True)
class Order:
    """One run that is wanted."""

    scenario: Scenario
    seed: int
    rounds: int | None
    """Stops early after so many."""

    keep: Path | None = None
    """Where its case and truth stay; by default they go when it is measured."""


@dataclass
class CampaignProgress:
    """How far the whole is: finished runs, and parts of those that are under way.

    Attributes:
        noun: What the runs are called.
        simulated: Share of a run's time that its simulation takes.
    """

    total: int
    tell: Progress
    noun: str = "points"
    simulated: float = SIMULATED_SHARE
    cached: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    parts: dict[int, float] = field(default_factory=dict)

    def __call__(self, index: int, what: str, done: int, total: int | None) -> None:
        if index >= 0:
            share = done / total if total else 0.0
            at = self.simulated
            self.parts[index] = share * at if what == "simulate" else at + share * (1 - at)
        self.say()

    def known(self) -> None:
        """One more was measured at an earlier time."""
        self.cached += 1
        self.done += 1

    def finished(self, index: int) -> None:
        """One more is done."""
        self.parts.pop(index, None)
        self.done += 1
        self.say()

    def say(self) -> None:
        """Tells whoever listens."""
        fresh = self.done - self.cached + sum(self.parts.values())
        seconds = time.monotonic() - self.began
        said = f"{self.done:,} of {self.total:,} {self.noun}"
        if fresh > 0 and seconds > 0:
            rate = fresh / seconds
            left = (self.total - self.cached - fresh) / rate
            said += f", {60 * rate:.1f} a minute, about {_duration(left)} left"
        self.tell(said, round(1_000 * (self.cached + fresh)), 1_000 * self.total)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def carry_out(
    orders: Sequence[Order],
    *,
    measure: str = POINT,
    workers: int | None = None,
    cache: Path | None = None,
    noun: str = "points",
    simulated: float = SIMULATED_SHARE,
    progress: Progress = silent,
) -> Iterator[tuple[int, Document | None, str | None]]:
    """Place among the orders, answer and error of every order: known ones first, then as they end.

    Args:
        measure: `module:function`; see `api.lab.workers.Task.measure`.
        workers: Processes; by default one a core.
        cache: Where finished runs are kept; by default `api.lab.cache.default_folder()`.
        noun: What the runs are called in the progress line.
    """
    code = code_digest(measure)
    kept = PointCache(cache or default_folder(), code, measure)
    state = CampaignProgress(len(orders), progress, noun, simulated)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roundlog-lab-")))
        tasks: list[Task] = []
        for index, order in enumerate(orders):
            answer = kept.get(order.scenario.digest(), order.seed, order.rounds)
            if answer is not None and (order.keep is None or order.keep.is_dir()):
                state.known()
                yield index, answer, None
                continue
            tasks.append(
                Task(
                    index=index,
                    table=order.scenario.table(),
                    seed=order.seed,
                    rounds=order.rounds,
                    folder=order.keep or scratch / str(index),
                    keep=order.keep is not None,
                    code=code,
                    measure=measure,
                )
            )
        number = min(workers or os.cpu_count() or 1, len(tasks))
        pool = stack.enter_context(Workers(number))
        for outcome in pool.run(tasks, state):
            order = orders[outcome.task.index]
            if outcome.answer is not None:
                kept.put(order.scenario.digest(), order.seed, order.rounds, outcome.answer)
            state.finished(outcome.task.index)
            yield outcome.task.index, outcome.answer, outcome.error
