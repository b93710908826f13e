"""What if the server that trains is killed, or its disk is full? Training never notices, and the
record says what it lacks.

The numbers of the training are those that it would have without a recorder, bit for bit; what was
recorded is whole and in order; and a hole is a `recorder.gap` with the rounds that fell into it.
"""

import errno
import os
import random
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from campaign import Campaign
from doomed import SCHEMA, Child, train, trained
from durable_steps import DurableSteps, Step
from kept_record import check_record, on_record
from table_rows import Rows

from forensics.rebuild import CaseModels
from forensics.verify import verify_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import LogError
from roundlog.log import sink
from roundlog.recorder import Recorder

START = np.zeros(64, np.float32)


def without_a_recorder(rounds: int) -> list[np.ndarray]:
    """W_0 to W_N of the training that nobody records."""
    models = [START]
    for t in range(rounds):
        models.append(trained(models[-1], t))
    return models


def rounds_of(rows: Rows) -> list[int]:
    return sorted(row[4] for row in rows["rounds"])


def gaps_of(rows: Rows) -> list[int]:
    """The rounds that the recorder says it left out."""
    told = [row[6:8] for row in rows["interruptions"] if row[4] == "recorder_gap"]
    return sorted(t for expected, got in told for t in range(int(expected), int(got)))


def check_models(case: Case, models: list[np.ndarray]) -> None:
    """Every model that can be rebuilt is the one that was trained."""
    with closing(Store(case)) as store:
        rebuilt = CaseModels(case, store, "run")
        assert rebuilt.whole(rebuilt.last).model.tobytes() == models[rebuilt.last].tobytes()


