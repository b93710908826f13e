"""Is one run of an evaluation recorded, ingested and measured as any case would be?"""

from pathlib import Path
from typing import Any

import pytest

from api.desk import LocalDesk, open_desk
from api.lab.evaluate_run import CASE, TRUTH, measure_run
from forensics.evaluation.when import measure_when
from forensics.rebuild import CaseModels
from forensics.trigger import load_trigger
from roundlog.errors import RoundlogError
from simulator.scenario import load

SMALL = (
    "model.warm_up=60", "population.archetypes=64", "probes.clean=200", "probes.pool=300",
    "probes.decoys=6", "probes.decoy_queries=10", "probes.trigger_queries=20", "audits.items=0",
    "fraction=0.04", "attack.onset=120", "rounds=200",
)  # fmt: skip
ROUNDS = 180

Measured = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("run")
    return measure_run(load("quickstart", SMALL), 5, folder, rounds=ROUNDS), folder


def test_what_is_measured_is_what_the_case_says(measured: Measured) -> None:
    found, folder = measured
    with open_desk(folder / CASE) as desk:
        assert isinstance(desk, LocalDesk)
        records = desk.records
        assert found["run"] == records.run(None)
        models = CaseModels(records.case, records.store, found["run"])
        again = measure_when(models, records.store, load_trigger(folder / TRUTH), 120)
    timeless = {key: value for key, value in again.items() if key != "seconds"}
    assert {key: found[key] for key in timeless} == timeless


def test_a_run_that_stops_early_says_so(measured: Measured) -> None:
    found, _ = measured
    assert found["rounds"] == found["last_model"] == ROUNDS
    assert found["onset"] == 120
    assert found["malicious"] > 0


def test_every_step_has_its_cpu_time(measured: Measured) -> None:
    found, _ = measured
    assert list(found["seconds"]) == [
        "simulate", "ingest", "onset", "at_ten", "watch", "control", "series",
    ]  # fmt: skip
    assert found["seconds"]["simulate"] > 0
    assert found["seconds"]["ingest"] > 0


def test_a_twin_has_the_attacked_run_s_trigger_and_no_onset(
    measured: Measured, tmp_path: Path
) -> None:
    _, folder = measured
    twin = load("quickstart", [*SMALL, "fraction=0"])
    told: list[tuple[str, int, int | None]] = []
    found = measure_run(twin, 5, tmp_path, progress=lambda *at: told.append(at))
    assert found["onset"] is None
    assert found["malicious"] == 0
    assert found["rounds"] == 200
    triggers = [load_trigger(place / TRUTH) for place in (folder, tmp_path)]
    assert triggers[0] == triggers[1]
    heard = [what for what, _, _ in told]
    assert heard[0] == "simulate"
    assert heard[-1] == "measure"
    assert told[-1][1:] == (5, 5)


def test_an_error_of_a_step_is_the_run_s(measured: Measured) -> None:
    _, folder = measured
    with pytest.raises(RoundlogError, match="holds"):
        measure_run(load("quickstart", SMALL), 5, folder, rounds=ROUNDS)
