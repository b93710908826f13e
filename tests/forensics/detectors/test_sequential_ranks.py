"""Does a bet on ranks keep its budget whatever the distribution, and still see a shift?"""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

import forensics.detectors.sequential_ranks as module
from forensics.detectors import Block, Budget, Cusum, Floats, SequentialRanks
from forensics.detectors.sequential_ranks import THETAS, RanksState, _Past, _payments
from roundlog.errors import QuestionError

EMPTY = np.zeros(0)


def block(values: Floats, begin: int = 0) -> Block:
    return Block(np.arange(begin, begin + values.size), values)


@pytest.mark.parametrize("among", [1, 2, 3, 17, 1_000])
def test_the_payments_over_all_ranks_have_mean_one(among: int) -> None:
    totals = [
        math.fsum(column)
        for column in zip(*(_payments(r, among) for r in range(1, among + 1)), strict=True)
    ]
    assert totals == pytest.approx([among] * len(THETAS), rel=1e-11)


def test_a_higher_rank_is_paid_more_for_every_bet() -> None:
    table = np.array([_payments(rank, 500) for rank in range(1, 501)])
    assert (table > 0).all()
    assert (np.diff(table, axis=0) > 0).all()


def test_payments_are_precise_after_a_million_rounds() -> None:
    n = 1_000_000
    for rank in (1, n // 2, n - 1, n):
        u = (rank - 0.5) / n
        q = float(ndtri(u))
        for theta, payment in zip(THETAS, _payments(rank, n), strict=True):
            if 1 < rank < n - 1:
                assert payment == pytest.approx(math.exp(theta * q - theta**2 / 2), rel=1e-6)
            assert 0 < payment < math.inf


def test_ranks_are_exact_while_all_values_are_kept() -> None:
    values = np.random.default_rng(1).normal(size=300)
    past = _Past((), module.NO_GAPS, 0)
    for n, value in enumerate(values.tolist()):
        place = past.place(value)
        assert past.below(place) == int((values[:n] < value).sum())
        past.learn(place, value)


def test_ranks_are_never_overstated_once_later_values_are_only_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = 63
    monkeypatch.setattr(module, "RESOLUTION", kept)
    values = np.random.default_rng(2).normal(size=3_000)
    past, off = _Past((), (0,) * (kept + 1), 0), []
    for n, value in enumerate(values.tolist()):
        place = past.place(value)
        exact = int((values[:n] < value).sum())
        assert past.below(place) <= exact
        off.append((exact - past.below(place)) / (n + 1))
        past.learn(place, value)
    assert len(past.kept) == kept
    assert past.count == values.size
    # Half a gap on average, though gaps differ: a gap that is wide is also hit more often.
    assert 0.25 / kept < np.mean(off[1_000:]) < 2 / kept


def test_ties_count_as_if_the_new_value_were_the_smallest_of_them() -> None:
    past = _Past((), module.NO_GAPS, 0)
    for value in (1.0, 2.0, 2.0, 2.0, 3.0):
        past.learn(past.place(value), value)
    assert past.below(past.place(2.0)) == 1


def test_a_series_that_never_changes_never_alarms() -> None:
    detector = SequentialRanks()
    state = detector.calibrate(EMPTY, Budget(alarms=1, rounds=100))
    _, votes = detector.update(state, block(np.full(3_000, 0.25)))
    assert votes == []


def test_votes_depend_on_the_order_of_values_alone() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(size=400), rng.normal(1, 1, size=200)])
    found = []
    for transformed in (values, np.exp(3 * values), np.arctan(values) - 1e3):
        detector = SequentialRanks()
        state = detector.calibrate(EMPTY, Budget(alarms=1, rounds=1_000))
        found.append(detector.update(state, block(transformed))[1])
    assert found[0]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["normal", "standard_cauchy", "lognormal"])
def test_its_budget_holds_whatever_the_distribution(name: str, runs: Any) -> None:
    seed = 4
    rng = np.random.default_rng(seed)
    draw = getattr(rng, name)
    _, average, high = runs.average(
        SequentialRanks(), EMPTY, 300, lambda n: draw(size=n), series=40, limit=1_500
    )
    assert high > 300, f"seed {seed}: {average:.0f} rounds"


def test_heavy_tails_break_the_budget_of_a_cusum_and_not_this_one(runs: Any) -> None:
    seed, run_length = 5, 1_000
    rng = np.random.default_rng(seed)
    found = {
        detector.name: runs.average(
            detector,
            EMPTY,
            run_length,
            lambda n: rng.standard_t(3, size=n),
            series=45,
            limit=2_000,
        )
        for detector in (SequentialRanks(), Cusum(slacks=(0.5,)))
    }
    assert found["sequential-ranks"][2] > run_length, f"seed {seed}: {found}"
    assert found["cusum"][2] < run_length, f"seed {seed}: {found}"


def test_a_shift_of_half_a_deviation_is_found(standard: Floats, runs: Any) -> None:
    seed = 6
    rng = np.random.default_rng(seed)
    detector = SequentialRanks()
    state = detector.calibrate(standard, Budget(alarms=1, rounds=10_000))
    found = runs.lengths(
        detector, state, lambda n: rng.normal(0.5, 1, size=n), series=40, limit=5_000
    )
    delay = np.mean([rounds for rounds, _ in found])
    # log(4 * 10^4) / (0.5^2 / 2) = 85 for the bet on it, whose stake is a quarter.
    assert 40 < delay < 110, f"seed {seed}: {delay:.1f} rounds"


def test_a_persistent_attack_alarms_once_and_overflows_nothing(standard: Floats) -> None:
    rng = np.random.default_rng(7)
    detector = SequentialRanks()
    state = detector.calibrate(standard[:2_000], Budget())
    state, votes = detector.update(state, block(rng.normal(2, 1, size=8_000)))
    assert len(votes) == 1
    assert votes[0].score >= votes[0].threshold == state.run_length
    assert state.raised
    assert state.count == 2_000 + votes[0].round
    assert max(state.sums) <= state.run_length**2


def test_after_an_excursion_it_begins_at_zero(standard: Floats) -> None:
    detector = SequentialRanks()
    state = detector.calibrate(standard[:2_000], Budget(alarms=1, rounds=1_000))
    state, votes = detector.update(state, block(np.full(30, 2.0)))
    assert len(votes) == 1
    round_, seen = 30, [state]
    while seen[-1].raised:
        state, votes = detector.update(seen[-1], block(np.full(1, -1.0), round_))
        assert votes == []
        seen.append(state)
        round_ += 1
    assert state.sums == (0.0,) * len(THETAS)
    assert state.count == seen[-2].count + 1


def test_an_infinity_is_the_highest_rank_and_is_not_kept() -> None:
    detector = SequentialRanks(minimum=10)
    state = detector.calibrate(np.arange(50.0), Budget())
    high, _ = detector.update(state, block(np.array([math.inf])))
    assert high.sums == pytest.approx(_payments(51, 51))
    assert high.count == state.count
    assert RanksState.model_validate_json(high.model_dump_json()) == high


def test_before_the_minimum_there_is_no_bet() -> None:
    detector = SequentialRanks(minimum=10)
    state = detector.calibrate(EMPTY, Budget())
    state, _ = detector.update(state, block(np.arange(10.0)))
    assert state.sums == (0.0,) * len(THETAS)
    state, _ = detector.update(state, block(np.array([10.0]), 10))
    assert min(state.sums) > 0


def test_a_bet_on_nothing_is_refused() -> None:
    with pytest.raises(QuestionError, match="a rank needs one value before"):
        SequentialRanks(minimum=0)
