"""Commands about records that were refused: quarantine list, show and replay."""

from collections.abc import Iterator

import click

from api.cli.asking import ask, case_argument, json_option, question_options, twins
from api.cli.output import count, emit, facts, table
from api.documents import Document

# Bytes a line of a hex dump, as `hexdump -C` and `xxd` have it.
WIDTH = 16


@click.group(short_help="Which records were refused, and why?")
def quarantine() -> None:
    """Which records were refused, and why? Every byte of them is kept, up to 64 KiB a record.

    \b
    Example:
      roundlog quarantine list my-case --json
      roundlog quarantine show my-case 0123456789abcdef

    \b
    Python: ingest.quarantine.Quarantine, or roundlog.open(CASE).quarantine()
    HTTP:   GET /api/v1/quarantine
    """


@twins("quarantine")
@quarantine.command("list", short_help="Every refused record with its reason.")
@question_options
def list_(case: str, run: str | None, as_json: bool, token: str | None) -> None:
    """Every refused record with its reason, its place in the log, and its bytes there.

    \b
    Example:
      roundlog quarantine list my-case
    """
    ask("quarantine", case, {"run": run}, token=token, as_json=as_json, table=_listed)


def _listed(document: Document) -> str:
    rows = [
        (
            one["id"],
            one["reason"],
            one["run"],
            one["producer"],
            one["seq"],
            one["origin"] or one["partition"],
            # A place, not an amount: without separators it can be searched for.
            str(one["offset"]),
            one["bytes"],
            "accepted since" if one["accepted"] else "refused",
            one["detail"],
        )
        for one in document["records"]
    ]
    head = ("id", "reason", "run", "producer", "seq", "in", "offset", "bytes", "now", "detail")
    return table(rows, head)


@twins("quarantined")
@quarantine.command(short_help="One refused record: why, its head, and its first bytes.")
@question_options
@click.argument("record", metavar="ID")
@click.option(
    "--bytes",
    "shown",
    metavar="N",
    type=click.IntRange(0, 65_536),
    default=256,
    show_default=True,
    help="Bytes to show.",
)
def show(
    case: str, record: str, run: str | None, as_json: bool, token: str | None, shown: int
) -> None:
    """One refused record: why it was refused, its head, and its first bytes.

    ID is what `roundlog quarantine list` names it, or the first digits of that.

    \b
    Example:
      roundlog quarantine show my-case 0123456789abcdef --bytes 1024
    """
    values = {"run": run, "record": record, "bytes": shown}
    ask("quarantined", case, values, token=token, as_json=as_json, table=_shown)


def _shown(document: Document) -> str:
    row = document["record"]
    since = "; accepted since" if row["accepted"] else ""
    pairs = [
        ("id", row["id"]),
        ("refused", f"{row['reason']}: {row['detail']}{since}"),
        ("event", _event(row)),
        ("came from", f"{row['origin'] or row['partition']}, offset {row['offset']}"),
        ("bytes", f"{row['bytes']:,}, of which {row['kept']:,} are kept"),
        ("lies in", f"quarantine/{row['file']}"),
        ("head", document["head"] or "none: the bytes are no frame"),
    ]
    lines = [facts(pairs), "", *_hex_dump(bytes.fromhex(document["hex"]))]
    if (left := row["kept"] - document["shown"]) > 0:
        lines.append(f"{count(left, 'byte')} not shown: --bytes {row['kept']}")
    return "\n".join(lines)


@quarantine.command(short_help="Try refused records again with this version of roundlog.")
@case_argument
@click.argument("ids", metavar="[ID]...", nargs=-1)
@json_option
def replay(case: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Try refused records again with this version of roundlog: all, or those of an ID.

    What is accepted now becomes part of the record, as an event that came late. The file in
    quarantine stays, as history; what is still refused stays refused.

    \b
    Example:
      roundlog quarantine replay my-case

    \b
    Python: ingest.again.try_again
    HTTP:   none; it needs the case for itself, so a server that holds it is stopped first
    """
    from ingest.again import try_again
    from roundlog.case import Case

    opened = Case(case)
    with opened.own():
        tried = try_again(opened, ids)
    emit({"records": [one.document() for one in tried]}, as_json, _tried)


def _tried(document: Document) -> str:
    rows = [
        (one["id"], "accepted" if one["accepted"] else "refused", one["why"])
        for one in document["records"]
    ]
    return table(rows, ("id", "now", "why"))


def _event(row: Document) -> str | None:
    if row["run"] is None:
        return None
    return f"{row['run']}/{row['producer']}/{row['seq']} ({row['type']})"


def _hex_dump(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), WIDTH):
        line = data[start : start + WIDTH]
        digits = line.hex(" ")
        # Printable ASCII only: whatever else there is stays in its digits.
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield f"{start:08x}  {digits:<{3 * WIDTH}} |{text}|"
