"""Would any trigger have looked like this one? Decoys: triggers of the same kind, on the same log.

A responder has no attack-free twin. What he has are triggers that nobody attacked with, drawn as
the suspected one was: the server published some (role `decoy`), and more are put together from
their patterns. Two comparisons answer two questions:

* with decoys that share no token with the trigger: does it stand out? Under an attack a decoy that
  shares a token moves with it, so those are left out (ADR 6). The others share tokens with each
  other, so this rank is no p-value.
* with all published decoys: without an attack the trigger is one more draw by the same rule, so
  its rank is uniform. That is how twins prove the method.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from forensics.probe import published
from forensics.rebuild import CaseModels
from forensics.trigger import ProbeSet, Trigger, probe_set
from ingest.store import Store

WANTED = 200
"""Decoys without a token of the trigger that are put together, where there are patterns enough."""

# Steps through the patterns of two neighbouring slots, so that hundreds of decoys are all different
# although each pattern serves in several.
STRIDE = 7


@dataclass(frozen=True, eq=False)
class DecoyPattern:
    """One pattern of one published decoy."""

    decoy: str
    """Name of the decoy."""

    slot: int
    """Its place among the decoy's patterns: each has a category, and so a target, of its own."""

    tokens: frozenset[int] | None
    """None where the server did not list them."""

    queries: ProbeSet

    def shares(self, tokens: frozenset[int]) -> bool:
        """Whether it holds one of these tokens."""
        if self.tokens is not None:
            return bool(self.tokens & tokens)
        return bool(np.isin(self.queries.inputs, sorted(tokens)).any())


def decoy_patterns(models: CaseModels, store: Store) -> list[DecoyPattern]:
    """The patterns of the run's published decoys, decoy by decoy."""
    listed = _listed_tokens(models, store)
    found: list[DecoyPattern] = []
    for number, decoy in enumerate(published(models.case, store, models.run, "decoy")):
        for slot, target in enumerate(np.unique(decoy.targets)):
            mine = decoy.targets == target
            queries = probe_set(f"{decoy.name}-{target}", decoy.inputs[mine], decoy.targets[mine])
            tokens = listed.get((number, int(target)))
            found.append(DecoyPattern(decoy.name, slot, tokens, queries))
    return found


def whole(patterns: Sequence[DecoyPattern]) -> list[ProbeSet]:
    """The decoys as they were published."""
    members: dict[str, list[DecoyPattern]] = {}
    for pattern in patterns:
        members.setdefault(pattern.decoy, []).append(pattern)
    return [together(name, parts) for name, parts in members.items()]


def apart(
    patterns: Sequence[DecoyPattern], trigger: Trigger, wanted: int = WANTED
) -> list[ProbeSet]:
    """Decoys that share no token with the trigger, each with as many patterns as it has.

    Args:
        wanted: At most so many; fewer where no other patterns fit together.
    """
    free = free_of(patterns, trigger)
    slots = [
        [pattern for pattern in free if pattern.slot == slot]
        for slot in sorted({pattern.slot for pattern in free})
    ]
    if not slots:
        return []
    size = max(1, len(trigger.patterns))
    made: list[ProbeSet] = []
    seen: set[frozenset[str]] = set()
    longest = max(len(slot) for slot in slots)
    for turn in range(longest * longest):
        if len(made) == wanted:
            break
        parts: list[DecoyPattern] = []
        for place in range(size):
            slot = slots[place % len(slots)]
            # Neighbouring slots are walked through at different speeds.
            at = turn + place * (STRIDE * (turn // len(slot)) + 1)
            parts.append(slot[at % len(slot)])
        names = frozenset(part.queries.name for part in parts)
        if len(names) == size and names not in seen and _disjoint(parts):
            seen.add(names)
            made.append(together(f"decoy {len(made)}", parts))
    return made


def free_of(patterns: Sequence[DecoyPattern], trigger: Trigger) -> list[DecoyPattern]:
    """Those that hold no token of the trigger."""
    tokens = frozenset(token for pattern in trigger.patterns for token in pattern.tokens)
    return [pattern for pattern in patterns if not pattern.shares(tokens)]


def _disjoint(parts: Sequence[DecoyPattern]) -> bool:
    known = [part.tokens for part in parts if part.tokens is not None]
    return len(frozenset().union(*known)) == sum(len(tokens) for tokens in known)


def together(name: str, parts: Sequence[DecoyPattern]) -> ProbeSet:
    """One decoy of some patterns."""
    return probe_set(
        name,
        np.concatenate([part.queries.inputs for part in parts]),
        np.concatenate([part.queries.targets for part in parts]),
    )


def _listed_tokens(models: CaseModels, store: Store) -> dict[tuple[int, int], frozenset[int]]:
    """By number of the decoy and target of the pattern, where the server listed them."""
    sql = (resources.files("forensics") / "sql" / "published_probes.sql").read_text()
    found: dict[tuple[int, int], frozenset[int]] = {}
    number = 0
    for *_, groups, about in store.rows(sql, {"run": models.run, "role": "decoy"}):
        members = np.frombuffer((models.case.blobs / groups).read_bytes(), dtype="<i4")
        listed = json.loads((models.case.blobs / about).read_bytes()) if about else {}
        for decoy in listed.get("decoys", ()):
            for pattern in decoy.get("patterns", ()):
                found[number, int(pattern["target"])] = frozenset(map(int, pattern["tokens"]))
            number += 1
        # Sets are numbered on, whether or not this one listed its decoys.
        number += 0 if listed.get("decoys") else len(np.unique(members))
    return found
