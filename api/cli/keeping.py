"""Commands that keep a case: ingest, serve, verify, scrub."""

import os
import sys

import click

from api.cli.asking import ask, question_options, twins
from api.cli.output import count, emit, emit_lines, size, table
from api.cli.progress import ProgressLine
from api.documents import Document

EXIT_FINDING = 3
EXIT_INTEGRITY = 4
EXIT_INTERRUPTED = 130


@click.command(short_help="Read the log into the case's projection.")
@click.argument("case", metavar="CASE")
@click.option("--from", "source", metavar="URL", help="kafka://HOST:PORT/TOPIC, made if missing.")
@click.option("--until-end", is_flag=True, help="With --from: end at the topic's end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option(
    "--fail-on",
    type=click.Choice(["finding", "quarantine"]),
    help="Exit 3 where there are any, now or from before.",
)
def ingest(
    case: str, source: str | None, until_end: bool, as_json: bool, fail_on: str | None
) -> None:
    """Read the log into the case's projection, exactly once.

    Without --from it reads the case's own segments and ends there. With --from it follows a Kafka
    topic until it is stopped. It may be killed at any moment, and goes on where it was.

    \b
    Example:
      roundlog ingest my-case
      roundlog ingest my-case --from kafka://127.0.0.1:9092/fl.rounds --until-end

    \b
    Python: ingest.service.ingest_case
    HTTP:   `roundlog serve` ingests by itself; POST /api/v1/events records
    """
    from ingest.service import ingest_case, stop_on_signals
    from ingest.store import Store
    from ingest.summary import IngestSummary
    from roundlog.case import Case

    line = ProgressLine()

    def tell(summary: IngestSummary) -> None:
        done, total = (summary.done, summary.total) if summary.total else (summary.events, None)
        line("ingest" if total else "ingested events", done, total)

    opened = Case.create(case) if source else Case(case)
    to_the_end = until_end or source is None
    with opened.own():
        store = Store(opened)
        try:
            with stop_on_signals() as stop:
                options = {} if source is None else {"source": source}
                summary = ingest_case(
                    opened,
                    store=store,
                    until_end=to_the_end,
                    progress=tell,
                    stop=stop,
                    **options,
                )
            rows = store.rows(
                "SELECT (SELECT count(*) FROM findings), (SELECT count(*) FROM quarantine)"
            )
        finally:
            store.close()
            line.clear()
    document: Document = {
        "events": summary.events,
        "rounds": summary.rounds,
        "duplicates": summary.duplicates,
        "quarantined": summary.quarantined,
        "findings": summary.findings,
        "seconds": round(summary.seconds, 3),
        "stopped": summary.stopped,
        "in_case": {"findings": rows[0][0], "quarantined": rows[0][1]},
    }
    emit(document, as_json, _ingested)
    if summary.stopped and to_the_end:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    key = {"finding": "findings", "quarantine": "quarantined"}.get(fail_on or "")
    if key and document["in_case"][key]:
        raise click.exceptions.Exit(EXIT_FINDING)


def _ingested(document: Document) -> str:
    seconds = document["seconds"]
    events, rounds = count(document["events"], "event"), count(document["rounds"], "round")
    again = count(document["duplicates"], "duplicate")
    lines = [f"ingested {events} ({rounds}) in {seconds:,.1f} s; {again} left out"]
    if document["quarantined"]:
        lines.append(
            f"{count(document['quarantined'], 'record')} refused and kept in quarantine/, each "
            f"with its reason: `roundlog quarantine list`"
        )
    if document["findings"]:
        lines.append(
            f"{count(document['findings'], 'finding')} about the record: `roundlog timeline` "
            f"shows them, `roundlog verify` says what is wrong now"
        )
    if document["stopped"]:
        lines.append("stopped on request; run it again to go on")
    return "\n".join(lines)


