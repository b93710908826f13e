"""Can every bar fail, and does each line count what it says?"""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forensics.evaluation.when_replicates import Replicates
from forensics.evaluation.when_summary import Claim, claims
from forensics.onset import SIGNIFICANT

CHARTS = {"trigger": 6, "norm": 8, "cosine": 8}
BUDGET = {"alarms": 0.1, "rounds": 1_000_000, "charts": 14}
MADE = Replicates(
    n=2_000,
    independent=2_000,
    covered=1_950,
    median_error=0.6,
    p90_error=5.0,
    median_width=500.0,
    left_out=0,
)
QUIET = {"trigger": 0, "norm": 0, "cosine": 0}


def _watch(rounds: int, delay: int | None, **false: int) -> dict[str, Any]:
    first = None
    if delay is not None:
        first = {"round": 800 + delay, "delay": delay, "before_ten": True, "asr": 0.0}
    return {
        "rounds": rounds,
        "budget": BUDGET,
        "charts": CHARTS,
        "false_alarms": sum(false.values()),
        "false_by_series": QUIET | false,
        "first": first,
    }


def _attacked(error: int = 1) -> dict[str, Any]:
    """A run of which every claim is true."""
    dated = {
        "found": True,
        "round": 800 + error,
        "low": 790,
        "high": 809,
        "covered": True,
        "error": error,
        "signal": 1.5,
        "p": 1e-9,
        "rounds": 1_700,
    }
    return {
        "onset": 800,
        "one_pass": dated,
        "two_pass": dict(dated),
        "at_ten": {"decoy_rank": 1, "decoys": 200},
        "ranks": None,
        "series": None,
        "watch": _watch(1_300, 10),
        "control": _watch(1_300, 120),
        "seconds": {"simulate": 20.0, "onset": 3.0},
    }


def _twin(rank: int = 50) -> dict[str, Any]:
    return {
        "onset": None,
        "one_pass": {"found": False},
        "two_pass": {"found": False},
        "at_ten": None,
        "ranks": {"published_rank": rank, "published_decoys": 200},
        "series": {"mean": 0.01, "sd_ratio": 1.01, "autocorrelation": -0.002},
        "watch": _watch(5_000, None),
        "control": _watch(5_000, None, trigger=3),
        "seconds": {"simulate": 20.0, "watch": 8.0},
    }


def _runs(attacked: int = 20, twins: int = 20) -> list[dict[str, Any]]:
    ranks = np.linspace(1, 201, twins).round().astype(int).tolist()
    return [*(_attacked() for _ in range(attacked)), *(_twin(rank) for rank in ranks)]


def _lines(
    runs: list[dict[str, Any]], made: Replicates | None = MADE, world: str | None = "quickstart"
) -> Mapping[str, Claim]:
    found = claims(runs, made, world)
    by_key = {claim.key: claim for claim in found}
    assert len(by_key) == len(found), "each line has a key of its own"
    return by_key


def _changed(number: int, which: str, **values: Any) -> list[dict[str, Any]]:
    """The good runs, of which the first `number` attacked ones differ in one part."""
    runs = copy.deepcopy(_runs())
    for run in runs[:number]:
        run[which] = run[which] | values
    return runs


def _twins_changed(number: int, which: str, **values: Any) -> list[dict[str, Any]]:
    runs = copy.deepcopy(_runs())
    for run in runs[20 : 20 + number]:
        run[which] = run[which] | values
    return runs


def test_runs_of_which_all_is_true_hold_every_claim_with_a_bar() -> None:
    for world in ("quickstart", "mobileai7", "digits"):
        lines = _lines(_runs(), world=world)
        assert all(line.holds for line in lines.values() if line.bar), world
        assert all(line.holds is None for line in lines.values() if not line.bar)
    assert sum(bool(line.bar) for line in lines.values()) >= 13


@pytest.mark.parametrize(
    ("key", "which", "wrong", "allowed"),
    [
        ("coverage", "two_pass", {"covered": False}, 4),
        ("error_within", "two_pass", {"error": -11}, 3),
        ("decoy_rank", "at_ten", {"decoy_rank": 2}, 3),
        ("alarm_before_ten", "watch", {"first": None}, 3),
    ],
)
def test_a_claim_about_nearly_all_runs_allows_a_few_of_twenty_and_not_one_more(
    key: str, which: str, wrong: dict[str, Any], allowed: int
) -> None:
    for number, holds in ((0, True), (allowed, True), (allowed + 1, False)):
        line = _lines(_changed(number, which, **wrong))[key]
        assert line.share is not None
        assert (line.share.k, line.share.n, line.holds) == (20 - number, 20, holds)
        assert line.bar == f"at least {20 - allowed} of 20"
        low, high = line.document()["low"], line.document()["high"]
        assert isinstance(low, float)
        assert isinstance(high, float)
        assert low < line.share.k / 20 <= high


