"""Commands about models: drift, diff, rebuild."""

from pathlib import Path

import click

from api.cli.asking import (
    artefact_option,
    ask,
    asking,
    note_artefact,
    question_options,
    twins,
)
from api.cli.output import emit, facts, table
from api.documents import Document
from roundlog.errors import DigestMismatchError


@twins("drift")
@click.command(short_help="How far had the model moved from where it began?")
@question_options
@click.option("--rounds", metavar="A..B", help="Models to measure, such as 400..800.")
@click.option("--every", type=click.IntRange(1, 1_000_000), help="Rounds from one row to the next.")
@click.option("--toward", metavar="T", help="Also how far along the way to this model.")
def drift(
    case: str,
    run: str | None,
    as_json: bool,
    token: str | None,
    rounds: str | None,
    every: int | None,
    toward: str | None,
) -> None:
    """How far had the model moved from where it began, and which tensors?

    \b
    Example:
      roundlog drift my-case --every 500
    """
    values = {"run": run, "rounds": rounds, "every": every, "toward": toward}
    ask("drift", case, values, token=token, as_json=as_json, table=_drift)


def _drift(document: Document) -> str:
    rows = document["rows"]
    if not rows:
        return "(no model)"
    # A terminal shows a screenful; --json and --every have the rest.
    shown = rows[:: max(1, len(rows) // 40)]
    shown = shown if shown[-1] is rows[-1] else [*shown, rows[-1]]
    tensors = list(rows[0]["tensors"])
    along = ["along"] if "along" in rows[0] else []
    cells = [
        (
            row["round"],
            row["drift"],
            row["step"],
            *(row[key] for key in along),
            *(row["tensors"][name] for name in tensors),
        )
        for row in shown
    ]
    head = ("model", f"‖W−W_{document['origin']}‖", "step", *along, *tensors)
    return table(cells, head)


@twins("diff")
@click.command(short_help="What differs between two models, tensor by tensor?")
@question_options
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER", default="head")
@click.option("--other", metavar="RUN", help="AFTER is a model of this run.")
@click.option("--fail-on", type=click.Choice(["differ"]), help="Exit 3 where they differ.")
def diff(
    case: str,
    before: str,
    after: str,
    run: str | None,
    other: str | None,
    fail_on: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """What differs between two models, tensor by tensor?

    \b
    Example:
      roundlog diff my-case 800 head
    """
    values = {"run": run, "before": before, "after": after, "other": other}
    document = ask("diff", case, values, token=token, as_json=as_json, table=_diff)
    if fail_on == "differ" and not document["identical"]:
        raise click.exceptions.Exit(3)


def _diff(document: Document) -> str:
    a, b = document["a"], document["b"]
    if document["identical"]:
        return f"models {a['run']}:{a['round']} and {b['run']}:{b['round']} are identical"
    lines = [
        facts(
            [
                ("before", f"{a['run']} model {a['round']:,}"),
                ("after", f"{b['run']} model {b['round']:,}"),
                ("‖after − before‖", document["norm"]),
                ("cosine", document["cosine"]),
            ]
        ),
        "",
        table(
            [
                (one["name"], one["changed"], one["elements"], one["norm"], one["largest"])
                for one in document["tensors"]
            ],
            ("tensor", "changed", "of", "norm", "largest"),
        ),
        "",
        table(
            [
                (
                    f"{one['tensor']}{one['index']}",
                    one["before"],
                    one["after"],
                    one["after"] - one["before"],
                )
                for one in document["elements"]
            ],
            ("largest changes", "before", "after", "change"),
        ),
    ]
    return "\n".join(lines)


@twins("rebuild")
@click.command(short_help="What was the model at t, bit for bit?")
@question_options
@click.option("--round", "round_", metavar="T", required=True, help="812, head, head~100.")
@artefact_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the model here, as a safetensors file.",
)
def rebuild(
    case: str,
    run: str | None,
    round_: str,
    artefact: str,
    out: Path | None,
    as_json: bool,
    token: str | None,
) -> None:
    """What was the model at t, and is it the recorded one bit for bit?

    Exit 4 where it is not: then no file is written. What devices run in place of the first model
    has no recorded digest; it is made of that model, which has one.

    \b
    Example:
      roundlog rebuild my-case --round 812 --out model-812.safetensors
    """
    from roundlog.log.files import write_durably

    values = {"run": run, "round": round_, "artefact": artefact}
    with asking(case, token) as (desk, line):
        document = desk.ask("rebuild", values, line)
        if document["matches"] is False:
            from forensics.artefact import BroadcastMismatchError

            kind = DigestMismatchError if artefact == "master" else BroadcastMismatchError
            raise kind(
                model=document["round"], expected=document["recorded"], found=document["digest"]
            )
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_durably(out, desk.fetch("rebuild", values, "application/vnd.safetensors"))
    note_artefact(artefact, document)
    emit(document, as_json, lambda answer: _rebuilt(answer, out))


def _rebuilt(document: Document, out: Path | None) -> str:
    matches = document["matches"]
    pairs = [
        ("model", document["round"]),
        ("digest", document["digest"]),
        ("matches the record", "none is recorded for this one" if matches is None else matches),
    ]
    if document["artefact"] != "master":
        pairs.insert(1, ("which is", f"the {document['artefact']}, which devices run"))
    if out is not None:
        pairs.append(("written to", str(out)))
    return facts(pairs)
