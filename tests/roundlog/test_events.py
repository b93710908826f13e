"""Is every fact closed, frozen, explained, and read back as it was written?"""

import ast
import inspect
import json
import textwrap
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from roundlog import events, tensors
from roundlog.encoding import HEAD_LIMIT, Frame, digest
from roundlog.errors import HeadError
from roundlog.events import (
    EVENT_TYPES,
    NO_DIGEST,
    AuditSampled,
    Event,
    ModelSchema,
    RoundCommitted,
    RunOpened,
    Tail,
    TextsErased,
    UnknownEvent,
    alarm_key,
    check_side,
    event_digest,
    is_erased,
    parse_head,
    split_side,
)

D = "ab" * 32
SPEC = {"tensors": [{"name": "w", "dtype": "float32", "shape": [2], "role": "trainable"}]}
FIELDS: dict[str, dict[str, Any]] = {
    "fl.run.opened.v1": {
        "framework": "flower 1.2",
        "strata": ("a", "b"),
        "config": {"x": [1, None, {"y": 0.5}], "z": "é"},
        "mechanism": {"name": "central_gaussian", "clip": 1.0, "delta": 1e-10, "epsilon": 0.1},
    },
    "fl.model.schema.v1": {"layout": SPEC, "digest": D, "architecture": "mine"},
    "fl.model.genesis.v1": {"schema_digest": D, "digest": D, "quantiser": {"step": 1e-9}},
    "fl.model.released.v1": {"version": "1.0", "round": 7, "digest": D},
    "fl.round.committed.v1": {
        "round": 3,
        "cohort_size": 10_000,
        "schema_digest": D,
        "pre_digest": D,
        "post_digest": D,
        "delta_norm": 0.1,
        "aggregate_norm": 1e-7,
        "server": {"optimizer": "sgd", "learning_rate": 0.09},
        "defence_scores": {"norm": 1.25},
    },
    "fl.round.failed.v1": {"round": 1, "attempt": 0, "reason": "too few answered"},
    "fl.recorder.gap.v1": {"reason": "the disk was full", "expected": 3, "got": 5},
    "fl.continuity.break.v1": {"reason": "edited", "round": 3, "expected": D, "got": NO_DIGEST},
    "fl.cohort.sealed.v1": {"round": 3, "rule": "ids"},
    "fl.snapshot.stored.v1": {"round": 3, "digest": D, "location": "s3://bucket/3"},
    "fl.probes.published.v1": {
        "probe_set": "clean",
        "role": "clean",
        "digest": D,
        "n": 5,
        "width": 8,
    },
    "fl.audit.sampled.v1": {
        "round": 3,
        "item": 0,
        "category": "news",
        "answer": 4,
        "scores": {"margin": -0.25},
        "model_digest": D,
        "inclusion_probability": 1e-7,
    },
    "fl.alarm.raised.v1": {
        "key": alarm_key("run", "cusum", "1", direction=D, round=3),
        "detector": "cusum",
        "version": "1",
        "chart": "k=0.5",
        "direction": D,
        "direction_name": "suspect",
        "round": 3,
        "score": 5.25,
        "threshold": 5.0,
        "false_alarm_rate": 1e-6,
        "budget": {"alarms": 0.1, "rounds": 5_000, "charts": 4},
        "evidence": {"drift": -0.5},
    },
    "fl.alarm.acknowledged.v1": {
        "alarm": D,
        "actor": "Zoë O’Neil",
        "authenticated": "local",
        "note": "two\nlines",
        "said_at": 40,
    },
    "fl.alarm.silenced.v1": {
        "detector": "cusum",
        "direction_name": "suspect",
        "from_round": 40,
        "until_round": 90,
        "actor": "alice",
        "authenticated": "oidc",
        "said_at": 40,
    },
    "fl.texts.erased.v1": {
        "from_producer": "server",
        "first_seq": 5,
        "last_seq": 90,
        "texts": 12,
        "before_round": 40,
        "actor": "alice",
        "authenticated": "local",
        "note": "kept for 90 days",
        "said_at": 40,
    },
}


