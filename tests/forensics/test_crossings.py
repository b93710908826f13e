"""Is the answer to "since when?" right in both modes, and does it say what it proves?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rising_run import Rising, logistic, record_rising

from forensics import crossings
from forensics.crossings import exact_level, find_crossings, searched_level
from forensics.floor import Floor
from forensics.levels import AsrPath, read_level
from forensics.probe import Prober
from forensics.sampling_error import SamplingInterval, look_intervals, path_intervals
from forensics.search import BUDGET, conclude, search_level
from roundlog.errors import QuestionError, TriggerError

ROUNDS = 500
LEVELS = (0.1, 0.5, 0.9)
NO_FLOOR = Floor(None, 0, 0, 0)
PROMISED = {
    "level", "mode", "round", "low", "high", "interval", "rebuilds", "exact", "status", "s", "floor"
}  # fmt: skip


def _record(path: Path, scale: float = 1.0) -> Rising:
    rng = np.random.default_rng(2)
    strength = logistic(ROUNDS, middle=0.4, width=0.06) + 0.01 * rng.standard_normal(ROUNDS + 1)
    return record_rising(path, scale * strength, seed=5)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    return _record(tmp_path_factory.mktemp("crossings") / "case")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    return _record(tmp_path_factory.mktemp("crossings") / "twin", scale=0.0)


def _ask(rising: Rising, **options: Any) -> crossings.Crossings:
    with rising.open() as (store, models):
        prober = Prober(models.architecture)
        return find_crossings(models, store, prober, rising.trigger, **{"levels": LEVELS} | options)


def test_exact_mode_is_the_definitions_applied_to_every_model(attacked: Rising) -> None:
    found = _ask(attacked, mode="exact", s=7)
    assert found.path is not None
    assert len(found.path.hits) == found.rebuilds == ROUNDS + 1
    for row in found.crossings:
        read = read_level(found.path, row.level, 7)
        assert row.round == row.low == row.high == row.reached == getattr(read, row.mode)
        assert (row.exact, row.s, row.rebuilds) == (True, 7, ROUNDS + 1)
        assert row.status == "crossed"
        assert row.claim.startswith("proved: ")
    for level in found.levels:
        assert level.upward == read_level(found.path, level.crossings[0].level, 7).upward


def test_search_mode_is_true_beside_the_exact_answer(attacked: Rising) -> None:
    exact, found = _ask(attacked, mode="exact"), _ask(attacked, mode="search")
    assert exact.path is not None
    a = exact.path.asr
    for level in found.levels:
        bracket, sustained, isotonic = level.crossings
        q = bracket.level
        assert [row.mode for row in level.crossings] == ["any", "sustained", "isotonic"]
        assert bracket.low is not None
        assert bracket.high == bracket.round
        assert a[bracket.low] < q <= a[bracket.high]
        assert bracket.claim.startswith("proved: ")
        assert (sustained.low, sustained.high) == (isotonic.low, isotonic.high)
        for row in (sustained, isotonic):
            assert row.low is not None
            assert row.round is not None
            assert row.high is not None
            assert row.low <= row.round <= row.high
            assert row.claim.startswith("not proved")
        assert all(row.rebuilds <= BUDGET and not row.exact for row in level.crossings)
        assert len(level.looks) == bracket.rebuilds
        assert [look.hits for look in level.looks] == [
            exact.path.hits[look.round] for look in level.looks
        ]


def test_levels_share_what_was_rebuilt(attacked: Rising) -> None:
    found = _ask(attacked, mode="search")
    asked = {look.round for level in found.levels for look in level.looks}
    assert found.rebuilds == len(asked) < sum(len(level.looks) for level in found.levels)


def test_an_answer_does_not_depend_on_the_other_levels_asked(attacked: Rising) -> None:
    alone = _ask(attacked, mode="search", levels=(0.5,))
    assert alone.levels[0] == _ask(attacked, mode="search").levels[1]


def test_every_row_says_where_all_such_queries_would_put_it(attacked: Rising) -> None:
    exact, found = _ask(attacked, mode="exact", s=7), _ask(attacked, mode="search")
    assert exact.path is not None
    for row in exact.crossings:
        assert row.interval == path_intervals(exact.path, row.level, 7)[row.mode]
        assert row.interval.holds(row.round)
    for level in found.levels:
        told = look_intervals(conclude(level.looks, level.crossings[0].level))
        for row in level.crossings:
            assert row.interval == told[row.mode]
            assert row.interval.low is not None
            assert row.low is not None
            assert row.interval.low <= row.low
    for row in (*exact.crossings, *found.crossings):
        assert row.interval.sentence() not in row.claim, "the interval stands beside the claim"
    assert any(row.interval != SamplingInterval(row.low, row.high) for row in exact.crossings)


@pytest.mark.parametrize("mode", ["exact", "search"])
def test_a_twin_never_crosses(twin: Rising, mode: str) -> None:
    found = _ask(twin, mode=mode)
    assert {row.status for row in found.crossings} == {"never"}
    assert {row.round for row in found.crossings} == {None}
    assert {row.interval for row in found.crossings} == {SamplingInterval(None, None)}
    assert all("none either (95 %)" in row.claim for row in found.crossings)


def test_a_level_that_was_nearly_reached_is_not_excluded_for_all_queries() -> None:
    hits = np.array([0] * 30 + [140] * 70)
    exact = exact_level(AsrPath(0, hits, 300), 0.5, 5, NO_FLOOR)
    found = search_level(lambda t: int(hits[t]), 300, 0.5, 0, 99)
    for row in (*exact.crossings, *searched_level(found, 5, NO_FLOOR).crossings):
        assert (row.status, row.interval) == ("never", SamplingInterval(None, None))
        assert "had all such queries been asked: not before " in row.claim
    assert exact.crossings[0].claim == (
        "proved: there is no such model; had all such queries been asked: not before 30, or never "
        "(95 %)"
    )


@pytest.mark.parametrize("mode", ["exact", "search"])
def test_a_level_that_decoys_reach_too_is_not_claimed(
    attacked: Rising, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor = Floor(0.5, 80, 120, 20)
    monkeypatch.setattr(crossings, "decoy_floor", lambda *_: floor)
    found = _ask(attacked, mode=mode)
    status = {row.level: row.status for row in found.crossings}
    assert status == {0.1: "below_floor", 0.5: "below_floor", 0.9: "crossed"}
    for row in found.crossings:
        assert row.floor == 0.5
        if row.status == "below_floor":
            assert (row.round, row.low, row.high) == (None, None, None)
            assert row.interval == SamplingInterval(None, None)
            assert "such queries" not in row.claim
            assert row.reached is not None


@pytest.mark.parametrize("mode", ["exact", "search"])
def test_a_run_that_begins_poisoned_says_so(tmp_path: Path, mode: str) -> None:
    rising = record_rising(tmp_path / "case", np.full(30, 1.0), seed=5)
    found = _ask(rising, mode=mode, levels=(0.5,))
    assert {(row.status, row.round) for row in found.crossings} == {("at_start", 0)}


def test_the_document_holds_what_is_promised_as_plain_json(attacked: Rising) -> None:
    for mode in ("exact", "search"):
        told = json.loads(json.dumps(_ask(attacked, mode=mode).document(), allow_nan=False))
        assert all(row.keys() >= PROMISED for row in told["crossings"])
        assert told["probe_digest"] == attacked.trigger.scoring().digest
        assert [level["level"] for level in told["levels"]] == list(LEVELS)
        assert told["floor"]["decoys"] == 2


def test_exact_mode_is_chosen_where_it_is_affordable(
    attacked: Rising, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _ask(attacked)
    assert (found.mode, found.s) == ("exact", ROUNDS // 50)
    monkeypatch.setattr(crossings, "AFFORDABLE_S", 0.0)
    found = _ask(attacked)
    assert found.mode == "search"
    assert "exact mode must be asked for" in found.why


def test_progress_reaches_the_number_of_models(attacked: Rising) -> None:
    seen: list[tuple[int, int]] = []
    _ask(
        attacked, mode="exact", fresh=True, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (ROUNDS + 1, ROUNDS + 1)


def test_an_impossible_level_is_refused_before_any_work(attacked: Rising) -> None:
    with pytest.raises(QuestionError, match=r"level 1\.5 is no share"):
        _ask(attacked, levels=(0.5, 1.5))


def test_a_trigger_without_a_scoring_query_is_refused(attacked: Rising) -> None:
    even = [query for query in attacked.trigger.queries if int(query.digest()[-1], 16) % 2 == 0]
    trigger = attacked.trigger.model_copy(update={"queries": tuple(even)})
    with (
        attacked.open() as (store, models),
        pytest.raises(TriggerError, match="no scoring query"),
    ):
        find_crossings(models, store, Prober(models.architecture), trigger)
