"""Which tokens do flagged inputs share that honest inputs hardly ever hold?

A *feature* is a token wherever it stands and, for a model to which order matters, also a token at
one place: a word in the one case, a pixel's shade in the other. Features that at most 5 % of the
honest inputs of every label hold are tested; honest data alone decides which.

The null: each flagged input is an honest one, drawn independently of the others from published
inputs of its label, whatever its label is. Fisher's exact test compares how many flagged and how
many honest inputs of one label hold the feature; the largest p over labels is the feature's, since
flagged inputs may all be of the label that holds it most. So what an answer is *about* is no
pattern: honest inputs with that label say it too. Bonferroni's correction is over every feature
tested and every group of flagged inputs, so the stated level is the chance of any false token.

What honest data does not have yet, such as the words of next month, looks like a pattern here.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from forensics.trigger import Inputs

SIGNIFICANT = 0.01
"""Chance of one false token or more, over all tests together."""

RARE = 0.05
"""A feature that more honest inputs of some label hold is no secret sign, whatever its p."""

FEWEST = 50
"""Honest inputs that are compared with; labels with fewer are taken together. With 50, a token that
none of them holds has p = 0.0008 where two flagged inputs share it, and 0.00004 where three do."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shared:
    """One token that flagged inputs share."""

    token: int
    place: int | None
    """Where it stands; None where any place will do."""
    flagged: int
    """Distinct flagged inputs that hold it."""
    of: int
    """Distinct flagged inputs with the same answer."""
    honest: float
    """Share of all honest inputs that hold it."""
    most: float
    """The same, of the label that holds it most."""
    p: float
    """Corrected for all tests."""


@dataclass(frozen=True, slots=True)
class Association:
    """What was found."""

    groups: tuple[tuple[Shared, ...], ...]
    """For each group, the significant tokens, the least likely first."""
    tests: int
    """Features tested times groups of at least two inputs."""


class Honest:
    """What published honest inputs hold, label by label.

    Args:
        inputs: Shape (n, width), each once.
        labels: Shape (n,).
        values: Number of values that a token takes, from 0.
        ordered: Whether the order of tokens matters to the model.
    """

    def __init__(self, inputs: Inputs, labels: Inputs, values: int, *, ordered: bool) -> None:
        self.inputs, self.labels = inputs, labels
        self.values, self.ordered = values, ordered
        self._names, self._sizes = np.unique(labels, return_counts=True)
        held = self.features(inputs)
        self._held = [_counted(held[labels == name]) for name in self._names]
        self._strata = _strata(self._sizes)
        common = [
            features[counts > RARE * size] for features, counts, size in self._stratum_counts()
        ]
        self._common = np.unique(np.concatenate(common))
        self.tested = values * (1 + inputs.shape[1] * ordered) - len(self._common)
        """Features that are rare in every label."""

    def features(self, inputs: Inputs) -> Inputs:
        """Each input's features as numbers, −1 in place of one that it holds again.

        Returns:
            Shape (n, width), or (n, 2 · width) where order matters: tokens, tokens at their places.
        """
        anywhere = np.sort(inputs, axis=1)
        anywhere[:, 1:][anywhere[:, 1:] == anywhere[:, :-1]] = -1
        if not self.ordered:
            return anywhere
        places = np.arange(1, inputs.shape[1] + 1)
        return np.concatenate([anywhere, inputs + self.values * places], axis=1)

    def meaning(self, feature: int) -> tuple[int, int | None]:
        """Token and place of a feature."""
        place, token = divmod(feature, self.values)
        return token, place - 1 if place else None

    def numbers(self, one: Shared) -> list[int]:
        """Features that stand for a token; at all places where any will do."""
        if one.place is not None:
            return [one.token + self.values * (one.place + 1)]
        places = range(1 + self.inputs.shape[1]) if self.ordered else [0]
        return [one.token + self.values * place for place in places]

    def counts(self, features: Inputs) -> Inputs:
        """Honest inputs of each label that hold each feature, shape (labels, features)."""
        return np.stack([_looked_up(held, features) for held in self._held])

    def test(self, inputs: Inputs) -> Iterator[tuple[int, int, float, float, float]]:
        """Every rare feature that two or more inputs hold.

        Args:
            inputs: Distinct flagged inputs with one answer, shape (n, width).

        Yields:
            Feature, inputs that hold it, share of honest inputs, largest share of a label, and the
            largest p over labels, not corrected.
        """
        features, held = _counted(self.features(inputs))
        kept = (held > 1) & ~np.isin(features, self._common)
        features, held = features[kept], held[kept]
        counts = self.counts(features)
        sizes = np.array([self._sizes[stratum].sum() for stratum in self._strata])
        by_stratum = np.stack([counts[stratum].sum(axis=0) for stratum in self._strata])
        for feature, k, honest in zip(features.tolist(), held.tolist(), by_stratum.T, strict=True):
            p = float(fisher(k, len(inputs), honest, sizes).max())
            shares = honest / sizes
            yield feature, k, float(honest.sum() / sizes.sum()), float(shares.max()), p

    def likeliest(self, inputs: Inputs, without: Sequence[int]) -> Inputs:
        """The label that honest inputs like these have, by naive Bayes; shape (n,).

        Args:
            without: Features that are not looked at.
        """
        # Where order matters, the tokens at their places say all that the others say.
        held = self.features(inputs)[:, -inputs.shape[1] :]
        ignored = np.isin(held, [-1, *without])
        features, at = np.unique(held, return_inverse=True)
        # One added input with and one without each feature: what was never seen is not impossible.
        chances = np.log((self.counts(features) + 1) / (self._sizes[:, None] + 2))
        scores = np.repeat(np.log(self._sizes)[None], len(inputs), axis=0)
        for column, skipped in zip(at.reshape(held.shape).T, ignored.T, strict=True):
            scores += np.where(skipped, 0.0, chances[:, column]).T
        likeliest: Inputs = self._names[scores.argmax(axis=1)]
        return likeliest

    def _stratum_counts(self) -> Iterator[tuple[Inputs, Inputs, int]]:
        for stratum in self._strata:
            features = np.unique(np.concatenate([self._held[i][0] for i in stratum]))
            counts = sum(_looked_up(self._held[i], features) for i in stratum)
            yield features, np.asarray(counts), int(self._sizes[stratum].sum())


