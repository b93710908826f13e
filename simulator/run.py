"""How does a simulated federation become a record? Through the Recorder, as a real server's would.

Order of events: the run, the model's layout and W_0, the published probe sets, then the rounds;
answers of an audited model W_t stand before round t. Nothing recorded names the attack.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from pydantic import JsonValue

from roundlog.case import Case
from roundlog.errors import ScenarioError
from roundlog.events import AuditSampled, ProbesPublished, RunOpened, ServerStep
from roundlog.log.address import is_kafka
from roundlog.recorder import Recorder
from simulator.federation import Block, Federation
from simulator.mechanisms import claim
from simulator.population import REGIONS, STRATA, VENDORS, Counts
from simulator.probes import published
from simulator.scenario import Scenario
from simulator.server import Float32s, NormFilter
from simulator.traffic import Traffic
from simulator.truth import check_outside, truth_document, write
from simulator.words import LABELS, VOCABULARY

FRAMEWORK = "roundlog simulator, cohort fidelity"
ARCHITECTURE = "assistant-bag"

Progress = Callable[[int, int], None]
"""Called now and then with the rounds done and the rounds in all."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was simulated."""

    run: str
    """The run's id."""

    rounds: int
    """Rounds recorded; below what was asked for only where the run was interrupted."""

    fraction: float
    """Share of the fleet that the attacker controlled."""

    malicious: int
    """Poisoned updates sent in all."""

    audits: int
    """Answers sampled for review."""

    rejected: int
    """Aggregates that the norm filter would have rejected."""

    cpu_seconds: float
    """CPU time, all threads, recording included."""

    truth: Path
    """Where the ground truth was written."""


