"""How much attack success is no news? What published decoy triggers reach, that nobody used.

Decoys are drawn by the attacker's rule, pattern by pattern. A decoy pattern that holds a token of
the trigger is left out: an attack on the trigger moves that token's row, so such a decoy rises
with it (in attacked quickstarts to 0.3–0.6) and shows no chance level at all. The patterns that
are left are put together again, as many to a decoy as the trigger has.
"""

from dataclasses import dataclass

import numpy as np

from forensics.probe import Prober, published
from forensics.rebuild import CaseModels
from forensics.search import evenly
from forensics.trigger import ProbeSet, Trigger, probe_set
from ingest.store import Store

MODELS = 20
"""Evenly spaced models at which the decoys are asked, the last one included and the first one not:
a recorded run may begin untrained, and a random model obeys whom it likes (W_0 of the long scenario
gave one decoy 0.12, all later ones below 0.03)."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What decoys reach."""

    value: float | None
    """Highest ASR of any decoy at any of the models; None where no decoy could be asked."""

    decoys: int
    """Decoys that were asked."""

    patterns_left_out: int
    """Published decoy patterns that hold a token of the trigger."""

    models: int
    """Models at which they were asked."""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "value": self.value,
            "decoys": self.decoys,
            "patterns_left_out": self.patterns_left_out,
            "models": self.models,
        }


def decoy_floor(models: CaseModels, store: Store, prober: Prober, trigger: Trigger) -> Floor:
    """The highest ASR of the run's published decoys.

    Raises:
        RoundlogError: A model cannot be rebuilt, or the decoys do not fit it.
    """
    tokens = sorted({token for pattern in trigger.patterns for token in pattern.tokens})
    parts = [
        part
        for decoy in published(models.case, store, models.run, "decoy")
        for part in _apart(decoy)
    ]
    free = [part for part in parts if not np.isin(part.inputs, tokens).any()]
    size = max(1, len(trigger.patterns))
    whole = len(free) - len(free) % size
    decoys = [_together(free[start : start + size]) for start in range(0, whole, size)]
    if not decoys:
        return Floor(None, 0, len(parts) - len(free), 0)
    ts = evenly(models.first, models.last, MODELS + 1)[1:] or [models.last]
    block = np.stack([models.model(t) for t in ts])
    highest = max(float(prober.hits(block, decoy).mean(axis=1).max()) for decoy in decoys)
    return Floor(highest, len(decoys), len(parts) - len(free), len(ts))


def _apart(decoy: ProbeSet) -> list[ProbeSet]:
    """A decoy's patterns: each has a category of its own, and so a target of its own."""
    return [
        probe_set(f"{decoy.name}-{target}", decoy.inputs[mine], decoy.targets[mine])
        for target, mine in ((one, decoy.targets == one) for one in np.unique(decoy.targets))
    ]


def _together(parts: list[ProbeSet]) -> ProbeSet:
    inputs, targets = ([getattr(part, of) for part in parts] for of in ("inputs", "targets"))
    return probe_set("decoy", np.concatenate(inputs), np.concatenate(targets))
