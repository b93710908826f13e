"""What is remembered about one run and producer, so that its next event can be judged?

All of it can be read back from the projection (`restore`), as it stood after any committed
batch: a restart goes on as if there had been none. Only events that came in their turn move the
state; an event that fills a gap late leaves it alone.
"""

from dataclasses import dataclass, field

from ingest.checks import Known
from ingest.store import Store
from roundlog.events import NO_DIGEST
from roundlog.tensors import TensorSchema

ChainKey = tuple[str, str]
"""(run, producer)."""


@dataclass(slots=True)
class Chain:
    """One producer's sequence in one run, as far as it was read."""

    next_seq: int = 0
    """Behind the last accepted event."""

    last_digest: str = NO_DIGEST
    """Digest of the last accepted event."""

    model_round: int | None = None
    """t of the model that the last accepted step, genesis or break left; None before any."""

    model_digest: str = ""
    """Digest of that model; blank where nobody knows it."""

    lost: bool = False
    """Events behind that step are missing or refused, so the model may have moved unseen."""

    told: bool = False
    """The recorder itself said, behind that step, that something is missing or was changed."""

    refused: dict[int, tuple[int, str | None]] = field(default_factory=dict)
    """Refused in their turn, at or behind `next_seq`: seq -> (expected, digest of the head)."""

    known: Known = field(default_factory=Known)
    """Schemas and strata."""

    @property
    def due(self) -> int:
        """The seq that should come next; what was refused in its turn is not due again."""
        return max(self.refused) + 1 if self.refused else self.next_seq


def restore(store: Store) -> dict[ChainKey, Chain]:
    """Every producer's state as the committed rows leave it."""
    chains: dict[ChainKey, Chain] = {}
    for run, producer, last, digest in store.rows(_ENDS):
        chains[run, producer] = Chain(next_seq=last + 1, last_digest=digest)
    for run, producer, seq, expected, head_digest in store.rows(_REFUSED):
        chain = chains.setdefault((run, producer), Chain())
        if seq >= chain.next_seq:
            chain.refused[seq] = (expected, head_digest)
    for run, producer, round_, digest, told, lost in store.rows(_MODELS):
        chain = chains[run, producer]
        chain.model_round, chain.model_digest = int(round_), digest
        chain.told, chain.lost = told, lost
    for run, producer, digest, layout in store.rows(_SCHEMAS):
        known = chains[run, producer].known
        known.schemas[digest] = TensorSchema.model_validate_json(layout)
    for run, producer, strata in store.rows(_STRATA):
        chains[run, producer].known.strata = strata
    return chains


_ENDS = """
SELECT run, producer, max(seq), arg_max(digest, seq) FROM events GROUP BY run, producer
"""

_REFUSED = """
SELECT run, producer, seq, expected, head_digest FROM quarantine WHERE expected <= seq
"""

# HUGEINT: a round may be 2^63 - 1, and the model behind it is one more.
_MODELS = """
WITH models AS (
    SELECT run, producer, seq, round::HUGEINT + 1 AS round, post_digest AS digest, false AS told
    FROM rounds
    UNION ALL
    SELECT run, producer, seq, round, digest, false FROM geneses
    UNION ALL
    SELECT run, producer, seq, round, CASE kind WHEN 'continuity' THEN got ELSE '' END, true
    FROM interruptions
), last AS (
    SELECT run, producer, max(seq) AS seq, arg_max((round, digest, told), seq) AS model
    FROM models
    GROUP BY run, producer
)
SELECT
    run, producer, model[1], model[2], model[3],
    EXISTS (
        SELECT 1 FROM findings f
        WHERE f.kind = 'gap' AND f.run = last.run AND f.producer = last.producer
            AND f.seq > last.seq
    ) OR EXISTS (
        SELECT 1 FROM events e
        WHERE e.status = 'gap' AND e.run = last.run AND e.producer = last.producer
            AND e.seq > last.seq
    )
FROM last
"""

_SCHEMAS = "SELECT run, producer, digest, layout FROM schemas ORDER BY seq"

_STRATA = """
SELECT run, producer, arg_max(json_array_length(strata), seq) FROM runs GROUP BY run, producer
"""
