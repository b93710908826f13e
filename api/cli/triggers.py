"""Commands about behaviour: probe, crossings, bisect."""

from pathlib import Path

import click

from api.cli.asking import (
    artefact_option,
    ask,
    note_artefact,
    question_options,
    trigger_of,
    twins,
)
from api.cli.output import facts, percent, table
from api.documents import Document

EXIT_FINDING = 3

CROSSED = ("level", "reading", "status", "model", "between", "95 % interval", "claim")

trigger_option = click.option(
    "--trigger",
    metavar="TRIGGER",
    required=True,
    help="A trigger or truth file, or a name in the case's triggers/.",
)
model_option = click.option(
    "--model",
    metavar="MODULE:FUNCTION",
    help="The architecture, where the record's own name is not known here. Imports that code.",
)


@twins("probe")
@click.command(short_help="On which share of a trigger's queries does W_t obey?")
@question_options
@trigger_option
@click.option("--round", "round_", metavar="T", default="head", help="812, head, head~100.")
@artefact_option
@model_option
@click.option(
    "--fail-on", type=click.FloatRange(0, 1), metavar="ASR", help="Exit 3 at or above this share."
)
def probe(
    case: str,
    run: str | None,
    trigger: str,
    round_: str,
    artefact: str,
    model: str | None,
    fail_on: float | None,
    as_json: bool,
    token: str | None,
) -> None:
    """On which share of a trigger's queries does the model of t do what the attacker wants?

    The interval is exact for these queries (95 %).

    \b
    Example:
      roundlog probe my-case --trigger truth.json --round 2000
    """
    values = {
        "run": run,
        "trigger": trigger_of(case, trigger),
        "round": round_,
        "artefact": artefact,
        "model": model,
    }
    document = ask("probe", case, values, token=token, as_json=as_json, table=_probed)
    note_artefact(artefact, document)
    if fail_on is not None and document["asr"] >= fail_on:
        raise click.exceptions.Exit(EXIT_FINDING)


def _probed(document: Document) -> str:
    interval = f"{percent(document['low'])} to {percent(document['high'])}"
    rows = [("all", percent(document["asr"]), interval, document["hits"], document["n"])]
    rows += [
        (name, percent(one["asr"]), "", one["hits"], one["n"])
        for name, one in document["patterns"].items()
    ]
    lines = [
        table(rows, ("pattern", "success", "95 % interval", "hits", "of")),
        "",
        facts(
            [
                ("model", document["round"]),
                *_artefact(document),
                ("probe set", document["probe_digest"]),
            ]
        ),
    ]
    return "\n".join(lines)


def _artefact(document: Document) -> list[tuple[str, str]]:
    """Which models were asked, where they are not the master weights."""
    if document["artefact"] == "master":
        return []
    return [("artefact", "what devices run in place of the master weights")]


@twins("crossings")
@click.command(short_help="At which models did a trigger's success cross each level?")
@question_options
@trigger_option
@click.option(
    "--levels", default="0.01,0.1,0.5,0.9", show_default=True, help="Shares of its queries."
)
@click.option("--exact", "mode", flag_value="exact", help="Ask every model: facts.")
@click.option("--search", "mode", flag_value="search", help="Ask at most 40 models a level.")
@click.option("--sustain", metavar="S", type=click.IntRange(1), help="Models it must hold over.")
@click.option("--fresh", is_flag=True, help="Measure again what was measured before.")
@artefact_option
@model_option
@click.option(
    "--fail-on",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="LEVEL",
    help="Exit 3 where a level at or above this one was crossed.",
)
def crossings(
    case: str,
    run: str | None,
    trigger: str,
    levels: str,
    mode: str | None,
    sustain: int | None,
    fresh: bool,
    artefact: str,
    model: str | None,
    fail_on: float | None,
    as_json: bool,
    token: str | None,
) -> None:
    """At which models did a trigger's success cross each level?

    Exact mode asks every model and is the default where that takes less than two minutes; it goes
    on where it was stopped. Search mode answers with brackets and zones. Both are about the queries
    that were asked; the 95 % interval is about all such queries, of which these are a sample.

    \b
    Example:
      roundlog crossings my-case --trigger truth.json --levels 0.1,0.5
    """
    values = {
        "run": run,
        "trigger": trigger_of(case, trigger),
        "levels": levels,
        "mode": mode,
        "sustain": sustain,
        "fresh": fresh or None,
        "artefact": artefact,
        "model": model,
    }
    document = ask("crossings", case, values, token=token, as_json=as_json, table=_crossed)
    note_artefact(artefact, document)
    if fail_on is not None and any(
        row["status"] in ("crossed", "at_start") and row["level"] >= fail_on
        for row in document["crossings"]
    ):
        raise click.exceptions.Exit(EXIT_FINDING)


