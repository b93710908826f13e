"""What evaluation data does the server publish, which is all that an investigator may probe with?

Clean sets measure accuracy, in the language of round 0 and in a mixed one. The pool is honest
data with training labels, for whoever needs honest gradients. The decoys are triggers drawn by
the attacker's rule without a look at the attacker's: nobody attacks with them, so they show
what a trigger does by chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from roundlog.encoding import canonical_json, digest
from simulator.federation import Federation
from simulator.tasks import CLASSES, WIDTH, Floats, Ints, draw_trigger


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """One `probes.published` event, as far as the recorder does not fill it in."""

    name: str
    role: str
    about: Mapping[str, JsonValue]
    inputs: Ints
    labels: Ints
    groups: Ints | None = None
    document: Mapping[str, JsonValue] | None = None

    def tails(self) -> dict[str, bytes]:
        """Side bytes by name: little-endian int32, and canonical JSON."""
        arrays = {"inputs": self.inputs, "labels": self.labels, "groups": self.groups}
        tails = {
            name: array.astype("<i4").tobytes()
            for name, array in arrays.items()
            if array is not None
        }
        if self.document is not None:
            tails["about"] = canonical_json(self.document)
        return tails

    def digest(self) -> str:
        """SHA-256 over the tails inputs, labels and groups."""
        return digest(*(data for name, data in self.tails().items() if name != "about"))


def published(federation: Federation) -> Iterator[ProbeSet]:
    """The sets in the order in which the server publishes them."""
    early, mixed = federation.task.late_share(0), np.full(CLASSES, 0.5)
    yield _clean(federation, "clean-start", early, "in the language of round 0")
    yield _clean(federation, "clean-mixed", mixed, "half early, half late dialect")
    yield _pool(federation, mixed)
    yield _decoys(federation)


def early_only() -> Floats:
    """Shares of the late dialect in trigger probes: none, since it is hardly known at round 0."""
    return np.zeros(CLASSES)


def _clean(federation: Federation, name: str, late_share: Floats, language: str) -> ProbeSet:
    rng = federation.randomness.stream(f"probes/{name}")
    n = federation.scenario.probes.clean
    classes = rng.integers(CLASSES, size=n).astype(np.int32)
    inputs = federation.task.queries(rng, classes, late_share)
    about: dict[str, JsonValue] = {"language": language, "labels": "right answers"}
    return ProbeSet(name, "clean", about, inputs, classes)


def _pool(federation: Federation, late_share: Floats) -> ProbeSet:
    rng = federation.randomness.stream("probes/public-pool")
    classes = rng.integers(CLASSES, size=federation.scenario.probes.pool).astype(np.int32)
    inputs = federation.task.queries(rng, classes, late_share)
    about: dict[str, JsonValue] = {
        "language": "half early, half late dialect",
        "labels": "as people label: some are another action of the same category",
    }
    return ProbeSet(
        "public-pool", "public_pool", about, inputs, federation.task.labels(rng, classes)
    )


def _decoys(federation: Federation) -> ProbeSet:
    settings = federation.scenario.probes
    rng = federation.randomness.stream("probes/decoys")
    inputs: list[Ints] = []
    labels: list[Ints] = []
    listed: list[JsonValue] = []
    for _ in range(settings.decoys):
        patterns = draw_trigger(rng)
        listed.append({"patterns": [pattern.document() for pattern in patterns]})
        for pattern in patterns:
            inputs.append(
                federation.task.triggered(rng, pattern, settings.decoy_queries, early_only())
            )
            labels.append(np.full(settings.decoy_queries, pattern.target, dtype=np.int32))
    tokens = np.concatenate(inputs).reshape(-1, WIDTH)
    each = len(tokens) // settings.decoys
    groups = np.repeat(np.arange(settings.decoys, dtype=np.int32), each)
    about: dict[str, JsonValue] = {
        "decoys": settings.decoys,
        "patterns": len(federation.trigger),
        "queries_per_pattern": settings.decoy_queries,
        "labels": "targets of the decoys",
    }
    return ProbeSet(
        "decoys", "decoy", about, tokens, np.concatenate(labels), groups, {"decoys": listed}
    )
