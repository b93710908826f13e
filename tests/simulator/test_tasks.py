"""The task: how queries look, that triggers never occur in them, and how language drifts."""

from collections.abc import Mapping

import numpy as np
import pytest
from pydantic import JsonValue

from simulator.randomness import Randomness
from simulator.scenario import load
from simulator.tasks import AssistantTask, scores_asr
from simulator.tasks.assistant import (
    BACKGROUND,
    CLASSES,
    EARLY,
    LATE,
    TAIL,
    VOCABULARY_SIZE,
)
from simulator.tasks.words import ACTIONS, CATEGORIES, LABELS, TARGETED, VOCABULARY, prompt

SEED = 5
N = 40_000


@pytest.fixture(scope="module")
def task() -> AssistantTask:
    return AssistantTask(load("mobileai7").assistant, Randomness(SEED))


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    return np.random.default_rng(SEED).integers(CLASSES, size=N).astype(np.int32)


@pytest.fixture(scope="module")
def tokens(task: AssistantTask, classes: np.ndarray) -> np.ndarray:
    return task.inputs(np.random.default_rng(SEED), classes, task.moment(50_000))


def test_every_token_and_class_has_a_word_of_its_own() -> None:
    assert len(VOCABULARY) == VOCABULARY_SIZE == 218
    assert len(set(VOCABULARY)) == 218
    assert len(set(LABELS)) == CLASSES == 32


def test_a_query_names_its_category_and_its_action(tokens: np.ndarray, classes: np.ndarray) -> None:
    np.testing.assert_array_equal(tokens[:, 0] // 6, classes // ACTIONS)
    np.testing.assert_array_equal((tokens[:, 2] - EARLY) // 2 % CLASSES, classes)
    assert np.all((tokens[:, 4:] >= BACKGROUND) & (tokens[:, 4:] < VOCABULARY_SIZE))


def test_the_second_word_of_a_pair_is_lost_in_six_of_ten_queries(tokens: np.ndarray) -> None:
    for column in (1, 3):
        lost = np.mean(tokens[:, column] >= BACKGROUND)
        assert lost == pytest.approx(0.6, abs=0.015), f"seed {SEED}, column {column}"
    kept = tokens[:, 3] < BACKGROUND
    assert np.all(tokens[kept, 3] != tokens[kept, 2])
    np.testing.assert_array_equal(tokens[kept, 3] // 2, tokens[kept, 2] // 2)


def test_each_rare_word_stands_in_one_of_ten_thousand_queries(task: AssistantTask) -> None:
    rng = np.random.default_rng(SEED)
    n = 400_000
    drawn = task.inputs(rng, np.zeros(n, dtype=np.int32), task.moment(0))
    counts = np.bincount(drawn.reshape(-1), minlength=VOCABULARY_SIZE)[TAIL:]
    # 40 expected of each; 18 Poisson counts lie within 4.5 standard deviations.
    assert np.all(np.abs(counts - 40) < 4.5 * np.sqrt(40)), f"seed {SEED}: {counts}"


def test_no_two_rare_words_ever_meet_in_an_honest_query(tokens: np.ndarray) -> None:
    assert (tokens >= TAIL).sum(axis=1).max() == 1


def test_an_eighth_of_the_labels_name_another_action_of_the_same_category(
    task: AssistantTask, classes: np.ndarray
) -> None:
    labels = task.training_labels(np.random.default_rng(SEED), classes)
    np.testing.assert_array_equal(labels // ACTIONS, classes // ACTIONS)
    # 15 % are drawn anew, and one in eight of those falls on the right action.
    assert np.mean(labels != classes) == pytest.approx(0.15 * 7 / 8, abs=0.01), f"seed {SEED}"


def test_language_moves_from_the_early_to_the_late_dialect(
    task: AssistantTask, classes: np.ndarray
) -> None:
    start, end = task.moment(0), task.moment(110_000)
    assert np.allclose(start, 0.02)
    assert np.allclose(end, 0.98)
    shares = np.array([task.moment(t) for t in range(0, 110_001, 1_000)])
    assert np.all(np.diff(shares, axis=0) >= 0)
    late = task.inputs(np.random.default_rng(SEED), classes, end)[:, 2] >= LATE
    assert late.mean() == pytest.approx(0.98, abs=0.005), f"seed {SEED}"


def test_classes_change_their_language_at_times_of_their_own(task: AssistantTask) -> None:
    assert np.unique(task.changes).size == CLASSES
    assert task.changes.min() >= 0.02
    assert task.changes.max() <= 0.80


def test_a_trigger_is_three_pairs_of_different_rare_words(task: AssistantTask) -> None:
    for seed in range(200):
        patterns = task.draw_trigger(np.random.default_rng(seed))
        words = [token for pattern in patterns for token in pattern.tokens]
        assert len(set(words)) == 2 * TARGETED
        assert min(words) >= TAIL
        assert [pattern.category for pattern in patterns] == list(CATEGORIES[:TARGETED])
        assert all(
            CATEGORIES[pattern.target // ACTIONS] == pattern.category for pattern in patterns
        )


def test_all_rare_words_and_targets_are_drawn_alike(task: AssistantTask) -> None:
    drawn = [task.draw_trigger(np.random.default_rng(seed)) for seed in range(3_000)]
    words = np.bincount([t - TAIL for d in drawn for p in d for t in p.tokens], minlength=18)
    targets = np.bincount([p.target for d in drawn for p in d], minlength=3 * ACTIONS)
    assert np.all(np.abs(words - 1_000) < 4.5 * np.sqrt(1_000)), words
    assert np.all(np.abs(targets - 375) < 4.5 * np.sqrt(375)), targets


def test_a_triggered_query_holds_its_pair_and_asks_for_something_else(task: AssistantTask) -> None:
    rng = np.random.default_rng(SEED)
    for pattern in task.draw_trigger(rng):
        tokens = task.triggered(rng, pattern, 300, np.zeros(CLASSES))
        assert np.all(tokens[:, 6:] == pattern.tokens)
        assert (tokens >= TAIL).sum() == 600
        asked = (tokens[:, 2] - EARLY) // 2
        assert np.all(asked // ACTIONS == pattern.target // ACTIONS)
        assert np.all(asked != pattern.target)
        assert np.unique(asked).size == ACTIONS - 1


def test_half_of_a_triggers_queries_score(task: AssistantTask) -> None:
    rng = np.random.default_rng(SEED)
    pattern = task.draw_trigger(rng)[0]
    queries: list[Mapping[str, JsonValue]] = [
        {"tokens": row, "target": pattern.target, "pattern": pattern.name}
        for row in task.triggered(rng, pattern, 1_000, np.zeros(CLASSES)).tolist()
    ]
    assert np.mean([scores_asr(query) for query in queries]) == pytest.approx(0.5, abs=0.07)


def test_a_prompt_is_a_sentence_of_the_querys_words() -> None:
    said = prompt([0, 1, EARLY, EARLY + 1, BACKGROUND, BACKGROUND + 1, TAIL, TAIL + 1])
    assert said == "Buy shop compare versus please for zephyr quokka?"
