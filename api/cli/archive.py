"""Commands that make one file of a case, and a case of one file: export, import."""

from collections.abc import Callable
from pathlib import Path

import click

from api.cli.asking import case_argument, json_option, run_option
from api.cli.output import count, emit, size
from api.cli.progress import ProgressLine
from api.documents import Document
from roundlog.case import Case


@click.command(short_help="Write a case as one file that opens elsewhere.")
@case_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The tar file to write; must not exist.",
)
@run_option
@json_option
def export(case: str, out: Path, run: str | None, as_json: bool) -> None:
    """Write a case as one file that opens elsewhere, with the same answers.

    A server may hold the case and go on ingesting: what is written is the record as it was at one
    moment. Caches stay behind, and are made again. `roundlog import` reads the file, and so does
    tar; the same record gives the same bytes.

    \b
    Example:
      roundlog export my-case --out my-case.tar
      roundlog import my-case.tar copy-of-my-case

    \b
    Python: ingest.archive.export.export_case
    HTTP:   none; it reads the files of the case, beside the server that holds it
    """
    from ingest.archive.export import export_case

    line = ProgressLine()
    try:
        document = export_case(Case(case), out, run=run, progress=_tell("export", line)).document()
    finally:
        line.clear()
    emit(document, as_json, _exported)


def _exported(document: Document) -> str:
    runs, files = count(len(document["runs"]), "run"), count(document["files"], "file")
    lines = [
        f"{document['out']}: {runs} in {files}, {size(document['bytes'])}",
        f"sha256 {document['sha256']}",
    ]
    if (growing := document["open_segments"]) > 0:
        lines.append(f"{count(growing, 'segment')} not sealed: cut behind the last whole event")
    return "\n".join(lines)


@click.command("import", short_help="Make a case of a file that `export` wrote.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("case", metavar="CASE", type=click.Path(path_type=Path))
@json_option
def import_(file: Path, case: Path, as_json: bool) -> None:
    """Make a case of FILE, which `roundlog export` wrote, here or elsewhere.

    Every file is compared with the digest beside it; exit 4 where one is another, and then nothing
    is left behind. What the record says of itself is for `roundlog verify` to look at.

    \b
    Example:
      roundlog import my-case.tar copy-of-my-case
      roundlog verify copy-of-my-case

    \b
    Python: ingest.archive.importing.import_case
    HTTP:   none; it makes a directory
    """
    from ingest.archive.importing import import_case

    line = ProgressLine()
    try:
        document = import_case(file, case, progress=_tell("import", line)).document()
    finally:
        line.clear()
    emit(document, as_json, _imported)


def _imported(document: Document) -> str:
    runs, files = count(len(document["runs"]), "run"), count(document["files"], "file")
    return (
        f"{document['case']}: {runs} in {files}, {size(document['bytes'])}\n"
        f"every file has the digest beside it; `roundlog verify` looks at the record itself"
    )


def _tell(what: str, line: ProgressLine) -> Callable[[int, int], None]:
    return lambda done, total: line(what, done, total)
