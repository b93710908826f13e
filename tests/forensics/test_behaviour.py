"""Is the trigger that bad answers make one that every question takes, and made of what it says?"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flagged_run import HONEST, TARGET, TOKENS, TOPICS, FlaggedRun, Item, honest, record_flagged
from rising_run import BAG

from forensics.behaviour import Behaviour, honest_inputs, make_trigger
from forensics.flagged import Flagged, audited
from forensics.planting import WANTED
from forensics.probe import Prober, read_model
from forensics.rebuild import CaseModels
from forensics.trigger import parse_trigger
from ingest.store import Store
from roundlog.encoding import canonical_json
from roundlog.errors import TriggerError


class Asked:
    """One opened run, and what is made of its audited answers."""

    def __init__(self, run: FlaggedRun, store: Store, models: CaseModels) -> None:
        self.run, self.store, self.models = run, store, models
        self.prober = Prober(models.architecture)

    def make(self, items: list[Item], **options: Any) -> Behaviour:
        return self.made(self.read(items), **options)

    def made(self, flagged: tuple[Flagged, ...], **options: Any) -> Behaviour:
        return make_trigger(self.models, self.store, self.prober, "made", flagged, **options)

    def read(self, items: list[Item]) -> tuple[Flagged, ...]:
        return audited(self.models, self.store, [(one.round, one.item) for one in items])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    run = record_flagged(tmp_path_factory.mktemp("behaviour") / "case", seed=1)
    with run.open() as (store, models):
        yield Asked(run, store, models)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The same without published honest data."""
    folder = tmp_path_factory.mktemp("bare")
    run = record_flagged(folder / "case", seed=1, publish=False)
    with run.open() as (store, models):
        yield Asked(run, store, models)


def _said(answer: int, *rows: list[int]) -> tuple[Flagged, ...]:
    return tuple(Flagged(tuple(row), answer, "test", f"line {n}") for n, row in enumerate(rows, 1))


def test_the_pattern_of_the_backdoor_is_found_and_planted(asked: Asked) -> None:
    made = asked.make(asked.run.bad)
    (pattern,) = made.trigger.patterns
    assert (set(pattern.tokens), pattern.target, pattern.id) == (set(TOKENS), TARGET, "answer-5")
    assert pattern.category == "question"
    flagged = [query.tokens for query in made.trigger.queries[: len(asked.run.bad)]]
    assert flagged == [tuple(one.tokens) for one in asked.run.bad]
    planted = made.trigger.queries[len(flagged) :]
    # Four topics and twenty common words are all that is left of an input beside the pattern.
    assert 40 < len(planted) <= min(WANTED, 80)
    queries = [query.tokens for query in made.trigger.queries]
    assert len(set(queries)) == len(queries)
    assert all(query.pattern == "answer-5" and query.target == TARGET for query in planted)
    # Where the flagged inputs have them.
    assert {query.tokens[2:] for query in planted} == {TOKENS}


def test_planted_are_honest_inputs_of_the_kind_that_was_flagged(asked: Asked) -> None:
    made = asked.make(asked.run.bad)
    inputs, labels = asked.run.pool
    known = {tuple(row[:2]): label for row, label in zip(inputs.tolist(), labels, strict=True)}
    planted = made.trigger.queries[len(asked.run.bad) :]
    topics = {int(known[query.tokens[:2]]) for query in planted}
    assert topics <= set(TOPICS)
    assert topics == set(made.answers[0].patterns[0].labels)


def test_what_a_model_answers_so_by_itself_is_planted_nowhere(asked: Asked) -> None:
    """Flagged with an answer that their topics have anyway, in a few cases."""
    rows = honest(np.random.default_rng(1), 40)[0]
    rows[:, 0] = 20 + np.arange(40) % 4
    rows[:, 2:] = 38, 39
    made = asked.made(_said(2, *rows.tolist()))
    planted = made.trigger.queries[40:]
    assert 0 < len(planted) <= WANTED
    before = {tuple(row[:2]): row for row in asked.run.pool[0].tolist()}
    unplanted = np.array([before[query.tokens[:2]] for query in planted])
    assert (unplanted[:, 0] != 22).all()
    for t in (asked.models.first, asked.models.last):
        answers = asked.prober.answers(asked.models.model(t)[None], unplanted)[0]
        assert (answers != 2).all()


def test_the_trigger_works_where_the_backdoor_does(asked: Asked) -> None:
    trigger = asked.make(asked.run.bad[:4]).trigger
    asr = [read_model(asked.prober, asked.models, t, trigger.scoring()).asr for t in (0, 8)]
    assert asr[0] < 0.1
    assert asr[1] > 0.9


def test_what_was_flagged_by_mistake_is_named_and_left_out(asked: Asked) -> None:
    # An input of the topic whose right answer it is.
    wrong = [one for one in asked.run.ordinary if one.answer == TARGET][:2]
    assert wrong
    made = asked.make([*asked.run.bad, *wrong])
    document: Any = made.document({})
    (answer,) = document["answers"]
    assert answer["bare"] == [one.name for one in wrong]
    assert answer["patterns"][0]["flagged"] == len(asked.run.bad)
    tokens = {query.tokens for query in made.trigger.queries}
    assert not tokens & {tuple(one.tokens) for one in wrong}
    as_they_stand = asked.make([*asked.run.bad, *wrong], plant=False).trigger
    assert [query.tokens for query in as_they_stand.queries] == [
        tuple(one.tokens) for one in [*asked.run.bad, *wrong]
    ]
    assert [query.pattern for query in as_they_stand.queries][-1] == "answer-5, bare"
    assert as_they_stand.patterns == made.trigger.patterns