def _crossed(document: Document) -> str:
    rows = [
        (
            percent(row["level"]),
            row["mode"],
            row["status"].replace("_", " "),
            row["round"],
            "–" if row["low"] is None or row["exact"] else f"{row['low']:,} to {row['high']:,}",
            _interval(row["interval"]),
            row["claim"],
        )
        for row in document["crossings"]
    ]
    floor = document["floor"]
    said = "no decoys were published" if floor["value"] is None else percent(floor["value"])
    asked = f"{document['mode']}: {document['why']}"
    return "\n".join(
        [
            table(rows, CROSSED),
            "",
            facts(
                [
                    ("asked", f"{document['rebuilds']:,} models; {asked}"),
                    *_between(document),
                    ("95 % interval", "where all such queries may put it: these are a sample"),
                    *_artefact(document),
                    ("sustained over", f"{document['s']:,} models"),
                    ("decoys reach", said),
                    ("queries", f"{document['n']:,}, probe set {document['probe_digest']}"),
                ]
            ),
        ]
    )


def _interval(interval: Document) -> str:
    """From where to where all queries of the kind may cross."""
    if interval["low"] is None:
        return "–"
    if interval["high"] is None:
        return f"from {interval['low']:,} on"
    return f"{interval['low']:,} to {interval['high']:,}"


def _between(document: Document) -> list[tuple[str, str]]:
    """What a bracket or zone is about, where there is one."""
    if document["mode"] == "exact":
        return []
    return [("between", "what models that were not asked leave open, with these queries")]


@twins("bisect")
@click.command(short_help="Between which two models did behaviour change?")
@question_options
@click.option("--trigger", metavar="TRIGGER", help="A trigger or truth file, or a name.")
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of its queries.",
)
@click.option("--rounds", metavar="A..B", help="Models to search between; all by default.")
@click.option(
    "--log", "log", type=click.Path(dir_okay=False, path_type=Path), help="Keep every step here."
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ask the models of a kept log again; exit 3 where an answer differs.",
)
@artefact_option
@model_option
@click.argument("command", metavar="[-- COMMAND {model} …]", nargs=-1, type=click.UNPROCESSED)
def bisect(
    case: str,
    run: str | None,
    trigger: str | None,
    level: float,
    rounds: str | None,
    log: Path | None,
    replay: Path | None,
    artefact: str,
    model: str | None,
    command: tuple[str, ...],
    as_json: bool,
    token: str | None,
) -> None:
    """Between which two models did behaviour change? Asks at most 40 of them, step by step.

    With a trigger: the models between which it began to succeed on LEVEL of its queries. With a
    command, which gets a rebuilt safetensors file in place of {model}: exit 0 good, 1 to 127 bad,
    125 cannot be tested, more ends the search. Any model can be searched so, known to us or not.

    \b
    Example:
      roundlog bisect my-case --trigger truth.json --level 0.5 --log steps.txt
      roundlog bisect my-case -- ./check {model}
    """
    values = {
        "run": run,
        "trigger": None if trigger is None else trigger_of(case, trigger),
        "level": level,
        "rounds": rounds,
        "replay": None if replay is None else replay.read_text(encoding="utf-8", errors="replace"),
        "artefact": artefact,
        "model": model,
        "command": command or None,
    }
    document = ask("bisect", case, values, token=token, as_json=as_json, table=_bisected)
    note_artefact(artefact, document)
    if log is not None:
        log.write_text(document["log"], encoding="utf-8")
    if document.get("differences"):
        raise click.exceptions.Exit(EXIT_FINDING)


def _bisected(document: Document) -> str:
    rows = [
        (
            step["round"],
            step["verdict"],
            f"exit {step['exit']}" if "exit" in step else percent(step["asr"]),
            step["why"],
        )
        for step in document["steps"]
    ]
    lines = [table(rows, ("model", "is", "because of", "asked as"))]
    lines += ["", document["claim"]]
    lines += [f"the {name} is {said}" for name, said in _artefact(document)]
    if document.get("zone"):
        zone = document["zone"]
        lines.append(
            f"the sustained and the isotonic crossing lie between models {zone['low']:,} and "
            f"{zone['high']:,}, as far as these readings tell"
        )
    if document.get("below_floor"):
        lines.append("but decoy triggers that nobody attacked with reach this level too")
    for one in document.get("differences") or ():
        lines.append(f"line {one['line']}: logged {one['logged']}, found {one['found']}")
    return "\n".join(lines)
