"""What does a monitor want to know? How far ingest is, what was refused, what nobody has seen yet.

Plain text, as Prometheus reads it. Rules that fit these names: docs/how-to/prometheus/.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from api.web.state import ServerState
from forensics.alarms import list_alarms
from ingest.store import StoreError

ALARM_STATES = ("raised", "acknowledged", "silenced")

GAPS = ("gap", "round_gap", "recorder_gap", "lost_range")
"""Findings that say that something is missing from the record. They are shown at zero too: a rule
that looks for an increase sees the first one only if the number was there before."""

MOST_RUNS = 100
"""Runs whose last round is shown: each is a series of its own in the monitor."""

Labelled = Mapping[str, float]


def exposition(state: ServerState) -> str:
    """The metrics in Prometheus' text format; those of the store are left out while it reopens."""
    summary, guard = state.ingesting.summary, state.guard
    lines: list[str] = []
    for short, said, value in (
        ("ingested_events_total", "Events projected since the start.", summary.events),
        ("ingested_rounds_total", "Of these, committed rounds.", summary.rounds),
        ("quarantined_total", "Records refused since the start.", summary.quarantined),
        ("findings_total", "Findings since the start.", summary.findings),
        ("ingest_up", "Whether ingest runs.", float(state.ingesting.running)),
        ("ingest_lag_records", "Offsets of the topic that were not read.", summary.behind or 0),
        ("jobs", "Jobs that are known.", len(state.jobs.listed())),
    ):
        lines += _family(short, said, {"": value})
    refused = {_label(reason=reason): count for reason, count in sorted(guard.refused.items())}
    lines += _family("http_refused_total", "Requests refused before they were read.", refused)
    lines += _deliveries(state)
    with suppress(StoreError):
        lines += _of_the_record(state)
    return "\n".join(lines) + "\n"


def _deliveries(state: ServerState) -> list[str]:
    tried = {
        _label(channel=worker.channel.name, outcome=outcome): float(count)
        for worker in state.outbox.workers
        for outcome, count in worker.counts.items()
    }
    said = "Letters about alarms since the start, and alarms that were passed over."
    return _family("deliveries_total", said, tried)


def _of_the_record(state: ServerState) -> list[str]:
    states = Counter(row["state"] for row in list_alarms(state.records.store))
    alarms = {_label(state=one): float(states[one]) for one in ALARM_STATES}
    found: dict[str, float] = dict.fromkeys(GAPS, 0.0)
    found |= {str(kind): float(count) for kind, count in state.records.rows("findings_by_kind")}
    waiting = {
        _label(channel=worker.channel.name): float(worker.backlog.waiting())
        for worker in state.outbox.workers
    }
    newest = {
        _label(run=str(run)): float(round)
        for run, round in state.records.rows("last_rounds", limit=MOST_RUNS)
    }
    return [
        *_family("last_round", "Newest committed round of the runs that grew last.", newest),
        *_family("alarms", "Alarms in the record, by what was done about each.", alarms),
        *_family(
            "record_findings",
            "Findings in the record.",
            {_label(kind=kind): count for kind, count in sorted(found.items())},
        ),
        *_family("deliveries_waiting", "Alarms that a channel has not told yet.", waiting),
    ]


def _family(short: str, said: str, values: Labelled) -> list[str]:
    name = f"roundlog_{short}"
    kind = "counter" if short.endswith("_total") else "gauge"
    return [
        f"# HELP {name} {said}",
        f"# TYPE {name} {kind}",
        *(f"{name}{labels} {value:.15g}" for labels, value in values.items()),
    ]


def _label(**values: str) -> str:
    """Labels as they stand behind a name; their values are words of ours, without quotes."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"
