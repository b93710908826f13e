"""Are statistics over seeds the textbook's, and do they keep what is missing apart?"""

import math

import numpy as np
import polars as pl
import pytest

from forensics.evaluation.statistics import Share, spread, summarise
from roundlog.errors import QuestionError

# Student's own data: additional hours of sleep, Biometrika 6(1), 1908, table of section IX.
SLEEP = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def test_the_mean_s_interval_is_student_s() -> None:
    found = spread(SLEEP)
    # t = 2.262157 for nine degrees of freedom, from his table's successors.
    error = 2.262157 * math.sqrt(sum((x - 2.33) ** 2 for x in SLEEP) / 9 / 10)
    assert found.mean == pytest.approx(2.33)
    assert found.mean_low == pytest.approx(2.33 - error, abs=1e-5)
    assert found.mean_high == pytest.approx(2.33 + error, abs=1e-5)
    assert (found.n, found.median, found.min, found.max) == (10, 1.75, -0.1, 5.5)


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    trials = 2_000
    covered = 0
    for _ in range(trials):
        found = spread(rng.normal(3.0, 2.0, size=5).tolist())
        assert found.mean_low is not None
        assert found.mean_high is not None
        covered += found.mean_low <= 3.0 <= found.mean_high
    # Three standard deviations of a binomial around 95 %.
    assert abs(covered / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize("values", [(0.5,), (0.5, 0.7)])
def test_below_three_seeds_a_mean_has_no_interval(values: tuple[float, ...]) -> None:
    found = spread(values)
    assert found.mean_low is found.mean_high is None
    assert found.mean == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("values", [(), (0.1, math.nan)])
def test_nothing_and_nan_have_no_spread(values: tuple[float, ...]) -> None:
    with pytest.raises(QuestionError, match="at least one value, and finite"):
        spread(values)


def test_k_of_n_has_clopper_and_pearson_s_interval() -> None:
    # Known by hand where nothing or all were hit: (alpha/2)^(1/n).
    none, all_ = Share(0, 10).document(), Share(10, 10).document()
    assert none["high"] == pytest.approx(1 - 0.025**0.1)
    assert all_["low"] == pytest.approx(0.025**0.1)
    assert (none["low"], all_["high"]) == (0.0, 1.0)


TABLE = pl.DataFrame(
    {
        "clip": [1.0, 1.0, 1.0, 0.5, 0.5],
        "asr": [0.2, 0.4, 0.9, 0.1, 0.1],
        "accuracy": [0.8, None, 0.9, None, None],
        "crossing_50": [120, None, 80, None, None],
    },
    schema={"clip": pl.Float64, "asr": pl.Float64, "accuracy": pl.Float64, "crossing_50": pl.Int64},
)


def test_groups_come_in_the_order_in_which_they_first_occur() -> None:
    rows = summarise(TABLE, ["clip"], ["asr"], ["crossing_50"])
    assert [row["clip"] for row in rows] == [1.0, 0.5]
    assert [row["seeds"] for row in rows] == [3, 2]
    assert rows[0]["asr"] == spread([0.2, 0.4, 0.9]).document()


def test_a_seed_without_a_value_is_left_out_and_a_group_without_any_says_so() -> None:
    first, second = summarise(TABLE, ["clip"], ["accuracy"], ["crossing_50"])
    assert first["accuracy"] == spread([0.8, 0.9]).document()
    assert second["accuracy"] is None


def test_a_crossing_is_counted_as_k_of_n_and_its_models_are_those_that_crossed() -> None:
    first, second = summarise(TABLE, ["clip"], [], ["crossing_50"])
    assert first["crossing_50_share"] == Share(2, 3).document()
    assert first["crossing_50"] == spread([120, 80]).document()
    assert second["crossing_50_share"] == Share(0, 2).document()
    assert second["crossing_50"] is None


def test_without_keys_everything_is_one_group_and_an_empty_table_has_none() -> None:
    assert [row["seeds"] for row in summarise(TABLE, [], ["asr"], [])] == [5]
    assert summarise(TABLE.clear(), [], ["asr"], []) == []
