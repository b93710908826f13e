"""What must a detector do? One series in, votes out, and a state that can be put away.

A detector reads one number a committed round (a matched filter's output, a norm, a cosine) and
votes in the round in which one of its charts rises above its threshold. It reads strictly one
number after the other, so where a block ends changes nothing: the same code runs live, a round at
a time, and over 100,000 rounds of the past, and gives the same votes.

A vote is one detector's row. Whether somebody is told of it is for others to decide.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from roundlog.errors import QuestionError

Floats = NDArray[np.float64]
Rounds = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Successive rounds of one series.

    Raises:
        QuestionError: The two arrays differ in shape, or the rounds do not ascend.
    """

    rounds: Rounds
    """Shape (n,), strictly ascending; rounds may be missing."""
    values: Floats
    """Shape (n,). NaN is a round without the number: it is passed over."""

    def __post_init__(self) -> None:
        if self.rounds.ndim != 1 or self.rounds.shape != self.values.shape:
            raise QuestionError(
                f"rounds of shape {list(self.rounds.shape)} and values of shape "
                f"{list(self.values.shape)} are not one series: it has one value a round"
            )
        if not (self.rounds[1:] > self.rounds[:-1]).all():
            raise QuestionError(
                "the rounds of a block do not ascend; a detector would read the past as news. "
                "Sort them, and leave out rounds that stand there twice"
            )

    def after(self, last: int | None) -> Iterator[tuple[int, float]]:
        """Round and value of every round that has one, oldest first.

        Args:
            last: The newest round that was read before, None where this is the first block.

        Raises:
            QuestionError: The block begins at or before that round.
        """
        if self.rounds.size and last is not None and self.rounds[0] <= last:
            raise QuestionError(
                f"the block begins with round {self.rounds[0]}, but round {last} was read before; "
                f"the same evidence would count twice. Go on after round {last}"
            )
        for number, value in zip(self.rounds.tolist(), self.values.tolist(), strict=True):
            if not math.isnan(value):
                yield number, value

    def newest(self, last: int | None) -> int | None:
        """The newest round once this block is read, its rounds without a value included."""
        return int(self.rounds[-1]) if self.rounds.size else last


@dataclass(frozen=True, slots=True)
class Vote:
    """One chart rose above its threshold; it votes again only after it has calmed down."""

    round: int
    chart: str
    score: float
    threshold: float
    p: float
    """Expected number of false alarms a round, of this chart at this threshold: one over its
    average run length."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many false alarms are acceptable, over how many rounds and charts together.

    Raises:
        QuestionError: A part of it is not positive.
    """

    alarms: float = 0.1
    """Expected false alarms ..."""
    rounds: int = 1_000_000
    """... in so many rounds ..."""
    charts: int = 1
    """... over so many charts: those of every detector on every series that run beside each
    other. Charts of one series rise together, so the true expectation of one alarm is less."""

    def __post_init__(self) -> None:
        if not (0 < self.alarms < math.inf and self.rounds > 0 and self.charts > 0):
            raise QuestionError(
                f"a budget of {self.alarms} false alarms in {self.rounds} rounds over "
                f"{self.charts} charts allows no threshold; all three must be positive"
            )

    def document(self) -> dict[str, JsonValue]:
        """As alarms and answers hold it."""
        return {"alarms": self.alarms, "rounds": self.rounds, "charts": self.charts}

    def run_length(self) -> float:
        """Rounds between two false alarms, on average, that each chart must keep."""
        return self.rounds * self.charts / self.alarms


class State(BaseModel):
    """What a detector knows after a round. It is stored with the log position it belongs to.

    Its floats survive `document`, JSON and `Detector.load` bit for bit, so a detector that was
    restarted votes as one that never stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    detector: str
    """Name and version that wrote it, as `cusum/1`: another version may mean something else."""

    charts: tuple[str, ...]
    """Names of the charts, in order."""

    round: int | None = None
    """The newest round that was read; None before the first."""

    run_length: float
    """What the budget asked of each chart, in rounds."""

    def document(self) -> dict[str, JsonValue]:
        """The state as JSON; `Detector.load` reads it back."""
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, document: Mapping[str, JsonValue], of: "Detector") -> Self:
        """A stored state of this detector.

        Raises:
            QuestionError: It is no such state, or a detector with other charts wrote it.
        """
        try:
            state = cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise QuestionError(
                f"this is not a stored state of {identity(of)}: {where}: {first['msg']}. Without "
                f"it the detector must be calibrated again and read the series from its beginning"
            ) from error
        return cls.own(state, of)

    @classmethod
    def own(cls, state: "State", of: "Detector") -> Self:
        """The same state, known to be of this kind and written by this detector.

        Raises:
            QuestionError: Another detector, version or set of charts wrote it.
        """
        if not isinstance(state, cls) or (state.detector, state.charts) != (
            identity(of),
            of.charts,
        ):
            raise QuestionError(
                f"the state was written by {state.detector} with the charts "
                f"{', '.join(state.charts)}, and this is {identity(of)} with "
                f"{', '.join(of.charts)}; their numbers mean different things. Calibrate again "
                f"and read the series from its beginning"
            )
        return state

    def advanced(self, **changes: object) -> Self:
        """A copy with some fields replaced, as they are: whoever computed them vouches for them."""
        return self.model_copy(update=changes)


@runtime_checkable
class Detector(Protocol):
    """A change-point detector over one series."""

    @property
    def name(self) -> str:
        """What it is called in votes and on the command line."""

    @property
    def version(self) -> str:
        """Changes with whatever changes a vote."""

    @property
    def charts(self) -> tuple[str, ...]:
        """Names of what can vote; their number is what it counts for in a budget."""

    def calibrate(self, null: Floats, budget: Budget) -> State:
        """A state that has read no round yet.

        Args:
            null: Values known, or believed, to be free of an attack, oldest first, shape (n,).
                May be empty: then it learns from the first rounds that it reads.

        Raises:
            QuestionError: The budget asks for a run length without a threshold.
        """

    def update(self, state: State, block: Block) -> tuple[State, list[Vote]]:
        """Reads a block. The given state is not changed.

        Raises:
            QuestionError: The state is another detector's, or has read these rounds already.
        """

    def load(self, document: Mapping[str, JsonValue]) -> State:
        """A state from what `State.document` gave.

        Raises:
            QuestionError: It is not a state of this detector.
        """


def identity(detector: Detector) -> str:
    """Name and version as one word."""
    return f"{detector.name}/{detector.version}"
