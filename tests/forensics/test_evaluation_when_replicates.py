"""Are made onsets what they are said to be, and is what they show the law of dating?"""

import math

import numpy as np
import pytest

from forensics.dating import FEWEST, Floats
from forensics.evaluation.statistics import Share
from forensics.evaluation.when_bars import least_successes
from forensics.evaluation.when_replicates import (
    EDGE,
    SETTLED,
    Shift,
    _edge,
    _made,
    replicate,
)
from roundlog.errors import QuestionError

SEED = 7
REFERENCE = Shift(signal=0.3, rounds=2_000)


def _noise(rounds: int, number: int = 3) -> list[Floats]:
    rng = np.random.default_rng(SEED)
    return [rng.standard_normal(rounds) for _ in range(number)]


def test_independent_noise_is_dated_with_the_coverage_and_the_error_of_the_law() -> None:
    found = replicate(_noise(6_000, 20), [REFERENCE, Shift(0.35, 1_800)], 800, SEED)
    assert found.n == found.independent == 800
    assert found.covered >= least_successes(found.n), f"seed {SEED}: {found}"
    assert found.median_error <= 1.0
    assert found.median_error < found.p90_error < 12
    assert found.left_out == 0


def test_many_replicates_of_few_rounds_are_not_taken_for_independent() -> None:
    found = replicate(_noise(3_000, 2), [REFERENCE], 500, SEED)
    assert (found.n, found.independent) == (500, int(6_000 * 0.3**2 / 12))
    assert replicate(_noise(3_000, 2), [Shift(4.0, 1_500)], 500, SEED).independent == 500


def test_noise_that_is_not_independent_is_not_covered() -> None:
    rng = np.random.default_rng(SEED)
    # A slow wander beside the noise: what an honest drift left in a series would do.
    wander = np.cumsum(rng.standard_normal(6_000)) / 25
    found = replicate([rng.standard_normal(6_000) + wander], [REFERENCE], 400, SEED)
    assert found.covered < least_successes(found.n), "the check can fail"


def test_the_same_seed_makes_the_same_replicates_and_another_seed_others() -> None:
    noise = _noise(3_000)
    once = replicate(noise, [REFERENCE], 60, SEED)
    assert replicate(noise, [REFERENCE], 60, SEED) == once
    assert replicate(noise, [REFERENCE], 60, SEED + 1) != once
    assert once.document()["n"] == 60


def test_a_window_holds_the_recorded_values_and_the_shift_from_the_true_place_on() -> None:
    recorded = np.arange(4_000, dtype=np.float64)
    before = recorded.copy()
    rng = np.random.default_rng(SEED)
    places = set()
    for _ in range(200):
        values, true = _made(recorded, REFERENCE, rng)
        assert len(values) == REFERENCE.rounds
        # Recorded values ascend one by one; only the step is larger.
        steps = np.diff(values)
        assert steps[true - 1] == pytest.approx(1 + REFERENCE.signal)
        assert np.delete(steps, true - 1) == pytest.approx(1.0)
        assert values[0] == int(values[0]), "nothing is added before the shift"
        places.add((int(values[0]), true))
    assert len(places) > 190
    assert (recorded == before).all(), "the twin's series is as it was"


def test_a_shift_begins_in_the_inner_part_of_its_window_only() -> None:
    rng = np.random.default_rng(SEED)
    recorded = np.zeros(5_000)
    trues = [_made(recorded, REFERENCE, rng)[1] for _ in range(500)]
    edge = _edge(REFERENCE, REFERENCE.rounds)
    assert edge == max(FEWEST, math.ceil(EDGE * 2_000), math.ceil(SETTLED / 0.3**2)) == 556
    assert edge <= min(trues) < edge + 30
    assert 2_000 - edge - 30 <= max(trues) < 2_000 - edge


def test_a_window_is_no_longer_than_what_was_recorded() -> None:
    values, true = _made(np.zeros(900), Shift(1.0, 50_000), np.random.default_rng(SEED))
    assert len(values) == 900
    assert values[true - 1 : true + 1].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("shift", [Shift(0.05, 1_500), Shift(-1.0, 1_500), Shift(3.0, 2 * FEWEST)])
def test_a_shift_that_cannot_be_placed_is_left_out_and_told(shift: Shift) -> None:
    found = replicate(_noise(3_000), [REFERENCE, shift], 50, SEED)
    assert found.left_out == 1
    with pytest.raises(QuestionError, match="no replicate can be made of 3 series of at least"):
        replicate(_noise(3_000), [shift], 50, SEED)


def test_without_series_or_shifts_there_is_nothing_to_make() -> None:
    with pytest.raises(QuestionError, match="0 series of at least 0 rounds and 1 shifts"):
        replicate([], [REFERENCE], 50, SEED)
    with pytest.raises(QuestionError, match="and 0 shifts"):
        replicate(_noise(3_000), [], 50, SEED)


def test_an_onset_that_dating_does_not_see_counts_as_infinitely_wrong() -> None:
    wild = np.random.default_rng(SEED).standard_normal(3_000) * 40
    found = replicate([wild], [Shift(0.5, 1_500)], 40, SEED)
    assert found.covered < 20, "a shift is told in units of a spread that the series does not have"
    assert math.isinf(found.median_error)
    assert math.isinf(found.median_width)
    assert Share(found.covered, found.n).document()["low"] == pytest.approx(0, abs=0.2)
