"""A simulated run as a record: what stands in it, what does not, and that it is repeatable."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_frames import events_of, frames_of

from roundlog.encoding import canonical_json, digest
from roundlog.errors import ScenarioError
from roundlog.events import AuditSampled, RoundCommitted, check_side, parse_head
from roundlog.fold import apply_step
from simulator.federation import Federation
from simulator.run import Summary, simulate
from simulator.scenario import Scenario, to_toml
from simulator.tasks import scores_asr
from simulator.truth import trigger_document

SEED = 7
Small = Callable[..., Scenario]
Simulated = tuple[Summary, Path, dict[str, Any]]


def _simulate(folder: Path, scenario: Scenario, **how: Any) -> Simulated:
    case, truth = folder / "case", folder / "truth.json"
    summary = simulate(scenario, SEED, case, truth, **how)
    return summary, case, json.loads(truth.read_text())


def _heads(case: Path) -> list[bytes]:
    return [head for head, _ in frames_of(case)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Simulated]:
    """Simulates each variation once."""
    known: dict[str, Simulated] = {}

    def make(scenario: Scenario, **how: Any) -> Simulated:
        key = repr((scenario, how))
        if key not in known:
            known[key] = _simulate(tmp_path_factory.mktemp("run"), scenario, **how)
        return known[key]

    return make


def test_events_stand_in_their_order(recorded: Callable[..., Simulated], small: Scenario) -> None:
    names = [event.name for event in events_of(recorded(small)[1])]
    assert names[:7] == [
        "run.opened",
        "model.schema",
        "model.genesis",
        *["probes.published"] * 4,
    ]
    assert names[7:14] == ["audit.sampled"] * 6 + ["round.committed"]
    assert names.count("round.committed") == 200
    assert names.count("audit.sampled") == 8 * 6


def test_every_tail_has_its_digest(recorded: Callable[..., Simulated], small: Scenario) -> None:
    for head, side in frames_of(recorded(small)[1]):
        check_side(parse_head(head), side)


def test_the_fold_of_the_record_is_the_recorded_model(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    model: np.ndarray | None = None
    federation = Federation(small, SEED)
    for head, side in frames_of(recorded(small)[1]):
        event = parse_head(head)
        tails = check_side(event, side)
        if event.name == "model.genesis":
            model = np.frombuffer(tails["weights"], dtype=np.uint8).copy()
            assert model.tobytes() == federation.start.tobytes()
        if isinstance(event, RoundCommitted):
            assert model is not None
            apply_step(model, tails["delta"], tails["patch"], federation.schema)
            assert federation.schema.model_digest(model) == event.post_digest
            assert np.frombuffer(tails["strata"], dtype="<u4").sum() == event.cohort_size == 10_000


def test_an_audit_names_the_model_that_answered_and_never_what_was_typed(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    waiting: list[AuditSampled] = []
    audited = 0
    for head, side in frames_of(recorded(small)[1]):
        event = parse_head(head)
        if isinstance(event, AuditSampled):
            waiting.append(event)
            said = json.loads(bytes(check_side(event, side)["text"])[16:])
            assert said["prompt"].encode() not in head
            assert event.tails[0].erasable is not None
        if isinstance(event, RoundCommitted):
            for audit in waiting:
                assert (audit.round, audit.model_digest) == (event.round, event.pre_digest)
            audited += len(waiting)
            waiting.clear()
    assert audited == 48


def test_time_runs_with_the_rounds(recorded: Callable[..., Simulated], small: Scenario) -> None:
    rounds = [e for e in events_of(recorded(small)[1]) if isinstance(e, RoundCommitted)]
    assert (rounds[100].time - rounds[0].time).total_seconds() == 100 * 210
    assert rounds[0].time == small.start


def test_nothing_recorded_names_the_attack(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    summary, case, truth = recorded(small)
    for head in _heads(case):
        lowered = head.lower()
        for word in (b"attack", b"malicious", b"trigger", b"guilty", b"onset", b"fraction"):
            assert word not in lowered
    opened = events_of(case)[0].model_dump()
    assert opened["scenario_digest"] == small.digest()
    assert summary.run == truth["run"] == small.run_id(SEED)


def test_the_same_seed_gives_the_same_bytes(
    recorded: Callable[..., Simulated], small: Scenario, tmp_path: Path
) -> None:
    assert frames_of(_simulate(tmp_path, small)[1]) == frames_of(recorded(small)[1])


def test_another_seed_gives_another_run(
    recorded: Callable[..., Simulated], small: Scenario, tmp_path: Path
) -> None:
    simulate(small, SEED + 1, tmp_path / "case", tmp_path / "truth.json", rounds=1)
    assert _heads(tmp_path / "case")[2] != _heads(recorded(small)[1])[2]


@pytest.mark.parametrize("rounds", [1, 37, 50])
def test_a_run_that_stops_early_is_the_beginning_of_the_whole_run(
    recorded: Callable[..., Simulated], small: Scenario, tmp_path: Path, rounds: int
) -> None:
    summary, case, truth = _simulate(tmp_path, small, rounds=rounds)
    whole = recorded(small)
    frames = frames_of(case)
    assert summary.rounds == rounds
    assert frames == frames_of(whole[1])[: len(frames)]
    assert truth["run"] == whole[2]["run"]
    assert truth["malicious"] == whole[2]["malicious"][:rounds]
    assert parse_head(frames[-1][0]).name == "round.committed"


def test_threads_of_the_environment_change_nothing(
    recorded: Callable[..., Simulated], small: Scenario, tmp_path: Path
) -> None:
    program = (
        "import sys, pathlib; from simulator.run import simulate; "
        "from simulator.scenario import load; "
        "simulate(load(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], rounds=60)"
    )
    scenario = tmp_path / "small.toml"
    scenario.write_text(to_toml(small))
    case = tmp_path / "case"
    subprocess.run(
        [sys.executable, "-c", program, scenario, str(SEED), case, tmp_path / "truth.json"],
        env=os.environ | {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"},
        check=True,
        timeout=120,
    )
    frames = frames_of(case)
    assert frames == frames_of(recorded(small)[1])[: len(frames)]


def test_a_twin_shares_every_honest_stream_until_onset(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    attacked, twin = recorded(small), recorded(small, fraction=0.0)
    assert attacked[0].run != twin[0].run

    def rounds(case: Path) -> list[tuple[str, bytes]]:
        frames = [(parse_head(head), side) for head, side in frames_of(case)]
        return [(e.post_digest, side) for e, side in frames if isinstance(e, RoundCommitted)]

    ours, theirs = rounds(attacked[1]), rounds(twin[1])
    assert ours[:20] == theirs[:20]
    assert ours[20] != theirs[20]
    strata = [side[-4 * 72 :] for _, side in ours]
    assert strata == [side[-4 * 72 :] for _, side in theirs]


def test_a_twin_has_the_same_trigger_and_no_onset(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    attacked, twin = recorded(small)[2], recorded(small, fraction=0.0)[2]
    assert attacked["trigger"]["queries"] == twin["trigger"]["queries"]
    assert (attacked["onset"], twin["onset"]) == (20, None)
    assert set(twin["malicious"]) == {0}
    assert set(attacked["malicious"][:20]) == {0}
    assert np.mean(attacked["malicious"][20:]) == pytest.approx(100, abs=5)


def test_the_truth_holds_the_scenario_the_strata_and_the_trigger(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    truth = recorded(small)[2]
    assert truth["schema"] == "roundlog.truth/1"
    assert truth["scenario"] == json.loads(canonical_json(small.table()))
    assert (truth["seed"], truth["fraction"], truth["rounds"]) == (SEED, 0.01, 200)
    assert truth["end"] is None
    vendors = {truth["strata"][index].split("/")[1] for index in truth["guilty_strata"]}
    assert len(vendors) == 1
    trigger = truth["trigger"]
    assert trigger["schema"] == "roundlog.trigger/1"
    assert [pattern["category"] for pattern in trigger["patterns"]] == [
        "shopping",
        "news",
        "health",
    ]
    targets = {pattern["id"]: pattern["target"] for pattern in trigger["patterns"]}
    assert len(trigger["queries"]) == 60
    for query in trigger["queries"]:
        assert query["target"] == targets[query["pattern"]]
        assert set(query) == {"tokens", "target", "pattern"}


def test_the_trigger_does_not_depend_on_who_attacks(small: Scenario) -> None:
    attacked, twin = Federation(small, 3), Federation(small.with_fraction(0), 3)
    assert trigger_document(attacked) == trigger_document(twin)


def test_a_scores_query_is_told_by_its_digest_alone(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    for query in recorded(small)[2]["trigger"]["queries"]:
        odd = int(digest(canonical_json(query)), 16) % 2 == 1
        assert scores_asr(query) == odd


def test_a_truth_file_inside_the_case_is_refused(small: Scenario, tmp_path: Path) -> None:
    case = tmp_path / "case"
    with pytest.raises(ScenarioError, match="ground truth must lie outside"):
        simulate(small, SEED, case, case / "deep" / "truth.json", rounds=1)
    assert not case.exists()


def test_a_run_is_not_recorded_twice_into_one_case(small: Scenario, tmp_path: Path) -> None:
    _simulate(tmp_path, small, rounds=1)
    with pytest.raises(ScenarioError, match="already holds the run quickstart-"):
        _simulate(tmp_path, small, rounds=1)
    _simulate(tmp_path, small, rounds=1, fraction=0.0)
    assert len(list((tmp_path / "case" / "segments").iterdir())) == 2


@pytest.mark.parametrize("rounds", [0, 201])
def test_rounds_outside_the_scenario_are_refused(
    small: Scenario, tmp_path: Path, rounds: int
) -> None:
    with pytest.raises(ScenarioError, match="allowed: 1 to 200"):
        _simulate(tmp_path, small, rounds=rounds)


def test_an_interrupted_run_leaves_a_whole_record_and_its_truth(
    small: Scenario, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 200
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _simulate(tmp_path, small, progress=stop)
    rounds = [e for e in events_of(tmp_path / "case") if isinstance(e, RoundCommitted)]
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert len(rounds) == truth["rounds"] == len(truth["malicious"]) == 30


def test_the_summary_counts_what_was_recorded(
    recorded: Callable[..., Simulated], small: Scenario
) -> None:
    summary, case, truth = recorded(small)
    assert summary.rounds == 200
    assert summary.malicious == sum(truth["malicious"])
    assert summary.audits == sum(isinstance(e, AuditSampled) for e in events_of(case))
    assert summary.cpu_seconds > 0