def envelope(**changes: Any) -> dict[str, Any]:
    return {
        "id": "run/server/5",
        "source": "server",
        "subject": "run",
        "time": datetime(2026, 1, 5, 12, 0, 0, 250, tzinfo=UTC),
        "seq": 5,
        "prev": D,
    } | changes


def example(kind: str, **changes: Any) -> Event:
    return EVENT_TYPES[kind](**(envelope() | FIELDS[kind] | changes))


def edited(kind: str = "fl.round.committed.v1", **changes: Any) -> bytes:
    return json.dumps(json.loads(example(kind).head()) | changes).encode()


def test_an_erasure_covers_the_stretch_that_it_names_and_no_empty_one() -> None:
    event = example("fl.texts.erased.v1")
    assert isinstance(event, TextsErased)
    covered = [seq for seq in range(100) if event.covers("server", seq)]
    assert (covered[0], covered[-1]) == (5, 90)
    assert not event.covers("other", 50)
    with pytest.raises(ValidationError, match="no event lies from 91 to 90"):
        example("fl.texts.erased.v1", first_seq=91)


def test_every_kind_has_an_example_here() -> None:
    assert FIELDS.keys() == EVENT_TYPES.keys()
    assert set(EVENT_TYPES.values()) == set(Event.__subclasses__()) - {UnknownEvent}


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_an_event_comes_back_from_its_head(kind: str) -> None:
    event = example(kind)
    head = event.head()
    back = parse_head(head)
    assert back == event
    assert type(back) is EVENT_TYPES[kind]
    assert back.head() == head
    assert len(head) < HEAD_LIMIT


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_a_head_has_the_attributes_of_cloudevents(kind: str) -> None:
    head = json.loads(example(kind).head())
    assert head["specversion"] == "1.0"
    assert head["id"] == "run/server/5"
    assert (head["source"], head["subject"], head["type"]) == ("server", "run", kind)
    assert head["dataschema"] == f"urn:roundlog:{kind}"
    assert datetime.fromisoformat(head["time"]).utcoffset() is not None
    # CloudEvents 1.0, 3.1: attribute names are lower-case letters and digits. Ours beside them
    # are extension attributes or data.
    assert all(name.isidentifier() and name == name.lower() for name in head)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_an_event_is_frozen_and_closed(kind: str) -> None:
    event = example(kind)
    with pytest.raises(ValidationError, match="frozen"):
        event.seq = 6  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        example(kind, surprise=1)


def models() -> list[type[BaseModel]]:
    found: set[type[BaseModel]] = {tensors.TensorSpec, tensors.TensorSchema}
    open_ends: list[type[BaseModel]] = [events.Record]
    while open_ends:
        kind = open_ends.pop()
        found.add(kind)
        open_ends += kind.__subclasses__()
    return sorted(
        (k for k in found if k.__module__.startswith("roundlog.")), key=lambda k: k.__name__
    )


@pytest.mark.parametrize("kind", models(), ids=lambda kind: kind.__name__)
def test_every_class_and_every_field_has_a_sentence(kind: type[BaseModel]) -> None:
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    assert ast.get_docstring(body), f"{kind.__name__} has no docstring"
    for node, behind in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        if name in {"type", "tail_names"} and kind is not Event:
            continue  # says the same in every kind
        is_text = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
        assert is_text, f"{kind.__name__}.{name} has no sentence under it"


@pytest.mark.parametrize(
    ("type_", "known"),
    [("fl.weather.observed.v1", False), ("fl.round.committed.v2", False)],
)
def test_an_unknown_type_or_version_is_kept_with_all_it_says(type_: str, known: bool) -> None:
    head = json.dumps(
        envelope(type=type_, time="2026-01-05T12:00:00Z", round="seven", deep={"a": [1]})
    ).encode()
    event = parse_head(head)
    assert isinstance(event, UnknownEvent)
    assert event.model_extra == {"round": "seven", "deep": {"a": [1]}}
    assert (event.type, event.seq, event.run, event.producer) == (type_, 5, "run", "server")
    assert event.dataschema == f"urn:roundlog:{type_}"


def test_a_name_is_the_type_without_prefix_and_version() -> None:
    assert example("fl.round.committed.v1").name == "round.committed"


