"""Do blocks, budgets and states refuse what would make a vote wrong?"""

import json
from typing import Any

import numpy as np
import pytest

from forensics.detectors import Block, Budget, Cusum, Detector, Glr, SequentialRanks
from roundlog.errors import QuestionError

EMPTY = np.zeros(0)


def test_a_block_gives_its_rounds_in_order_without_those_that_have_no_number() -> None:
    block = Block(np.array([3, 5, 6]), np.array([0.5, np.nan, -1.0]))
    assert list(block.after(None)) == [(3, 0.5), (6, -1.0)]
    assert block.newest(None) == 6


def test_an_empty_block_is_no_news() -> None:
    block = Block(np.zeros(0, dtype=np.int64), EMPTY)
    assert list(block.after(7)) == []
    assert block.newest(7) == 7


@pytest.mark.parametrize(
    ("rounds", "values", "message"),
    [
        ([1, 2], [0.0], "one value a round"),
        ([[1, 2]], [[0.0, 0.0]], "one value a round"),
        ([2, 1], [0.0, 0.0], "do not ascend"),
        ([1, 1], [0.0, 0.0], "do not ascend"),
    ],
)
def test_what_is_not_one_series_is_refused(rounds: Any, values: Any, message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        Block(np.array(rounds), np.array(values))


def test_a_round_that_was_read_before_is_refused() -> None:
    block = Block(np.array([4, 5]), np.zeros(2))
    with pytest.raises(QuestionError, match="begins with round 4, but round 4 was read before"):
        list(block.after(4))


def test_the_default_budget_is_a_tenth_of_an_alarm_in_a_million_rounds() -> None:
    assert Budget().run_length() == pytest.approx(1e7)


def test_charts_share_a_budget() -> None:
    alone, together = Budget(), Budget(charts=8)
    assert together.run_length() == pytest.approx(8 * alone.run_length())
    # Eight charts at an eighth of the rate each.
    assert together.charts * together.rounds / together.run_length() == pytest.approx(0.1)


def test_more_charts_raise_every_threshold() -> None:
    for detector in (Cusum(slacks=(0.25, 0.5)), Glr(), SequentialRanks()):
        alone = _thresholds(detector, Budget(rounds=1_000))
        together = _thresholds(detector, Budget(rounds=1_000, charts=200))
        assert (together > alone).all()


def _thresholds(detector: Detector, budget: Budget) -> np.ndarray:
    document = detector.calibrate(EMPTY, budget).document()
    keys = ("thresholds", "threshold", "run_length")
    return np.atleast_1d(next(document[key] for key in keys if key in document))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"alarms": 0.0}, {"alarms": float("inf")}, {"rounds": 0}, {"charts": -1}],
)
def test_a_budget_that_allows_no_threshold_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(QuestionError, match="all three must be positive"):
        Budget(**wrong)


def test_a_state_of_other_charts_is_refused() -> None:
    theirs = Cusum(slacks=(0.5,)).calibrate(EMPTY, Budget())
    with pytest.raises(QuestionError, match=r"written by cusum/1 with the charts cusum k=0.5, and"):
        Cusum().update(theirs, Block(np.array([0]), np.zeros(1)))
    with pytest.raises(QuestionError, match="their numbers mean different things"):
        Cusum().load(theirs.document())


def test_a_state_of_another_detector_is_refused() -> None:
    theirs = Glr().calibrate(EMPTY, Budget())
    with pytest.raises(QuestionError, match=r"written by glr/1 .* and this is cusum/1"):
        Cusum().update(theirs, Block(np.array([0]), np.zeros(1)))
    with pytest.raises(QuestionError, match=r"not a stored state of cusum/1: sums: Field required"):
        Cusum().load(theirs.document())


@pytest.mark.parametrize(
    ("key", "value"), [("sums", [float("nan")] * 4), ("moments", None), ("surplus", 1)]
)
def test_a_damaged_state_is_refused(key: str, value: Any) -> None:
    document = Cusum().calibrate(EMPTY, Budget()).document()
    with pytest.raises(QuestionError, match=f"not a stored state of cusum/1: {key}"):
        Cusum().load({**document, key: value})


def test_a_state_is_plain_json_without_infinities() -> None:
    for detector in (Cusum(), Glr(), SequentialRanks()):
        state = detector.calibrate(np.array([1.0, 0.1 + 0.2, 1 / 3]), Budget())
        text = json.dumps(state.document(), allow_nan=False)
        assert detector.load(json.loads(text)) == state