@pytest.mark.parametrize(
    ("key", "number", "error", "holds"),
    [
        ("error_median", 9, 91, True),
        ("error_median", 10, 91, False),
        ("error_p90", 1, -601, True),
        ("error_p90", 3, -601, False),
        ("error_largest", 1, 1_100, True),
        ("error_largest", 1, -1_101, False),
    ],
)
def test_errors_in_the_reference_world_have_three_bars(
    key: str, number: int, error: int, holds: bool
) -> None:
    line = _lines(_changed(number, "two_pass", error=error), world="mobileai7")[key]
    assert line.holds is holds
    assert line.unit == "rounds"


def test_an_onset_that_was_not_found_is_infinitely_wrong_and_covers_nothing() -> None:
    lines = _lines(_changed(20, "two_pass", found=False, covered=False), world="mobileai7")
    for key in ("error_median", "error_p90", "error_largest", "coverage"):
        assert lines[key].holds is False
    assert lines["error_median"].value == math.inf
    assert "width" not in lines


def test_a_scenario_with_settings_of_its_own_is_told_and_not_judged() -> None:
    lines = _lines(_changed(20, "two_pass", error=4_000), world=None)
    assert lines["error_largest"].value == 4_000
    assert lines["error_largest"].holds is None
    assert "error_within" not in lines
    assert lines["coverage"].holds, "a stated coverage holds everywhere"


@pytest.mark.parametrize(
    ("covered", "holds"), [(1_876, False), (1_877, True), (1_980, True), (1_981, False)]
)
def test_made_onsets_are_covered_neither_too_rarely_nor_by_sets_that_are_too_wide(
    covered: int, holds: bool
) -> None:
    line = _lines(_runs(), replace(MADE, covered=covered))["replicates_coverage"]
    assert line.holds is holds
    assert line.bar == "93.8% to 99%"


def test_made_onsets_that_are_not_independent_are_judged_as_the_fewer_that_they_are() -> None:
    for independent, covered, holds in ((100, 1_780, True), (100, 1_779, False), (1, 0, True)):
        made = replace(MADE, independent=independent, covered=covered)
        line = _lines(_runs(), made)["replicates_coverage"]
        assert line.holds is holds, f"{covered} of 2,000, {independent} of them independent"


@pytest.mark.parametrize(("error", "holds"), [(1.0, True), (1.01, False), (math.inf, False)])
def test_the_median_error_of_made_onsets_follows_the_law(error: float, holds: bool) -> None:
    line = _lines(_runs(), replace(MADE, median_error=error))["replicates_error"]
    assert line.holds is holds


def test_without_made_onsets_nothing_is_said_of_them() -> None:
    assert not any(key.startswith("replicates") for key in _lines(_runs(), None))


@pytest.mark.parametrize(
    ("series", "number", "all_hold", "own_hold"),
    [("trigger", 1, True, True), ("trigger", 2, False, False), ("norm", 2, False, False)],
)
def test_false_alarms_are_held_against_the_budget_in_all_and_series_by_series(
    series: str, number: int, all_hold: bool, own_hold: bool
) -> None:
    # 40 twins of 5,000 rounds: the budget allows 0.02 alarms, the trigger's charts 0.0055 of them.
    runs = copy.deepcopy(_runs(20, 40))
    for run in runs[20 : 20 + number]:
        run["watch"] = _watch(5_000, None, **{series: 1})
    lines = _lines(runs)
    assert lines["false_alarms"].value == number
    assert lines["false_alarms"].bar == "at most 1 in 200,000 rounds"
    assert lines["false_alarms"].holds is all_hold
    own = lines[f"false_alarms_{series}"]
    assert own.value == number
    if series == "norm":
        assert own.holds is own_hold
    else:
        assert own.bar == "at most 0 in 200,000 rounds"
        assert own.holds is False
    assert lines["false_alarms_cosine"].value == 0


