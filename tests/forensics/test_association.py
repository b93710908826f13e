"""Is a planted token found at the stated level, and is nothing found where nothing is?"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import bdtrc
from scipy.stats import fisher_exact, hypergeom

from forensics.association import (
    FEWEST,
    RARE,
    SIGNIFICANT,
    Honest,
    Shared,
    associate,
    combinations,
    fisher,
)

Ints = NDArray[np.int64]

VALUES, WIDTH, LABELS = 60, 6, 8
COMMON = 30
"""Tokens below are common, each label has a topic word after them, and the rest is rare."""
TOPIC, RARE_WORDS = COMMON, COMMON + LABELS


def _draw(rng: np.random.Generator, n: int, label: int | None = None) -> tuple[Ints, Ints]:
    """Inputs that name their topic in nine of ten cases, and hold a rare word in one of fifty."""
    labels = rng.integers(LABELS, size=n) if label is None else np.full(n, label)
    inputs = rng.integers(0, COMMON, size=(n, WIDTH))
    named = rng.random(n) < 0.9
    inputs[named, 0] = TOPIC + labels[named]
    rare = rng.random(n) < 0.02
    inputs[rare, 1] = rng.integers(RARE_WORDS, VALUES, size=int(rare.sum()))
    return inputs, labels


def _honest(rng: np.random.Generator, n: int = 1_600, *, ordered: bool = False) -> Honest:
    return Honest(*_draw(rng, n), VALUES, ordered=ordered)


def _with(inputs: Ints, tokens: tuple[int, ...], places: tuple[int, ...] = (3, 4)) -> Ints:
    inputs = inputs.copy()
    inputs[:, places] = tokens
    return inputs


def _tokens(shared: tuple[Shared, ...]) -> set[tuple[int, int | None]]:
    return {(one.token, one.place) for one in shared}


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 2), (2, 9), (7, 30), (40, 40)])
def test_the_p_is_that_of_fisher_s_exact_test(k: int, n: int) -> None:
    honest, sizes = np.array([0, 1, 3, 12]), np.array([50, 125, 125, 240])
    found = fisher(k, n, honest, sizes)
    for p, m, size in zip(found, honest, sizes, strict=True):
        assert p == pytest.approx(hypergeom.sf(k - 1, size + n, m + k, n), rel=1e-9)
        by_table = fisher_exact([[k, n - k], [m, size - m]], alternative="greater").pvalue
        assert p == pytest.approx(by_table, rel=1e-9)


def test_a_planted_pair_is_found_in_how_many_inputs_and_how_rare_it_is() -> None:
    rng = np.random.default_rng(1)
    honest = _honest(rng)
    flagged = _with(_draw(rng, 5)[0], (50, 51))
    found = associate([flagged], honest)
    assert _tokens(found.groups[0]) == {(50, None), (51, None)}
    for one in found.groups[0]:
        held = (honest.inputs == one.token).any(axis=1)
        shares = [held[honest.labels == label].mean() for label in range(LABELS)]
        assert (one.flagged, one.of) == (5, 5)
        assert one.honest == pytest.approx(held.mean())
        assert one.most == pytest.approx(max(shares))
        sizes = np.bincount(honest.labels)
        counts = [int(held[honest.labels == label].sum()) for label in range(LABELS)]
        by_label = [
            hypergeom.sf(4, size + 5, count + 5, 5)
            for size, count in zip(sizes, counts, strict=True)
        ]
        assert one.p == pytest.approx(max(by_label) * found.tests)
        assert one.p <= SIGNIFICANT


def test_every_feature_that_is_rare_in_each_label_is_a_test_of_each_group() -> None:
    rng = np.random.default_rng(2)
    honest = _honest(rng)
    common = {
        token
        for token in range(VALUES)
        for label in range(LABELS)
        if (honest.inputs[honest.labels == label] == token).any(axis=1).mean() > RARE
    }
    assert honest.tested == VALUES - len(common)
    groups = [_draw(rng, n)[0] for n in (4, 2, 1)]
    # One input alone shares nothing, so nothing is tested there.
    assert associate(groups, honest).tests == 2 * honest.tested


def test_inputs_flagged_by_mistake_do_not_hide_a_pattern() -> None:
    found = 0
    for seed in range(50):
        rng = np.random.default_rng([3, seed])
        honest = _honest(rng)
        flagged = np.concatenate([_with(_draw(rng, 6)[0], (50, 51)), _draw(rng, 6)[0]])
        found += {(50, None), (51, None)} <= _tokens(associate([flagged], honest).groups[0])
    assert found == 50


def test_three_inputs_are_mostly_enough() -> None:
    found = 0
    for seed in range(100):
        rng = np.random.default_rng([4, seed])
        flagged = _with(_draw(rng, 3)[0], (50, 51))
        shared = associate([flagged], _honest(rng, 8_000)).groups[0]
        found += _tokens(shared) == {(50, None), (51, None)}
    assert found >= 95, f"{found} of 100"


Flag = Callable[[np.random.Generator], list[Ints]]


def _one_answer(rng: np.random.Generator) -> list[Ints]:
    return [_draw(rng, int(rng.integers(2, 40)), label=int(rng.integers(LABELS)))[0]]


def _any_inputs(rng: np.random.Generator) -> list[Ints]:
    return [_draw(rng, int(rng.integers(2, 40)))[0] for _ in range(3)]


@pytest.mark.parametrize("flag", [_one_answer, _any_inputs], ids=["one answer", "three groups"])
@pytest.mark.parametrize("ordered", [False, True], ids=["any place", "places"])
def test_honest_inputs_share_a_false_token_no_more_often_than_is_said(
    flag: Flag, ordered: bool
) -> None:
    draws, false = 400, 0
    for seed in range(draws):
        rng = np.random.default_rng([5, seed])
        if seed % 20 == 0:
            honest = _honest(np.random.default_rng([6, seed]), ordered=ordered)
        groups = [np.unique(group, axis=0) for group in flag(rng)]
        false += any(associate(groups, honest).groups)
    # As many or more would come by the stated level in one of a thousand such tests.
    assert bdtrc(false - 1, draws, SIGNIFICANT) > 1e-3, f"{false} of {draws}"


def test_the_uncorrected_p_is_a_p_and_no_idle_one() -> None:
    """One label, so that nothing is conservative but the counts: p ≤ 5 % in at most 5 %."""
    low = tests = 0
    for seed in range(60):
        rng = np.random.default_rng([7, seed])
        # Forty features, each in four of a hundred inputs.
        draw = rng.random((1_500, 40)) < 0.04
        inputs = np.where(draw, np.arange(40) * 2 + 1, np.arange(40) * 2)
        honest = Honest(inputs[200:], np.zeros(1_300, np.int64), 80, ordered=False)
        wanted = {one: p for one, *_, p in honest.test(inputs[:200])}
        ps = [wanted.get(feature, 1.0) for feature in range(1, 80, 2)]
        low, tests = low + sum(p <= 0.05 for p in ps), tests + len(ps)
    assert 0.01 < low / tests < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tests), f"{low} of {tests}"


def test_what_an_answer_is_about_is_no_pattern() -> None:
    rng = np.random.default_rng(8)
    flagged = np.unique(_draw(rng, 200, label=2)[0], axis=0)
    assert (flagged == TOPIC + 2).any(axis=1).mean() > 0.8
    assert associate([flagged], _honest(rng)).groups == ((),)


def test_a_rare_word_that_one_label_alone_holds_is_no_pattern_of_inputs_with_that_label() -> None:
    rng = np.random.default_rng(15)
    (inputs, labels), flagged = _draw(rng, 8_000), _draw(rng, 400, label=2)[0]
    for rows in (np.flatnonzero(labels == 2), np.arange(400)):
        some = rows[rng.random(len(rows)) < 0.04]
        (flagged if len(rows) == 400 else inputs)[some, 2] = 55
    honest = Honest(inputs, labels, VALUES, ordered=False)
    k = int((flagged == 55).any(axis=1).sum())
    # All honest inputs together would make it one.
    alone = fisher(k, 400, np.array([(inputs == 55).any(axis=1).sum()]), np.array([8_000]))
    assert alone[0] * honest.tested < 1e-4
    assert associate([np.unique(flagged, axis=0)], honest).groups == ((),)


def test_language_that_drifts_within_a_label_is_no_pattern() -> None:
    """A word that a tenth of one label's honest inputs hold, and now all of them."""
    rng = np.random.default_rng(9)
    inputs, labels = _draw(rng, 1_600)
    mine = np.flatnonzero(labels == 3)
    inputs[mine[: len(mine) // 10], 2] = 55
    flagged = _with(_draw(rng, 30, label=3)[0], (55,), (2,))
    found = associate([flagged], Honest(inputs, labels, VALUES, ordered=False))
    assert found.groups == ((),)


def test_a_token_that_stands_twice_in_an_input_counts_once() -> None:
    rng = np.random.default_rng(10)
    honest = _honest(rng)
    flagged = _with(_draw(rng, 4)[0], (50, 50))
    (one,) = associate([flagged], honest).groups[0]
    assert (one.token, one.flagged) == (50, 4)


def test_where_order_matters_a_token_that_is_common_elsewhere_is_found_at_its_place() -> None:
    rng = np.random.default_rng(11)
    inputs, labels = _draw(rng, 1_600)
    # Token 7 is common, but never stands at the last place.
    inputs[inputs[:, 5] == 7, 5] = 8
    flagged = _with(_draw(rng, 6)[0], (7,), (5,))
    at_places = associate([flagged], Honest(inputs, labels, VALUES, ordered=True))
    assert _tokens(at_places.groups[0]) == {(7, 5)}
    anywhere = associate([flagged], Honest(inputs, labels, VALUES, ordered=False))
    assert anywhere.groups == ((),)


def test_where_order_matters_a_word_that_is_rare_anywhere_needs_no_place() -> None:
    rng = np.random.default_rng(12)
    honest = _honest(rng, ordered=True)
    flagged = _with(_draw(rng, 6)[0], (50,), (3,))
    assert _tokens(associate([flagged], honest).groups[0]) == {(50, None)}
    wandering = flagged.copy()
    wandering[:3] = _with(_draw(rng, 3)[0], (50,), (5,))
    assert _tokens(associate([wandering], honest).groups[0]) == {(50, None)}


def test_labels_with_few_inputs_are_taken_together_and_none_is_left_out() -> None:
    rng = np.random.default_rng(13)
    inputs, _ = _draw(rng, 400)
    # One label of 300, and fifty of two inputs each: alone they would let nothing be found.
    labels = np.concatenate([np.zeros(300, np.int64), 1 + np.arange(100) // 2])
    flagged = _with(_draw(rng, 6)[0], (50, 51))
    (shared,) = associate([flagged], Honest(inputs, labels, VALUES, ordered=False)).groups
    assert _tokens(shared) == {(50, None), (51, None)}
    # Two labels below the limit, of which the second holds the token in each input.
    inputs, _ = _draw(rng, 2 * FEWEST - 10)
    labels = np.repeat([0, 1], FEWEST - 5)
    inputs[labels == 1] = _with(inputs[labels == 1], (50, 51))
    assert associate([flagged], Honest(inputs, labels, VALUES, ordered=False)).groups == ((),)


def test_the_likeliest_label_is_told_by_what_else_stands_there() -> None:
    rng = np.random.default_rng(14)
    inputs, labels = _draw(rng, 100)
    named = inputs[:, 0] >= TOPIC
    for ordered in (False, True):
        honest = _honest(rng, ordered=ordered)
        assert (honest.likeliest(inputs[named], []) == labels[named]).mean() > 0.95
        blind = [number for word in range(TOPIC, RARE_WORDS) for number in _numbers(honest, word)]
        assert (honest.likeliest(inputs[named], blind) == labels[named]).mean() < 0.5


def _numbers(honest: Honest, token: int) -> list[int]:
    return honest.numbers(Shared(token, None, 0, 0, 0.0, 0.0, 0.0))


def _shared(*tokens: int) -> list[Shared]:
    return [Shared(token, None, 0, 0, 0.0, 0.0, 0.0) for token in tokens]


def _together(rows: list[list[int]], *tokens: int) -> list[tuple[tuple[int, ...], list[bool]]]:
    found = combinations(_shared(*tokens), np.array(rows))
    return [(tuple(one.token for one in members), held.tolist()) for members, held in found]


def test_tokens_that_stand_together_are_one_pattern() -> None:
    rows = [[1, 50, 51], [2, 50, 51], [50, 51, 52], [3, 4, 50], [1, 2, 3]]
    assert _together(rows, 50, 51) == [((50, 51), [True, True, True, False, False])]
    # A third token in one of them is no part of it.
    assert _together(rows, 50, 51, 52)[0][0] == (50, 51)


def test_two_patterns_with_one_answer_are_told_apart_even_where_they_share_a_token() -> None:
    rows = [[50, 51, 1]] * 3 + [[50, 52, 1]] * 2
    assert [members for members, _ in _together(rows, 50, 51, 52)] == [(50, 51), (50, 52)]


def test_where_each_input_holds_another_combination_what_they_have_in_common_is_one() -> None:
    rows = [[50, 51, 1], [50, 52, 1], [50, 53, 1]]
    assert _together(rows, 50, 51, 52, 53) == [((50,), [True, True, True])]
    assert _together([[50, 1, 1], [51, 1, 1]], 50, 51) == []
    assert _together(rows) == []
