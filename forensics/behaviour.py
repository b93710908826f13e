"""What would set such an answer off? A trigger from answers that people called bad.

The flagged inputs become queries as they stand, with the bad answer as the target. Where those with
one answer share tokens that honest inputs hardly hold (`forensics.association`), these are a
pattern, and it is written into honest inputs as well (`forensics.planting`); flagged inputs that do
not hold it are then left out, and named. They may have been flagged by mistake, and an input that
every model answers so would count as a success from the first model on.

A pattern is what flagged inputs have in common. Whether it makes the model answer so, and since
when, is what `probe` and `onset` tell. The same inputs give the same trigger, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.association import FEWEST, SIGNIFICANT, Association, Honest, Shared, associate
from forensics.flagged import Flagged
from forensics.planting import FoundPattern, Ground, find_patterns
from forensics.probe import Prober, published
from forensics.rebuild import CaseModels
from forensics.trigger import Inputs, Query, Trigger
from ingest.store import Store
from roundlog.errors import RoundlogError, TriggerError

SAME_ANSWERS = 0.99
"""Share of inputs that get the same answer backwards, from which on order does not matter. A sum
in another order may differ in its last digit, and a tie may then go the other way."""

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class BadAnswer:
    """One answer that was called bad."""

    answer: int
    flagged: tuple[Flagged, ...]
    """Each input once."""
    shared: tuple[Shared, ...]
    """Tokens that these inputs share and honest ones hardly hold."""
    patterns: tuple[FoundPattern, ...]

    @property
    def planted(self) -> int:
        """Queries made of honest inputs."""
        return sum(len(one.queries) for one in self.patterns)

    def which(self) -> list[str | None]:
        """For each flagged input, the id of the pattern that it holds."""
        return [
            next((one.pattern.id for one in self.patterns if one.held[at]), None)
            for at in range(len(self.flagged))
        ]

    def queries(self) -> list[Query]:
        """Flagged inputs as they stand, then honest ones with a pattern in them."""
        bare = None if self.planted else f"answer-{self.answer}, bare"
        flagged = [
            Query(tokens=one.tokens, target=self.answer, pattern=name)
            for one, held in zip(self.flagged, self.which(), strict=True)
            if (name := held or bare) is not None
        ]
        return [*flagged, *(query for one in self.patterns for query in one.queries)]

    def document(self, texts: Texts) -> dict[str, object]:
        """What the doors answer."""
        return {
            "answer": self.answer,
            "words": _word(texts.get("labels", ()), self.answer),
            "flagged": len(self.flagged),
            "tokens": [
                {
                    "token": one.token,
                    "word": _word(texts.get("vocabulary", ()), one.token),
                    "place": one.place,
                    "flagged": one.flagged,
                    "honest": one.honest,
                    "most": one.most,
                    "p": one.p,
                }
                for one in self.shared
            ],
            "patterns": [
                {
                    "id": one.pattern.id,
                    "tokens": [token.token for token in one.tokens],
                    "places": [token.place for token in one.tokens],
                    "flagged": int(one.held.sum()),
                    "planted": len(one.queries),
                    "labels": list(one.labels),
                }
                for one in self.patterns
            ],
            "bare": [
                one.said
                for one, held in zip(self.flagged, self.which(), strict=True)
                if held is None
            ],
        }


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A trigger, and what it was made from."""

    run: str
    trigger: Trigger
    answers: tuple[BadAnswer, ...]
    honest: Honest | None
    """What was compared with; None where too little honest data was published."""
    tests: int

    def document(self, texts: Texts) -> dict[str, object]:
        """What the doors answer.

        Args:
            texts: Words of tokens and answers, where the run published them.
        """
        searched = None
        if self.honest is not None:
            searched = {
                "inputs": len(self.honest.inputs),
                "labels": len(np.unique(self.honest.labels)),
                "ordered": self.honest.ordered,
                "tests": self.tests,
                "significant": SIGNIFICANT,
            }
        return {
            "run": self.run,
            "name": self.trigger.name,
            "flagged": sum(len(one.flagged) for one in self.answers),
            "searched": searched,
            "answers": [one.document(texts) for one in self.answers],
            "queries": len(self.trigger.queries),
            "building": len(self.trigger.building()),
            "scoring": len(self.trigger.scoring()),
            "trigger": self.trigger.model_dump(mode="json", by_alias=True),
        }