def test_a_server_killed_in_any_round_goes_on_where_its_record_ends(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    case, models = Case.create(tmp_path / "case"), without_a_recorder(4000)
    done = told = 0
    for _ in range(campaign.times(short=4, long=60)):
        child = Child(train, case.path, done, models[done], len(models) - 1)
        for _ in range(rng.randint(1, 20)):
            told = child.hear()
        time.sleep(rng.uniform(0, 0.01))
        child.kill()
        recorded = list(on_record(case.segments, "run/server"))
        # run, producer, seq: two events came before the first round.
        done = max(place[2] for place in recorded) - 1
        assert told <= done <= len(models)
    ended = Child(train, case.path, done, models[done], done + 3).end()
    assert ended.answer.tobytes() == models[done + 3].tobytes()
    rows = check_record(case, on_record(case.segments, "run/server"))
    assert rounds_of(rows) == list(range(done + 3))
    assert verify_case(case).ok
    check_models(case, models)


def test_a_server_that_comes_back_with_an_older_model_says_so(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    models = without_a_recorder(40)
    back = rng.randrange(1, 20)
    for first, last in ((0, 20), (back, 40)):
        Child(train, case.path, first, models[first], last).end()
    rows = check_record(case, on_record(case.segments, "run/server"), findings=None)
    assert {row[1] for row in rows["findings"]} == {"continuity"}
    check_models(case, models)


class FullDisk:
    """A disk below which nothing can be written for as long as `full` is set."""

    def __init__(self) -> None:
        self.full = threading.Event()

    def act(self, step: Step) -> int | None:
        """As `durable_steps.Act`."""
        if self.full.is_set() and step.kind in ("write", "make", "sync"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(step.path))
        return None


def test_a_disk_that_is_full_for_a_while_leaves_a_gap_and_nothing_else(
    tmp_path: Path, seed: int, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "REOPEN_S", 0.02)
    rng = random.Random(seed)
    models = without_a_recorder(120)
    lost = 0
    for at in range(campaign.times(short=3, long=20)):
        case, disk = Case.create(tmp_path / f"{at}"), FullDisk()
        model = START
        with DurableSteps(case.path, disk.act):
            recorder = Recorder(case.path, run="run")
            recorder.genesis(SCHEMA, model, architecture="made")
            for t in range(120):
                model = trained(model, t)
                recorder.commit(model, round=t, cohort_size=10)
                if rng.random() < 0.1:
                    (disk.full.clear if disk.full.is_set() else disk.full.set)()
                if rng.random() < 0.2:
                    time.sleep(rng.choice((0.002, 0.06, 0.1)))
            disk.full.clear()
            recorder.close()
        assert model.tobytes() == models[-1].tobytes()
        rows = check_record(case, on_record(case.segments, "run/server"), findings=None)
        assert {row[1] for row in rows["findings"]} <= {"recorder_gap"}
        print(gaps_of(rows), list(rows["interruptions"]))
        assert sorted([*rounds_of(rows), *gaps_of(rows)]) == list(range(120)), f"case {at}"
        assert verify_case(case).ok
        check_models(case, models)
        lost += len(gaps_of(rows))
    assert lost, "the disk was never full when it mattered"


def test_a_layout_that_a_full_disk_took_is_recorded_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "REOPEN_S", 0.02)
    models, disk = without_a_recorder(9), FullDisk()
    with DurableSteps(case.path, disk.act):
        recorder = Recorder(case.path, run="run")
        disk.full.set()
        recorder.genesis(SCHEMA, models[0], architecture="made")
        with pytest.raises(LogError, match="No space left"):
            recorder.flush()
        disk.full.clear()
        for t in range(9):
            recorder.commit(models[t + 1], round=t, cohort_size=10)
            time.sleep(0.05)
        recorder.close()
    rows = check_record(case, on_record(case.segments, "run/server"), findings=["recorder_gap"])
    assert len(rows["schemas"]) == 1
    assert sorted([*rounds_of(rows), *gaps_of(rows)]) == list(range(9))
    check_models(case, models)


def test_a_disk_that_stays_full_neither_stops_nor_delays_the_training(
    case: Case, seed: int
) -> None:
    models, disk = without_a_recorder(200), FullDisk()
    with DurableSteps(case.path, disk.act):
        recorder = Recorder(case.path, run="run")
        recorder.genesis(SCHEMA, models[0], architecture="made")
        took = []
        for t in range(200):
            if t == 50:
                recorder.flush()
                disk.full.set()
            began = time.monotonic()
            recorder.commit(models[t + 1], round=t, cohort_size=10)
            took.append(time.monotonic() - began)
        recorder.close()
    assert max(took) < 0.5
    # The server is started again when there is room: the break is on the record.
    with Recorder(case.path, run="run", on_error="raise") as recorder:
        recorder.genesis(SCHEMA, models[200], architecture="made", round=200)
    rows = check_record(case, on_record(case.segments, "run/server"), findings=["continuity"])
    assert rounds_of(rows) == list(range(50))


def test_an_operator_who_asked_for_errors_gets_them_and_loses_nothing(case: Case) -> None:
    models, disk, done = without_a_recorder(60), FullDisk(), 0
    with DurableSteps(case.path, disk.act):
        while done < 60:
            recorder = Recorder(case.path, run="run", on_error="raise")
            recorder.genesis(SCHEMA, models[done], architecture="made", round=done)
            with pytest.raises(LogError, match="No space left"):
                while True:
                    if done % 20 == 19 or done == 59:
                        disk.full.set()
                    recorder.commit(models[done + 1], round=done, cohort_size=10)
                    recorder.flush()
                    done += 1
            with pytest.raises(LogError, match=r"No space left|failed before"):
                recorder.close()
            disk.full.clear()
            done += 1  # said again by hand
            with Recorder(case.path, run="run", on_error="raise") as recorder:
                recorder.genesis(SCHEMA, models[done - 1], architecture="made", round=done - 1)
                recorder.commit(models[done], round=done - 1, cohort_size=10)
    rows = check_record(case, on_record(case.segments, "run/server"))
    assert rounds_of(rows) == list(range(60))
    check_models(case, models)