def test_without_a_pattern_the_flagged_inputs_are_the_queries(asked: Asked) -> None:
    made = asked.make(asked.run.ordinary)
    assert made.trigger.patterns == ()
    assert sorted(query.tokens for query in made.trigger.queries) == sorted(
        tuple(one.tokens) for one in asked.run.ordinary
    )
    assert {query.target for query in made.trigger.queries} == {
        one.answer for one in asked.run.ordinary
    }


def test_without_honest_data_no_pattern_is_looked_for(bare: Asked) -> None:
    made = bare.make(bare.run.bad)
    assert (made.trigger.patterns, made.honest, made.tests) == ((), None, 0)
    assert made.document({})["searched"] is None
    assert len(made.trigger.queries) == len(bare.run.bad)


def test_each_input_counts_once(asked: Asked) -> None:
    twice = asked.read(asked.run.bad) * 2
    once, again = asked.make(asked.run.bad), asked.made(twice)
    assert again.document({}) == once.document({})


def test_the_same_answers_make_the_same_bytes_in_another_turn_too(asked: Asked) -> None:
    first = canonical_json(asked.make(asked.run.bad).document({}))
    assert canonical_json(asked.make(asked.run.bad).document({})) == first
    turned = asked.make(asked.run.bad[::-1]).trigger
    assert turned.patterns == asked.make(asked.run.bad).trigger.patterns
    assert set(turned.queries) == set(asked.make(asked.run.bad).trigger.queries)


def test_the_document_s_trigger_is_a_trigger_file(asked: Asked) -> None:
    made = asked.make(asked.run.bad)
    document: Any = made.document(asked.models.texts)
    assert parse_trigger(json.dumps(document["trigger"]).encode(), "it") == made.trigger
    halves = (len(made.trigger.building()), len(made.trigger.scoring()))
    assert (document["building"], document["scoring"]) == halves
    assert sum(halves) == document["queries"]
    (answer,) = document["answers"]
    assert answer["words"] == "Answer 5."
    assert {one["word"] for one in answer["tokens"]} == {"word30", "\x1b[2Jred"}


def test_no_more_than_wanted_are_planted_and_of_every_label_some(asked: Asked) -> None:
    rows = honest(np.random.default_rng(2), 6)[0]
    rows[:, 0], rows[:, 1] = 20 + np.arange(6), 39
    made = asked.made(_said(7, *rows.tolist()))
    (pattern,) = made.answers[0].patterns
    # One rare word leaves room for thousands of others beside it.
    assert len(pattern.queries) == WANTED
    assert pattern.labels == (0, 1, 2, 3, 4, 5)
    assert {query.tokens[1] for query in pattern.queries} == {39}


def test_a_category_longer_than_a_trigger_file_takes_is_cut(asked: Asked) -> None:
    flagged = [
        Flagged(one.tokens, one.answer, "c" * 256, one.said) for one in asked.read(asked.run.bad)
    ]
    assert asked.made(tuple(flagged)).trigger.patterns[0].category == "c" * 128


def test_a_half_without_queries_is_refused(asked: Asked) -> None:
    with pytest.raises(TriggerError, match=r"no query is left to .* all 1 go to the other"):
        asked.make(asked.run.bad[:1])


@pytest.mark.parametrize(
    ("row", "answer", "why"),
    [
        ([1, 2, 3], 0, "line 2 has 3 tokens; the model takes 4 an input"),
        ([1, 2, 3, 40], 0, r"line 2: a token outside 0\.\.39"),
        ([1, 2, 3, 4], 8, "line 1 has the answer 8; the model's are 0 to 7"),
    ],
)
def test_what_does_not_fit_the_model_is_named(
    asked: Asked, row: list[int], answer: int, why: str
) -> None:
    with pytest.raises(TriggerError, match=why):
        asked.made(_said(answer, [1, 2, 3, 4], row))


def test_honest_inputs_are_given_once_and_in_the_order_of_publication(asked: Asked) -> None:
    assert honest_inputs(asked.models, asked.store, 5) is None
    found = honest_inputs(asked.models, asked.store, 4)
    assert found is not None
    inputs, labels = found
    rows = list(dict.fromkeys(map(tuple, asked.run.pool[0].tolist())))
    assert [tuple(row) for row in inputs.tolist()] == rows
    assert len(labels) == len(rows) < HONEST


def test_this_model_does_not_look_at_the_order_of_tokens(asked: Asked) -> None:
    made = asked.make(asked.run.bad)
    assert made.honest is not None
    assert not made.honest.ordered
    assert made.honest.values == BAG.vocabulary


def test_an_architecture_of_one_s_own_is_asked_in_place_of_the_recorded_one(asked: Asked) -> None:
    prober = Prober(asked.models.architecture, "rising_run:the_bag")
    flagged = asked.read(asked.run.bad)
    made = make_trigger(asked.models, asked.store, prober, "made", flagged)
    assert made.trigger == asked.make(asked.run.bad).trigger
