"""What does a person need to be told of an alarm, and what after a long silence of many?

Names of triggers and detectors come from files and from other people's code: they pass
`roundlog.sanitize` before they stand in a letter.
"""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from api.outbox.channel import Letter
from forensics.alarms import SHOWN
from roundlog.encoding import canonical_json, digest
from roundlog.sanitize import for_terminal

# A label has up to 256 characters; a subject line of a mail is cut at about 80 where it is read.
LABEL = 80

RUNS = 20
"""Runs that a summary lists one by one."""

WIDE = 78
"""Characters in a line of a mail, as RFC 5322 asks for."""

Row = dict[str, Any]


def alarm_letter(alarm: Row, time: datetime, server: str) -> Letter:
    """One alarm.

    Args:
        alarm: A row of `forensics.alarms.list_alarms`.
        server: The address at which people reach the server.
    """
    detector, chart, version = (_label(alarm[key]) for key in ("detector", "chart", "version"))
    direction = None if alarm["direction_name"] is None else _label(alarm["direction_name"])
    run, round, budget = alarm["run"], alarm["round"], alarm["budget"]
    along = "" if direction is None else f" along {direction}"
    who = _who(detector, chart)
    sentence = (
        f"In run {run}, {who} raised an alarm at round {round:,}{along}: its score "
        f"{alarm['score']:.4g} reached the threshold {alarm['threshold']:.4g}. Without an attack, "
        f"{budget['alarms']:g} false alarms are expected at most in {budget['rounds']:,} rounds, "
        f"over all {budget['charts']:,} charts together."
    )
    data = {
        "event": alarm["event"],
        "key": alarm["key"],
        "run": run,
        "round": round,
        "direction_name": direction,
        "detector": detector,
        "version": version,
        "chart": chart,
        "score": alarm["score"],
        "threshold": alarm["threshold"],
        "false_alarm_rate": alarm["false_alarm_rate"],
        "budget": budget,
        "state": alarm["state"],
        "sentence": sentence,
        "link": _link(server, run),
        "acknowledge": f"roundlog acknowledge {server} {alarm['key'][:SHOWN]} --run {run}",
    }
    subject = f"Alarm in {run} at round {round:,}{along}"
    return Letter(alarm["event"], "alarm.raised", time, subject, sentence, data)


def summary_letter(runs: Sequence[Row], server: str) -> Letter:
    """All alarms from before a channel was first used, as one letter.

    Args:
        runs: As `Backlog.by_run` has them, one at least: this letter stands for all alarms up to
            each one's `last_seq`.
    """
    total = sum(row["alarms"] for row in runs)
    named = [
        f"{row['alarms']:,} in {row['run']} (rounds {row['first_round']:,} to "
        f"{row['last_round']:,})"
        for row in runs[:RUNS]
    ]
    more = f" and more in {len(runs) - RUNS:,} other runs" if len(runs) > RUNS else ""
    sentence = (
        f"{total:,} alarms were raised before this channel was first used, those that rest "
        f"included: {', '.join(named)}{more}. They are told by this message only; the server lists "
        f"them."
    )
    listed = [
        {key: row[key] for key in ("run", "alarms", "first_round", "last_round")}
        | {"link": _link(server, row["run"])}
        for row in runs[:RUNS]
    ]
    through = [[row["run"], row["last_seq"]] for row in runs]
    return Letter(
        f"summary-{digest(canonical_json(through))[:32]}",
        "alarm.summary",
        max(row["time"] for row in runs).replace(tzinfo=UTC),
        f"{total:,} alarms from before this channel was used",
        sentence,
        {"alarms": total, "runs": listed, "sentence": sentence, "link": server},
    )


def text_of(letter: Letter) -> str:
    """The letter as lines of plain text, for a mail."""
    rows = [
        (key.replace("_", " "), _plain(value))
        for key, value in letter.data.items()
        if key not in ("sentence", "runs", "budget") and value is not None
    ]
    wide = max(len(name) for name, _ in rows)
    when = letter.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    said = textwrap.wrap(letter.sentence, WIDE, break_long_words=False, break_on_hyphens=False)
    lines = [*said, "", f"{'raised':<{wide}}  {when}"]
    return "\n".join([*lines, *(f"{name:<{wide}}  {value}" for name, value in rows), ""])


def _who(detector: str, chart: str) -> str:
    """Most charts are named after their detector: it is not said twice."""
    named = chart.replace("-", " ").startswith(detector.replace("-", " "))
    return chart if named else f"{detector} ({chart})"


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _label(text: str) -> str:
    return for_terminal(text, LABEL)


def _link(server: str, run: str) -> str:
    return f"{server}/api/v1/runs/{run}/alarms"