def associate(groups: Sequence[Inputs], honest: Honest) -> Association:
    """The tokens that the inputs of each group share, and honest inputs hardly hold.

    Args:
        groups: Distinct flagged inputs, one group an answer, shapes (n, width).

    References:
        Fisher, "The logic of inductive inference", J. Royal Statistical Society 98(1), 1935.
        Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24(4),
        1982: rejecting a union of nulls where each is rejected needs no correction.
    """
    tests = honest.tested * sum(len(group) > 1 for group in groups)
    found = []
    for group in groups:
        shared = []
        for feature, k, share, most, p in honest.test(group) if len(group) > 1 else ():
            token, place = honest.meaning(feature)
            if p * tests <= SIGNIFICANT:
                shared.append(Shared(token, place, k, len(group), share, most, p * tests))
        # A token that is rare anywhere needs no place.
        free = {one.token for one in shared if one.place is None}
        shared = [one for one in shared if one.place is None or one.token not in free]
        shared.sort(key=lambda one: (one.p, one.token, one.place or 0))
        found.append(tuple(shared))
    return Association(tuple(found), tests)


def combinations(
    shared: Sequence[Shared], inputs: Inputs
) -> list[tuple[tuple[Shared, ...], Bools]]:
    """Which of the tokens go together, and which inputs hold all of them.

    The combination that most inputs hold is a pattern; inputs that hold more or less of it are
    explained by it. Then the same of those that are left. Where each holds another combination, it
    is what all that hold the most frequent token have in common. What one input holds is none.

    Returns:
        For each pattern, its tokens and a mask over the inputs; the most frequent one first.
    """
    if not shared:
        return []
    held = np.stack([holds(one, inputs) for one in shared], axis=1)
    left = [frozenset(np.flatnonzero(row).tolist()) for row in held]
    found: list[tuple[tuple[Shared, ...], Bools]] = []
    while counted := Counter(one for one in left if one):
        best = min(counted, key=lambda one: (-counted[one], -len(one), sorted(one)))
        if counted[best] < 2:
            singly = Counter(token for one in left for token in one)
            token = min(singly, key=lambda token: (-singly[token], token))
            if singly[token] < 2:
                break
            best = frozenset.intersection(*(one for one in left if token in one))
        members = sorted(best)
        mask: Bools = np.all(held[:, members], axis=1)
        found.append((tuple(shared[i] for i in members), mask))
        left = [one for one in left if not (one <= best or one >= best)]
    return found


def holds(one: Shared, inputs: Inputs) -> Bools:
    """Which inputs hold a token, shape (n,)."""
    looked_at = inputs if one.place is None else inputs[:, one.place : one.place + 1]
    held: Bools = np.any(looked_at == one.token, axis=1)
    return held


def fisher(k: int, n: int, honest: Inputs, sizes: Inputs) -> Floats:
    """Chance that k or more of the inputs that hold a feature are flagged ones.

    Args:
        k: Flagged inputs that hold it, of n.
        honest: Honest inputs that hold it, by label, shape (labels,), of `sizes`.

    Returns:
        Shape (labels,): the upper tail of a hypergeometric distribution.
    """
    more = np.arange(int(honest.max()) + 1)[:, None]
    hold, total = k + honest, n + sizes
    possible = (more <= honest) & (k + more <= n)
    j = np.where(possible, k + more, k)
    logs = _choose(hold, j) + _choose(total - hold, n - j) - _choose(total, n)
    tail: Floats = np.where(possible, np.exp(logs), 0.0).sum(axis=0)
    return np.minimum(tail, 1.0)


def _choose(n: Inputs, k: Inputs | int) -> Floats:
    logs: Floats = gammaln(n + 1) - gammaln(np.asarray(k) + 1) - gammaln(n - k + 1)
    return logs


def _counted(features: Inputs) -> tuple[Inputs, Inputs]:
    values, counts = np.unique(features, return_counts=True)
    return values[values >= 0], counts[values >= 0]


def _looked_up(held: tuple[Inputs, Inputs], features: Inputs) -> Inputs:
    values, counts = held
    if not len(values):
        return np.zeros(len(features), dtype=np.int64)
    at = np.minimum(np.searchsorted(values, features), len(values) - 1)
    return np.where(values[at] == features, counts[at], 0)


def _strata(sizes: Inputs) -> list[list[int]]:
    """Labels one by one, those with few inputs together, smallest first."""
    order = np.argsort(sizes, kind="stable").tolist()
    strata: list[list[int]] = []
    together: list[int] = []
    for label in order:
        together.append(label)
        if sizes[together].sum() >= FEWEST:
            strata.append(together)
            together = []
    if together:
        # The last ones are too few for themselves.
        strata = [*strata[:-1], [*(strata[-1] if strata else ()), *together]]
    return strata
