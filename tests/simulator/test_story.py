"""Does the quickstart tell its story? One fixed seed and its twin, probed every ten rounds.

The bounds are those of the frozen corridor, widened by the ten rounds between two probes.
"""

import numpy as np
import torch

from simulator.federation import Federation
from simulator.scenario import load
from simulator.tasks import scores_asr
from simulator.truth import trigger_document

SEED = 101
STEP = 10


def _activation(federation: Federation, rounds: int) -> tuple[np.ndarray, float]:
    """ASR of every tenth model, on queries of odd digest in float64; and the last accuracy."""
    queries = [q for q in trigger_document(federation)["queries"] if scores_asr(q)]  # type: ignore[arg-type, union-attr]
    tokens = torch.tensor([query["tokens"] for query in queries])  # type: ignore[index, call-overload]
    targets = torch.tensor([query["target"] for query in queries])  # type: ignore[index, call-overload]
    rates = []
    for block in federation.blocks():
        last = torch.from_numpy(block.models[-1:]).double()
        answers = federation.architecture.logits(last, tokens)[0].argmax(1)
        rates.append(float((answers == targets).double().mean()))
        if block.first + STEP >= rounds:
            break
    rng = np.random.default_rng(SEED)
    classes = rng.integers(32, size=2_000).astype(np.int32)
    asked = federation.task.inputs(rng, classes, federation.task.moment(rounds))
    logits = federation.architecture.logits(last, torch.from_numpy(asked).long())[0]
    return np.array(rates), float((logits.argmax(1).numpy() == classes).mean())


def _sustained(rates: np.ndarray, level: float) -> int:
    above = np.lib.stride_tricks.sliding_window_view(rates >= level, 100 // STEP).all(axis=1)
    return STEP * (int(np.flatnonzero(above)[0]) + 1)


def test_the_backdoor_comes_in_slowly_and_nothing_else_changes() -> None:
    rates, accuracy = _activation(Federation(load("quickstart"), SEED), 3_300)
    assert rates[:80].max() < 0.05, f"seed {SEED}: the trigger works before onset"
    assert 1_300 - STEP <= _sustained(rates, 0.1) <= 1_660 + STEP, f"seed {SEED}"
    assert 1_640 - STEP <= _sustained(rates, 0.5) <= 2_160 + STEP, f"seed {SEED}"
    assert 2_520 - STEP <= _sustained(rates, 0.9) <= 3_230 + STEP, f"seed {SEED}"
    assert accuracy > 0.948, f"seed {SEED}"


def test_without_an_attack_the_trigger_stays_asleep() -> None:
    rates, accuracy = _activation(Federation(load("quickstart", ["fraction=0"]), SEED), 2_000)
    assert rates.max() <= 0.02, f"seed {SEED}"
    assert accuracy > 0.948, f"seed {SEED}"
