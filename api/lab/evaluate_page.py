"""How well does it date? One page of Markdown from the results of several evaluations.

Every number is from the JSON files that `roundlog evaluate` wrote; the words are the same whatever
was measured. A claim that does not hold stands there like one that does.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from api.documents import Document
from api.parameters import ParameterError

FILE = "evaluation.json"

WIDTH = 100

INTRODUCTION = """\
# How well it dates

Written by `roundlog evaluate`; do not edit. Each table's command stands above it, and every number
is from the file that the command wrote.

Every run has its truth, which nothing that is measured here can read: an onset that is known to the
round, or none in the attack-free twin of the same seed. *The set of rounds* is what `roundlog`
answers when it is asked since when a trigger was pushed; *an alarm* is what a live watch raises
that knows earlier models only. *Made onsets* are shifts as large as the attacked runs showed,
added to what their twins recorded.

A share comes with its exact 95 % interval. It fails its bar only below what a true share of 95 %
gives once in a hundred times, and counts of false alarms only above what the stated budget gives
once in a hundred times; several alarms of one excursion count as several. A line without a bar is
there to be compared with.
"""


def page_text(documents: Sequence[Document]) -> str:
    """The page of some evaluations, in the order given.

    Raises:
        ParameterError: There is none.
    """
    if not documents:
        raise ParameterError("no evaluation to write a page of; `roundlog evaluate` makes one")
    return "\n".join([INTRODUCTION, *(_section(document) for document in documents)])


def results_beside(out: Path) -> list[Document]:
    """The evaluation in `out`, and those in the folders beside it, by name.

    Raises:
        ParameterError: A file is not what `roundlog evaluate` writes.
    """
    return [_read(path) for path in sorted(out.resolve().parent.glob(f"*/{FILE}"))]


def write_page(out: Path, page: Path) -> None:
    """Writes the page of the evaluation in `out` and of those beside it.

    Raises:
        ParameterError: As `page_text` and `results_beside`.
    """
    text = page_text(results_beside(out))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")


def _read(path: Path) -> Document:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict) or not {"claims", "command", "code"} <= set(found):
        raise ParameterError(f"{path} is not what `roundlog evaluate` writes; make it again")
    return found


def _section(document: Document) -> str:
    lines = [
        f"## {document['scenario']['name']}",
        "",
        "```text",
        document["command"],
        "```",
        "",
        "| claim | measured | exact 95 % interval | bar | holds |",
        "|---|---|---|---|---|",
        *(_line(claim) for claim in document["claims"]),
        "",
        _filled(_about(document)),
        "",
    ]
    if document["no_replicates"]:
        lines += [_filled(f"There are no made onsets: {document['no_replicates']}."), ""]
    if document["errors"]:
        lines += [_filled(f"{len(document['errors'])} runs failed and are not counted."), ""]
    return "\n".join(lines)


def _line(claim: Document) -> str:
    interval = "" if claim["low"] is None else f"{claim['low']:.1%} to {claim['high']:.1%}"
    cells = (claim["claim"], measured(claim), interval, claim["bar"], verdict(claim))
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def measured(claim: Document) -> str:
    """`19 of 20`, `43 rounds`; for people."""
    if claim["n"] is not None:
        return f"{claim['k']:,} of {claim['n']:,}"
    value = claim["value"]
    # Read from a file, what is infinite is null.
    if value is None or math.isinf(value):
        return "not found"
    if claim["unit"] == "share":
        return f"{value:.1%}"
    number = f"{value:,.0f}" if _whole(value) else f"{value:.3g}"
    unit = claim["unit"].removesuffix("s") if value == 1 else claim["unit"]
    return f"{number} {unit}".rstrip()


def verdict(claim: Document) -> str:
    """`yes`, `no`, or nothing where nothing is judged."""
    if claim["holds"] is None:
        return ""
    return "yes" if claim["holds"] else "**no**"


def _whole(value: float) -> bool:
    return abs(value) >= 100 or float(value).is_integer()


def _about(document: Document) -> str:
    seeds, twins = (_seeds(document[name]) for name in ("seeds", "twin_seeds"))
    rounds, twin_rounds = document["rounds"], document["twin_rounds"]
    early = ""
    if rounds < twin_rounds:
        early = f" They stop there, of {twin_rounds:,}: their models until then are the full run's."
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return (
        f"Attacked: seeds {seeds}, {rounds:,} rounds each.{early} Twins: seeds {twins}, "
        f"{twin_rounds:,} rounds each. Code {document['code'][:16]}, judged by "
        f"{document['judges'][:16]}; {versions}. {document['bars']}".rstrip()
    )


def _seeds(seeds: Sequence[int]) -> str:
    """`101 to 120` where they follow each other."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _filled(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
