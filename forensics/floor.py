"""How much attack success is no news? What published decoy triggers reach, that nobody used.

Decoys are drawn by the attacker's rule, pattern by pattern. A decoy pattern that holds a token of
the trigger is left out: an attack on the trigger moves that token's row, so such a decoy rises
with it (in attacked quickstarts to 0.3–0.6) and shows no chance level at all. The patterns that
are left are put together again, as many to a decoy as the trigger has.
"""

from dataclasses import dataclass

import numpy as np

from forensics.decoys import decoy_patterns, free_of, together
from forensics.probe import Prober
from forensics.rebuild import CaseModels
from forensics.search import evenly
from forensics.trigger import Trigger
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
    parts = decoy_patterns(models, store)
    free = free_of(parts, trigger)
    size = max(1, len(trigger.patterns))
    whole = len(free) - len(free) % size
    decoys = [together("decoy", free[start : start + size]) for start in range(0, whole, size)]
    if not decoys:
        return Floor(None, 0, len(parts) - len(free), 0)
    ts = evenly(models.first, models.last, MODELS + 1)[1:] or [models.last]
    block = np.stack([models.model(t) for t in ts])
    highest = max(float(prober.hits(block, decoy).mean(axis=1).max()) for decoy in decoys)
    return Floor(highest, len(decoys), len(parts) - len(free), len(ts))