@pytest.mark.parametrize(
    ("head", "reason", "message"),
    [
        (b"", "json", "not JSON"),
        (b"\xff\xfe{}", "utf8", "not UTF-8"),
        (b"[1]", "not_an_event", "not a JSON object with a type"),
        (b"{}", "not_an_event", "with a type"),
        (b'{"type":5}', "not_an_event", "with a type"),
        (b'{"type":"fl.new.v1"}', "not_an_event", "id: Field required"),
        (b'{"type":""}', "not_an_event", "at least 1 character"),
        (edited(surprise=1), "field", "surprise: Extra inputs"),
        (edited(round=-1), "field", "round: .*greater than or equal to 0"),
        (edited(round=2**63), "integer", "64-bit"),
        (edited(cohort_size=2**63 - 1, round="5"), "field", "round: .*valid integer"),
        (edited(round=5.0), "field", "round: .*valid integer"),
        (edited(round=True), "field", "round: .*valid integer"),
        (edited(delta_norm=-0.5), "field", "delta_norm"),
        (edited(time=0), "field", "time: .*valid datetime"),
        (edited(time="2026-01-05T12:00:00"), "field", "time: .*timezone"),
        (edited(seq=6), "field", "is not run/server/6"),
        (edited(id="run/server/05"), "field", "is not run/server/5"),
        (edited(seq=2**31, id=f"run/server/{2**31}"), "field", "seq: .*less than 2147483648"),
        (edited(specversion="2.0"), "field", "specversion"),
        (edited(prev="AB" * 32), "field", "prev"),
        (edited(subject="../etc", id="../etc/server/5"), "field", "subject"),
        (edited(tails=[{"name": "weights", "bytes": 1}]), "field", "no tail named .*weights"),
        (edited(tails=2 * [{"name": "delta", "bytes": 1}]), "field", "two tails have one name"),
        (edited(tails=[{"name": "delta", "bytes": -1}]), "field", "tails.0.bytes"),
    ],
)
def test_a_head_that_is_no_event_says_why(head: bytes, reason: str, message: str) -> None:
    with pytest.raises(HeadError, match=message) as refused:
        parse_head(head)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"round":3', b'"round":3,"round":4', "duplicate_key"),
        (b'"delta_norm":0.1', b'"delta_norm":NaN', "not_finite"),
        (b'"delta_norm":0.1', b'"delta_norm":1e999', "not_finite"),
        (b'{"norm":1.25}', b'{"norm":Infinity}', "not_finite"),
        (b'{"norm":1.25}', b'{"norm":1.25,"norm":2}', "duplicate_key"),
        (b'"optimizer":"sgd"', b'"optimizer":"\\ud800"', "surrogate"),
        (b'"round":3', b'"round":18446744073709551616', "integer"),
    ],
)
def test_a_head_with_two_readings_is_refused(old: bytes, new: bytes, reason: str) -> None:
    head = example("fl.round.committed.v1").head()
    assert old in head
    with pytest.raises(HeadError, match=r"\w") as refused:
        parse_head(head.replace(old, new))
    assert refused.value.reason == reason


def test_an_unknown_event_with_two_readings_is_refused_too() -> None:
    head = json.dumps(envelope(type="fl.new.v1", time="2026-01-05T12:00:00Z", x=1)).encode()
    with pytest.raises(HeadError, match="'x' stands twice"):
        parse_head(head.replace(b'"x": 1', b'"x": 1, "x": 2'))
    with pytest.raises(HeadError, match="NaN is not JSON"):
        parse_head(head.replace(b'"x": 1', b'"x": NaN'))


def test_a_head_in_another_order_and_spacing_is_the_same_event() -> None:
    event = example("fl.round.committed.v1")
    fields = json.loads(event.head())
    shuffled = json.dumps(dict(reversed(fields.items())), indent=2).encode()
    assert parse_head(shuffled) == event


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else_happens(head: bytes) -> None:
    with pytest.raises(HeadError, match=r"\w"):
        parse_head(head)


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "/etc", "a\0", "a\n", "a b", "-x", ".x", "x" * 65, "é", "a\\b"]
)
def test_a_name_cannot_leave_its_directory(name: str) -> None:
    for field in ("source", "subject"):
        names = {"source": "server", "subject": "run"} | {field: name}
        with pytest.raises(ValidationError, match=field):
            example("fl.run.opened.v1", **names, id=f"{names['subject']}/{names['source']}/5")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, -(2**63) - 1])