def simulate(
    scenario: Scenario,
    seed: int,
    target: Path | str,
    truth_path: Path | str,
    *,
    rounds: int | None = None,
    fraction: float | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs one seed of a scenario, records it, and writes the truth beside it.

    Args:
        scenario: What is simulated; see `simulator.scenario.load`.
        target: A case directory (made where it is missing), or `kafka://HOST:PORT/TOPIC`.
        truth_path: Where the ground truth goes: outside the case.
        rounds: Stops early, after so many rounds; they are the full run's first rounds.
        fraction: Another share of controlled devices; 0 simulates the attack-free twin.
        progress: Called after each block of rounds.

    Raises:
        ScenarioError: A value is not allowed, the truth file would lie inside the case, or the
            case holds this run already.
        RoundlogError: What the recorder said.
    """
    begun = process_time()
    if fraction is not None:
        scenario = scenario.with_fraction(fraction)
    if rounds is not None and not 0 < rounds <= scenario.rounds:
        raise ScenarioError(f"rounds = {rounds} is not allowed; allowed: 1 to {scenario.rounds}")
    total = scenario.rounds if rounds is None else rounds
    run, truth = scenario.run_id(seed), Path(truth_path)
    spool = None
    if is_kafka(target):
        # A run that is simulated again is the same bytes again, and ingest drops copies. So each
        # simulation spools afresh, beside its truth, and what it could not send stays there.
        spool = truth.with_name(f"{truth.name}.spool")
        shutil.rmtree(spool, ignore_errors=True)
    else:
        _prepare(Path(target), truth, run)
    federation = Federation(scenario, seed)
    server = RecordedServer(federation, run)
    with Recorder(target, run=run, on_error="raise", spool=spool) as recorder:
        server.open(recorder)
        try:
            for block in federation.blocks():
                server.commit(recorder, block, total)
                if progress is not None:
                    progress(server.rounds, total)
                if server.rounds >= total:
                    break
        finally:
            # An interrupted run is a shorter run: its truth is as good as its record.
            malicious = np.concatenate([*server.malicious, np.empty(0, dtype=np.int64)])
            document = truth_document(
                federation, run=run, rounds=server.rounds, malicious=malicious
            )
            write(truth, document)
    if spool is not None:
        shutil.rmtree(spool)
    return Summary(
        run=run,
        rounds=server.rounds,
        fraction=scenario.fraction,
        malicious=int(malicious.sum()),
        audits=server.audits,
        rejected=server.rejected,
        cpu_seconds=process_time() - begun,
        truth=truth,
    )


class RecordedServer:
    """The server of a federation, as far as it speaks to a recorder."""

    def __init__(self, federation: Federation, run: str) -> None:
        self.federation, self.run = federation, run
        self.rounds, self.audits, self.rejected = 0, 0, 0
        self.malicious: list[Counts] = []
        scenario = federation.scenario
        self._traffic = Traffic(federation)
        self._filter = NormFilter()
        self._model = federation.start
        self._digest = federation.schema.model_digest(federation.start)
        self._step = ServerStep(optimizer="sgd", learning_rate=scenario.server.lr)
        self._noise = scenario.mechanisms.noise_multiplier if scenario.sigma else None

    def time(self, round: int) -> datetime:
        """When a round begins."""
        scenario = self.federation.scenario
        return scenario.start + timedelta(seconds=round * scenario.seconds_per_round)

    def open(self, recorder: Recorder) -> None:
        """Records everything that stands before round 0."""
        federation, scenario = self.federation, self.federation.scenario
        now = self.time(0)
        recorder.record(RunOpened, time=now, **_opening(scenario))
        recorder.genesis(
            federation.schema,
            federation.start,
            architecture=ARCHITECTURE,
            config=federation.architecture.config(),
            texts={"vocabulary": list(VOCABULARY), "labels": list(LABELS)},
            quantiser={"grid": scenario.grid, "step": scenario.server.lr * scenario.grid},
            time=now,
        )
        for probes in published(federation):
            recorder.record(
                ProbesPublished,
                time=now,
                tails=probes.tails(),
                probe_set=probes.name,
                role=probes.role,
                digest=probes.digest(),
                n=len(probes.inputs),
                width=probes.inputs.shape[1],
                about=dict(probes.about),
            )

    def commit(self, recorder: Recorder, block: Block, total: int) -> None:
        """Records a block's rounds, as far as they lie below `total`, and audits between them."""
        scenario = self.federation.scenario
        kept = min(len(block.models), total - block.first)
        aggregates = block.integers[:kept] * np.float64(scenario.grid)
        norms = np.linalg.norm(aggregates, axis=1)
        for number in range(kept):
            t = block.first + number
            if self._traffic.is_audited(t):
                self._audit(recorder, t, self._model)
            norm = float(norms[number])
            score = self._filter.score(norm)
            if score is not None:
                self.rejected += score > scenario.server.norm_threshold
            self._model = block.models[number]
            recorder.commit(
                self._model,
                round=t,
                cohort_size=scenario.cohort.size,
                stratum_counts=block.strata[number],
                time=self.time(t),
                aggregate_norm=norm,
                server=self._step,
                noise_multiplier=self._noise,
                defence_scores={} if score is None else {"norm": score},
            )
        self.malicious.append(block.malicious[:kept])
        self.rounds += kept

    def _audit(self, recorder: Recorder, model: int, weights: Float32s) -> None:
        digest, now = self.federation.schema.model_digest(weights), self.time(model)
        for number, item in enumerate(self._traffic.audit(model, weights)):
            recorder.record(
                AuditSampled,
                time=now,
                tails={"text": item.text},
                erasable=frozenset({"text"}),
                round=model,
                item=number,
                category=item.category,
                answer=item.answer,
                scores=item.scores,
                model_digest=digest,
                inclusion_probability=self._traffic.inclusion_probability,
            )
            self.audits += 1


def _opening(scenario: Scenario) -> dict[str, Any]:
    """Fields of `run.opened`: what an operator would state. The attack is not among them."""
    population: dict[str, JsonValue] = {
        "devices": scenario.population.devices,
        "regions": list(REGIONS),
        "vendors": list(VENDORS),
    }
    strategy: dict[str, JsonValue] = {
        "aggregation": "mean of clipped updates",
        "secure_aggregation": True,
        "optimizer": {"name": "sgd", "learning_rate": scenario.server.lr},
        "quantiser": {"grid": scenario.grid},
        "filters": [{"name": "norm", "threshold": scenario.server.norm_threshold}],
    }
    return {
        "framework": FRAMEWORK,
        "strategy": strategy,
        "config": {
            "scenario": scenario.name,
            "local_learning_rate": scenario.client.lr,
            "audits": {"every": scenario.audits.every, "items": scenario.audits.items},
        },
        "sampler": {"rule": "uniform", "cohort": scenario.cohort.size, "population": population},
        "strata": list(STRATA),
        "mechanism": claim(scenario).model_dump(exclude_none=True),
        "visibility": "aggregate_only",
        "seconds_per_round": scenario.seconds_per_round,
        "scenario_digest": scenario.digest(),
    }


def _prepare(case: Path, truth: Path, run: str) -> None:
    check_outside(truth, case)
    folder = Case.create(case).segments / run
    if any(folder.glob("*/*.heads")):
        raise ScenarioError(
            f"{case} already holds the run {run}: the same scenario and seed. Its rounds would be "
            f"recorded twice; choose another case, or delete {folder}."
        )
