"""What do we measure on? Honest-looking rounds of two sizes, made from a seed.

`reference`: the reference model, 3,728 float32 (15 KB a round). `incident`: the incident's
upload size, 262,144 float32 (1 MB a round).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roundlog.events import AuditSampled, RunOpened, ServerStep
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

AUDIT_TEXT_BYTES = 180


@dataclass(frozen=True, slots=True)
class Size:
    """A model size, and how many rounds of it one measurement takes."""

    name: str
    parameters: int
    rounds: int

    @property
    def round_bytes(self) -> int:
        return 4 * self.parameters


SIZES = (Size("15 KB a round", 3_728, 20_000), Size("1 MB a round", 262_144, 600))


def record_stream(target: Path | str, size: Size, *, seed: int, audits: bool = True) -> None:
    """Records `size.rounds` rounds, with one sampled answer a round."""
    rng = np.random.default_rng(seed)
    schema = schema_of({"weights": np.zeros(size.parameters, dtype=np.float32)})
    model = rng.standard_normal(size.parameters, dtype=np.float32)
    steps = 0.01 * rng.standard_normal((16, size.parameters), dtype=np.float32)
    counts = rng.integers(0, 300, size=(16, 72))
    text = rng.bytes(AUDIT_TEXT_BYTES)
    run = f"bench-{size.parameters}-{seed}"
    with Recorder(target, run=run, on_error="raise") as recorder:
        recorder.record(RunOpened, framework="bench", strata=tuple(f"s{i}" for i in range(72)))
        recorder.genesis(schema, model, architecture="bench")
        for t in range(size.rounds):
            model = model + steps[t % 16]
            recorder.commit(
                model,
                round=t,
                cohort_size=10_000,
                stratum_counts=counts[t % 16],
                aggregate_norm=1.0,
                server=ServerStep(optimizer="sgd", learning_rate=0.09),
            )
            if audits:
                recorder.record(
                    AuditSampled,
                    round=t,
                    item=0,
                    category="news",
                    answer=3,
                    scores={"confidence": 0.9, "margin": 0.4},
                    model_digest=schema.digest,
                    inclusion_probability=0.01,
                    tails={"text": text},
                    erasable=frozenset({"text"}),
                )