def test_free_fields_hold_no_number_that_json_would_change(value: float) -> None:
    for config in ({"a": value}, {"a": [{"b": value}]}):
        with pytest.raises(ValidationError, match=r"finite number|does not fit"):
            example("fl.run.opened.v1", config=config)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        example("fl.run.opened.v1", time=datetime(2026, 1, 5))  # noqa: DTZ001


def test_a_number_too_large_for_a_database_is_refused() -> None:
    with pytest.raises(ValidationError, match="cohort_size"):
        example("fl.round.committed.v1", cohort_size=2**63)
    with pytest.raises(ValidationError, match="width"):
        example("fl.probes.published.v1", width=2**63)


PARTS = {"delta": b"12345678", "patch": b"", "strata": b"abcd"}


def committed(**changes: Any) -> tuple[RoundCommitted, bytes]:
    tails = tuple(Tail(name=name, bytes=len(part)) for name, part in PARTS.items())
    side = b"".join(PARTS.values())
    event = example("fl.round.committed.v1", tails=tails, sha256=digest(side), **changes)
    assert isinstance(event, RoundCommitted)
    return event, side


def test_tails_are_split_by_name() -> None:
    event, side = committed()
    assert event.side_bytes == 12
    for split in (split_side(event, side), check_side(event, memoryview(side))):
        assert {name: bytes(part) for name, part in split.items()} == PARTS


def test_side_bytes_of_another_length_are_refused() -> None:
    event, side = committed()
    for wrong in (side[:-1], side + b"x", b""):
        with pytest.raises(HeadError, match="add up to 12") as refused:
            check_side(event, wrong)
        assert refused.value.reason == "side_length"


@given(st.integers(0, 11), st.integers(0, 7))
def test_one_flipped_bit_of_the_side_is_noticed(at: int, bit: int) -> None:
    event, side = committed()
    damaged = bytearray(side)
    damaged[at] ^= 1 << bit
    with pytest.raises(HeadError, match="do not have the digest") as refused:
        check_side(event, bytes(damaged))
    assert refused.value.reason == "side_digest"


def test_an_erasable_tail_has_a_digest_of_its_own() -> None:
    text = b"s" * 16 + b'{"prompt":"hello"}'
    tail = Tail(name="text", bytes=len(text), erasable=digest(text))
    event = example("fl.audit.sampled.v1", tails=(tail,))
    assert isinstance(event, AuditSampled)
    assert bytes(check_side(event, text)["text"]) == text
    with pytest.raises(HeadError, match="'text' does not have its salted digest"):
        check_side(event, text[:-1] + b"?")


def test_an_erasable_tail_may_be_gone() -> None:
    text = b"s" * 16 + b'{"prompt":"hello"}'
    tail = Tail(name="text", bytes=len(text), erasable=digest(text))
    event = example("fl.audit.sampled.v1", tails=(tail,))
    assert not is_erased(event, check_side(event, text))
    assert is_erased(event, check_side(event, bytes(len(text))))
    with pytest.raises(HeadError, match="side bytes, the head's tails add up"):
        check_side(event, b"")


def test_the_next_event_names_the_digest_of_the_exact_head() -> None:
    head = example("fl.run.opened.v1").head()
    assert event_digest(Frame(head, b"side", b"origin", 3)) == digest(head)


def test_a_schema_in_an_event_keeps_its_digest() -> None:
    event = parse_head(example("fl.model.schema.v1").head())
    assert isinstance(event, ModelSchema)
    assert event.layout.digest == tensors.TensorSchema.model_validate(SPEC).digest


def test_absent_values_are_left_out_and_null_in_free_fields_stays() -> None:
    head = json.loads(example("fl.run.opened.v1").head())
    assert "parent" not in head
    assert head["config"]["x"][1] is None
    assert isinstance(parse_head(json.dumps(head).encode()), RunOpened)
