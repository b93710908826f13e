"""What does a log look like in which everything happens that may? Seeded, with the truth beside it.

Gaps, late fills, copies, deltas that no fold can use, values that are not finite, kinds that nobody
knows, and second versions of what was said before; all of it acknowledged by whoever took it.
"""

import random
from dataclasses import dataclass, field

import numpy as np
from kept_record import Place, place_of
from made_log import Maker

from roundlog.events import AuditSampled
from roundlog.log.port import Entry


@dataclass
class Eventful:
    """Entries in the order in which they are appended, and what must become of them."""

    entries: list[Entry] = field(default_factory=list)
    refused: dict[Place, str] = field(default_factory=dict)
    """Of the entries, those that ingest must refuse, with the reason."""


KINDS = ("plain", "short", "infinite", "late", "copy", "hole", "other")


def eventful(seed: int, blocks: int, *, run: str = "run") -> Eventful:
    """A log of so many blocks of six to twenty events; seven blocks hold one of each kind."""
    rng = random.Random(seed)
    maker = Maker(run=run, seed=seed)
    told = Eventful(maker.opening())
    kinds: list[str] = []
    for _ in range(blocks):
        block = maker.rounds(rng.randint(3, 8))
        kinds = kinds or rng.sample(KINDS, k=len(KINDS))
        what = kinds.pop()
        if what == "short":
            told.refused[place_of(_add(block, maker.commit(delta=b"short")))] = "dimension"
        elif what == "infinite":
            delta = np.full(8, rng.choice((np.nan, np.inf)), dtype=np.float32)
            _add(block, maker.commit(delta=delta.tobytes()))
        elif what == "late":
            block += [block.pop(rng.randrange(len(block) - 1)), maker.unknown()]
        elif what == "copy":
            block += rng.sample(block, k=rng.randint(1, 3))
        elif what == "hole":
            del block[rng.randrange(len(block) - 1)]
        elif what == "other":
            told.refused[place_of(_add(block, _other(block[1], maker)))] = "equivocation"
        told.entries += block
    return told


def _add(block: list[Entry], entry: Entry) -> Entry:
    block.append(entry)
    return entry


def _other(audit: Entry, maker: Maker) -> Entry:
    """Another content under a seq that was used before."""
    event = audit.event
    return maker.make(
        AuditSampled,
        seq=event.seq,
        prev=event.prev,
        round=maker.round,
        item=9,
        category="news",
        answer=9,
        scores={"margin": 0.1},
        model_digest=maker.schema.model_digest(maker.model),
        inclusion_probability=0.5,
    )
