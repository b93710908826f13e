"""How long was each server step, and did it go where the one before had gone?

The two statistics that need no direction. A mean over many honest devices points a little the same
way in every round; a step that is longer, or turns elsewhere, is unlike its run, which is no proof
of anything.
"""

import numpy as np
from numpy.typing import NDArray

from forensics.dot_products import row_dots
from forensics.rebuild import CaseModels
from forensics.step_rows import StepRows
from roundlog.tensors import TensorSchema

BLOCK = 256
"""Rows in one go; no result depends on it. Read twice, the second time from the cache."""

Numbers = NDArray[np.float32]


def neighbours(
    models: CaseModels, first: int | None = None, last: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Length of every recorded delta, and its cosine with the delta of the round before.

    Buffers are left out, as in `forensics.drift`. A result does not depend on the range: the round
    before `first` is looked at where it is recorded.

    Args:
        first: A round, not a model; by default the run's first one.
        last: A round, itself included; by default the run's last one.

    Returns:
        Rounds, ascending; ‖delta_t‖, weight units; cos(delta_t, delta_{t−1}), NaN for the run's
        first round, behind a hole in the record, and where one of the two is all zero. Shapes (n,).

    Raises:
        RoundRangeError: The run has no such round.
        QuestionError: `last` lies before `first`.
        LogError: A segment's file was cut off.
    """
    asked = models.step_rows(first, last)
    if not asked:
        empty = np.empty(0)
        return np.empty(0, dtype=np.int64), empty, empty
    begin = int(asked[0].rounds[0])
    pieces = models.step_rows(max(begin - 1, models.first), last)
    steps = _Steps(pieces, models.schema)
    squares, inner = steps.measure()
    norms = np.sqrt(squares)
    cosines = np.full(len(norms), np.nan)
    with np.errstate(all="ignore"):
        cosines[1:] = inner[1:] / (norms[1:] * norms[:-1])
    kept = steps.rounds >= begin
    return steps.rounds[kept], norms[kept], cosines[kept]


class _Steps:
    """The trainable elements of steps that may lie in several segments, in any turn."""

    def __init__(self, pieces: list[StepRows], schema: TensorSchema) -> None:
        self._pieces, self._schema = pieces, schema
        self._trainable = _trainable(schema)
        sizes = [len(piece) for piece in pieces]
        rounds = np.concatenate([piece.rounds for piece in pieces])
        order = np.argsort(rounds, kind="stable")
        self.rounds: NDArray[np.int64] = rounds[order]
        # Of the round at each place: in which piece, and which of its rounds.
        self._piece = np.repeat(np.arange(len(pieces)), sizes)[order]
        self._index = np.concatenate([np.arange(size) for size in sizes])[order]

    def measure(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """<delta, delta> and <delta, the one before>, NaN where the latter is not recorded."""
        squares, inner = np.empty(len(self.rounds)), np.full(len(self.rounds), np.nan)
        for piece in self._pieces:
            for which, rows in piece.blocks(self._schema, BLOCK):
                weights = self._weights(rows)
                rounds = piece.rounds[which]
                places = np.searchsorted(self.rounds, rounds)
                squares[places] = row_dots(weights, weights)
                inner[places[1:]] = row_dots(weights[1:], weights[:-1])
                # The row above is not that of the round before: it lies elsewhere, or nowhere.
                for at in [0, *(np.flatnonzero(np.diff(rounds) != 1) + 1)]:
                    inner[places[at]] = self._with_the_one_before(places[at], weights[at : at + 1])
        return squares, inner

    def _with_the_one_before(self, place: int, weights: Numbers) -> float:
        if place == 0 or self.rounds[place] - self.rounds[place - 1] != 1:
            return np.nan
        piece = self._pieces[self._piece[place - 1]]
        before = self._weights(piece.row(int(self._index[place - 1]), self._schema))
        return float(row_dots(weights, before)[0])

    def _weights(self, rows: Numbers) -> Numbers:
        return rows if self._trainable is None else rows[:, self._trainable]


def _trainable(schema: TensorSchema) -> NDArray[np.bool_] | None:
    """Which elements are trainable; None where all are."""
    kinds = [np.full(spec.elements, spec.role == "trainable") for spec in schema.tensors]
    which = np.concatenate(kinds)
    return None if which.all() else which
