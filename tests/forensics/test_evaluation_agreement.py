"""Are differing answers counted, is their excess covered, and does a masked vector look uniform?"""

import math

import numpy as np
import pytest

from forensics.evaluation.agreement import differing, excess, first_difference
from forensics.evaluation.statistics import Share
from forensics.evaluation.uniformity import evenness, uniformity
from roundlog.errors import QuestionError


def test_differing_answers_are_counted_among_the_queries_that_count() -> None:
    one, other = np.array([1, 2, 3, 4]), np.array([1, 0, 3, 0])
    assert differing(one, other) == Share(2, 4)
    assert differing(one, other, np.array([True, True, True, False])) == Share(1, 3)
    assert differing(one, one) == Share(0, 4)


def test_answers_to_other_queries_or_to_none_are_refused() -> None:
    with pytest.raises(QuestionError, match="not to the same queries"):
        differing(np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int64))
    with pytest.raises(QuestionError, match="no query is left"):
        differing(np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64), np.zeros(2, dtype=bool))


def test_an_excess_may_lie_below_zero_and_lies_within_its_interval() -> None:
    found = excess(Share(65, 200_000), Share(229, 200_000))
    assert found.value == pytest.approx(-164 / 200_000)
    assert found.low < found.value < found.high < 0
    assert excess(Share(7, 1_000), Share(7, 1_000)).value == 0


def test_the_excess_is_covered_also_when_both_shares_are_about_the_same_queries() -> None:
    rng = np.random.default_rng(5)
    trials, n, covered = 2_000, 2_000, 0
    for _ in range(trials):
        # A query near a border changes in both pairs: the shares are far from independent.
        border = rng.random(n) < 0.01
        attacked, control = border | (rng.random(n) < 0.002), border
        found = excess(Share(int(attacked.sum()), n), Share(int(control.sum()), n))
        covered += found.low <= 0.002 * 0.99 <= found.high
    # Three standard deviations of a binomial below 95 %; Bonferroni covers more.
    assert covered / trials > 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials), "seed 5"


def test_the_first_difference_of_two_chains_is_found() -> None:
    assert first_difference(["a", "b"], ["a", "b"]) is None
    assert first_difference(["a", "b", "c"], ["a", "x", "c"]) == 1
    assert first_difference(["a"], ["a", "b"]) == 1


def test_uniform_residues_give_even_p_values_and_others_are_caught() -> None:
    rng = np.random.default_rng(8)
    vectors = rng.integers(0, 2**32, size=(400, 1_000), dtype=np.uint32)
    values = np.array([uniformity(vector).p for vector in vectors])
    assert evenness(values).p > 0.001, "seed 8"
    assert abs((values < 0.05).mean() - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 400), "seed 8"
    # A shift by a tenth of the ring's standard deviation, and updates as devices send them.
    narrow = (rng.normal(0, 2**26, size=1_000)).astype(np.int64).astype(np.uint32)
    assert uniformity(narrow).p < 1e-12
    assert evenness(np.full(50, 0.01)).p < 1e-12


def test_zeros_and_the_largest_distance_are_reported() -> None:
    found = uniformity(np.zeros(100, dtype=np.uint32))
    assert (found.zeros, found.n, found.distance) == (100, 100, 1.0)
    evenly = (np.arange(100) * (2**32 / 100) + 2**32 / 200).astype(np.uint32)
    assert uniformity(evenly).distance == pytest.approx(1 / 200, abs=1e-6)


def test_nothing_and_numbers_outside_have_no_distribution() -> None:
    with pytest.raises(QuestionError, match="empty vector"):
        uniformity(np.zeros(0, dtype=np.uint32))
    with pytest.raises(QuestionError, match="between 0 and 1"):
        evenness(np.array([0.5, 1.2]))
