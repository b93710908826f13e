"""How does a command ask? It opens the case, or asks the server that holds it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from api.acts import ACTS
from api.cli.output import emit
from api.cli.progress import ProgressLine
from api.desk import LocalDesk, RemoteDesk, is_url, open_desk
from api.documents import Document
from api.questions import QUESTIONS
from roundlog.case import Case

F = TypeVar("F", bound=Callable[..., Any])

case_argument = click.argument("case", metavar="CASE")
run_option = click.option("--run", metavar="RUN", help="Which run, where the case holds several.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
token_option = click.option(
    "--token", envvar="ROUNDLOG_TOKEN", metavar="TOKEN", help="For a server that asks for one."
)
artefact_option = click.option(
    "--artefact",
    type=click.Choice(["master", "broadcast"]),
    default="master",
    show_default=True,
    help="The server's weights, or what devices run in their place.",
)


def question_options(command: F) -> F:
    """CASE (a directory, or a server's URL), --run, --json and --token."""
    for add in (token_option, json_option, run_option, case_argument):
        command = add(command)
    return command


@contextmanager
def asking(
    case: str, token: str | None, *, ingest: bool = True
) -> Iterator[tuple[LocalDesk | RemoteDesk, ProgressLine]]:
    """A desk, and the line on stderr that tells how far it is."""
    line = ProgressLine()
    try:
        with open_desk(case, token=token, progress=line, ingest=ingest) as desk:
            if isinstance(desk, RemoteDesk) and not is_url(case):
                click.echo(f"{case} is held by a server; asking {desk.url}", err=True)
            yield desk, line
    finally:
        line.clear()


def ask(
    name: str,
    case: str,
    values: Mapping[str, Any],
    *,
    token: str | None,
    as_json: bool,
    table: Callable[[Document], str],
) -> Document:
    """Asks one question and prints the answer."""
    with asking(case, token) as (desk, line):
        document = desk.ask(name, values, line)
    line.clear()
    emit(document, as_json, table)
    return document


def trigger_of(case: str, source: str) -> str | dict[str, Any]:
    """What a TRIGGER argument means: the document of a file, or a name in the case's triggers/.

    A truth file leaves this process by its trigger alone.
    """
    from forensics.trigger import load_trigger

    if Path(source).is_file() or source.endswith(".json") or "/" in source:
        local = None if is_url(case) else Case(case)
        document: dict[str, Any] = load_trigger(source, local).model_dump(
            mode="json", by_alias=True
        )
        return document
    return source


def twins(name: str) -> Callable[[click.Command], click.Command]:
    """Ends a command's help with its twins at the other doors."""
    question = QUESTIONS.get(name) or ACTS[name]
    method = "POST" if name in ACTS else "GET"

    def add(command: click.Command) -> click.Command:
        command.epilog = (
            f"Python: {question.python}, or roundlog.open(CASE).{name}(…). "
            f"HTTP: {method} /api/v1{question.path}."
        )
        return command

    return add


def note_artefact(asked: str, document: Document) -> None:
    """Says so where devices run the master weights, so that asking about them asked nothing new."""
    if asked == "broadcast" and document["artefact"] == "master":
        warn("devices run the master weights of this run, so this is the answer for either")


def warn(message: str) -> None:
    """Says something beside the result."""
    print(message, file=sys.stderr)
