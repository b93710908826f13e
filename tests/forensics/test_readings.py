"""Are the readings of a whole run right, kept, and never taken for those of another history?"""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from rising_run import Rising, logistic, record_rising

from forensics import readings
from forensics.probe import Prober
from forensics.readings import StoppedError, read_run
from forensics.rebuild import CaseModels

ROUNDS = 700


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("readings") / "case"
    return record_rising(path, logistic(ROUNDS, middle=0.4, width=0.05), seed=21)


@pytest.fixture
def rising(recorded: Rising, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rising:
    monkeypatch.setattr(readings, "CHUNK", 200)
    path = Path(shutil.copytree(recorded.path, tmp_path / "case"))
    return Rising(path, recorded.run, recorded.document, recorded.models)


def _files(models: CaseModels) -> list[Path]:
    return sorted((models.case.cache / "readings").glob("*.npy"))


def test_every_model_is_read_once_and_then_remembered(rising: Rising) -> None:
    probes = rising.trigger.scoring()
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        first = read_run(models, prober, probes)
        again = read_run(models, prober, probes)
        alone = [prober.hits(models.model(t)[None], probes).sum() for t in range(0, ROUNDS + 1, 50)]
        assert len(_files(models)) == 4
    assert (first.rebuilt, again.rebuilt) == (ROUNDS + 1, 0)
    assert (first.path.first, first.path.last, first.path.n) == (0, ROUNDS, len(probes))
    np.testing.assert_array_equal(first.path.hits, again.path.hits)
    assert first.path.hits[::50].tolist() == alone
    assert (first.patterns, first.sizes) == (("news",), (len(probes),))
    np.testing.assert_array_equal(first.by_pattern.sum(axis=1), first.path.hits)


def test_an_interrupted_measurement_goes_on_where_it_stopped(rising: Rising) -> None:
    probes, stop, seen = rising.trigger.scoring(), threading.Event(), []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done >= 400:
            stop.set()

    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        with pytest.raises(StoppedError, match="400 readings are kept"):
            read_run(models, prober, probes, progress=progress, stop=stop)
        rest = read_run(models, prober, probes)
        fresh = read_run(models, prober, probes, fresh=True)
    assert seen == sorted(seen)
    assert seen[-1] == (400, ROUNDS + 1)
    assert (rest.rebuilt, fresh.rebuilt) == (ROUNDS + 1 - 400, ROUNDS + 1)
    np.testing.assert_array_equal(rest.path.hits, fresh.path.hits)


def test_a_damaged_cache_is_measured_again(rising: Rising) -> None:
    probes = rising.trigger.scoring()
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        right = read_run(models, prober, probes)
        files = _files(models)
        files[0].write_bytes(b"")
        files[1].write_bytes(files[1].read_bytes()[:-7])
        np.save(files[2], np.full((200, 1), 10_000, dtype=np.int32))
        again = read_run(models, prober, probes)
    # Three of four files, the shortest of which may be the one that is left.
    assert again.rebuilt in {200 + 200 + 101, 200 + 200 + 200}
    np.testing.assert_array_equal(again.path.hits, right.path.hits)


def test_other_queries_are_other_readings(rising: Rising) -> None:
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        scoring = read_run(models, prober, rising.trigger.scoring())
        building = read_run(models, prober, rising.trigger.building())
    assert building.rebuilt == ROUNDS + 1
    assert building.probe_digest != scoring.probe_digest


def test_a_longer_history_keeps_the_readings_it_shares(rising: Rising, tmp_path: Path) -> None:
    probes = rising.trigger.scoring()
    longer = record_rising(
        tmp_path / "longer", np.append(logistic(ROUNDS, middle=0.4, width=0.05), [0.9] * 9), seed=21
    )
    with rising.open() as (_, models):
        read_run(models, Prober(models.architecture), probes)
    shutil.copytree(rising.path / "cache", longer.path / "cache")
    with longer.open() as (_, models):
        # Three whole chunks are the same models; the last one has grown.
        assert read_run(models, Prober(models.architecture), probes).rebuilt == 101 + 9


def test_another_history_of_the_same_name_shares_nothing(rising: Rising, tmp_path: Path) -> None:
    probes = rising.trigger.scoring()
    other = record_rising(tmp_path / "other", logistic(ROUNDS, middle=0.6, width=0.05), seed=21)
    with rising.open() as (_, models):
        read_run(models, Prober(models.architecture), probes)
    shutil.copytree(rising.path / "cache", other.path / "cache")
    with other.open() as (_, models):
        assert read_run(models, Prober(models.architecture), probes).rebuilt == ROUNDS + 1


def test_answers_of_a_person_s_own_code_are_not_kept(rising: Rising) -> None:
    probes = rising.trigger.scoring()
    with rising.open() as (_, models):
        own = Prober(models.architecture, "rising_run:the_bag")
        assert read_run(models, own, probes).rebuilt == ROUNDS + 1
        assert read_run(models, own, probes).rebuilt == ROUNDS + 1
        assert _files(models) == []


def test_a_cache_that_cannot_be_written_costs_no_answer(rising: Rising) -> None:
    (rising.path / "cache").write_text("a file where the folder should be")
    with rising.open() as (_, models):
        found = read_run(models, Prober(models.architecture), rising.trigger.scoring())
    assert found.rebuilt == ROUNDS + 1
