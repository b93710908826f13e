"""Is a run's score what its models answer, and nothing else?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rising_run import Rising, logistic, record_rising

from forensics.evaluation.scoring import HEADLINE, Score, crossing_key, score_run
from forensics.levels import default_s, read_level
from forensics.probe import Prober, binomial_interval, published
from forensics.readings import read_run
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import QuestionError
from simulator.run import simulate
from simulator.scenario import load

ROUNDS = 300
SMALL = (
    "model.warm_up=40", "population.archetypes=64", "probes.clean=200", "probes.pool=60",
    "probes.decoys=4", "probes.decoy_queries=5", "probes.trigger_queries=20", "attack.onset=20",
    "fraction=0.04", "rounds=120",
)  # fmt: skip


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("rising") / "case"
    return record_rising(path, logistic(ROUNDS, middle=0.5, width=0.05), seed=5)


Opened = tuple[CaseModels, Store, Trigger]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A simulated run, which publishes clean sets."""
    folder = tmp_path_factory.mktemp("simulated")
    done = simulate(load("quickstart", SMALL), 3, folder / "case", folder / "truth.json")
    case = Case(folder / "case")
    with case.own():
        ingest_case(case)
        store = Store(case)
        try:
            yield CaseModels(case, store, done.run), store, load_trigger(folder / "truth.json")
        finally:
            store.close()


@pytest.fixture(scope="module")
def score(simulated: Opened) -> Score:
    return score_run(*simulated)


def test_the_end_is_what_the_last_model_answers(simulated: Opened, score: Score) -> None:
    models, _, trigger = simulated
    probes = trigger.scoring()
    hits = int(Prober(models.architecture).hits(models.model(120)[None], probes).sum())
    document = score.document()
    assert (score.last, score.success.hits, score.success.n) == (120, hits, len(probes))
    assert document["asr"] == hits / len(probes)
    assert (document["asr_low"], document["asr_high"]) == binomial_interval(hits, len(probes))
    assert document["elements"] == models.schema.elements


def test_accuracy_is_counted_on_every_clean_set_and_named_after_one(
    simulated: Opened, score: Score
) -> None:
    models, store, _ = simulated
    prober, last = Prober(models.architecture), models.model(120)[None]
    sets = published(models.case, store, models.run, "clean")
    assert [one.name for one in sets] == ["clean-start", "clean-mixed"] == list(score.clean)
    for one in sets:
        right = prober.answers(last, one.inputs)[0] == one.targets
        assert score.clean[one.name].value == right.mean()
    assert score.headline == HEADLINE
    assert score.accuracy == score.clean[HEADLINE].value
    assert 0.03 < score.accuracy < 1


def test_the_path_runs_from_the_first_model_to_the_last(simulated: Opened, score: Score) -> None:
    models, _, trigger = simulated
    found = read_run(models, Prober(models.architecture), trigger.scoring())
    assert (score.path.models[0], score.path.models[-1], len(score.path.models)) == (0, 120, 50)
    assert list(score.path.asr) == [found.path.asr[t] for t in score.path.models]
    assert len(score.path.accuracy) == 50
    assert score.lowest_accuracy == min(score.path.accuracy)


def test_the_highest_success_is_over_all_models_not_only_those_on_the_path(
    rising: Rising,
) -> None:
    with rising.open() as (store, models):
        found = read_run(models, Prober(models.architecture), rising.trigger.scoring())
        few = score_run(models, store, rising.trigger, samples=3)
    assert few.exact
    assert few.highest == found.path.asr.max()
    assert few.path.models == (0, 150, 300)


def test_crossings_are_the_sustained_ones(rising: Rising) -> None:
    with rising.open() as (store, models):
        found = read_run(models, Prober(models.architecture), rising.trigger.scoring())
        scored = score_run(models, store, rising.trigger)
    s = default_s(ROUNDS + 1)
    document = scored.document()
    for row in scored.crossings:
        assert row.mode == "sustained"
        reached = read_level(found.path, row.level, s).sustained
        assert row.reached == reached
        assert document[crossing_key(row.level)] == row.round
    assert document["crossing_90"] is not None
    assert scored.floor is not None
    assert all(row.round is None for row in scored.crossings if row.level <= scored.floor)


def test_a_run_without_clean_sets_has_no_accuracy_rather_than_none_right(rising: Rising) -> None:
    with rising.open() as (store, models):
        scored = score_run(models, store, rising.trigger, samples=5)
    document = scored.document()
    assert document["accuracy"] is document["lowest_accuracy"] is document["accuracy_set"] is None
    assert scored.path.accuracy == ()


def test_search_mode_asks_few_models_and_says_that_it_did(rising: Rising) -> None:
    with rising.open() as (store, models):
        exact = score_run(models, store, rising.trigger)
        search = score_run(models, store, rising.trigger, mode="search")
    assert (exact.exact, search.exact) == (True, False)
    assert search.success == exact.success
    assert search.path == exact.path
    assert max(search.path.asr) <= search.highest <= exact.highest
    sure = next(row for row in search.crossings if row.level == 0.9)
    true = next(row for row in exact.crossings if row.level == 0.9)
    assert sure.low is not None
    assert sure.high is not None
    assert true.round is not None
    assert sure.low <= true.round <= sure.high


def test_a_twin_of_the_attack_crosses_nothing(tmp_path: Path) -> None:
    quiet = record_rising(tmp_path / "case", np.zeros(ROUNDS + 1), seed=5)
    with quiet.open() as (store, models):
        scored = score_run(models, store, quiet.trigger)
    assert scored.highest < 0.1
    assert {row.status for row in scored.crossings} <= {"never", "below_floor"}


def test_a_level_that_is_no_share_is_refused(rising: Rising) -> None:
    with rising.open() as (store, models), pytest.raises(QuestionError, match=r"level 1\.5"):
        score_run(models, store, rising.trigger, levels=(1.5,))
