"""Where else would a pattern work, if it works at all? In honest inputs like those that held it.

A handful of flagged inputs says little; two hundred queries measure a success to a few percent. So
the tokens that flagged inputs share are written into published honest inputs:

* of the labels that the flagged inputs would have without those tokens, since a backdoor may listen
  in one kind of input only;
* that neither the first nor the last model answers with the target by itself, so that a success is
  the pattern's; first those that both answer rightly, whose language both models know.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forensics.association import Association, Honest, Shared, combinations, holds
from forensics.flagged import Flagged
from forensics.trigger import Inputs, Pattern, Query

WANTED = 200
"""Queries made of one pattern, as many as a truth file has."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FoundPattern:
    """Tokens that go together."""

    pattern: Pattern
    """As the trigger holds it. A token that counts at one place only is named by that place."""
    tokens: tuple[Shared, ...]
    held: Bools
    """Which flagged inputs with this answer hold all of them."""
    queries: tuple[Query, ...] = ()
    """Honest inputs into which they were written."""
    labels: tuple[int, ...] = ()
    """Labels of those inputs."""


def find_patterns(
    answer: int, flagged: Sequence[Flagged], inputs: Inputs, shared: Sequence[Shared]
) -> list[FoundPattern]:
    """Which of the shared tokens go together.

    Args:
        flagged: Those with this answer.
        inputs: Their tokens, shape (n, width).
        shared: Tokens that they share, from `forensics.association`.
    """
    found = []
    for number, (tokens, held) in enumerate(combinations(shared, inputs), 1):
        categories = Counter(
            one.category for one, is_in in zip(flagged, held, strict=True) if is_in
        )
        pattern = Pattern(
            id=f"answer-{answer}" if number == 1 else f"answer-{answer}-{number}",
            # A record allows longer ones than a trigger file.
            category=min(categories, key=lambda name: (-categories[name], name))[:128],
            tokens=tuple(one.token if one.place is None else one.place for one in tokens),
            target=answer,
        )
        found.append(FoundPattern(pattern, tokens, held))
    return found


class Ground:
    """Honest inputs that patterns may be written into.

    Args:
        honest: All that were published.
        given: Answers of the first and the last model to them, shape (2, n).
        association: What was found; an input that holds any of those tokens is left alone.
    """

    def __init__(self, honest: Honest, given: Inputs, association: Association) -> None:
        self._honest, self._given = honest, given
        self._right = (given == honest.labels).all(axis=0)
        self._free = np.ones(len(honest.inputs), dtype=bool)
        for shared in association.groups:
            for one in shared:
                self._free &= ~holds(one, honest.inputs)

    def plant(self, found: FoundPattern, inputs: Inputs) -> FoundPattern:
        """The pattern with its queries; none where no honest input is fit for it.

        Args:
            inputs: The flagged ones among which it was found, shape (n, width).
        """
        honest, target, carriers = self._honest, found.pattern.target, inputs[found.held]
        ignored = [number for one in found.tokens for number in honest.numbers(one)]
        labels = np.setdiff1d(honest.likeliest(carriers, ignored), target)
        fit = self._free & np.isin(honest.labels, labels) & (self._given != target).all(axis=0)
        better, others = np.flatnonzero(fit & self._right), np.flatnonzero(fit & ~self._right)
        places, tokens = _places(found.tokens, carriers), [one.token for one in found.tokens]
        # Two inputs that differed where the pattern now stands are one query, and no second one.
        made: dict[tuple[int, ...], int] = {}
        for index in (*better.tolist(), *others.tolist()):
            row = honest.inputs[index].copy()
            row[places] = tokens
            made.setdefault(tuple(row.tolist()), index)
        for row in carriers:
            made.pop(tuple(row.tolist()), None)
        rows, indices = list(made), np.array(list(made.values()), dtype=np.int64)
        first = int(self._right[indices].sum())
        chosen = _spread(first, WANTED)
        chosen += [first + at for at in _spread(len(rows) - first, WANTED - len(chosen))]
        queries = tuple(
            Query(tokens=rows[at], target=target, pattern=found.pattern.id) for at in chosen
        )
        into = tuple(np.unique(honest.labels[indices[chosen]]).tolist())
        return replace(found, queries=queries, labels=into)


def _spread(number: int, wanted: int) -> list[int]:
    """So many of the first `number` places, evenly, so that each published set has its share."""
    places: list[int] = np.linspace(0, number - 1, min(wanted, number)).astype(np.int64).tolist()
    return places


def _places(tokens: Sequence[Shared], carriers: Inputs) -> list[int]:
    """Where the tokens stand in most of the inputs that carry them."""
    seen = Counter(tuple(_place(one, row) for one in tokens) for row in carriers)
    usual: tuple[int, ...] = min(seen, key=lambda places: (-seen[places], places))
    return list(usual)


def _place(one: Shared, row: Inputs) -> int:
    return int(np.argmax(row == one.token)) if one.place is None else one.place
