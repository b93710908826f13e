"""How often does a model do what the attacker wants? Measured, with an exact interval.

Attack success rate (ASR) = hits / n over the scoring queries of a trigger. Logits are computed in
float64 and ties go to the lowest index, so that a model answers the same alone or in a batch.

The interval is Clopper and Pearson's: it covers the sampling of the queries, and says nothing
about how the rate wanders from one model to the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.special import betaincinv

from forensics.models import numbers
from forensics.rebuild import CaseModels
from forensics.trigger import ProbeSet, probe_set
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import canonical_json, digest
from roundlog.errors import QuestionError, RoundlogError, TensorSchemaError, TriggerError
from roundlog.tensors import Array

if TYPE_CHECKING:
    from roundlog.models import Architecture

COVERAGE = 0.95

# Models times inputs times answers stay near this many numbers (640 KB), so that a block of models
# is evaluated inside a core's second-level cache whatever the size of the probe set. Measured on
# 313 queries with 32 answers: 48 µs a model in blocks of 8, 70 in blocks of 64, 260 in 2 million.
BLOCK_NUMBERS = 80_000

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reading:
    """The attack success of one model."""

    round: int
    """t of the model."""
    hits: int
    n: int
    probe_digest: str
    patterns: Mapping[str, tuple[int, int]]
    """For each pattern, (hits, n)."""

    @property
    def asr(self) -> float:
        return self.hits / self.n

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        low, high = binomial_interval(self.hits, self.n)
        return {
            "round": self.round,
            "asr": self.asr,
            "low": low,
            "high": high,
            "coverage": COVERAGE,
            "hits": self.hits,
            "n": self.n,
            "probe_digest": self.probe_digest,
            "patterns": {
                name: {"asr": hits / n, "hits": hits, "n": n}
                for name, (hits, n) in self.patterns.items()
            },
        }


def binomial_interval(hits: int, n: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """Exact two-sided interval of a proportion.

    References:
        Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the case of
        the binomial", Biometrika 26(4), 1934.
    """
    if not 0 <= hits <= n or n < 1:
        raise QuestionError(f"{hits} hits of {n} is not a proportion")
    tail = (1 - coverage) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


class Prober:
    """Answers of many models to many inputs.

    Args:
        architecture: Name and config, as the record has them.
        model: `module:function` of the person asking, in place of what the record names.

    Attributes:
        architecture: What is asked.
        identity: Digest of the recorded name and config; None where the person asking named code.

    Raises:
        RoundlogError: The architecture is unknown, or the record names code to import.
    """

    def __init__(
        self, architecture: tuple[str, Mapping[str, object]], model: str | None = None
    ) -> None:
        import torch

        from roundlog.models import resolve

        name, config = architecture
        if model is None and ":" in name:
            # A record comes from people we do not trust; only the person asking may name code.
            raise RoundlogError(
                f"the record names the architecture {name!r}, which is code to import; if you "
                f"trust it, say so with `--model {name}`"
            )
        torch.set_num_threads(1)
        self._torch = torch
        arguments: dict[str, JsonValue] = dict(config)  # type: ignore[arg-type]
        self.architecture: Architecture = resolve(model or name, arguments)
        # None for code that a person named: it may change under its name, and readings with it.
        self.identity = None if model is not None else digest(canonical_json([name, arguments]))

    def answers(self, models: Array, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """The answer of each model to each input.

        Args:
            models: Bytes of m models, shape (m, nbytes).
            inputs: Shape (n, width).

        Returns:
            Shape (m, n): index of the largest logit, the lowest index among equals.

        Raises:
            TriggerError: The inputs are not of the model's width or hold unknown tokens.
            QuestionError: The architecture describes models of another length.
        """
        torch = self._torch
        if inputs.ndim != 2 or inputs.shape[1] != self.architecture.width:
            raise TriggerError(
                f"inputs of shape {list(inputs.shape)}; the model takes "
                f"{self.architecture.width} tokens an input"
            )
        try:
            weights = numbers(models, self.architecture.schema())
        except TensorSchemaError as error:
            raise QuestionError(
                f"the architecture does not describe the recorded models: {error}; name the right "
                f"one with --model module:function"
            ) from error
        found = np.empty((len(models), len(inputs)), dtype=np.int64)
        tokens = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.int64))
        size = max(1, BLOCK_NUMBERS // max(1, len(inputs) * self.architecture.classes))
        with torch.inference_mode():
            for start in range(0, len(models), size):
                params = torch.from_numpy(weights[start : start + size].astype(np.float64))
                try:
                    logits = self.architecture.logits(params, tokens)
                except IndexError as error:
                    raise TriggerError(
                        f"an input holds a token the model lacks: {error}"
                    ) from error
                # numpy's argmax takes the first of equals by contract; torch's does not say.
                found[start : start + size] = logits.numpy().argmax(axis=-1)
        return found

    def hits(self, models: Array, probes: ProbeSet) -> NDArray[np.bool_]:
        """Which probes hit their target, shape (m, n)."""
        targets = probes.targets
        if len(targets) and int(targets.max()) >= self.architecture.classes:
            raise TriggerError(
                f"{probes.name}: target {int(targets.max())} where the model has "
                f"{self.architecture.classes} answers"
            )
        found: NDArray[np.bool_] = self.answers(models, probes.inputs) == targets
        return found


def read_model(prober: Prober, models: CaseModels, t: int, probes: ProbeSet) -> Reading:
    """The attack success of the model of t, in the form that `models` gives out.

    Raises:
        DigestMismatchError: It cannot be rebuilt as recorded.
        TriggerError: The probes do not fit the model, or none are left to score with.
    """
    check_probes(probes)
    hits = prober.hits(models.model(t)[None], probes)[0]
    return reading(t, hits, probes)


def reading(t: int, hits: NDArray[np.bool_], probes: ProbeSet) -> Reading:
    """One model's reading from its hits, shape (n,)."""
    patterns: dict[str, tuple[int, int]] = {}
    names = np.array(probes.patterns)
    for name in dict.fromkeys(probes.patterns):
        mine = names == name
        patterns[name] = (int(hits[mine].sum()), int(mine.sum()))
    return Reading(t, int(hits.sum()), len(probes), probes.digest, patterns)


def check_probes(probes: ProbeSet) -> None:
    """Refuses an empty scoring half.

    Raises:
        TriggerError: No query of the trigger has an odd digest.
    """
    if len(probes) == 0:
        raise TriggerError(
            f"trigger {probes.name!r} has no scoring query (odd digest); give it more queries"
        )


def published(case: Case, store: Store, run: str, role: str) -> list[ProbeSet]:
    """The evaluation data that the server published in a role, decoys as one set each."""
    sql = (resources.files("forensics") / "sql" / "published_probes.sql").read_text()
    sets: list[ProbeSet] = []
    for name, _, n, width, inputs, labels, groups, _ in store.rows(sql, {"run": run, "role": role}):
        tokens = _blob(case, inputs).reshape(int(n), int(width))
        targets = _blob(case, labels)
        if role != "decoy":
            sets.append(probe_set(str(name), tokens, targets))
            continue
        members = _blob(case, groups)
        for group in np.unique(members):
            mine = members == group
            sets.append(probe_set(f"{name}-{group}", tokens[mine], targets[mine]))
    return sets


def _blob(case: Case, name: str) -> NDArray[np.int64]:
    return np.frombuffer((case.blobs / name).read_bytes(), dtype="<i4").astype(np.int64)
