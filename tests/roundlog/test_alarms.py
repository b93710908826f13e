"""Does an alarm name itself, does a silence cover something, and is a name what people see?"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from said_alarms import DIRECTION, FIELDS

from roundlog.encoding import canonical_json, digest
from roundlog.errors import HeadError
from roundlog.events import (
    NO_DIGEST,
    AlarmAcknowledged,
    AlarmRaised,
    AlarmSilenced,
    AuditSampled,
    Event,
    ModelReleased,
    RunOpened,
    alarm_key,
    is_owners,
    parse_head,
)

KEY = alarm_key("run", "cusum", "1", direction=DIRECTION, round=12)


def made(kind: type[Event], source: str = "owner", **fields: Any) -> Event:
    return kind(
        id=f"run/{source}/0",
        source=source,
        subject="run",
        time=datetime(2026, 1, 5, tzinfo=UTC),
        seq=0,
        prev=NO_DIGEST,
        **fields,
    )


def alarm(**changes: Any) -> Event:
    return made(AlarmRaised, **(FIELDS | {"key": KEY} | changes))


def silence(**fields: Any) -> Event:
    common: dict[str, Any] = {"actor": "alice", "authenticated": "local", "said_at": 4}
    return made(AlarmSilenced, **(common | {"from_round": 4, "until_round": 9} | fields))


def release(**fields: Any) -> Event:
    shipped: dict[str, Any] = {"version": "1", "round": 7, "digest": KEY}
    return made(ModelReleased, **(shipped | fields))


def test_a_key_is_the_digest_of_what_anybody_can_write_down() -> None:
    assert digest(canonical_json(["run", "cusum", "1", DIRECTION, 12])) == KEY
    blind = alarm_key("run", "norm", "2", direction=None, round=0)
    assert blind == digest(b'["run","norm","2","",0]')


@pytest.mark.parametrize(
    "change",
    [{"round": 13}, {"detector": "glr"}, {"version": "2"}, {"direction": None}, {"key": "0" * 64}],
)
def test_an_alarm_whose_key_is_another_alarm_s_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="the key of this alarm is"):
        alarm(**change)


@pytest.mark.parametrize("change", [{"score": 9.0}, {"chart": "k=1"}, {"direction_name": "x"}])
def test_what_is_not_in_the_key_does_not_make_another_alarm(change: dict[str, Any]) -> None:
    event = alarm(**change)
    assert isinstance(event, AlarmRaised)
    assert event.key == KEY


def test_a_forged_alarm_does_not_come_back_from_its_head() -> None:
    head = alarm().head()
    assert parse_head(head) == alarm()
    with pytest.raises(HeadError, match="the key of this alarm is"):
        parse_head(head.replace(b'"round":12', b'"round":13'))


def test_evidence_is_bounded_and_holds_no_nan() -> None:
    with pytest.raises(ValidationError, match="bytes of evidence"):
        alarm(evidence={"series": [0.123456789] * 2_000})
    with pytest.raises(ValidationError, match="finite"):
        alarm(evidence={"score": float("nan")})
    assert len(alarm(evidence={"note": "x" * 16_000}).head()) < 65_535


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": float("inf")}, "score"),
        ({"false_alarm_rate": 1.5}, "false_alarm_rate"),
        ({"budget": {"alarms": 0, "rounds": 5, "charts": 1}}, "budget.alarms"),
        ({"budget": {"alarms": 0.1, "rounds": 5}}, "budget.charts"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        alarm(**fields)


@pytest.mark.parametrize("name", ["alice", "Zoë O’Neil", "李小龍", "a b", "x" * 64])
def test_a_name_that_people_see_is_a_name(name: str) -> None:
    event = silence(alarm=KEY, actor=name)
    assert json.loads(event.head())["actor"] == name
    assert parse_head(event.head()) == event


@pytest.mark.parametrize(
    "name",
    ["", " ", " alice", "x" * 65, "a\nb", "a\0", "\x1b[2J", "evil\u202egnp", "a\u200bb", "a\xa0b"],
)
def test_a_name_that_hides_something_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="actor"):
        silence(alarm=KEY, actor=name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either an alarm or a detector"),
        ({"alarm": KEY, "detector": "cusum"}, "either an alarm or a detector"),
        ({"alarm": KEY, "direction_name": "suspect"}, "together with its detector"),
        ({"alarm": KEY, "until_round": 4}, "no round lies from 4 on and before 4"),
        ({"detector": "cusum", "authenticated": "trust me"}, "authenticated"),
    ],
)
def test_a_silence_covers_something(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        silence(**fields)


def test_a_person_s_release_says_how_they_are_known() -> None:
    assert "actor" not in json.loads(release().head())
    with pytest.raises(ValidationError, match="given together"):
        release(actor="alice")
    with pytest.raises(ValidationError, match="model 7 was not there yet at model 6"):
        release(shipped_at=6)
    event = release(actor="alice", authenticated="local", shipped_at=9)
    assert parse_head(event.head()) == event


def test_what_only_the_owner_may_say_is_told_from_what_a_recorder_says() -> None:
    acknowledged: dict[str, Any] = {
        "alarm": KEY,
        "actor": "a",
        "authenticated": "key",
        "said_at": 0,
    }
    person: dict[str, Any] = {"actor": "a", "authenticated": "local"}
    theirs = [
        alarm(),
        silence(alarm=KEY),
        made(AlarmAcknowledged, "server", **acknowledged),
        made(ModelReleased, "server", version="1", round=7, digest=KEY, **person),
        made(RunOpened, framework="x"),
    ]
    assert all(is_owners(event) for event in theirs)
    audit: dict[str, Any] = {
        "round": 1,
        "item": 0,
        "category": "news",
        "answer": 1,
    }
    recorders = [
        made(RunOpened, "server", framework="x"),
        made(ModelReleased, "server", version="1", round=7, digest=KEY),
        made(AuditSampled, "server", **audit, model_digest=KEY, inclusion_probability=0.5),
    ]
    assert not any(is_owners(event) for event in recorders)
