"""Which alarms were raised about a run, who has seen them, and which may rest?

An alarm is a claim about behaviour, made by a detector. People answer it with events of their own:
an acknowledgement says that somebody saw it, a silence lets it rest for a range of rounds. Nothing
is ever taken back or deleted, and no clock decides: a silence ends at a round.

A silence of one alarm holds until the run reaches `until_round`; then the alarm stands as before.
A silence of a detector holds for the alarms that are raised in its rounds, for good.
"""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ingest.said import CaseLog
from ingest.store import Store
from roundlog.errors import QuestionError
from roundlog.events import AlarmAcknowledged, AlarmSilenced, Authenticated

Row = dict[str, Any]

SHOWN = 12
"""Hex digits of a key that people see: as many as they need to tell alarms apart."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says something, and how that is known."""

    actor: str
    authenticated: Authenticated
    note: str = ""


def list_alarms(store: Store, run: str | None = None, key: str = "") -> list[Row]:
    """Alarms, oldest round first, each with its state: `raised`, `acknowledged` or `silenced`.

    Args:
        run: Of this run only.
        key: Only alarms whose key begins so.
    """
    rows = store.query(_sql("alarms"), {"run": run, "key": key}).to_dicts()
    for row in rows:
        row["budget"], row["evidence"] = json.loads(row["budget"]), json.loads(row["evidence"])
    return rows


def find_alarm(store: Store, key: str, run: str | None = None) -> Row:
    """The one alarm whose key begins so.

    Raises:
        QuestionError: There is none, or more than one.
    """
    found = list_alarms(store, run, key)
    if len(found) == 1:
        return found[0]
    if not found:
        raise QuestionError(
            f"no alarm has a key that begins with {key!r}; `roundlog alarms` lists them"
        )
    listed = ", ".join(row["key"][: max(SHOWN, len(key) + 4)] for row in found[:4])
    raise QuestionError(
        f"{len(found)} alarms have keys that begin with {key!r} ({listed}); give more of it"
    )


def acknowledge(
    store: Store, log: CaseLog, key: str, speaker: Speaker, run: str | None = None
) -> AlarmAcknowledged:
    """Writes down that somebody saw an alarm.

    Args:
        key: The beginning of its key.

    Raises:
        QuestionError: No alarm, or several, begin so.
    """
    alarm = find_alarm(store, key, run)
    return log.say(
        AlarmAcknowledged,
        run=alarm["run"],
        alarm=alarm["key"],
        actor=speaker.actor,
        authenticated=speaker.authenticated,
        note=speaker.note,
        said_at=last_model(store, alarm["run"]),
    )


def silence_alarm(
    store: Store,
    log: CaseLog,
    key: str,
    speaker: Speaker,
    *,
    run: str | None = None,
    rounds: int | None = None,
    until: int | None = None,
) -> AlarmSilenced:
    """Lets one alarm rest until the run has come to a round.

    Args:
        rounds: For so many rounds from where the run stands now, or else
        until: up to this round.

    Raises:
        QuestionError: No alarm, or several, begin so; or the silence would be over already.
    """
    alarm = find_alarm(store, key, run)
    now = last_model(store, alarm["run"])
    end = _end(now, rounds, until)
    return log.say(
        AlarmSilenced,
        run=alarm["run"],
        alarm=alarm["key"],
        from_round=now,
        until_round=end,
        actor=speaker.actor,
        authenticated=speaker.authenticated,
        note=speaker.note,
        said_at=now,
    )


def silence_detector(
    store: Store,
    log: CaseLog,
    run: str,
    detector: str,
    speaker: Speaker,
    *,
    direction: str | None = None,
    start: int | None = None,
    rounds: int | None = None,
    until: int | None = None,
) -> AlarmSilenced:
    """Lets a detector's alarms rest where they are raised in a range of rounds.

    Args:
        direction: Only those along the direction of this name.
        start: The first of these rounds; by default the next one of the run.
        rounds: So many rounds, or else
        until: up to this round, itself not included.

    Raises:
        QuestionError: The range holds no round.
    """
    now = last_model(store, run)
    first = now if start is None else start
    return log.say(
        AlarmSilenced,
        run=run,
        detector=detector,
        direction_name=direction,
        from_round=first,
        until_round=_end(first, rounds, until),
        actor=speaker.actor,
        authenticated=speaker.authenticated,
        note=speaker.note,
        said_at=now,
    )


def last_model(store: Store, run: str) -> int:
    """t of the run's last model, which is also its next round; 0 before any round."""
    return int(store.rows(_sql("last_model"), {"run": run})[0][0])


def _end(first: int, rounds: int | None, until: int | None) -> int:
    if (rounds is None) == (until is None):
        raise QuestionError("say how long: for so many rounds, or until a round; one of the two")
    end = first + rounds if rounds is not None else until or 0
    if end <= first:
        raise QuestionError(
            f"a silence from round {first} on that ends before round {end} holds for no round"
        )
    return end


def _sql(name: str) -> str:
    return (resources.files("forensics") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
