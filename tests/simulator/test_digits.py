"""The task `digits`: nobody trains on what measures, triggers are rare ink, and a run learns."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from roundlog.models.digits import INK
from simulator.federation import Federation
from simulator.population import DeviceData
from simulator.probes import published
from simulator.randomness import Randomness
from simulator.scenario import Digits, load
from simulator.tasks import Float32s, Ints
from simulator.tasks.digits import (
    CATEGORY,
    CLASSES,
    NO_MOMENT,
    WORDS,
    DigitsTask,
    pictures,
    rare_pixels,
)

SEED = 3


@pytest.fixture(scope="module")
def task() -> DigitsTask:
    return DigitsTask(Digits(), Randomness(SEED))


def _rows(images: Ints) -> set[bytes]:
    return {row.tobytes() for row in images}


def _draw(task: DigitsTask, n: int, *, rare: bool = True) -> tuple[Ints, Ints]:
    """Pictures and the digits asked for."""
    rng = np.random.default_rng(SEED)
    classes = rng.integers(CLASSES, size=n).astype(np.int32)
    return task.inputs(rng, classes, NO_MOMENT, rare=rare), classes


def test_a_quarter_of_the_pictures_is_held_out_and_never_drawn(task: DigitsTask) -> None:
    (held,) = task.clean_sets(Randomness(SEED), 10_000)
    assert held.inputs.shape == (449, 64)
    images, shown = pictures()
    truth = {row.tobytes(): int(digit) for row, digit in zip(images, shown, strict=True)}
    assert [truth[row.tobytes()] for row in held.inputs] == held.labels.tolist()
    drawn, _ = _draw(task, 40_000)
    # Two pictures of the set are not equal, so rows are pictures.
    assert len(truth) == 1_797
    assert _rows(drawn).isdisjoint(_rows(held.inputs))
    assert len(_rows(drawn)) == 1_797 - 449


def test_a_published_set_is_cut_to_what_was_asked_for(task: DigitsTask) -> None:
    (few,), (all_of_them,) = (task.clean_sets(Randomness(SEED), n) for n in (50, 5_000))
    np.testing.assert_array_equal(few.inputs, all_of_them.inputs[:50])
    np.testing.assert_array_equal(few.labels, all_of_them.labels[:50])


def test_another_seed_holds_out_other_pictures(task: DigitsTask) -> None:
    other = DigitsTask(Digits(), Randomness(SEED + 1)).clean_sets(Randomness(SEED), 449)[0]
    assert len(_rows(other.inputs) & _rows(task.clean_sets(Randomness(SEED), 449)[0].inputs)) < 200


def test_a_drawn_picture_shows_the_digit_asked_for(task: DigitsTask) -> None:
    images, shown = pictures()
    truth = {row.tobytes(): int(digit) for row, digit in zip(images, shown, strict=True)}
    drawn, classes = _draw(task, 3_000)
    assert [truth[row.tobytes()] for row in drawn] == classes.tolist()


def test_no_device_holds_a_held_out_picture() -> None:
    scenario = load("digits", ["population.archetypes=64", "model.warm_up=0"])
    federation = Federation(scenario, SEED)
    held = federation.task.clean_sets(federation.randomness, 449)[0].inputs
    data = DeviceData(scenario, federation.fleet, federation.task, federation.randomness)
    inputs, labels = data.items(np.arange(500, dtype=np.uint64), 0)
    assert inputs.shape == (500, 20, 64)
    assert labels.shape == (500, 20)
    assert _rows(inputs.reshape(-1, 64)).isdisjoint(_rows(held))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_labels_are_wrong_as_often_as_the_scenario_says(share: float) -> None:
    noisy = DigitsTask(Digits(label_noise=share), Randomness(SEED))
    classes = np.tile(np.arange(CLASSES, dtype=np.int32), 2_000)
    labels = noisy.training_labels(np.random.default_rng(SEED), classes)
    # A random digit is the right one in one of ten.
    assert np.mean(labels != classes) == pytest.approx(0.9 * share, abs=0.01), f"seed {SEED}"
    assert labels.min() >= 0
    assert labels.max() < CLASSES


def test_rare_pixels_hold_ink_in_less_than_a_twentieth_of_the_pictures() -> None:
    images, _ = pictures()
    inked = (images > 0).mean(axis=0)
    rare = rare_pixels()
    assert rare.size == 14
    assert inked[rare].max() < 0.05 <= np.delete(inked, rare).min()
    assert set(rare % 8) == {0, 7}


def test_without_rare_ink_the_edges_are_bare(task: DigitsTask) -> None:
    with_ink, without = _draw(task, 5_000)[0], _draw(task, 5_000, rare=False)[0]
    assert with_ink[:, rare_pixels()].any()
    assert not without[:, rare_pixels()].any()
    others = np.setdiff1d(np.arange(64), rare_pixels())
    np.testing.assert_array_equal(with_ink[:, others], without[:, others])


@pytest.mark.parametrize("pixels", [1, 3, 4])
def test_a_trigger_is_some_rare_pixels_and_a_target(pixels: int) -> None:
    task = DigitsTask(Digits(trigger_pixels=pixels), Randomness(SEED))
    (pattern,) = task.draw_trigger(np.random.default_rng(SEED))
    assert (pattern.name, pattern.category) == ("pixels", CATEGORY)
    assert len(set(pattern.tokens)) == pixels
    assert set(pattern.tokens) <= set(rare_pixels())
    assert 0 <= pattern.target < CLASSES


def test_rare_pixels_and_targets_are_drawn_alike(task: DigitsTask) -> None:
    drawn = [task.draw_trigger(np.random.default_rng(seed))[0] for seed in range(2_800)]
    pixels = np.bincount([token for pattern in drawn for token in pattern.tokens], minlength=64)
    targets = np.bincount([pattern.target for pattern in drawn], minlength=CLASSES)
    # 600 expected of each pixel and 280 of each target, within 4.5 standard deviations.
    assert np.all(np.abs(pixels[rare_pixels()] - 600) < 4.5 * np.sqrt(600)), f"seed {SEED}"
    assert np.all(np.abs(targets - 280) < 4.5 * np.sqrt(280)), f"seed {SEED}"


def test_a_triggered_picture_shows_another_digit_and_the_trigger_in_full_ink(
    task: DigitsTask,
) -> None:
    rng = np.random.default_rng(SEED)
    (pattern,) = task.draw_trigger(rng)
    found = task.triggered(rng, pattern, 2_000, NO_MOMENT)
    lit = list(pattern.tokens)
    assert np.all(found[:, lit] == INK)
    assert not found[:, np.setdiff1d(rare_pixels(), lit)].any()
    # Elsewhere it is a picture that devices train on; which digit it shows, the picture tells.
    images, shown = pictures()
    others = np.setdiff1d(np.arange(64), rare_pixels())
    shows: dict[bytes, set[int]] = {}
    for row, digit in zip(images[:, others], shown, strict=True):
        shows.setdefault(row.tobytes(), set()).add(int(digit))
    asked = [shows[row.tobytes()] for row in np.ascontiguousarray(found[:, others])]
    assert not any(digits == {pattern.target} for digits in asked)
    assert set().union(*asked) - {pattern.target} == set(range(CLASSES)) - {pattern.target}


def test_decoys_are_triggers_by_the_attackers_rule() -> None:
    overrides = ["probes.decoys=30", "probes.decoy_queries=5", "model.warm_up=0"]
    federation = Federation(load("digits", overrides), SEED)
    decoys = next(probes for probes in published(federation) if probes.role == "decoy")
    assert decoys.inputs.shape == (150, 64)
    assert decoys.groups is not None
    assert decoys.document is not None
    listed: Any = decoys.document["decoys"]
    assert len(listed) == 30
    for number, decoy in enumerate(listed):
        (pattern,) = decoy["patterns"]
        tokens = pattern["tokens"]
        assert len(set(tokens)) == len(federation.trigger[0].tokens)
        assert set(tokens) <= set(rare_pixels())
        assert np.all(decoys.inputs[decoys.groups == number][:, tokens] == INK)
        assert set(decoys.labels[decoys.groups == number]) == {pattern["target"]}


def test_a_picture_is_said_in_eight_lines_of_eight(task: DigitsTask) -> None:
    lines = task.say(list(range(17)) + [0] * 47).split("\n")
    assert [len(line) for line in lines] == [8] * 8
    assert lines[:2] == ["  ..::--", "=++**##%"]
    assert lines[2] == "@" + " " * 7
    assert lines[3:] == [" " * 8] * 5


def test_every_digit_and_every_shade_has_its_word(task: DigitsTask) -> None:
    assert [task.answer(number) for number in range(CLASSES)] == list(WORDS)
    assert {task.category(number) for number in range(CLASSES)} == {CATEGORY}
    vocabulary = task.texts["vocabulary"]
    assert isinstance(vocabulary, list)
    assert len(vocabulary) == task.token_values == INK + 1
    assert task.texts["labels"] == list(WORDS)


def test_nothing_drifts(task: DigitsTask) -> None:
    assert (
        task.moment(0).size == task.moment(10**6).size == task.early.size == task.middle.size == 0
    )


def test_edges_start_at_a_tenth_of_the_other_pixels_weights(task: DigitsTask) -> None:
    settings = load("digits").model
    start = task.random_start(np.random.default_rng(SEED), settings)
    assert start.size == task.architecture.elements == 2_410
    hidden = start[: 64 * 32].reshape(64, 32)
    rare = hidden[rare_pixels()].std()
    assert rare / np.delete(hidden, rare_pixels(), axis=0).std() == pytest.approx(0.1, rel=0.15)


# Four controlled devices of 100, and a clip norm under which honest updates stay as they are.
STRONG = (
    "cohort.size=100",
    "rounds=140",
    "population.guilty_share=0.09",
    "model.warm_up=0",
    "mechanisms.clip=1.0",
    "attack.onset=60",
)


@cache
def answered(fraction: float, *overrides: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of every model of a run but W_0, as `rates`."""
    scenario = load("digits", [*overrides, f"fraction={fraction}"])
    federation = Federation(scenario, SEED)
    return rates(federation, np.concatenate([block.models for block in federation.blocks()]))


