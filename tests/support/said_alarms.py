"""An alarm as a detector would raise it, in as few words as a test needs."""

from typing import Any

from ingest.said import CaseLog
from roundlog.events import AlarmBudget, AlarmRaised

DIRECTION = "d1" * 32

FIELDS: dict[str, Any] = {
    "detector": "cusum",
    "version": "1",
    "chart": "k=0.5",
    "direction": DIRECTION,
    "direction_name": "suspect",
    "round": 12,
    "score": 5.5,
    "threshold": 5.0,
    "false_alarm_rate": 1e-6,
    "budget": AlarmBudget(alarms=0.1, rounds=100_000, charts=4),
    "evidence": {"drift": 0.7, "sigma": 0.25},
}
"""All but the key, which `CaseLog.say` fills in."""


def raise_alarm(log: CaseLog, run: str, **changes: Any) -> AlarmRaised:
    """One alarm, written down."""
    return log.say(AlarmRaised, run=run, **(FIELDS | changes))
