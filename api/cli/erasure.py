"""The command by which people take words out of a record: erase."""

from typing import Any

import click

from api.acts import myself
from api.cli.asking import asking, question_options, twins
from api.cli.output import count, emit
from api.cli.saying import actor_option
from api.documents import Document


@twins("erase")
@click.command(short_help="Erase the words of sampled answers, for good.")
@question_options
@click.option(
    "--audits",
    is_flag=True,
    required=True,
    help="What people typed, and what they were answered: all that can be erased.",
)
@click.option("--before", metavar="T", help="Of models before T only: 812, head, head~100.")
@click.option("--note", metavar="TEXT", required=True, help="Why; it stands in the record.")
@actor_option
@click.option("--dry-run", is_flag=True, help="Say how much there is, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
def erase(
    case: str,
    audits: bool,
    run: str | None,
    before: str | None,
    note: str,
    actor: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    token: str | None,
) -> None:
    """Erase the words of sampled answers, for good, and write down who did and why.

    They are overwritten in the segments and among refused records. Their salted digests stay, so
    the record still verifies. Not reached are texts that are being recorded now (run it again when
    their segment is sealed), topics, exports and backups.

    \b
    Example:
      roundlog erase my-case --audits --before head~30000 --note "kept for 90 days" --dry-run
      roundlog erase my-case --audits --before head~30000 --note "kept for 90 days" --yes
    """
    values: dict[str, Any] = {
        "run": run,
        "before": before,
        "note": note,
        "actor": actor or myself(),
    }
    with asking(case, token) as (desk, line):
        if not yes and not dry_run:
            # Nobody can be asked who reads JSON.
            there = desk.act("erase", {**values, "dry_run": True})
            line.clear()
            if as_json:
                raise click.UsageError("--json erases only with --yes, or counts with --dry-run")
            click.confirm(f"{_counted(there)}. This cannot be undone. Go on?", abort=True, err=True)
        document = desk.act("erase", {**values, "dry_run": dry_run})
    line.clear()
    emit(document, as_json, _counted if dry_run else _erased)


def _counted(document: Document) -> str:
    return "\n".join([f"{count(document['texts'], 'text')} would be erased", *_left(document)])


def _erased(document: Document) -> str:
    done = f"{count(document['texts'], 'text')} erased from {count(document['files'], 'file')}"
    by = [event["id"] for event in document["events"]]
    said = f", as {by[0]} says" if len(by) == 1 else f", as {count(len(by), 'event')} say"
    return "\n".join([done + (said if by else ""), *_left(document)])


def _left(document: Document) -> list[str]:
    left = []
    if document["waiting"]:
        left.append(
            f"{count(document['waiting'], 'text')} cannot be yet: the segment is being written"
        )
    if document["unreadable"]:
        left.append(
            f"{count(document['unreadable'], 'place')} that cannot be read may hold words: "
            f"`roundlog scrub` and `roundlog quarantine list` name them"
        )
    return left