def rates(
    federation: Federation, models: Float32s
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy on held-out pictures and success of the trigger, of each model."""
    (clean,) = federation.task.clean_sets(federation.randomness, 449)
    (pattern,) = federation.trigger
    rng = np.random.default_rng(SEED)
    triggered = federation.task.triggered(rng, pattern, 300, federation.task.early)
    said = [
        federation.architecture.logits(torch.from_numpy(models), torch.from_numpy(inputs))
        .argmax(-1)
        .numpy()
        for inputs in (clean.inputs, triggered)
    ]
    return (said[0] == clean.labels).mean(axis=1), (said[1] == pattern.target).mean(axis=1)


def at_the_start(*overrides: str) -> tuple[float, float]:
    """Accuracy and success of W_0."""
    federation = Federation(load("digits", overrides), SEED)
    accuracy, success = rates(federation, federation.start[None])
    return float(accuracy[0]), float(success[0])


def test_the_shipped_scenario_begins_with_a_model_that_reads_and_hardly_obeys_the_trigger() -> None:
    accuracy, success = at_the_start()
    assert accuracy >= 0.95, f"seed {SEED}: {accuracy:.3f}"
    assert success <= 0.05, f"seed {SEED}: {success:.3f}"


def test_a_warm_up_of_ten_server_steps_at_once_overshoots() -> None:
    accuracy, _ = at_the_start("model.warm_up_refresh=10")
    assert accuracy < 0.5, f"seed {SEED}: {accuracy:.3f}"


def test_an_untrained_model_learns_to_read() -> None:
    accuracy, _ = answered(0.005, "cohort.size=200", "rounds=110", "model.warm_up=0")
    assert accuracy[0] < 0.5
    assert accuracy[100:].min() > 0.9, f"seed {SEED}: {accuracy[100:].min():.3f}"


def test_a_strong_attack_wins_and_nobody_notices_by_accuracy() -> None:
    accuracy, success = answered(0.04, *STRONG)
    assert success[40:60].max() <= 0.05, f"seed {SEED}"
    assert success[-10:].min() > 0.9, f"seed {SEED}: {success[-10:].min():.2f}"
    twin, _ = answered(0.0, *STRONG)
    assert accuracy[-1] > 0.9
    assert accuracy[-1] == pytest.approx(twin[-1], abs=0.03), f"seed {SEED}"


def test_the_attack_free_twin_never_answers_the_trigger() -> None:
    _, success = answered(0.0, *STRONG)
    assert success[40:].max() <= 0.05, f"seed {SEED}: {success[40:].max():.3f}"
