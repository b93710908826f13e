"""Does a CUSUM alarm when it should, as seldom as it should, and once?"""

from typing import Any

import numpy as np
import pytest

from forensics.detectors import Block, Budget, Cusum, Floats
from forensics.detectors.baseline import Baseline, Moments
from forensics.detectors.cusum import CEILING, CusumState
from forensics.detectors.run_length import cusum_threshold
from roundlog.errors import QuestionError

EMPTY = np.zeros(0)
TEN_THOUSAND = Budget(alarms=1, rounds=10_000)


def block(values: Floats, begin: int = 0) -> Block:
    return Block(np.arange(begin, begin + values.size), values)


def raised_by_a_step(standard: Floats, rounds: int = 400) -> tuple[Cusum, CusumState, int]:
    """One chart, a step of two deviations, and the round of its vote."""
    detector = Cusum(slacks=(0.5,))
    state = detector.calibrate(standard, TEN_THOUSAND)
    state, votes = detector.update(state, block(np.full(rounds, 2.0)))
    assert [vote.chart for vote in votes] == ["cusum k=0.5"]
    return detector, state, votes[0].round


def test_charts_are_named_by_slack_and_side() -> None:
    assert Cusum().charts == ("cusum k=0.05", "cusum k=0.1", "cusum k=0.25", "cusum k=0.5")
    assert Cusum(slacks=(0.1,), two_sided=True).charts == ("cusum k=0.1", "cusum k=0.1 down")


def test_sums_are_page_s() -> None:
    values = np.random.default_rng(1).normal(size=2_000)
    detector = Cusum(slacks=(0.1, 0.5))
    state, votes = detector.update(detector.calibrate(EMPTY, Budget()), block(values))
    assert votes == []
    baseline = Baseline(Moments(), 100, 20_000)
    scores = []
    for value in values.tolist():
        scores.append(baseline.score(value) or 0.0)
        baseline.learn(value)
    for slack, found in zip((0.1, 0.5), state.sums, strict=True):
        walk = np.concatenate([[0.0], np.cumsum(np.array(scores[100:]) - slack)])
        assert found == pytest.approx(walk[-1] - walk.min(), abs=1e-9)


@pytest.mark.parametrize(
    ("shift", "theory", "series"),
    [(1.0, 15, 150), (0.7, 27, 150), (0.25, 144, 100), (0.1, 608, 80)],
)
def test_a_shift_is_found_about_as_soon_as_theory_allows(
    shift: float, theory: float, series: int, standard: Floats, runs: Any
) -> None:
    seed = 21
    rng = np.random.default_rng(seed)
    detector = Cusum(slacks=(shift / 2,))
    state = detector.calibrate(standard, TEN_THOUSAND)
    found = runs.lengths(
        detector, state, lambda n: rng.normal(shift, 1, size=n), series=series, limit=20_000
    )
    assert all(voted for _, voted in found)
    delay = np.mean([rounds for rounds, _ in found])
    assert delay <= 1.2 * theory, f"seed {seed}: {delay:.1f} rounds"
    assert delay >= 0.8 * theory, f"seed {seed}: {delay:.1f} rounds, sooner than is possible"


@pytest.mark.parametrize(
    ("calibrated", "slack", "run_length", "series"),
    [
        (True, 0.05, 500, 120),
        # An empty null is the hard case: mean and deviation come from 100 rounds and up.
        (False, 0.05, 500, 120),
        (False, 0.5, 500, 120),
        (False, 0.25, 5_000, 20),
    ],
)
def test_without_a_shift_it_runs_as_long_as_its_budget_says(
    calibrated: bool, slack: float, run_length: int, series: int, standard: Floats, runs: Any
) -> None:
    seed = 22
    rng = np.random.default_rng(seed)
    low, average, high = runs.average(
        Cusum(slacks=(slack,)),
        standard if calibrated else EMPTY,
        run_length,
        lambda n: rng.normal(0, 1, size=n),
        series=series,
        limit=20 * run_length,
    )
    assert low <= run_length <= high, f"seed {seed}: {average:.0f} rounds"


