"""The command that judges our own answers to *when*: evaluate."""

from pathlib import Path

import click

from api.cli.lab import json_option, set_option
from api.cli.output import emit, table
from api.cli.progress import ProgressLine
from api.documents import Document

SEEDS = "N|A..B|LIST"


@click.command(short_help="Does roundlog say when as rightly as it claims? Fresh seeds and twins.")
@click.argument("scenario", metavar="SCENARIO")
@click.option("--seeds", required=True, metavar=SEEDS, help="Of attacked runs, as for sweep.")
@click.option("--twin-seeds", metavar=SEEDS, help="Of attack-free twins; by default the same.")
@set_option
@click.option(
    "--rounds",
    type=click.IntRange(1),
    help="Stop attacked runs after so many rounds; mobileai7's by default after 60,000.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where finished runs are kept; by default in the user's cache directory.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory for tables and claims.",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write a page of Markdown about all evaluations in and beside OUT.",
)
@json_option
def evaluate(
    scenario: str,
    seeds: str,
    twin_seeds: str | None,
    overrides: tuple[str, ...],
    rounds: int | None,
    workers: int | None,
    cache: Path | None,
    out: Path,
    page: Path | None,
    as_json: bool,
) -> None:
    """Does roundlog say when as rightly as it claims? Dates, watches and clears fresh runs.

    Attacked runs are dated and watched, attack-free twins show how often it cries wolf. The truth
    is known of each, and no answer can read it. OUT holds a line a run (Parquet, CSV) and the
    claims with their bars (JSON). The exit code tells whether runs failed, not whether claims did.

    Finished runs are kept by the code's digest, the resolved scenario and the seed: an evaluation
    that was stopped goes on when the same command is given again.

    \b
    Example:
      roundlog evaluate quickstart --seeds 101..120 --twin-seeds 101..150 --out evaluation

    \b
    Python: api.lab.evaluate.run_evaluation
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    from api.lab.evaluate import Evaluation, run_evaluation, write_files
    from api.lab.evaluate_page import write_page
    from api.lab.plan import parse_seeds

    wanted = Evaluation(
        scenario,
        parse_seeds(seeds),
        twin_seeds=None if twin_seeds is None else parse_seeds(twin_seeds),
        overrides=overrides,
        rounds=rounds,
        workers=workers,
        cache=cache,
    )
    line = ProgressLine()
    try:
        document = run_evaluation(wanted, progress=line)
    finally:
        line.clear()
    document["command"] = _command(scenario, seeds, twin_seeds, overrides, rounds)
    document["files"] = write_files(document, out)
    if page is not None:
        write_page(out, page)
        document["files"]["page"] = str(page)
    for failed in document["errors"]:
        what = "twin" if failed["twin"] else "attacked"
        click.echo(f"failed: {what}, seed {failed['seed']}: {failed['error']}", err=True)
    emit(document, as_json, _claims)
    if document["errors"]:
        raise click.exceptions.Exit(1)


def _command(
    scenario: str,
    seeds: str,
    twin_seeds: str | None,
    overrides: tuple[str, ...],
    rounds: int | None,
) -> str:
    """What makes the same numbers again; where files lie does not belong to it."""
    twins = "" if twin_seeds is None else f" --twin-seeds {twin_seeds}"
    settings = "".join(f" --set {text}" for text in overrides)
    early = "" if rounds is None else f" --rounds {rounds}"
    return f"roundlog evaluate {scenario} --seeds {seeds}{twins}{settings}{early}"


def _claims(document: Document) -> str:
    from api.lab.evaluate_page import measured, verdict

    rows = [
        (
            claim["claim"],
            measured(claim),
            "" if claim["low"] is None else f"{claim['low']:.1%} to {claim['high']:.1%}",
            claim["bar"],
            verdict(claim).strip("*"),
        )
        for claim in document["claims"]
    ]
    lines = [table(rows, ("claim", "measured", "95% interval", "bar", "holds"))]
    if document["no_replicates"]:
        lines += ["", f"no made onsets: {document['no_replicates']}"]
    lines += ["", *(str(path) for path in document["files"].values())]
    return "\n".join(lines)
