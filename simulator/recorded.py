"""What does the server of a federation record, and in which order? As a real one would.

The run, the model's layout and W_0, the published probe sets, then the rounds. Answers of an
audited model W_t stand before round t; who took part in round t, sealed, and its failed attempts
stand right before the round itself. Nothing recorded names the attack.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydantic import JsonValue

from roundlog.cohort import RULE
from roundlog.events import (
    AuditSampled,
    CohortSealed,
    ProbesPublished,
    RoundFailed,
    RunOpened,
    ServerStep,
)
from roundlog.recorder import Recorder
from roundlog.sealing import new_private_key, public_key, seal
from simulator.federation import Block, Federation
from simulator.fidelity import Cohort
from simulator.fleet import REGIONS, VENDORS, Counts
from simulator.mechanisms import claim
from simulator.probes import published
from simulator.server import NormFilter
from simulator.tasks import Float32s
from simulator.traffic import Traffic

KEY_BYTES = 32


class RecordedServer:
    """The server of a federation, as far as it speaks to a recorder."""

    def __init__(self, federation: Federation, run: str, parent: str | None = None) -> None:
        self.federation, self.run, self.parent = federation, run, parent
        self.rounds, self.audits, self.rejected, self.devices = 0, 0, 0, 0
        self.malicious: list[Counts] = []
        scenario = federation.scenario
        self.private_key: bytes | None = None
        """Opens the sealed cohorts; None at cohort fidelity, where nobody in particular attends."""
        if scenario.fidelity == "device":
            entropy = federation.randomness.stream("cohort/key").bytes(KEY_BYTES)
            self.private_key = new_private_key(entropy)
        self._public_key = None if self.private_key is None else public_key(self.private_key)
        self._traffic = Traffic(federation)
        self._filter = NormFilter()
        self._model = federation.start
        self._step = ServerStep(optimizer="sgd", learning_rate=scenario.server.lr)
        settings = scenario.mechanisms
        self._noise = settings.noise_multiplier if scenario.sigma else None
        self._adaptive = settings.clipping == "adaptive"
        self._quantised = scenario.model.broadcast != "float32"

    def time(self, round: int) -> datetime:
        """When a round begins."""
        scenario = self.federation.scenario
        return scenario.start + timedelta(seconds=round * scenario.seconds_per_round)

    def open(self, recorder: Recorder) -> None:
        """Records everything that stands before round 0."""
        federation, scenario = self.federation, self.federation.scenario
        now = self.time(0)
        recorder.record(
            RunOpened,
            time=now,
            parent=self.parent,
            cohort_key=None if self._public_key is None else self._public_key.hex(),
            **_opening(federation),
        )
        recorder.genesis(
            federation.schema,
            federation.start,
            architecture=federation.architecture.NAME,
            config=federation.architecture.config(),
            texts=federation.task.texts,
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
        federation, scenario = self.federation, self.federation.scenario
        block = block.cut(total - block.first)
        aggregates = block.integers * np.float64(scenario.grid)
        norms = np.linalg.norm(aggregates, axis=1)
        for number, cohort in enumerate(block.cohorts):
            t = block.first + number
            if self._traffic.is_audited(t):
                self._audit(recorder, t)
            self._attendance(recorder, t, cohort)
            norm = float(norms[number])
            score = self._filter.score(norm)
            if score is not None:
                self.rejected += score > scenario.server.norm_threshold
            self._model = block.models[number]
            facts: dict[str, Any] = {}
            if self._adaptive:
                facts["clip"] = float(block.clips[number])
            if self._quantised:
                deployed = federation.deployed(self._model)
                facts["broadcast_digest"] = federation.schema.model_digest(deployed)
            recorder.commit(
                self._model,
                round=t,
                cohort_size=cohort.counted,
                stratum_counts=cohort.strata,
                time=self.time(t),
                attempt=len(cohort.failures),
                aggregate_norm=norm,
                server=self._step,
                noise_multiplier=self._noise,
                defence_scores={} if score is None else {"norm": score},
                **facts,
            )
            self.devices += cohort.counted
        self.malicious.append(block.malicious)
        self.rounds += len(block.cohorts)

    def _attendance(self, recorder: Recorder, round: int, cohort: Cohort) -> None:
        """Records failed attempts, and who took part in the one that succeeded."""
        now = self.time(round)
        for attempt, failure in enumerate(cohort.failures):
            recorder.record(
                RoundFailed,
                time=now,
                round=round,
                attempt=attempt,
                reason=failure.reason,
                cohort_size=failure.reported,
            )
        if cohort.membership is None or self._public_key is None:
            return
        randomness = self.federation.randomness
        entropy = randomness.stream("cohort/seal", cohort.membership.draw).bytes(KEY_BYTES)
        recorder.record(
            CohortSealed,
            time=now,
            tails={"sealed": seal(self._public_key, cohort.membership.to_bytes(), entropy=entropy)},
            round=round,
            attempt=len(cohort.failures),
            rule="sampler",
        )

    def _audit(self, recorder: Recorder, model: int) -> None:
        federation = self.federation
        deployed: Float32s = federation.deployed(self._model)
        digest, now = federation.schema.model_digest(deployed), self.time(model)
        for number, item in enumerate(self._traffic.audit(model, deployed)):
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


def _opening(federation: Federation) -> dict[str, Any]:
    """Fields of `run.opened`: what an operator would state. The attack is not among them."""
    scenario, fleet = federation.scenario, federation.fleet
    population: dict[str, JsonValue] = {
        "devices": scenario.population.devices,
        "regions": list(REGIONS),
        "vendors": list(VENDORS),
    }
    sampler: dict[str, JsonValue] = {
        "rule": "uniform",
        "cohort": scenario.cohort.size,
        "population": population,
    }
    if scenario.fidelity == "device":
        sampler |= {
            "draw": RULE,
            "over_selection": scenario.device.over_selection,
            "stratum_devices": [int(devices) for devices in fleet.devices],
        }
    strategy: dict[str, JsonValue] = {
        "aggregation": "mean of clipped updates",
        "clipping": scenario.mechanisms.clipping,
        "secure_aggregation": scenario.secure_aggregation,
        "optimizer": {"name": "sgd", "learning_rate": scenario.server.lr},
        "quantiser": {"grid": scenario.grid},
        "filters": [{"name": "norm", "threshold": scenario.server.norm_threshold}],
    }
    return {
        "framework": f"roundlog simulator, {scenario.fidelity} fidelity",
        "strategy": strategy,
        "config": {
            "scenario": scenario.name,
            "local_learning_rate": scenario.client.lr,
            "local_steps": scenario.client.steps,
            "audits": {"every": scenario.audits.every, "items": scenario.audits.items},
        },
        "sampler": sampler,
        "strata": list(fleet.strata),
        "mechanism": claim(scenario).model_dump(exclude_none=True),
        "visibility": "aggregate_only" if scenario.secure_aggregation else "individual",
        "broadcast": scenario.model.broadcast,
        "seconds_per_round": scenario.seconds_per_round,
        "scenario_digest": scenario.digest(),
    }