@click.command(short_help="Own a case: ingest continuously and answer over HTTP.")
@click.argument("case", metavar="CASE")
@click.option("--from", "source", metavar="URL", help="kafka://HOST:PORT/TOPIC to ingest from.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: a free one."
)
@click.option("--token", envvar="ROUNDLOG_TOKEN", metavar="TOKEN", help="Callers must send this.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Also called by this name.")
@click.option("--new", is_flag=True, help="Make CASE where there is none yet.")
@click.option(
    "--lab",
    is_flag=True,
    help="Also replay runs under other settings (POST /api/v1/whatif), which takes their truth.",
)
@click.option("--erase", is_flag=True, help="Also erase words for whoever asks (`roundlog erase`).")
@click.option("--no-watch", is_flag=True, help="Raise no alarms; `roundlog watch` still answers.")
@click.option("--webhook", multiple=True, metavar="URL", help="POST every alarm there, signed.")
@click.option("--webhook-unsigned", is_flag=True, help="Do without ROUNDLOG_WEBHOOK_SECRET.")
@click.option("--mail-to", multiple=True, metavar="ADDRESS", help="Mail every alarm there.")
@click.option("--mail-from", metavar="ADDRESS", help="Who mails it.")
@click.option("--smtp", metavar="URL", help="By way of smtp://USER@HOST:PORT, or smtps://.")
@click.option(
    "--reached-at", metavar="URL", help="Where people reach this server, for links in alarms."
)
@click.option(
    "--json", "as_json", is_flag=True, help="The address as a JSON document, in one line."
)
def serve(
    case: str,
    source: str | None,
    host: str,
    port: int,
    token: str | None,
    allow_host: tuple[str, ...],
    new: bool,
    lab: bool,
    erase: bool,
    no_watch: bool,
    webhook: tuple[str, ...],
    webhook_unsigned: bool,
    mail_to: tuple[str, ...],
    mail_from: str | None,
    smtp: str | None,
    reached_at: str | None,
    as_json: bool,
) -> None:
    """Own a case: ingest continuously and answer over HTTP, until SIGTERM or Ctrl-C.

    Any address but loopback needs --token. While it runs, other commands ask it instead of
    opening the case.

    With --lab it also simulates: whoever hands in a run's truth gets its replay under other
    settings, one at a time. Such a request spends this machine's CPU and names the attack, so a
    server for investigators is started without it.

    Alarms go to every --webhook and --mail-to, each once. Secrets are read from the environment:
    ROUNDLOG_WEBHOOK_SECRET (whsec_ and base64), ROUNDLOG_SMTP_PASSWORD.

    \b
    Example:
      roundlog serve my-case --port 8765
      curl -s http://127.0.0.1:8765/api/v1/runs

    \b
    Python: api.web.serve.serve_case
    HTTP:   /openapi.json lists every route
    """
    import logging

    from api.outbox.options import channels_of
    from api.web.security import Guard, allowed_names
    from api.web.serve import serve_case
    from roundlog.case import Case

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

    def ready(address: str) -> None:
        if as_json:
            # One line: whoever started us reads up to its end and knows that we are ready.
            emit_lines([{"address": address, "case": case}])
        else:
            click.echo(f"serving {case} at {address}")
        sys.stdout.flush()

    guard = Guard(host=host, token=token, names=allowed_names(allow_host))
    guard.check_bind()
    channels = channels_of(
        os.environ,
        webhooks=webhook,
        unsigned=webhook_unsigned,
        mail_to=mail_to,
        mail_from=mail_from,
        smtp=smtp,
    )
    for channel in channels:
        click.echo(f"alarms go to {channel.name}: {channel.shown}", err=True)
    opened = Case.create(case) if source or new else Case(case)
    if not serve_case(
        opened,
        guard,
        port=port,
        source=source,
        lab=lab,
        erase=erase,
        watch=not no_watch,
        channels=channels,
        reached_at=reached_at,
        ready=ready,
    ):
        # A thread still waits for a broker or finishes a job, with the database in its hands. It
        # cannot be ended, and tearing the interpreter down around it only makes noise.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@twins("verify")
@click.command(short_help="Is the record whole and unaltered?")
@question_options
def verify(case: str, run: str | None, as_json: bool, token: str | None) -> None:
    """Is the record whole and unaltered? Looks at every byte, mends nothing; exit 4 where not.

    \b
    Example:
      roundlog verify my-case
    """
    document = ask("verify", case, {"run": run}, token=token, as_json=as_json, table=_verified)
    if not document["ok"]:
        raise click.exceptions.Exit(EXIT_INTEGRITY)


@twins("scrub")
@click.command(short_help="Is every byte that the case keeps still what it was?")
@question_options
@click.option(
    "--rate", metavar="MB/s", type=click.FloatRange(min=0, min_open=True), help="Read no faster."
)
def scrub(case: str, run: str | None, as_json: bool, token: str | None, rate: float | None) -> None:
    """Is every byte that the case keeps still what it was? Mends nothing; exit 4 where not.

    As `verify`, and beside the segments also blobs, refused records and notes about topics. Bits
    rot: let it run every month, at a rate that leaves the disk to others.

    \b
    Example:
      roundlog scrub my-case --rate 50
    """
    values = {"run": run, "rate": rate}
    document = ask("scrub", case, values, token=token, as_json=as_json, table=_scrubbed)
    if not document["ok"]:
        raise click.exceptions.Exit(EXIT_INTEGRITY)


def _scrubbed(document: Document) -> str:
    beside = f"{count(document['files'], 'file')} beside the segments"
    read = f"read {size(document['bytes'])}, deltas twice"
    return f"{_verified(document, places=True)}\n{beside}; {read}"


def _verified(document: Document, *, places: bool = False) -> str:
    """The verdict; with `places`, also at which byte of a file each finding begins."""
    seen = f"{count(document['rounds'], 'round')} in {count(document['events'], 'event')}"
    unchecked = "".join(f"\nnot looked at: {one}" for one in document["unchecked"])
    if document["erased"]:
        unchecked += f"\n{count(document['erased'], 'text')} erased, as the record says"
    if document["ok"]:
        said = "every digest, every link and every seal is as it was recorded"
        return f"ok: {seen}; {said}{unchecked}"
    head = ["kind", "run", "round", "file", *(["byte"] if places else []), "detail"]
    rows = [tuple(one[column] for column in head) for one in document["findings"]]
    listed = table(rows, ["what", *head[1:]])
    return f"NOT ok: {count(len(rows), 'finding')} in {seen}\n{listed}{unchecked}"