def test_excursions_are_no_more_frequent_than_the_budget() -> None:
    seed, rounds, run_length = 23, 40_000, 500
    detector = Cusum(slacks=(0.25,))
    state = detector.calibrate(EMPTY, Budget(alarms=1, rounds=run_length))
    _, votes = detector.update(state, block(np.random.default_rng(seed).normal(size=rounds)))
    # 80 expected at the most; an excursion's own rounds take their part.
    assert 40 < len(votes) < 80 + 3 * 80**0.5, f"seed {seed}: {len(votes)} votes"
    assert {vote.p for vote in votes} == {1 / run_length}
    assert all(vote.score > vote.threshold for vote in votes)


def test_a_persistent_attack_alarms_once_a_chart(standard: Floats) -> None:
    rng = np.random.default_rng(24)
    detector = Cusum()
    state = detector.calibrate(standard, Budget(charts=4))
    state, votes = detector.update(state, block(rng.normal(1.5, 1, size=30_000)))
    assert sorted(vote.chart for vote in votes) == sorted(detector.charts)
    assert state.raised == (True,) * 4


def test_a_chart_votes_again_only_after_its_sum_was_back_at_zero(standard: Floats) -> None:
    detector, state, first = raised_by_a_step(standard, rounds=30)
    threshold = state.thresholds[0]
    # Down, but not to 0, and up again: the same excursion.
    down = int(state.sums[0] / 1.0) - 1
    state, votes = detector.update(state, block(np.full(down, -0.5), 100))
    assert 0 < state.sums[0] < threshold
    state, votes = detector.update(state, block(np.full(30, 2.0), 200))
    assert votes == []
    # To 0, and up again: another one.
    state, votes = detector.update(state, block(np.full(60, -0.5), 300))
    assert (state.sums, state.raised, votes) == ((0.0,), (False,), [])
    state, votes = detector.update(state, block(np.full(30, 2.0), 400))
    assert [vote.round for vote in votes] == [400 + first]


def test_a_sum_stops_at_twice_the_threshold_so_that_it_can_come_back(standard: Floats) -> None:
    detector, state, _ = raised_by_a_step(standard, rounds=20_000)
    assert state.sums[0] == CEILING * state.thresholds[0]
    rounds_back = int(state.sums[0] / 0.5) + 2
    state, _ = detector.update(state, block(np.zeros(rounds_back), 20_000))
    assert state.raised == (False,)


def test_while_a_chart_is_raised_nothing_is_learnt(standard: Floats) -> None:
    detector, before, first = raised_by_a_step(standard, rounds=20)
    after, _ = detector.update(before, block(np.full(5_000, 2.0), 20))
    assert after.moments == before.moments
    # The vote's own round is not learnt either.
    assert before.moments.count == standard.size + first


def test_once_all_charts_have_calmed_down_it_learns_again(standard: Floats) -> None:
    detector, state, _ = raised_by_a_step(standard, rounds=20)
    state, _ = detector.update(state, block(np.zeros(100), 20))
    later, _ = detector.update(state, block(np.zeros(50), 120))
    assert later.moments.count == state.moments.count + 50


def test_a_fall_is_seen_by_the_downward_charts_alone(standard: Floats) -> None:
    rng = np.random.default_rng(25)
    detector = Cusum(two_sided=True)
    state = detector.calibrate(standard, Budget(charts=8))
    _, votes = detector.update(state, block(rng.normal(-1.5, 1, size=2_000)))
    assert {vote.chart for vote in votes} == {name for name in detector.charts if "down" in name}


def test_thresholds_are_those_of_the_budget() -> None:
    state = Cusum().calibrate(EMPTY, Budget(charts=8))
    assert state.run_length == pytest.approx(8e7)
    assert state.thresholds == tuple(
        cusum_threshold(slack, state.run_length) for slack in (0.05, 0.1, 0.25, 0.5)
    )


@pytest.mark.parametrize("slacks", [(), (0.1, 0.1)])
def test_slacks_that_do_not_name_charts_are_refused(slacks: tuple[float, ...]) -> None:
    with pytest.raises(QuestionError, match="do not name charts"):
        Cusum(slacks=slacks)


def test_a_slack_without_a_threshold_is_refused_at_calibration() -> None:
    with pytest.raises(QuestionError, match=r"a slack of 3.0 has no threshold"):
        Cusum(slacks=(3.0,)).calibrate(EMPTY, Budget())
