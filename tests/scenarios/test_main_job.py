"""Does the main job hold on a whole incident? Simulated, recorded, ingested, rebuilt, dated.

Everything is held against an evaluation that shares no code with the product: it folds one round
at a time with numpy, runs the network by its formula, and reads the definitions literally.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from table_rows import all_rows

from forensics.crossings import Crossings, Mode, find_crossings
from forensics.probe import Prober
from forensics.rebuild import CaseModels
from forensics.trigger import load_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import canonical_json, digest
from roundlog.events import ModelGenesis, RoundCommitted, parse_head, split_side
from roundlog.log.embedded import EmbeddedLog
from simulator.run import simulate
from simulator.scenario import Scenario, load

LEVELS = (0.01, 0.1, 0.5, 0.9)
S = 100
SEEDS = (3, 4)
ROUNDS = 5_000


@dataclass(frozen=True, slots=True)
class Incident:
    """One simulated incident."""

    path: Path
    truth: Path
    run: str

    @contextmanager
    def open(self) -> Iterator[tuple[CaseModels, Store]]:
        case = Case(self.path)
        with case.own():
            ingest_case(case)
            store = Store(case)
            try:
                yield CaseModels(case, store, self.run), store
            finally:
                store.close()

    def crossings(self, mode: Mode, trigger: Path | None = None) -> Crossings:
        with self.open() as (models, store):
            prober = Prober(models.architecture)
            return find_crossings(
                models, store, prober, load_trigger(trigger or self.truth), LEVELS, mode=mode
            )


def _incident(folder: Path, seed: int, fraction: float | None = None) -> Incident:
    truth = folder.with_suffix(".truth.json")
    summary = simulate(load("quickstart"), seed, folder, truth, fraction=fraction)
    return Incident(folder, truth, summary.run)


@pytest.fixture(scope="module", params=SEEDS)
def incident(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Incident:
    folder = tmp_path_factory.mktemp("incident")
    return _incident(folder / f"seed-{request.param}", request.param)


def _naive_models(incident: Incident) -> Iterator[NDArray[np.float32]]:
    """W_0, W_1, … folded one element-wise addition and one patch at a time."""
    log = EmbeddedLog(incident.path / "segments")
    partition = f"{incident.run}/server"
    position = 0
    model = np.empty(0, np.float32)
    while records := log.read({partition: position}, timeout_s=0):
        position = records[-1].next_offset
        for record in records:
            assert record.frame is not None
            event = parse_head(record.frame.head)
            tails = split_side(event, record.side())
            if isinstance(event, ModelGenesis):
                model = np.frombuffer(tails["weights"], "<f4").copy()
                yield model
            elif isinstance(event, RoundCommitted):
                model = model + np.frombuffer(tails["delta"], "<f4")
                (count,) = struct.unpack_from("<I", tails["patch"])
                for i in range(count):
                    (index,) = struct.unpack_from("<I", tails["patch"], 4 + 4 * i)
                    (value,) = struct.unpack_from("<f", tails["patch"], 4 + 4 * count + 4 * i)
                    model[index] = value
                yield model
    log.close()


def _naive_hits(model: NDArray[np.float32], inputs: NDArray[Any], targets: NDArray[Any]) -> int:
    """The network by its formula: 0.35 · Σ embeddings → ReLU → answers, in float64."""
    w = model.astype(np.float64)
    embedding, rest = w[: 218 * 12].reshape(218, 12), w[218 * 12 :]
    hidden, rest = rest[: 12 * 24], rest[12 * 24 :]
    hidden_bias, rest = rest[:24], rest[24:]
    output, output_bias = rest[: 24 * 32], rest[24 * 32 :]
    bag = 0.35 * embedding[inputs].sum(axis=1)
    inner = np.maximum(bag @ hidden.reshape(12, 24) + hidden_bias, 0)
    logits = inner @ output.reshape(24, 32) + output_bias
    return int((logits.argmax(axis=1) == targets).sum())


def _naive_readings(asr: list[float], q: float) -> dict[str, int | None]:
    """The definitions, word for word."""
    n = len(asr)
    first = next((t for t in range(n) if asr[t] >= q), None)
    sustained = next((t for t in range(n - S + 1) if all(a >= q for a in asr[t : t + S])), None)
    last = next((t for t in range(n) if min(asr[t:]) >= q), None)
    # Pool adjacent violators, left to right.
    blocks: list[list[float]] = []
    for a in asr:
        blocks.append([a, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, size = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + size]
    isotonic, t = None, 0
    for total, size in blocks:
        if total / size >= q - 1e-12:
            isotonic = t
            break
        t += int(size)
    return {"first": first, "sustained": sustained, "last": last, "isotonic": isotonic}


def test_every_model_of_the_incident_is_rebuilt_with_its_recorded_digest(
    incident: Incident,
) -> None:
    with incident.open() as (models, _):
        assert (models.first, models.last) == (0, ROUNDS)
        # blocks() compares each model with the digest that the log names, and raises otherwise.
        naive = _naive_models(incident)
        for _, block in models.blocks(0, ROUNDS):
            for model in block:
                assert model.tobytes() == next(naive).tobytes()


def test_exact_mode_equals_a_naive_evaluation_at_every_model_and_every_reading(
    incident: Incident,
) -> None:
    queries = json.loads(incident.truth.read_bytes())["trigger"]["queries"]
    odd = [one for one in queries if int(digest(canonical_json(one)), 16) % 2]
    inputs = np.array([one["tokens"] for one in odd])
    targets = np.array([one["target"] for one in odd])
    hits = [_naive_hits(model, inputs, targets) for model in _naive_models(incident)]
    exact = incident.crossings("exact")
    assert exact.path is not None
    assert exact.path.hits.tolist() == hits
    assert exact.s == S
    asr = [count / len(odd) for count in hits]
    for level in LEVELS:
        rows = {row.mode: row.reached for row in exact.crossings if row.level == level}
        assert rows == _naive_readings(asr, level), f"level {level}"


def test_search_mode_brackets_a_crossing_and_its_zone_holds_the_claimed_ones(
    incident: Incident,
) -> None:
    exact, search = incident.crossings("exact"), incident.crossings("search")
    assert exact.path is not None
    asr = exact.path.asr
    for level in (0.1, 0.5):
        facts = {row.mode: row for row in exact.crossings if row.level == level}
        rows = {row.mode: row for row in search.crossings if row.level == level}
        low, high = rows["any"].low, rows["any"].high
        assert low is not None
        assert high is not None
        assert asr[low] < level <= asr[high]
        for mode in ("sustained", "isotonic"):
            zone = rows[mode]
            assert zone.rebuilds <= 40
            assert zone.low is not None
            assert zone.high is not None
            assert facts[mode].round in range(zone.low, zone.high + 1), f"{level} {mode}"


def test_the_twin_reports_no_crossing_of_ten_percent_or_above(tmp_path: Path) -> None:
    twin = _incident(tmp_path / "twin", SEEDS[0], fraction=0.0)
    modes: tuple[Mode, ...] = ("exact", "search")
    for mode in modes:
        for row in twin.crossings(mode).crossings:
            if row.level >= 0.1:
                assert row.status == "never", f"{mode} {row.level} {row.mode}: {row.status}"


DEVICES = (
    "cohort.size=60",
    "model.warm_up=0",
    "attack.onset=20",
    "fraction=0.03",
    "device.dropout=0.05",
)


@pytest.mark.parametrize(
    "scenario",
    [load("quickstart"), load("digits", DEVICES)],
    ids=["cohort fidelity", "device fidelity"],
)
def test_through_kafka_come_the_same_events_rows_and_models(
    tmp_path: Path, topic: str, kafka: Any, scenario: Scenario
) -> None:
    target = f"kafka://{kafka.bootstrap}/{topic}"
    embedded, through = Case.create(tmp_path / "embedded"), Case.create(tmp_path / "kafka")
    run = simulate(scenario, 5, embedded.path, tmp_path / "a.json", rounds=250).run
    simulate(scenario, 5, target, tmp_path / "b.json", rounds=250)
    rows, models = [], []
    for case, source in ((embedded, None), (through, target)):
        with case.own():
            ingest_case(case, source=source)
            rows.append(all_rows(case, without_sources=True))
            store = Store(case)
            rebuilt = CaseModels(case, store, run)
            models.append([rebuilt.rebuild(t) for t in (0, 125, 250)])
            store.close()
    assert rows[0] == rows[1]
    assert all(one.matches for one in models[0])
    assert [one.digest for one in models[0]] == [one.digest for one in models[1]]


def test_a_poisoned_federation_of_single_devices_is_found_by_the_same_questions(
    tmp_path: Path,
) -> None:
    small = ["cohort.size=100", "model.warm_up=0"]
    overrides = [*small, "fraction=0.04", "attack.onset=50", "rounds=300"]
    found: dict[float, Crossings] = {}
    for fraction in (0.04, 0.0):
        case, truth = Case.create(tmp_path / f"case-{fraction}"), tmp_path / f"t-{fraction}.json"
        simulate(load("digits", overrides), 3, case.path, truth, fraction=fraction)
        with case.own():
            ingest_case(case)
            store = Store(case)
            models = CaseModels(case, store, store.rows("SELECT run FROM runs", {})[0][0])
            prober = Prober(models.architecture)
            trigger = load_trigger(truth)
            found[fraction] = find_crossings(models, store, prober, trigger, (0.5,), mode="exact")
            store.close()
    attacked, twin = (found[fraction].crossings for fraction in (0.04, 0.0))
    assert {row.status for row in attacked} == {"crossed"}
    assert min(row.round or 0 for row in attacked) > 50
    assert {row.status for row in twin} == {"never"}
