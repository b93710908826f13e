"""Commands that list what the record says: runs, log, show."""

from typing import Any

import click

from api.cli.asking import ask, asking, question_options, twins
from api.cli.output import count, days, emit_lines, facts, table
from api.documents import Document
from roundlog.sanitize import for_terminal


@twins("runs")
@click.command(short_help="Which runs does the case hold, and how far does each go?")
@question_options
@click.option("--jsonl", is_flag=True, help="One JSON document a run.")
def runs(case: str, run: str | None, as_json: bool, jsonl: bool, token: str | None) -> None:
    """Which runs does the case hold, and how far does each go?

    CASE is a case directory, or the URL of a `roundlog serve`.

    \b
    Example:
      roundlog runs my-case
    """
    if jsonl:
        with asking(case, token) as (desk, line):
            emit_lines(desk.ask("runs", {"run": run}, line)["runs"])
        return
    ask("runs", case, {"run": run}, token=token, as_json=as_json, table=_runs)


def _runs(document: Document) -> str:
    head = ["run", "rounds", "models", "days", "parameters", "architecture", "findings", "refused"]
    # Only where somebody needs to know: devices mostly run the master weights.
    forms = [run["broadcast"] or "float32" for run in document["runs"]]
    shown = any(form != "float32" for form in forms)
    if shown:
        head.insert(-2, "devices run")
    rows = []
    for run, form in zip(document["runs"], forms, strict=True):
        last = None if run["last_round"] is None else run["last_round"] + 1
        models = "–" if last is None else f"{run['first_round']:,}..{last:,}"
        rows.append(
            (
                run["run"],
                run["rounds"],
                models,
                days(run["rounds"], run["seconds_per_round"]),
                run["elements"],
                run["architecture"],
                *([form] if shown else []),
                run["findings"],
                run["quarantined"],
            )
        )
    return table(rows, head)


@twins("log")
@click.command(short_help="What was recorded, newest first?")
@question_options
@click.option("--type", "kind", metavar="TYPE", help="Only this kind, such as round.committed.")
@click.option("--producer", metavar="NAME", help="Only what this producer said.")
@click.option("--rounds", metavar="A..B", help="Only events about these rounds: 400..800, head~9..")
@click.option("--limit", "-n", type=click.IntRange(1, 1_000_000), help="Events; 50 unless --jsonl.")
@click.option("--jsonl", is_flag=True, help="Every event as one JSON document a line.")
@click.option("--follow", "-f", is_flag=True, help="Oldest first, and on as events come.")
def log(
    case: str,
    run: str | None,
    as_json: bool,
    jsonl: bool,
    token: str | None,
    kind: str | None,
    producer: str | None,
    rounds: str | None,
    limit: int | None,
    follow: bool,
) -> None:
    """What was recorded, newest first?

    \b
    Example:
      roundlog log my-case --type round.committed --rounds 800..810
      roundlog log my-case --follow
    """
    if follow:
        if kind or producer or rounds or as_json:
            raise click.UsageError("--follow tells every event; it goes with --limit and --jsonl")
        _follow(case, token, run, 10 if limit is None else limit, jsonl=jsonl)
        return
    values = {"run": run, "type": kind, "producer": producer, "rounds": rounds, "limit": limit}
    if jsonl:
        _stream_log(case, token, values)
        return
    ask("log", case, values, token=token, as_json=as_json, table=_log)


def _stream_log(case: str, token: str | None, values: dict[str, Any]) -> None:
    left = values.pop("limit")
    with asking(case, token) as (desk, line):
        before = None
        while True:
            page = 10_000 if left is None else min(left, 10_000)
            answer = desk.ask("log", {**values, "before": before, "limit": page}, line)
            emit_lines(answer["events"])
            before = answer["next"]
            left = None if left is None else left - len(answer["events"])
            if before is None or left == 0:
                return


def _follow(case: str, token: str | None, run: str | None, last: int, *, jsonl: bool) -> None:
    with asking(case, token) as (desk, line):
        for event in desk.tail(run, last):
            line.clear()
            if jsonl:
                emit_lines([event])
                continue
            what = event["type"].removeprefix("fl.")
            said = f"{event['time']:27} {event['producer']}/{event['seq']:<8} {what:24}"
            if event["round"] is not None:
                said += f" round {event['round']:,}"
            if event["status"] != "ok":
                said += f"  ({event['status']})"
            click.echo(for_terminal(said))


def _log(document: Document) -> str:
    rows = [
        (
            event["producer"],
            event["seq"],
            event["type"].removeprefix("fl."),
            event["round"],
            event["time"].replace("T", " ").removesuffix("Z"),
            event["cohort_size"],
            event["delta_norm"],
            event["status"],
        )
        for event in document["events"]
    ]
    head = ("producer", "seq", "event", "round", "time (UTC)", "cohort", "‖Δ‖", "status")
    more = f"\n{count(document['total'], 'event')} in all" if document["next"] else ""
    return table(rows, head) + more


@twins("show")
@click.command(short_help="What does one event say, word for word?")
@question_options
@click.argument("event", metavar="EVENT")
def show(case: str, event: str, run: str | None, as_json: bool, token: str | None) -> None:
    """What does one event say, word for word?

    EVENT is a round (812, head, head~100) or an event's id (run/producer/seq).

    \b
    Example:
      roundlog show my-case 812
    """
    ask("show", case, {"run": run, "event": event}, token=token, as_json=as_json, table=_show)


def _show(document: Document) -> str:
    pairs = [*_flat(document["event"]), ("", "")]
    pairs += [("digest", document["digest"]), ("status", document["status"])]
    pairs.append(("lies in", f"{document['file']}, byte {document['offset']:,}"))
    if document["origin"]:
        pairs.append(("came from", document["origin"]))
    if isinstance(document["text"], dict):
        said = document["text"]
        pairs += [("asked", said.get("prompt")), ("answered", said.get("response"))]
    if document["erased"] is not None:
        pairs.append(("its words", _erased(document["erased"])))
    return facts(pairs)


def _erased(by: Document) -> str:
    if by["event"] is None:
        return "are gone, and no erasure is on record: `roundlog verify` says more"
    when = by["time"].replace("T", " ").removesuffix("Z")
    return f"were erased by {by['actor']} ({by['authenticated']}), {when} UTC: {by['note']}"


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested fields as dotted names; long lists by their length."""
    pairs: list[tuple[str, Any]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            pairs += _flat(item, f"{prefix}{key}.")
        elif isinstance(item, list):
            if item and isinstance(item[0], dict) and len(item) <= 8:
                for index, one in enumerate(item):
                    pairs += _flat(one, f"{prefix}{key}[{index}].")
            else:
                shown = ", ".join(str(one) for one in item[:6])
                rest = f", … ({len(item)} in all)" if len(item) > 6 else ""
                pairs.append((f"{prefix}{key}", shown + rest))
        else:
            pairs.append((f"{prefix}{key}", item))
    return pairs
