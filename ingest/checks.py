"""Does an event hold what it claims to hold? Its side bytes, vectors and digests, one by one.

Two outcomes are kept apart. *Refused*: the bytes are not what the head sealed, or no fold could
use them; the record goes to quarantine. *Found*: the bytes are as sealed, but what they say is
odd, such as a delta with NaN in it; the event is stored, and a finding says so.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from roundlog.encoding import digest
from roundlog.errors import HeadError, TensorSchemaError
from roundlog.events import (
    AuditSampled,
    Event,
    ModelGenesis,
    ModelSchema,
    ProbesPublished,
    RoundCommitted,
    UnknownEvent,
)
from roundlog.tensors import TensorSchema

Tails = Mapping[str, memoryview]

ROUND_TAILS = (("delta", "patch"), ("delta", "patch", "strata"))

STRATUM_BYTES = 4


@dataclass(slots=True)
class Known:
    """What earlier events of the same run and producer said, and later ones refer to."""

    schemas: dict[str, TensorSchema] = field(default_factory=dict)
    """By digest."""

    strata: int | None = None
    """How many strata `run.opened` named."""


@dataclass(slots=True)
class Checked:
    """What the checks say of one event."""

    tails: Tails
    finite: bool = True
    found: list[tuple[str, str]] = field(default_factory=list)
    """(kind of finding, detail)."""


def check_content(event: Event, tails: Tails, known: Known) -> Checked:
    """Whether the event can be used for what it is, given what its producer said before.

    Raises:
        HeadError: `tails`, `dimension` or `patch`: no fold could use it.
    """
    if isinstance(event, RoundCommitted):
        return _check_round(event, tails, known)
    checked = Checked(tails)
    if type(event) in (AuditSampled, UnknownEvent):
        return checked
    if isinstance(event, ModelSchema):
        _check_schema(event, checked)
    elif isinstance(event, ModelGenesis):
        _check_genesis(event, checked, known)
    elif isinstance(event, ProbesPublished):
        _check_probes(event, checked)
    return checked


def _check_round(event: RoundCommitted, tails: Tails, known: Known) -> Checked:
    checked = Checked(tails)
    names = tuple(tail.name for tail in event.tails)
    if names not in ROUND_TAILS:
        raise HeadError(
            "tails", f"a round carries delta, patch and perhaps strata, not {', '.join(names)}"
        )
    delta, patch = tails["delta"], tails["patch"]
    schema = known.schemas.get(event.schema_digest)
    if schema is None:
        checked.found.append(
            ("schema", f"round {event.round} names a schema that was not recorded before it")
        )
    elif len(delta) != schema.nbytes:
        raise HeadError(
            "dimension",
            f"the delta of round {event.round} has {len(delta):,} bytes, "
            f"the model has {schema.nbytes:,}",
        )
    if not delta:
        raise HeadError("dimension", f"the delta of round {event.round} is empty")
    if len(patch) < 4 or struct.unpack_from("<I", patch)[0] != event.patched:
        raise HeadError("patch", f"the patch does not set the {event.patched} elements it claims")
    counted, named = len(tails.get("strata", b"")) / STRATUM_BYTES, known.strata
    if "strata" in tails and named is not None and counted != named:
        detail = f"round {event.round} counts {counted:g} strata, run.opened names {named}"
        checked.found.append(("dimension", detail))
    if schema is not None and not is_finite(delta, schema):
        checked.finite = False
        checked.found.append(
            ("not_finite", f"the delta of round {event.round} holds NaN or infinity")
        )
    return checked


def is_finite(model: memoryview, schema: TensorSchema) -> bool:
    """Whether no floating-point element is NaN or infinite."""
    if schema.uniform is not None:
        return _all_finite(np.frombuffer(model, dtype=schema.uniform))
    return all(_all_finite(array) for array in schema.unflatten(model).values())


@np.errstate(all="ignore")
def _all_finite(values: np.ndarray) -> bool:
    if values.dtype.kind != "f":
        return True
    flat = values.reshape(-1)
    # One dot product is five times quicker than asking every element, and is finite almost
    # always; where it is not, the elements may still be finite and merely large.
    if math.isfinite(np.dot(flat, flat)):
        return True
    return bool(np.isfinite(flat).all())


def _check_schema(event: ModelSchema, checked: Checked) -> None:
    if event.layout.digest != event.digest:
        checked.found.append(("bad_digest", "the schema does not have the digest that it names"))


def _check_genesis(event: ModelGenesis, checked: Checked, known: Known) -> None:
    weights = checked.tails.get("weights")
    schema = known.schemas.get(event.schema_digest)
    if schema is None:
        checked.found.append(("schema", "the model names a schema that was not recorded before it"))
        return
    if weights is None:
        return
    try:
        matches = schema.model_digest(weights) == event.digest
        finite = is_finite(weights, schema) if len(weights) == schema.nbytes else None
    except TensorSchemaError as error:
        raise HeadError("dimension", str(error)) from error
    if finite is None:
        raise HeadError(
            "dimension", f"W_{event.round} has {len(weights):,} bytes, not {schema.nbytes:,}"
        )
    if not matches:
        checked.found.append(
            ("bad_digest", f"the bytes of W_{event.round} do not have the digest that it names")
        )
    if not finite:
        checked.found.append(("not_finite", f"W_{event.round} holds NaN or infinity"))


def _check_probes(event: ProbesPublished, checked: Checked) -> None:
    tails = checked.tails
    expected = {"inputs": 4 * event.n * event.width, "labels": 4 * event.n, "groups": 4 * event.n}
    for name, size in expected.items():
        if name in tails and len(tails[name]) != size:
            raise HeadError(
                "dimension",
                f"{event.probe_set}: {name} has {len(tails[name]):,} bytes, {size:,} expected",
            )
    covered = [tails[name] for name in ("inputs", "labels", "groups") if name in tails]
    if digest(*covered) != event.digest:
        checked.found.append(
            ("bad_digest", f"the probe set {event.probe_set} does not have the digest it names")
        )
