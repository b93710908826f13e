"""What does a monitor want to know? How far ingest is, and what was refused; as plain text."""

from api.web.state import ServerState


def exposition(state: ServerState) -> str:
    """The metrics in Prometheus' text format."""
    summary, guard = state.ingesting.summary, state.guard
    numbers: list[tuple[str, str, float]] = [
        ("ingested_events_total", "Events projected since the start.", summary.events),
        ("ingested_rounds_total", "Of these, committed rounds.", summary.rounds),
        ("quarantined_total", "Records refused since the start.", summary.quarantined),
        ("findings_total", "Findings since the start.", summary.findings),
        ("ingest_up", "Whether ingest runs.", float(state.ingesting.running)),
        ("jobs", "Jobs that are known.", len(state.jobs.listed())),
    ]
    lines: list[str] = []
    for short, said, value in numbers:
        name = f"roundlog_{short}"
        kind = "counter" if short.endswith("_total") else "gauge"
        lines += [f"# HELP {name} {said}", f"# TYPE {name} {kind}", f"{name} {value:.15g}"]
    name = "roundlog_http_refused_total"
    lines += [f"# HELP {name} Requests refused before they were read.", f"# TYPE {name} counter"]
    lines += [
        f'{name}{{reason="{reason}"}} {count}' for reason, count in sorted(guard.refused.items())
    ]
    return "\n".join(lines) + "\n"