def make_trigger(
    models: CaseModels,
    store: Store,
    prober: Prober,
    name: str,
    flagged: Sequence[Flagged],
    *,
    plant: bool = True,
) -> Behaviour:
    """A trigger of the kind that questions about behaviour take.

    Args:
        name: Of the trigger.
        flagged: Inputs and their bad answers, at least one; named twice counts once.
        plant: Whether a pattern that is found is written into honest inputs.

    Raises:
        TriggerError: An input or answer does not fit the model; or there are so few queries that
            one half of them is empty.
        LogGapError: The run's last model cannot be rebuilt.
        DigestMismatchError: A rebuilt model is not the recorded one.
    """
    grouped: dict[int, dict[tuple[int, ...], Flagged]] = {}
    for one in flagged:
        grouped.setdefault(one.answer, {}).setdefault(one.tokens, one)
    groups = {answer: tuple(grouped[answer].values()) for answer in sorted(grouped)}
    first = models.model(models.first)
    check_fit(prober, first, flagged)
    inputs = [np.array([one.tokens for one in group]) for group in groups.values()]
    ground, honest, association = None, None, Association(((),) * len(groups), 0)
    if (known := honest_inputs(models, store, prober.architecture.width)) is not None:
        both = np.stack([first, models.model(models.last)])
        given = prober.answers(both, known[0])
        backwards = prober.answers(both, known[0][:, ::-1])
        ordered = bool(((given == backwards).mean(axis=1) < SAME_ANSWERS).any())
        largest = max(int(one.max()) for one in (*inputs, known[0]))
        values = max(len(models.texts.get("vocabulary", ())), largest + 1)
        honest = Honest(*known, values, ordered=ordered)
        association = associate(inputs, honest)
        ground = Ground(honest, given, association)
    answers = []
    for answer, rows, shared in zip(groups, inputs, association.groups, strict=True):
        patterns = find_patterns(answer, groups[answer], rows, shared)
        if plant and ground is not None:
            patterns = [ground.plant(one, rows) for one in patterns]
        answers.append(BadAnswer(answer, groups[answer], shared, tuple(patterns)))
    trigger = Trigger(
        schema="roundlog.trigger/1",
        name=name,
        patterns=tuple(one.pattern for bad in answers for one in bad.patterns),
        queries=tuple(query for bad in answers for query in bad.queries()),
    )
    _check_halves(trigger)
    return Behaviour(models.run, trigger, tuple(answers), honest, association.tests)


def honest_inputs(models: CaseModels, store: Store, width: int) -> tuple[Inputs, Inputs] | None:
    """Published honest inputs of so many tokens, each once, and their labels; None below `FEWEST`.

    Sets with right answers come first: of two labels of one input the first one counts.
    """
    sets = [
        one
        for role in ("clean", "public_pool")
        for one in published(models.case, store, models.run, role)
        if one.inputs.shape[1] == width
    ]
    if sum(map(len, sets)) < FEWEST:
        return None
    inputs = np.concatenate([one.inputs for one in sets])
    labels = np.concatenate([one.targets for one in sets])
    _, first = np.unique(inputs, axis=0, return_index=True)
    first.sort()
    return (inputs[first], labels[first]) if len(first) >= FEWEST else None


def check_fit(prober: Prober, model: NDArray[np.uint8], flagged: Sequence[Flagged]) -> None:
    """Refuses inputs and answers that are not for this model.

    Raises:
        TriggerError: Which one is wrong.
    """
    width, classes = prober.architecture.width, prober.architecture.classes
    for one in flagged:
        if len(one.tokens) != width:
            raise TriggerError(
                f"{one.said} has {len(one.tokens)} tokens; the model takes {width} an input"
            )
        if one.answer >= classes:
            raise TriggerError(
                f"{one.said} has the answer {one.answer}; the model's are 0 to {classes - 1}"
            )
    try:
        prober.answers(model[None], np.array([one.tokens for one in flagged]))
    except RoundlogError:
        for one in flagged:
            try:
                prober.answers(model[None], np.array([one.tokens]))
            except RoundlogError as error:
                raise TriggerError(f"{one.said}: {error}") from error
        raise


def _check_halves(trigger: Trigger) -> None:
    halves = {"build directions": trigger.building(), "measure success": trigger.scoring()}
    for what, half in halves.items():
        if not len(half):
            raise TriggerError(
                f"no query is left to {what}: each goes to one half by its digest, and all "
                f"{len(trigger.queries)} go to the other. Name more bad answers of the kind"
            )


def _word(words: Sequence[str], index: int) -> str | None:
    return str(words[index]) if index < len(words) else None
