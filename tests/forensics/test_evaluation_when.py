"""Is a run measured as its record is: dated, watched, ranked, each beside the truth?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.evaluation.when import STEPS, measure_when, pack, series_numbers, unpack
from forensics.onset import SIGNIFICANT, find_onset
from forensics.probe import Prober, read_model
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger
from forensics.watch import Plan, Watch
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from simulator.run import simulate
from simulator.scenario import load

SEED, ONSET, ROUNDS = 1, 150, 300
SMALL = (
    "model.warm_up=300", "population.archetypes=64", "probes.clean=200", "probes.pool=600",
    "probes.decoys=20", "probes.decoy_queries=10", "probes.trigger_queries=40", "audits.items=0",
    f"attack.onset={ONSET}", f"rounds={ROUNDS}",
)  # fmt: skip

Opened = tuple[CaseModels, Store, Trigger]
Document = dict[str, Any]


@contextmanager
def _opened(folder: Path, fraction: str) -> Iterator[Opened]:
    scenario = load("quickstart", [*SMALL, f"fraction={fraction}"])
    done = simulate(scenario, SEED, folder / "case", folder / "truth.json")
    case = Case(folder / "case")
    with case.own():
        ingest_case(case)
        store = Store(case)
        try:
            yield CaseModels(case, store, done.run), store, load_trigger(folder / "truth.json")
        finally:
            store.close()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with _opened(tmp_path_factory.mktemp("attacked"), "0.04") as found:
        yield found


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with _opened(tmp_path_factory.mktemp("twin"), "0") as found:
        yield found


@pytest.fixture(scope="module")
def of_attacked(attacked: Opened) -> Document:
    return measure_when(*attacked, ONSET)


@pytest.fixture(scope="module")
def of_twin(twin: Opened) -> Document:
    return measure_when(*twin, None)


def test_an_attacked_run_is_dated_as_find_onset_dates_it(
    attacked: Opened, of_attacked: Document
) -> None:
    models, store, trigger = attacked
    onset = find_onset(models, store, Prober(models.architecture), trigger, decoys=0)
    for name, one in zip(("one_pass", "two_pass"), onset.passes, strict=True):
        found = of_attacked[name]
        assert (found["round"], found["low"], found["high"]) == (one.round, one.low, one.high)
        assert found["rounds"] == one.rounds
        assert found["model"] == one.direction.model
        change = one.change
        assert change is not None
        assert (found["signal"], found["p"]) == (change.shift, change.p)
        assert found["found"] is (change.p <= SIGNIFICANT) is True
        # Of a run that was recorded from its beginning, places in the series are rounds.
        assert found["error"] == change.index - ONSET
        assert found["covered"] is (change.low <= ONSET <= change.high)
    assert of_attacked["two_pass"]["covered"]
    assert abs(of_attacked["two_pass"]["error"]) <= 2


def test_another_onset_than_the_true_one_is_not_covered(attacked: Opened) -> None:
    found = measure_when(*attacked, 60, decoys=1)
    assert found["two_pass"]["found"]
    assert found["two_pass"]["covered"] is False
    assert found["two_pass"]["error"] >= 85


def test_the_decoys_are_asked_when_success_reaches_ten_percent(
    attacked: Opened, of_attacked: Document
) -> None:
    models, store, trigger = attacked
    prober, ten = Prober(models.architecture), of_attacked["at_ten"]
    then = find_onset(models, store, prober, trigger, last=ten["reached"])
    assert (ten["decoy_rank"], ten["decoys"]) == (then.apart.rank, then.apart.decoys)
    assert ten["decoys"] >= 20
    assert ten["decoy_rank"] == 1
    assert ten["rounds"] <= ten["reached"], "nothing later is looked at"
    assert ONSET < ten["reached"] < ROUNDS
    assert of_attacked["ranks"] is None
    assert of_attacked["series"] is None


def test_the_first_true_alarm_is_the_watch_s_own_and_told_with_its_success(
    attacked: Opened, of_attacked: Document
) -> None:
    models, store, trigger = attacked
    prober = Prober(models.architecture)
    watch = Watch(models, store, Plan((trigger,)), prober)
    for _ in watch.advance(models):
        pass
    own = [one for one in watch.alarms if one.series == trigger.name and one.round >= ONSET]
    first, reading = (
        of_attacked["watch"]["first"],
        read_model(prober, models, own[0].round + 1, trigger.scoring()),
    )
    assert (first["round"], first["detector"]) == (own[0].round, own[0].detector)
    assert first["delay"] == own[0].round - ONSET
    assert (first["hits"], first["n"], first["asr"]) == (reading.hits, reading.n, reading.asr)
    assert first["low"] <= first["asr"] <= first["high"]
    assert first["before_ten"] is (first["round"] < of_attacked["at_ten"]["reached"]) is True
    told = of_attacked["watch"]["alarms"]
    assert [one["round"] for one in told] == [one.round for one in watch.alarms[: len(told)]]
    assert of_attacked["watch"]["budget"]["charts"] == watch.budget.charts
    assert of_attacked["watch"]["charts"]["trigger"] == len(watch.charts[trigger.name])


def test_an_attacked_run_is_watched_no_further_than_its_claims_need(
    attacked: Opened, of_attacked: Document
) -> None:
    reached, watched = of_attacked["at_ten"]["reached"], of_attacked["watch"]["rounds"]
    assert reached <= watched < ROUNDS
    assert watched >= of_attacked["watch"]["first"]["round"]
    short = measure_when(*attacked, ONSET, watch_until=ONSET - 1, decoys=1)
    assert short["watch"]["rounds"] == ONSET
    assert short["watch"]["first"] is None
    assert short["control"]["first"] is None


def test_alarms_before_the_onset_are_false_and_none_of_them_is_the_first(
    attacked: Opened, of_attacked: Document
) -> None:
    assert of_attacked["watch"]["false_alarms"] == 0
    alarm = of_attacked["watch"]["first"]["round"]
    late = measure_when(*attacked, alarm + 30, watch_until=alarm + 5, decoys=1)["watch"]
    assert late["false_by_series"]["trigger"] >= 1
    assert late["false_alarms"] == sum(late["false_by_series"].values())
    assert late["first"] is None
    assert "trigger" in late["alarmed"]


def test_the_control_watches_along_the_plain_gradient(
    attacked: Opened, of_attacked: Document
) -> None:
    models, store, trigger = attacked
    watch = Watch(models, store, Plan((trigger,), plain=True), Prober(models.architecture))
    for _ in watch.advance(models):
        pass
    own = [one for one in watch.alarms if one.series == trigger.name and one.round >= ONSET]
    first = of_attacked["control"]["first"]
    assert first["round"] == own[0].round
    assert first["delay"] > of_attacked["watch"]["first"]["delay"], "honest learning hides it"


def test_a_twin_is_watched_whole_and_has_no_onset(twin: Opened, of_twin: Document) -> None:
    assert of_twin["onset"] is None
    for name in ("one_pass", "two_pass"):
        assert of_twin[name]["found"] is False
        assert of_twin[name]["covered"] is None
        assert of_twin[name]["error"] is None
    assert of_twin["at_ten"] is None
    for name in ("watch", "control"):
        assert of_twin[name]["rounds"] == ROUNDS
        assert of_twin[name]["first"] is None
        assert of_twin[name]["false_alarms"] == len(of_twin[name]["alarms"])
        assert set(of_twin[name]["false_by_series"]) == {"trigger", "norm", "cosine"}
    assert of_twin["watch"]["false_by_series"]["trigger"] == 0


def test_a_twin_s_trigger_is_ranked_among_all_published_decoys(
    twin: Opened, of_twin: Document
) -> None:
    models, store, trigger = twin
    onset = find_onset(models, store, Prober(models.architecture), trigger)
    ranks = of_twin["ranks"]
    assert (ranks["published_rank"], ranks["published_decoys"]) == (onset.published.rank, 20)
    assert 1 <= ranks["published_rank"] <= 21
    assert of_twin["two_pass"]["round"] == onset.passes[-1].round


def test_a_twin_s_series_looks_as_dating_takes_it_to_be(of_twin: Document) -> None:
    series = of_twin["series"]
    assert series["rounds"] == ROUNDS
    assert abs(series["mean"]) < 0.6
    assert 0.7 < series["sd_ratio"] < 1.4
    assert abs(series["autocorrelation"]) < 0.25
    recorded = unpack(series["recorded"])
    assert recorded.shape == (ROUNDS,)
    assert np.sqrt(np.mean(np.diff(recorded) ** 2) / 2) == pytest.approx(1, abs=1e-3)


def test_the_numbers_of_a_series_tell_what_is_wrong_with_it() -> None:
    rng = np.random.default_rng(11)
    good = series_numbers(rng.standard_normal(20_000))
    assert good["mean"] == pytest.approx(0, abs=0.03)
    assert good["sd_ratio"] == pytest.approx(1, abs=0.03)
    assert good["autocorrelation"] == pytest.approx(0, abs=0.03)
    noise = rng.standard_normal(20_001)
    assert series_numbers(noise[1:] + noise[:-1])["autocorrelation"] == pytest.approx(0.5, abs=0.03)
    assert series_numbers(noise + 0.5)["mean"] == pytest.approx(0.5, abs=0.03)
    assert series_numbers(noise * np.linspace(1, 2, 20_001))["sd_ratio"] > 1.3


def test_a_series_survives_as_text_to_the_last_float32() -> None:
    values = np.random.default_rng(2).standard_normal(1_000)
    assert (unpack(pack(values)) == values.astype(np.float32)).all()
    assert unpack(pack(np.empty(0))).shape == (0,)


def test_every_step_is_timed_and_told(attacked: Opened) -> None:
    told: list[tuple[int, int]] = []
    found = measure_when(*attacked, ONSET, decoys=1, progress=lambda *at: told.append(at))
    assert list(found["seconds"]) == ["onset", "at_ten", "watch", "control", "series"]
    assert all(seconds >= 0 for seconds in found["seconds"].values())
    assert found["seconds"]["watch"] > 0
    assert told == sorted(told)
    assert {at for at, _ in told} == set(range(1, STEPS + 1)) | {2}
    assert {total for _, total in told} == {STEPS} == {len(found["seconds"])}


def test_whoever_waits_may_end_the_measurement(attacked: Opened) -> None:
    def refuse(done: int, total: int) -> None:
        raise InterruptedError(f"at {done} of {total}")

    with pytest.raises(InterruptedError, match="at 1 of 5"):
        measure_when(*attacked, ONSET, decoys=1, progress=refuse)
