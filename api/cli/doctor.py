"""The command that looks at this machine."""

import click

from api.cli.output import emit, table
from api.documents import Document


@click.command(short_help="What is missing on this machine, and how to get it?")
@click.argument("case", metavar="[CASE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(case: str | None, as_json: bool) -> None:
    """What is missing on this machine, and how to get it? Exit 1 where something needed is.

    \b
    Example:
      roundlog doctor my-case

    \b
    Python: api.doctor.examine
    HTTP:   GET /readyz says whether a server is in order
    """
    from api.doctor import examine

    document = examine(case)
    emit(document, as_json, _examined)
    if not document["ok"]:
        raise click.exceptions.Exit(1)


def _examined(document: Document) -> str:
    rows = [
        (check["name"], check["health"], check["found"], check["needed_for"])
        for check in document["checks"]
    ]
    lines = [f"roundlog {document['roundlog']}", table(rows, ("what", "", "found", "needed for"))]
    lines += [
        f"{check['name']}: {check['get_it']}" for check in document["checks"] if check["get_it"]
    ]
    return "\n".join(lines)
