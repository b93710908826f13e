"""A federation of single devices as a record: who took part is in it, under a seal.

The same seed gives the same bytes, whatever runs beside it and however work is cut into pieces.
"""

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

from roundlog.artefact import int4_per_channel
from roundlog.cohort import Membership, strata_of
from roundlog.events import (
    CohortSealed,
    ModelGenesis,
    RoundCommitted,
    RoundFailed,
    RunOpened,
    check_side,
    parse_head,
)
from roundlog.sealing import SealError, key_from_hex, new_private_key, open_sealed, public_key
from simulator import clients
from simulator.federation import Federation
from simulator.fidelity import device
from simulator.run import Summary, simulate
from simulator.scenario import Scenario, load, to_toml

SEED = 5
ROUNDS = 30
SMALL = (
    f"rounds={ROUNDS}",
    "cohort.size=40",
    "population.devices=20000",
    "population.archetypes=32",
    "model.warm_up=0",
    "attack.onset=10",
    "fraction=0.02",
    "device.over_selection=1.3",
    "device.dropout=0.1",
    "device.pace=0.5",
    "probes.clean=50",
    "probes.pool=60",
    "probes.decoys=4",
    "probes.decoy_queries=5",
    "probes.trigger_queries=20",
    "audits.every=10",
    "audits.items=4",
)

Recorded = Callable[..., tuple[Summary, Path, Path]]


