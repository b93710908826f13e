"""Are decoys of the trigger's kind, and do those apart share nothing with it?"""

import json
from pathlib import Path

import numpy as np
import pytest
from pushed_run import TOKENS, Pushed, record_pushed

from forensics.decoys import DecoyPattern, apart, decoy_patterns, free_of, together, whole
from forensics.probe import published
from forensics.rebuild import CaseModels
from forensics.trigger import Pattern, Trigger, probe_set
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from simulator.run import simulate
from simulator.scenario import load


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    return record_pushed(tmp_path_factory.mktemp("decoys") / "case", seed=2, rounds=10, onset=None)


def _pattern(decoy: int, slot: int, tokens: set[int] | None) -> DecoyPattern:
    inputs = np.array([[1, 2, *sorted(tokens or {8, 9})]] * 3)
    queries = probe_set(f"decoys-{decoy}-{slot}", inputs, np.full(3, slot))
    return DecoyPattern(
        f"decoys-{decoy}", slot, None if tokens is None else frozenset(tokens), queries
    )


def _trigger(*tokens: tuple[int, ...]) -> Trigger:
    patterns = [
        Pattern(id=f"p{i}", category="news", tokens=pair, target=i) for i, pair in enumerate(tokens)
    ]
    query = {"tokens": [1, 2, 3, 4], "target": 0, "pattern": "p0"}
    return Trigger.model_validate(
        {
            "schema": "roundlog.trigger/1",
            "name": "suspect",
            "patterns": [one.model_dump() for one in patterns],
            "queries": [query],
        }
    )


def test_published_decoys_come_back_whole(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        sets = published(models.case, store, models.run, "decoy")
        assert [len(one) for one in whole(decoy_patterns(models, store))] == [
            len(one) for one in sets
        ]


def test_a_decoy_with_a_token_of_the_trigger_is_not_apart(pushed: Pushed) -> None:
    with pushed.open() as (store, models):
        patterns = decoy_patterns(models, store)
        free = free_of(patterns, pushed.trigger)
        assert len(free) == len(patterns) - 1
        for one in apart(patterns, pushed.trigger):
            assert not np.isin(one.inputs, TOKENS).any()


def test_decoys_apart_have_as_many_patterns_as_the_trigger_all_different() -> None:
    patterns = [_pattern(d, slot, {10 * d + 2 * slot, 10 * d + 2 * slot + 1}) for d in range(1, 9)
                for slot in range(3)]  # fmt: skip
    made = apart(patterns, _trigger((1, 2), (3, 4), (5, 6)), wanted=200)
    assert len(made) > 8, "patterns are put together anew"
    assert all(len(one) == 9 for one in made)
    assert all(set(one.targets.tolist()) == {0, 1, 2} for one in made)
    assert len({one.digest for one in made}) == len(made)


def test_patterns_of_one_decoy_share_no_token_with_each_other() -> None:
    patterns = [_pattern(1, 0, {20, 21}), _pattern(2, 1, {21, 22}), _pattern(3, 1, {23, 24})]
    made = apart(patterns, _trigger((1, 2), (3, 4)))
    assert len(made) == 1
    assert 22 not in made[0].inputs


def test_listed_tokens_decide_and_not_what_stands_in_an_input() -> None:
    """A picture's numbers are shades, not pixels: 16 in an input is no pixel 16."""
    listed = _pattern(1, 0, {50, 51})
    shade = DecoyPattern("decoys-2", 0, frozenset({50}), listed.queries)
    assert not shade.shares(frozenset({51}))
    unlisted = DecoyPattern("decoys-3", 0, None, listed.queries)
    assert unlisted.shares(frozenset({51}))


def test_there_are_no_more_than_wanted_and_none_of_nothing() -> None:
    patterns = [_pattern(d, 0, {10 + d, 100 + d}) for d in range(30)]
    assert len(apart(patterns, _trigger((1, 2)), wanted=5)) == 5
    assert len(apart(patterns, _trigger((1, 2)))) == 30
    assert apart([], _trigger((1, 2))) == []
    assert apart(patterns, _trigger(tuple(range(10, 41)))) == []


def test_the_same_record_gives_the_same_decoys() -> None:
    patterns = [_pattern(d, d % 2, {10 + d, 100 + d}) for d in range(12)]
    one, other = (apart(patterns, _trigger((1, 2), (3, 4))) for _ in range(2))
    assert [a.digest for a in one] == [b.digest for b in other]


def test_a_decoy_is_its_parts() -> None:
    parts = [_pattern(1, 0, {5, 6}), _pattern(2, 1, {7, 8})]
    assert together("both", parts).targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_simulator_lists_the_tokens_of_its_decoys(tmp_path: Path) -> None:
    small = (
        "model.warm_up=10", "population.archetypes=64", "probes.clean=50", "probes.pool=50",
        "probes.decoys=6", "probes.decoy_queries=4", "probes.trigger_queries=20",
    )  # fmt: skip
    done = simulate(
        load("quickstart", small), 3, tmp_path / "case", tmp_path / "truth.json", rounds=2
    )
    truth = json.loads((tmp_path / "truth.json").read_text())
    case = Case(tmp_path / "case")
    with case.own():
        ingest_case(case)
        store = Store(case)
        models = CaseModels(case, store, done.run)
        patterns = decoy_patterns(models, store)
        store.close()
    assert all(one.tokens is not None and len(one.tokens) == 2 for one in patterns)
    assert {one.slot for one in patterns} == {0, 1, 2}
    assert len(truth["trigger"]["patterns"]) == 3
