# mypy: disable-error-code="import-not-found"
"""How many client updates does Apple's pfl-research make per CPU second? The outside anchor.

Runs in the environment that `anchor_env` makes, never in the project's: pfl is not a dependency of
roundlog, and nothing of roundlog is imported here, so that neither can lend the other its speed.

The job is that of the scenario `digits` without its attack: an MLP of 64-32-10 (2,410 parameters),
20 images of 8 × 8 a user, one local epoch in two batches of ten, each update clipped to an ℓ² norm,
the cohort's sum noised by pfl's Gaussian mechanism, and one step of central SGD a round.

Speed does not depend on what the images show, so they are drawn at random unless a file is given.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pfl
import torch
from numpy.typing import NDArray
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm import FederatedAveraging, NNAlgorithmParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from pfl.privacy import CentrallyAppliedPrivacyMechanism, GaussianMechanism

PIXELS, HIDDEN, CLASSES = 64, 32, 10
SIZES = (PIXELS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES)
ITEMS, BATCH = 20, 10
LOCAL_RATE, CENTRAL_RATE = 0.1, 1.0
CLIP, NOISE_MULTIPLIER = 1.0, 1.0
EVER = 1 << 30


class Digits(torch.nn.Module):
    """The model, with the two methods that pfl asks for; all its weights are one parameter.

    pfl copies, subtracts, clips and sums each named parameter of each client, so one is faster
    than the four of `PlainDigits`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.randn(sum(SIZES)) / PIXELS**0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (items, classes)."""
        hidden, hidden_bias, output, output_bias = self.weights.split(SIZES)
        lit = torch.relu(torch.addmm(hidden_bias, images, hidden.view(PIXELS, HIDDEN)))
        return torch.addmm(output_bias, lit, output.view(HIDDEN, CLASSES))

    def loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a batch."""
        return torch.nn.functional.cross_entropy(self(images), labels)

    @torch.no_grad()
    def metrics(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        """Asked for in the warm-up round only: pfl evaluates at round 0, whatever the frequency."""
        return {"loss": Weighted(float(self.loss(images, labels)) * len(labels), len(labels))}


class PlainDigits(Digits):
    """The same model as most people would write it."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.hidden = torch.nn.Linear(PIXELS, HIDDEN)
        self.output = torch.nn.Linear(HIDDEN, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (items, classes)."""
        logits: torch.Tensor = self.output(torch.relu(self.hidden(images)))
        return logits


@dataclass
class RoundClock(TrainingProcessCallback):  # type: ignore[misc]
    """CPU seconds of this process at the end of each round, all threads, user and system."""

    ends: list[float] = field(default_factory=list)

    def after_central_iteration(
        self, aggregate_metrics: Any, model: Any, *, central_iteration: int
    ) -> tuple[bool, Any]:
        """Called by pfl after the server's step."""
        self.ends.append(time.process_time())
        return False, Metrics()


def users(path: Path | None, population: int, seed: int) -> list[Any]:
    """Every user's dataset, in memory as tensors; pfl keeps the batches it cut from each.

    Args:
        path: An `.npz` with `inputs`, shape (items, 64), and `labels`, shape (items,); None draws
            pixels of 0 to 16 and labels at random.
        population: How many users; each takes `ITEMS` items, some of them again where the file
            holds too few.
    """
    rng = np.random.default_rng(seed)
    inputs: NDArray[Any]
    labels: NDArray[Any]
    if path is None:
        inputs = rng.integers(0, 17, (population * ITEMS, PIXELS))
        labels = rng.integers(0, CLASSES, population * ITEMS)
    else:
        with np.load(path) as arrays:
            inputs, labels = arrays["inputs"].reshape(-1, PIXELS), arrays["labels"]
        taken = np.resize(rng.permutation(len(labels)), population * ITEMS)
        inputs, labels = inputs[taken], labels[taken]
    images = torch.from_numpy(inputs.astype(np.float32) / np.float32(16))
    answers = torch.from_numpy(labels.astype(np.int64))
    return [
        PyTorchTensorDataset((images[at : at + ITEMS], answers[at : at + ITEMS]))
        for at in range(0, population * ITEMS, ITEMS)
    ]


def make_model(plain: bool) -> Any:
    """The model as pfl takes it, with its local and its central optimizer.

    Tuned, one optimizer serves every user, since plain SGD keeps no state, and torch need not
    choose between its loops at each step. Tried as well, and no faster on this job: torch.compile,
    a fused optimizer, and running without garbage collection.

    Args:
        plain: As in pfl's examples: two layers, and a new optimizer for each user.
    """
    module = PlainDigits() if plain else Digits()
    shared = torch.optim.SGD(module.parameters(), lr=LOCAL_RATE, foreach=False)
    return PyTorchModel(
        module,
        local_optimizer_create=torch.optim.SGD if plain else lambda parameters, lr: shared,
        central_optimizer=torch.optim.SGD(module.parameters(), lr=CENTRAL_RATE),
    )


def measure(model: Any, datasets: list[Any], cohort: int, rounds: int) -> list[float]:
    """CPU seconds of each round after the warm-up round; trains the model in place."""
    training = NNTrainHyperParams(
        local_num_epochs=1, local_learning_rate=LOCAL_RATE, local_batch_size=BATCH
    )
    algorithm = NNAlgorithmParams(
        central_num_iterations=rounds + 1,
        evaluation_frequency=EVER,
        train_cohort_size=cohort,
        val_cohort_size=0,
    )
    sampler = get_user_sampler("minimize_reuse", range(len(datasets)))
    population = FederatedDataset(datasets.__getitem__, sampler)
    mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(CLIP, NOISE_MULTIPLIER))
    backend = SimulatedBackend(population, population, postprocessors=[mechanism])
    clock = RoundClock()
    FederatedAveraging().run(
        algorithm,
        backend,
        model,
        training,
        callbacks=[clock],
        send_metrics_to_platform=False,
    )
    return [after - before for before, after in itertools.pairwise(clock.ends)]


def main() -> int:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5, help="measured, after one of warm-up")
    parser.add_argument("--population", type=int, default=5_000)
    parser.add_argument("--data", type=Path, help=".npz with `inputs` and `labels`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="as in pfl's examples, not tuned")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)  # pfl draws users and seeds of noise from it
    datasets = users(options.data, options.population, options.seed)
    model = make_model(options.plain)
    seconds = measure(model, datasets, options.cohort, options.rounds)
    rates = [options.cohort / one for one in seconds]
    document = {
        "clients_per_cpu_second": statistics.median(rates),
        "rounds": rates,
        "cohort": options.cohort,
        "parameters": sum(p.numel() for p in model.pytorch_model.parameters()),
        "seed": options.seed,
        "plain": options.plain,
        "version": pfl.__version__,
        "torch": torch.__version__,
    }
    json.dump(document, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
