"""Facts about what the model does: evaluation data that investigators may use, and audits."""

from typing import Literal

from pydantic import Field

from roundlog.events.base import INT64_MAX, Count, Digest, Event, JsonObject, Label


class ProbesPublished(Event):
    """The server published evaluation data, which is all that an investigator may probe with.

    Tails: `inputs` (int32, n x width), `labels` (int32, n: the honest label, or the target of a
    decoy), `groups` (int32, n: which decoy trigger an input belongs to; decoys only) and
    `about` (canonical JSON; decoys: their patterns, as in a trigger file).
    """

    type: Literal["fl.probes.published.v1"] = "fl.probes.published.v1"
    tail_names = frozenset({"inputs", "labels", "groups", "about"})

    probe_set: Label
    """Name of the set."""

    role: Literal["clean", "public_pool", "decoy"]
    """`clean` measures accuracy, `public_pool` is honest data without strings attached,
    `decoy` holds triggers drawn by the attacker's rule that nobody attacked with."""

    digest: Digest
    """SHA-256 over the tails inputs, labels and groups."""

    n: Count
    """Inputs in the set."""

    width: int = Field(gt=0, le=INT64_MAX)
    """Tokens (or features) an input."""

    about: JsonObject = {}
    """How the set was drawn, in a few words and numbers."""


class AuditSampled(Event):
    """One answer of the deployed model was sampled for human eyes.

    Tail `text` is erasable: 16 salt bytes, then canonical JSON with `tokens`, `prompt` and
    `response`. The head never holds what a person typed.
    """

    type: Literal["fl.audit.sampled.v1"] = "fl.audit.sampled.v1"
    tail_names = frozenset({"text"})

    round: Count
    """t of the model that answered."""

    item: Count
    """Which item of that round's sample, from 0."""

    category: Label
    """Stratum of traffic that the query belongs to."""

    answer: Count
    """Index of the answer that the model gave."""

    scores: dict[str, float] = {}
    """What the server measured: `confidence`, `margin`, `surprise` (nats), ..."""

    model_digest: Digest
    """Digest of the model that answered."""

    inclusion_probability: float = Field(gt=0, le=1)
    """Probability with which this item came into the sample, for unbiased estimates."""
