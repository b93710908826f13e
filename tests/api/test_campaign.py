"""Is every run of a campaign done once, by what was named, and kept under what measured it?"""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from measured_runs import DIE, ECHO, FAIL

from api.lab import cache, workers
from api.lab.cache import JUDGES, POINT, PointCache, code_digest, judge_digest
from api.lab.campaign import CampaignProgress, Order, carry_out
from api.lab.workers import Task, Workers
from simulator.scenario import load

QUICK = load("quickstart")
TWIN = load("quickstart", ["fraction=0"])
SCORED = load(
    "quickstart",
    [
        "model.warm_up=20", "population.archetypes=32", "probes.clean=50", "probes.pool=60",
        "probes.decoys=4", "probes.decoy_queries=5", "probes.trigger_queries=20",
        "audits.items=0", "attack.onset=5", "rounds=400",
    ],
)  # fmt: skip

Answers = dict[int, tuple[dict[str, Any] | None, str | None]]


def _carried(folder: Path, orders: list[Order], measure: str = ECHO, **options: Any) -> Answers:
    given: dict[str, Any] = {"workers": 1, "cache": folder} | options
    found = {}
    for index, answer, error in carry_out(orders, measure=measure, **given):
        assert index not in found
        found[index] = (answer, error)
    return found


@pytest.fixture
def unstarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be given to a worker."""

    def refuse(self: Workers, task: Task) -> None:
        raise AssertionError(f"seed {task.seed} was measured again")

    monkeypatch.setattr(Workers, "_give", refuse)


def test_every_order_is_measured_by_what_was_named(tmp_path: Path) -> None:
    orders = [Order(QUICK, 1, None), Order(TWIN, 1, 40), Order(QUICK, 2, None)]
    found = _carried(tmp_path, orders)
    assert sorted(found) == [0, 1, 2]
    for index, order in enumerate(orders):
        answer, error = found[index]
        assert answer is not None
        assert error is None
        assert answer["scenario"] == order.scenario.digest()
        assert (answer["seed"], answer["rounds"]) == (order.seed, order.rounds)
        assert answer["given"] == [], "what was not asked for is not passed on"
        assert answer["pid"] != os.getpid()
        assert answer["threads"] == "1"


def test_what_is_known_is_told_and_not_measured_again(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    orders = [Order(QUICK, 1, None), Order(TWIN, 1, 40)]
    before = _carried(tmp_path, orders)
    request.getfixturevalue("unstarted")
    assert _carried(tmp_path, orders) == before
    assert _carried(tmp_path, orders[1:]) == {0: before[1]}
    for other in (Order(QUICK, 3, None), Order(QUICK, 1, 40), Order(TWIN, 1, None)):
        with pytest.raises(AssertionError, match="was measured again"):
            _carried(tmp_path, [other])


def test_answers_of_two_measures_are_kept_apart(tmp_path: Path) -> None:
    order = Order(QUICK, 2, None)
    (one, _), (other, _) = (_carried(tmp_path, [order], by)[0] for by in (ECHO, FAIL))
    assert one is not None
    assert other is not None
    assert one["pid"] != other["pid"], "what the first one said was not taken for the second's"
    assert len(list(tmp_path.rglob("*.json"))) == 2
    for measure, known in ((ECHO, one), (FAIL, other), (DIE, None)):
        assert (
            PointCache(tmp_path, code_digest(ECHO), measure).get(QUICK.digest(), 2, None) == known
        )


def test_a_measure_s_source_is_part_of_what_its_answers_are_kept_under() -> None:
    assert code_digest(ECHO) != code_digest(POINT) == code_digest()
    assert code_digest("api.lab.evaluate_run:measure_run") not in {code_digest(ECHO), code_digest()}


def test_other_code_or_other_libraries_know_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_digest(ECHO)
    _carried(tmp_path, [Order(QUICK, 1, None)])
    assert PointCache(tmp_path, code, ECHO).get(QUICK.digest(), 1, None) is not None
    assert PointCache(tmp_path, "0" * 64, ECHO).get(QUICK.digest(), 1, None) is None
    monkeypatch.setattr(cache, "LIBRARIES", ("numpy",))
    assert code_digest(ECHO) != code


def test_what_only_judges_finished_runs_changes_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = dict(cache._rooms())
    assert set(listed) >= JUDGES, "each of them exists"
    code, judges = code_digest(ECHO), judge_digest()
    for name, runs, judged in ((min(JUDGES), True, False), ("roundlog/fold.py", False, True)):
        rooms = tuple((listed | {name: "another"}).items())
        monkeypatch.setattr(cache, "_rooms", lambda rooms=rooms: rooms)
        assert (code_digest(ECHO) == code) is runs
        assert (judge_digest() == judges) is judged


def test_the_code_is_looked_at_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    code, rooms = code_digest(ECHO), cache._rooms()
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"changed meanwhile")
    assert code_digest(ECHO) == code
    assert cache._rooms.__wrapped__() != rooms, "another process would see the change"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"of": {}, "answer": {"asr": 1}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    kept = PointCache(tmp_path, "c" * 64)
    kept.put("d" * 64, 1, None, {"asr": 0.5})
    assert kept.get("d" * 64, 1, None) == {"asr": 0.5}
    next(tmp_path.rglob("*.json")).write_bytes(damage)
    assert kept.get("d" * 64, 1, None) is None


def test_a_run_that_fails_or_kills_its_worker_costs_no_other(tmp_path: Path) -> None:
    orders = [Order(QUICK, seed, None) for seed in (1, 2, 3, 4)]
    failed = _carried(tmp_path, orders, FAIL)
    assert failed[0] == (None, "QuestionError: seed 1 is odd")
    assert failed[2] == (None, "QuestionError: seed 3 is odd")
    died = _carried(tmp_path, orders, DIE)
    assert died[0] == died[2] == (None, "the worker process ended: exit code 9")
    for found in (failed, died):
        assert [answer["seed"] for answer, _ in found.values() if answer is not None] == [2, 4]
    assert len(list(tmp_path.rglob("*.json"))) == 4, "a failure is tried again"
    assert multiprocessing.active_children() == []


def test_a_case_goes_when_it_is_measured_unless_it_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    order = Order(QUICK, 1, None, keep=folder)
    _carried(tmp_path / "cache", [order])
    assert (folder / "seen").read_text() == "1"
    (folder / "seen").write_text("mine")
    _carried(tmp_path / "cache", [order])
    assert (folder / "seen").read_text() == "mine", "a known run whose case is there is left alone"
    (folder / "seen").unlink()
    folder.rmdir()
    _carried(tmp_path / "cache", [order])
    assert (folder / "seen").read_text() == "1", "and made again where its case is gone"


def test_only_what_a_task_gives_is_passed_on(tmp_path: Path) -> None:
    task = Task(
        0, QUICK.table(), 1, 7, tmp_path / "0", False, code_digest(ECHO), ECHO,
        parent="base", begin=TWIN.table(), trigger={"name": "x"},
    )  # fmt: skip
    with Workers(1) as pool:
        (outcome,) = pool.run([task])
    assert outcome.answer is not None
    assert outcome.answer["given"] == ["begin", "parent", "trigger"]
    assert outcome.answer["began_with"] == TWIN.digest(), "a table has become a scenario"
    assert not (tmp_path / "0").exists()


def test_a_measure_that_does_not_exist_is_an_error_and_no_crash(tmp_path: Path) -> None:
    task = Task(0, QUICK.table(), 1, None, tmp_path / "0", False, "0" * 64, "measured_runs:none")
    with Workers(1) as pool:
        (outcome,) = pool.run([task])
    assert outcome.error is not None
    assert "has no attribute 'none'" in outcome.error


def test_a_worker_that_is_killed_costs_its_run_only(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_once(index: int, what: str, done: int, total: int | None) -> None:
        if index == 0 and not killed:
            (worker,) = multiprocessing.active_children()
            worker.kill()
            killed.append(index)

    with Workers(1) as pool:
        tasks = [
            Task(index, SCORED.table(), seed, rounds, tmp_path / str(index), False, code_digest())
            for index, (seed, rounds) in enumerate(((1, None), (2, 40)))
        ]
        first, second = pool.run(tasks, kill_once)
    assert first.answer is None
    assert first.error is not None
    assert "SIGKILL" in first.error
    assert second.answer is not None
    assert second.answer["last_model"] == 40
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


def test_a_worker_refuses_when_the_code_is_not_what_the_answer_is_kept_under(
    tmp_path: Path,
) -> None:
    ours, theirs = multiprocessing.Pipe()
    task = Task(0, QUICK.table(), 1, None, tmp_path / "0", False, "0" * 64, ECHO)
    with ours, theirs:
        answer, error = workers._do(task, theirs)
        assert not ours.poll()
    assert answer is None
    assert error is not None
    assert "code was changed" in error


def test_progress_says_how_many_are_done_and_how_long_the_rest_takes() -> None:
    said: list[tuple[str, int, int | None]] = []
    state = CampaignProgress(4, lambda *told: said.append(told), "runs", simulated=0.5)
    state.known()
    state.began -= 60
    state(2, "simulate", 100, 100)
    assert said[-1][1:] == (1_500, 4_000)
    state(2, "measure", 1, 2)
    assert said[-1][1:] == (1_750, 4_000)
    state.finished(2)
    assert said[-1] == ("2 of 4 runs, 1.0 a minute, about 2 min left", 2_000, 4_000)
    state(-1, "", 0, None)
    assert len(said) == 4, "whoever listens may end it although no run says anything"


def test_the_progress_line_hears_of_a_campaign(tmp_path: Path) -> None:
    heard: list[str] = []
    _carried(
        tmp_path,
        [Order(QUICK, 1, None)],
        noun="runs",
        progress=lambda what, done, total: heard.append(what),
    )
    assert any(what.startswith("1 of 1 runs") for what in heard)
    assert json.loads(next(tmp_path.rglob("*.json")).read_bytes())["of"]["measure"] == ECHO
