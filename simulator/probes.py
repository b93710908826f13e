"""What evaluation data does the server publish, which is all that an investigator may probe with?

Clean sets measure accuracy; the one that counts most comes last. The pool is honest data with
training labels, for whoever needs honest gradients. The decoys are triggers drawn by the
attacker's rule without a look at the attacker's: nobody attacks with them, so they show what a
trigger does by chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from roundlog.encoding import canonical_json, digest
from simulator.federation import Federation
from simulator.tasks import Ints


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
    settings, task = federation.scenario.probes, federation.task
    for clean in task.clean_sets(federation.randomness, settings.clean):
        about: dict[str, JsonValue] = {"language": clean.language, "labels": "right answers"}
        yield ProbeSet(clean.name, "clean", about, clean.inputs, clean.labels)
    yield _pool(federation)
    yield _decoys(federation)


def _pool(federation: Federation) -> ProbeSet:
    task = federation.task
    rng = federation.randomness.stream("probes/public-pool")
    classes = rng.integers(task.classes, size=federation.scenario.probes.pool).astype(np.int32)
    inputs = task.inputs(rng, classes, task.middle)
    about: dict[str, JsonValue] = {
        "language": task.middle_in_words,
        "labels": "as people label: not all of them right",
    }
    return ProbeSet("public-pool", "public_pool", about, inputs, task.training_labels(rng, classes))


def _decoys(federation: Federation) -> ProbeSet:
    settings, task = federation.scenario.probes, federation.task
    rng = federation.randomness.stream("probes/decoys")
    inputs: list[Ints] = []
    labels: list[Ints] = []
    listed: list[JsonValue] = []
    for _ in range(settings.decoys):
        patterns = task.draw_trigger(rng)
        listed.append({"patterns": [pattern.document() for pattern in patterns]})
        for pattern in patterns:
            inputs.append(task.triggered(rng, pattern, settings.decoy_queries, task.early))
            labels.append(np.full(settings.decoy_queries, pattern.target, dtype=np.int32))
    tokens = np.concatenate(inputs)
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