def _scenario(*overrides: str) -> Scenario:
    return load("digits", [*SMALL, *overrides])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Simulates each variation once: summary, case, truth file."""
    known: dict[tuple[str, ...], tuple[Summary, Path, Path]] = {}

    def make(*overrides: str) -> tuple[Summary, Path, Path]:
        if overrides not in known:
            folder = tmp_path_factory.mktemp("device")
            case, truth = folder / "case", folder / "truth.json"
            known[overrides] = (simulate(_scenario(*overrides), SEED, case, truth), case, truth)
        return known[overrides]

    return make


def _rounds(case: Path) -> list[RoundCommitted]:
    return [event for event in events_of(case) if isinstance(event, RoundCommitted)]


def _memberships(case: Path, private: bytes) -> dict[int, Membership]:
    found: dict[int, Membership] = {}
    for head, side in frames_of(case):
        event = parse_head(head)
        if isinstance(event, CohortSealed):
            sealed = bytes(check_side(event, side)["sealed"])
            found[event.round] = Membership.from_bytes(open_sealed(private, sealed))
    return found


def test_the_private_key_opens_who_took_part_and_lies_beside_the_truth(recorded: Recorded) -> None:
    summary, case, truth = recorded()
    assert summary.cohort_key == truth.with_name("truth.json.key")
    assert summary.cohort_key.stat().st_mode & 0o077 == 0
    private = key_from_hex(summary.cohort_key.read_text())
    opened = events_of(case)[0]
    assert isinstance(opened, RunOpened)
    assert opened.cohort_key == public_key(private).hex()
    sizes = np.array(opened.sampler["stratum_devices"])
    members = _memberships(case, private)
    rounds = [(event, side) for event, side in _with_sides(case) if event.name == "round.committed"]
    assert sorted(members) == list(range(ROUNDS))
    for event, side in rounds:
        assert isinstance(event, RoundCommitted)
        devices = members[event.round].counted(sizes)
        assert len(set(devices.tolist())) == len(devices) == event.cohort_size
        recorded_counts = np.frombuffer(check_side(event, side)["strata"], dtype="<u4")
        drawn = np.bincount(strata_of(devices), minlength=len(sizes))
        np.testing.assert_array_equal(recorded_counts, drawn)


def _with_sides(case: Path) -> list[tuple[Any, bytes]]:
    return [(parse_head(head), side) for head, side in frames_of(case)]


def test_no_file_of_the_case_holds_the_private_key(recorded: Recorded) -> None:
    summary, case, _ = recorded()
    assert summary.cohort_key is not None
    text = summary.cohort_key.read_text().strip()
    for path in case.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert text.encode() not in data
            assert bytes.fromhex(text) not in data


def test_another_key_opens_nothing(recorded: Recorded) -> None:
    _, case, _ = recorded()
    with pytest.raises(SealError, match="does not open"):
        _memberships(case, new_private_key(bytes(32)))


def test_failed_attempts_stand_before_the_round_that_succeeded(recorded: Recorded) -> None:
    _, case, _ = recorded("device.dropout=0.4", "device.least=0.85")
    failed: dict[int, int] = {}
    for event in events_of(case):
        if isinstance(event, RoundFailed):
            assert event.attempt == failed.get(event.round, 0)
            assert "devices reported; a round needs 34" in event.reason
            assert event.cohort_size < 34
            failed[event.round] = event.attempt + 1
        if isinstance(event, RoundCommitted):
            assert event.attempt == failed.get(event.round, 0)
            assert event.cohort_size >= 34
    assert sum(failed.values()) >= 5, f"seed {SEED}"


def test_the_record_says_what_the_server_could_see(recorded: Recorded) -> None:
    for secure, visibility in (("true", "aggregate_only"), ("false", "individual")):
        opened = events_of(recorded(f"secure_aggregation={secure}")[1])[0]
        assert isinstance(opened, RunOpened)
        assert opened.visibility == visibility
        assert opened.strategy["secure_aggregation"] is (secure == "true")


@pytest.mark.parametrize(
    "losses", [(), ("device.dropout=0.3", "device.least=0.7"), ("mechanisms.noise=local",)]
)
def test_secure_aggregation_changes_not_one_bit_of_any_model(
    recorded: Recorded, losses: tuple[str, ...]
) -> None:
    on, off = (
        [
            (event.attempt, event.post_digest)
            for event in _rounds(recorded(f"secure_aggregation={secure}", *losses)[1])
        ]
        for secure in ("true", "false")
    )
    assert on == off
    assert len(set(on)) == ROUNDS


def test_nothing_recorded_names_the_attack(recorded: Recorded) -> None:
    _, case, _ = recorded()
    for head, _ in frames_of(case):
        lowered = head.lower()
        for word in (b"attack", b"malicious", b"trigger", b"guilty", b"onset", b"fraction"):
            assert word not in lowered


def test_a_run_that_stops_early_is_the_beginning_of_the_whole_run(
    recorded: Recorded, tmp_path: Path
) -> None:
    whole = frames_of(recorded()[1])
    simulate(_scenario(), SEED, tmp_path / "case", tmp_path / "truth.json", rounds=13)
    early = frames_of(tmp_path / "case")
    assert early == whole[: len(early)]
    assert parse_head(early[-1][0]).name == "round.committed"


@pytest.mark.parametrize("devices_at_once", [4, 16])
def test_how_many_devices_train_at_once_changes_not_one_byte(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices_at_once: int
) -> None:
    monkeypatch.setattr(clients, "LARGEST_CHUNK", devices_at_once)
    monkeypatch.setattr(device, "CHUNKS_AT_ONCE", 1)
    simulate(_scenario(), SEED, tmp_path / "case", tmp_path / "truth.json", rounds=15)
    frames = frames_of(tmp_path / "case")
    assert frames == frames_of(recorded()[1])[: len(frames)]


def test_threads_of_the_environment_change_nothing(recorded: Recorded, tmp_path: Path) -> None:
    program = (
        "import sys; from simulator.run import simulate; from simulator.scenario import load; "
        "simulate(load(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], rounds=15)"
    )
    scenario, case = tmp_path / "mine.toml", tmp_path / "case"
    scenario.write_text(to_toml(_scenario()))
    subprocess.run(
        [sys.executable, "-c", program, scenario, str(SEED), case, tmp_path / "truth.json"],
        env=os.environ | {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"},
        check=True,
        timeout=120,
    )
    frames = frames_of(case)
    assert frames == frames_of(recorded()[1])[: len(frames)]


def test_what_devices_run_has_a_digest_of_its_own_beside_the_master_weights(
    recorded: Recorded,
) -> None:
    _, case, _ = recorded("model.broadcast=int4")
    federation = Federation(_scenario("model.broadcast=int4"), SEED)
    opened = events_of(case)[0]
    assert isinstance(opened, RunOpened)
    assert opened.broadcast == "int4"
    models = np.concatenate([block.models for block in federation.blocks()])
    for event, model in zip(_rounds(case), models, strict=True):
        artefact = int4_per_channel(model, federation.schema)
        assert event.broadcast_digest == federation.schema.model_digest(artefact)
        assert event.broadcast_digest != event.post_digest
    assert all(event.broadcast_digest is None for event in _rounds(recorded()[1]))


def test_an_audited_answer_names_the_artefact_that_gave_it(recorded: Recorded) -> None:
    _, case, _ = recorded("model.broadcast=int4")
    running = None
    for event in events_of(case):
        if isinstance(event, RoundCommitted):
            running = event.broadcast_digest
        elif event.name == "audit.sampled" and running is not None:
            assert event.model_digest == running  # type: ignore[attr-defined]


def test_a_moving_clip_norm_is_recorded_with_each_round(recorded: Recorded) -> None:
    _, case, _ = recorded("mechanisms.clipping=adaptive")
    clips = [event.clip for event in _rounds(case)]
    assert clips[0] == pytest.approx(0.5)
    assert len(set(clips)) == ROUNDS
    assert all(event.clip is None for event in _rounds(recorded()[1]))


def test_strata_are_recorded_with_versions_where_there_are_several(recorded: Recorded) -> None:
    _, case, _ = recorded("population.app_versions=3")
    opened = events_of(case)[0]
    assert isinstance(opened, RunOpened)
    assert len(opened.strata) == 6 * 12 * 3
    assert opened.strata[:2] == ("africa/vendor-a/v3", "africa/vendor-a/v2")


def test_the_truth_counts_the_devices_that_really_attacked(recorded: Recorded) -> None:
    summary, case, truth = recorded()
    document = json.loads(truth.read_text())
    federation = Federation(_scenario(), SEED)
    assert summary.cohort_key is not None
    members = _memberships(case, key_from_hex(summary.cohort_key.read_text()))
    for t, malicious in enumerate(document["malicious"]):
        devices = members[t].counted(federation.fleet.devices)
        acting = federation.fleet.acting(devices, 1.0 if t >= 10 else 0.0)
        assert int(acting.sum()) == malicious
    assert sum(document["malicious"]) > 0
    assert summary.devices == sum(event.cohort_size for event in _rounds(case))


def test_cohort_fidelity_seals_nobody(tmp_path: Path) -> None:
    summary = simulate(
        load("quickstart", ["model.warm_up=0", "population.archetypes=16"]),
        SEED,
        tmp_path / "case",
        tmp_path / "truth.json",
        rounds=3,
    )
    assert summary.cohort_key is None
    assert not (tmp_path / "truth.json.key").exists()
    assert not any(isinstance(event, CohortSealed) for event in events_of(tmp_path / "case"))


def test_a_record_begins_with_the_federations_own_model(recorded: Recorded) -> None:
    genesis = next(e for e in events_of(recorded()[1]) if isinstance(e, ModelGenesis))
    federation = Federation(_scenario(), SEED)
    assert genesis.digest == federation.schema.model_digest(federation.start)
