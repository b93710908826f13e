"""The command that tells a run's story: timeline."""

import click

from api.cli.asking import (
    artefact_option,
    ask,
    note_artefact,
    question_options,
    trigger_of,
    twins,
)
from api.cli.output import percent, table
from api.cli.triggers import model_option
from api.documents import Document


@twins("timeline")
@click.command(short_help="What happened to this run, in order?")
@question_options
@click.option(
    "--trigger", metavar="TRIGGER", help="Also its crossings, and which releases carry it."
)
@click.option(
    "--levels", default="0.01,0.1,0.5,0.9", show_default=True, help="Shares of its queries."
)
@artefact_option
@model_option
def timeline(
    case: str,
    run: str | None,
    trigger: str | None,
    levels: str,
    artefact: str,
    model: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """What happened to this run, in the order of its rounds?

    With a trigger it also says where its success crossed each level, which release was the first
    to carry it, which was the last clean one, and how many rounds each was out.

    \b
    Example:
      roundlog timeline my-case
      roundlog timeline my-case --trigger truth.json
    """
    if trigger is None:
        ask("timeline", case, {"run": run}, token=token, as_json=as_json, table=_timeline)
        return
    values = {
        "run": run,
        "trigger": trigger_of(case, trigger),
        "levels": levels,
        "artefact": artefact,
        "model": model,
    }
    document = ask("timeline", case, values, token=token, as_json=as_json, table=_timeline)
    note_artefact(artefact, document)


def _timeline(document: Document) -> str:
    rows = [(entry["round"], entry["kind"], entry["title"]) for entry in document["entries"]]
    listed = table(rows, ("round", "what", ""))
    if "releases" not in document:
        return listed
    shipped = [
        (
            one["version"],
            one["channel"],
            one["round"],
            percent(one["asr"]),
            "–" if one["low"] is None else f"{percent(one['low'])} to {percent(one['high'])}",
            ", ".join(percent(level) for level in one["levels"]) or "none",
            one["rounds_out"],
        )
        for one in document["releases"]
    ]
    head = ("release", "channel", "model", "success", "95 % interval", "reaches", "rounds out")
    return f"{listed}\n\n{table(shipped, head)}\n\n{document['blast_radius']['claim']}"