def test_the_control_stands_beside_and_is_not_judged() -> None:
    lines = _lines(_runs())
    assert lines["false_alarms_control"].value == 3 * 20
    assert lines["false_alarms_control"].holds is None
    assert (lines["delay"].value, lines["delay_control"].value) == (10, 120)
    control = lines["control_before_ten"].share
    assert control is not None
    assert (control.k, control.n) == (20, 20)


def test_an_alarm_that_comes_when_the_attack_already_works_fails_its_bars() -> None:
    late = {"round": 2_000, "delay": 1_200, "before_ten": False, "asr": 0.11}
    lines = _lines(_changed(1, "watch", first=late))
    assert lines["alarm_before_ten"].share is not None
    assert lines["alarm_before_ten"].share.k == 19
    assert lines["success_median"].holds
    assert lines["success_largest"].holds is False
    assert lines["success_largest"].bar == "at most 10%"
    lines = _lines(_changed(11, "watch", first=late | {"asr": 0.02}))
    assert lines["success_median"].holds is False
    assert lines["success_largest"].holds
    lines = _lines(_changed(1, "watch", first=None))
    assert lines["success_largest"].value == math.inf


def test_an_onset_in_a_twin_is_as_rare_as_its_significance_says() -> None:
    assert SIGNIFICANT == 1e-3
    for number, holds in ((0, True), (1, True), (2, False)):
        line = _lines(_twins_changed(number, "two_pass", found=True))["onset_in_twin"]
        assert line.share is not None
        assert (line.share.k, line.share.n, line.holds) == (number, 20, holds)


def test_ranks_that_crowd_at_the_top_are_not_even() -> None:
    assert _lines(_runs())["rank_even"].holds
    runs = copy.deepcopy(_runs())
    for run in runs[20:]:
        run["ranks"]["published_rank"] = 1 + run["ranks"]["published_rank"] // 3
    line = _lines(runs)["rank_even"]
    assert line.holds is False
    assert line.value is not None
    assert line.value < 0.01


def test_even_ranks_among_few_decoys_are_even_although_they_come_in_steps() -> None:
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(300):
        runs = [_twin(int(rank)) for rank in rng.integers(1, 6, size=40)]
        for run in runs:
            run["ranks"]["published_decoys"] = 4
        rejected += not _lines(runs, None)["rank_even"].holds
    assert rejected <= 9, f"{rejected} of 300 at 1 %"


def test_few_twins_cannot_tell_whether_ranks_are_even() -> None:
    line = _lines(_runs(20, 9))["rank_even"]
    assert line.holds is None
    assert line.bar == "10 twins needed"
    runs = _twins_changed(20, "ranks", published_rank=None)
    assert "rank_even" not in _lines(runs)


def test_the_largest_number_of_a_series_keeps_its_sign() -> None:
    lines = _lines(_twins_changed(1, "series", mean=-0.2, sd_ratio=0.9, autocorrelation=0.03))
    assert lines["series_mean"].value == -0.2
    assert lines["series_sd"].value == pytest.approx(-0.1)
    assert lines["series_autocorrelation"].value == 0.03


def test_cpu_time_is_told_of_attacked_runs_and_twins_apart() -> None:
    lines = _lines(_runs())
    assert lines["cpu_attacked_run"].value == 23.0
    assert lines["cpu_twin"].value == 28.0


def test_one_kind_of_run_alone_is_judged_for_what_it_tells() -> None:
    attacked, twins = _runs(20, 0), _runs(0, 20)
    assert not {"onset_in_twin", "rank_even", "cpu_twin"} & set(_lines(attacked, None))
    assert not {"coverage", "delay", "cpu_attacked_run"} & set(_lines(twins, None))
    assert claims([], None) == []


def test_a_single_run_cannot_tell_a_share() -> None:
    for covered in (True, False):
        run = _attacked()
        run["two_pass"]["covered"] = covered
        line = _lines([run], None)["coverage"]
        assert (line.bar, line.holds) == ("too few runs to tell", None)
        assert line.share is not None
        assert (line.share.k, line.share.n) == (int(covered), 1)


def test_a_run_that_never_reached_ten_percent_has_no_rank_and_is_not_counted_there() -> None:
    runs = copy.deepcopy(_runs())
    runs[0]["at_ten"] = None
    share = _lines(runs)["decoy_rank"].share
    assert share is not None
    assert (share.k, share.n) == (19, 19)
    for run in runs:
        run["at_ten"] = None
    assert "decoy_rank" not in _lines(runs)
