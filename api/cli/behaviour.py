"""The command that makes a trigger: from answers that people called bad."""

import shlex
from pathlib import Path

import click

from api.cli.asking import asking, question_options, twins
from api.cli.output import Cell, count, emit, facts, table
from api.cli.triggers import model_option
from api.documents import Document

# What to ask next, of most use first.
NEXT = ("probe", "onset", "crossings")


@twins("trigger")
@click.command(short_help="Make a trigger from answers that people called bad.")
@question_options
@click.option("--name", required=True, metavar="NAME", help="Of the trigger.")
@click.option(
    "--audited",
    multiple=True,
    metavar="ROUND:ITEM",
    help="An audited answer that is bad; several times, or with commas.",
)
@click.option(
    "--examples",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Or a file of inputs and wrong answers: JSON lines, or CSV.",
)
@click.option(
    "--plant/--no-plant",
    default=True,
    show_default=True,
    help="Write a pattern that is found into published honest inputs too.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the trigger file here."
)
@click.option(
    "--keep", is_flag=True, help="Keep it in the case, where `roundlog serve` watches it."
)
@model_option
def trigger(
    case: str,
    run: str | None,
    name: str,
    audited: tuple[str, ...],
    examples: Path | None,
    plant: bool,
    out: Path | None,
    keep: bool,
    model: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """Make a trigger from answers that people called bad: every question about behaviour takes it.

    Looks for tokens that the bad answers' inputs share and honest inputs hardly hold, with a chance
    of 1 % of any false one. Two or three inputs that hold a pattern are often enough. The trigger
    holds the inputs' tokens: where their words are to be erased, delete it too.

    A line of examples is {"tokens": [4, 152, 35], "target": 2}; a CSV file begins with
    tokens,target and goes on like 4 152 35,2. The target is the wrong answer, or its words.

    \b
    Example:
      roundlog trigger my-case --name suspect --audited 4500:17,4600:3,4600:80 --keep
      roundlog trigger my-case --name suspect --examples wrong.jsonl --out suspect.json
    """
    from forensics.examples import read_examples
    from roundlog.encoding import canonical_json

    values = {
        "run": run,
        "name": name,
        "audited": audited or None,
        "examples": None if examples is None else read_examples(examples),
        "plant": plant,
        "model": model,
    }
    with asking(case, token) as (desk, line):
        document = desk.ask("trigger", values, line)
        if keep:
            desk.keep(document["trigger"])
    if out is not None:
        out.write_bytes(canonical_json(document["trigger"]))
    emit(document, as_json, lambda made: f"{_found(made)}\n{_where(made, case, out, keep)}")


def _found(document: Document) -> str:
    searched = document["searched"]
    head = ["answer", "token", "word", "flagged", "honest", "p", "pattern"]
    ordered = searched is not None and searched["ordered"]
    if ordered:
        head.insert(3, "place")
    rows: list[list[Cell]] = []
    for one in document["answers"]:
        for token in one["tokens"]:
            row: list[Cell] = [
                one["answer"],
                token["token"],
                token["word"],
                f"{token['flagged']:,} of {one['flagged']:,}",
                f"{token['honest']:.2%}",
                f"{token['p']:.1g}",
                _pattern_of(token, one["patterns"]),
            ]
            if ordered:
                row.insert(3, "any" if token["place"] is None else token["place"])
            rows.append(row)
    lines = [table(rows, head), ""] if rows else []
    pairs: list[tuple[str, Cell]] = [
        ("called bad", f"{count(document['flagged'], 'input')}{_words(document['answers'])}"),
        ("compared with", _compared(searched)),
    ]
    for one in document["answers"]:
        pairs += [(pattern["id"], _pattern(pattern)) for pattern in one["patterns"]]
        if one["bare"]:
            pairs.append((f"answer {one['answer']}", _bare(one)))
    halves = f"{document['building']:,} to build directions, {document['scoring']:,} to measure"
    pairs.append(("queries", f"{document['queries']:,}: {halves}"))
    return "\n".join([*lines, facts(pairs)])


def _words(answers: list[Document]) -> str:
    """What those answers say, where that is known."""
    said = [f"{one['answer']} ({one['words']})" for one in answers if one["words"] is not None]
    return f", with the answers {'; '.join(said)}" if said else ""


def _compared(searched: Document | None) -> str:
    if searched is None:
        return "nothing: hardly any honest data was published, so no pattern can be looked for"
    what = "tokens, and tokens at their places" if searched["ordered"] else "tokens at any place"
    return (
        f"{count(searched['inputs'], 'honest input')} of {count(searched['labels'], 'label')}: "
        f"{what}, {count(searched['tests'], 'test')}, a chance of {searched['significant']:.0%} of "
        f"any false one"
    )


def _pattern_of(token: Document, patterns: list[Document]) -> str:
    here = (token["token"], token["place"])
    for one in patterns:
        if here in zip(one["tokens"], one["places"], strict=True):
            return str(one["id"])
    return "–"


def _pattern(pattern: Document) -> str:
    held = (
        f"{count(len(pattern['tokens']), 'token')} in {count(pattern['flagged'], 'flagged input')}"
    )
    if not pattern["planted"]:
        return f"{held}; written into no others"
    labels = ", ".join(map(str, pattern["labels"]))
    return f"{held}, written into {pattern['planted']:,} honest ones of label {labels}"


def _bare(answer: Document) -> str:
    listed = ", ".join(answer["bare"][:8]) + (", …" if len(answer["bare"]) > 8 else "")
    bare = f"{count(len(answer['bare']), 'input')} without a pattern ({listed})"
    if not answer["patterns"]:
        return f"{bare}: no token that honest inputs hardly hold is shared by enough of them"
    planted = any(one["planted"] for one in answer["patterns"])
    return f"{bare}: {'left out; ' if planted else ''}flagged by mistake, or set off otherwise"


def _where(document: Document, case: str, out: Path | None, keep: bool) -> str:
    """Where the trigger is now, and what to ask with it."""
    pairs: list[tuple[str, Cell]] = []
    if out is not None:
        pairs.append(("written to", str(out)))
    if keep:
        pairs.append(("kept as", f"{document['name']}; `roundlog serve` watches it"))
    if not pairs:
        return facts([("kept", "nowhere: give --keep, or --out FILE")])
    source = document["name"] if keep else str(out)
    for name in NEXT:
        asked = shlex.join(["roundlog", name, case, "--trigger", source])
        pairs.append(("next" if name == NEXT[0] else "", asked))
    return facts(pairs)
