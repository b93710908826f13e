"""Commands by which people speak of a run: release, alarms, acknowledge, silence."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from api.acts import myself
from api.cli.asking import ask, asking, question_options, twins
from api.cli.output import count, emit, table
from api.documents import Document

EXIT_FINDING = 3

# As many hex digits as people need to tell alarms apart; any unambiguous beginning is taken.
SHOWN = 12

actor_option = click.option(
    "--actor", metavar="NAME", help="Who says it; your user name where it is left out."
)
note_option = click.option("--note", metavar="TEXT", default="", help="What to say beside it.")


@twins("release")
@click.command(short_help="Write down that a model of the record was shipped.")
@question_options
@click.option("--round", "round_", metavar="T", required=True, help="812, head, head~100.")
@click.option("--version", metavar="NAME", required=True, help="As people know it.")
@click.option("--channel", metavar="NAME", default="stable", show_default=True, help="To whom.")
@click.option(
    "--shipped-at", metavar="T", help="A rollback: the run's last model when it was shipped."
)
@actor_option
def release(
    case: str,
    run: str | None,
    round_: str,
    version: str,
    channel: str,
    shipped_at: str | None,
    actor: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """Write down that a model of the record was shipped, as VERSION, to CHANNEL.

    Its digest is looked up in the record. `roundlog timeline CASE --trigger TRIGGER` says which
    releases carry a backdoor.

    \b
    Example:
      roundlog release my-case --round 4000 --version 1.4
    """
    values = {
        "run": run,
        "round": round_,
        "version": version,
        "channel": channel,
        "shipped_at": shipped_at,
        "actor": actor or myself(),
    }
    _act("release", case, values, token, as_json, _released)


def _released(event: Document) -> str:
    return (
        f"model {event['round']:,} of {event['subject']} is {event['version']} "
        f"({event['channel']}), digest {event['digest']}"
    )


@twins("alarms")
@click.command(short_help="Which alarms were raised, and what was done about each?")
@question_options
@click.option(
    "--state",
    type=click.Choice(["raised", "acknowledged", "silenced"]),
    help="Only those that stand so.",
)
@click.option(
    "--fail-on", type=click.Choice(["raised"]), help="Exit 3 where one waits for somebody."
)
def alarms(
    case: str,
    run: str | None,
    state: str | None,
    fail_on: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """Which alarms were raised about a run, and what did somebody do about each?

    \b
    Example:
      roundlog alarms my-case --state raised
    """
    values = {"run": run, "state": state}
    document = ask("alarms", case, values, token=token, as_json=as_json, table=_alarms)
    if fail_on and any(alarm["state"] == "raised" for alarm in document["alarms"]):
        raise click.exceptions.Exit(EXIT_FINDING)


def _alarms(document: Document) -> str:
    rows = [
        (
            alarm["key"][:SHOWN],
            alarm["round"],
            alarm["detector"],
            alarm["direction_name"],
            alarm["chart"],
            alarm["score"],
            alarm["threshold"],
            alarm["false_alarm_rate"],
            alarm["state"],
            alarm["acknowledged_by"] or alarm["silenced_by"],
        )
        for alarm in document["alarms"]
    ]
    head = (
        "alarm",
        "round",
        "detector",
        "along",
        "chart",
        "score",
        "threshold",
        "false a round",
        "state",
        "by",
    )
    hidden = document["total"] - len(rows)
    more = f"\n{count(hidden, 'other alarm')} not shown" if hidden else ""
    return table(rows, head) + more


@twins("acknowledge")
@click.command(short_help="Write down that you have seen an alarm.")
@question_options
@click.argument("alarm", metavar="ALARM")
@note_option
@actor_option
def acknowledge(
    case: str,
    alarm: str,
    run: str | None,
    note: str,
    actor: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """Write down that somebody has seen ALARM: its key, or the first digits of it.

    \b
    Example:
      roundlog acknowledge my-case 9f86d081884c --note "asking the vendor"
    """
    values = {"run": run, "alarm": alarm, "note": note, "actor": actor or myself()}
    _act("acknowledge", case, values, token, as_json, _acknowledged)


def _acknowledged(event: Document) -> str:
    return f"alarm {event['alarm'][:SHOWN]} is acknowledged by {event['actor']}"


@twins("silence")
@click.command(short_help="Let an alarm, or a detector, rest for a range of rounds.")
@question_options
@click.argument("alarm", metavar="[ALARM]", required=False)
@click.option("--detector", metavar="NAME", help="In place of ALARM: all alarms of a detector.")
@click.option("--direction", metavar="NAME", help="With --detector: along this direction only.")
@click.option("--from", "start", metavar="T", type=click.IntRange(0), help="With --detector.")
@click.option("--rounds", metavar="N", type=click.IntRange(1), help="For so many rounds.")
@click.option("--until", metavar="T", type=click.IntRange(1), help="Up to this round instead.")
@note_option
@actor_option
def silence(
    case: str,
    alarm: str | None,
    run: str | None,
    detector: str | None,
    direction: str | None,
    start: int | None,
    rounds: int | None,
    until: int | None,
    note: str,
    actor: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """Let ALARM rest until the run has come to a round, or a detector for a range of rounds.

    No clock is asked: a silence ends at a round. Nothing is deleted; the alarm stays on record.

    \b
    Example:
      roundlog silence my-case 9f86d081884c --rounds 500 --note "a planned change"
      roundlog silence my-case --detector cusum --direction suspect --rounds 500
    """
    values = {
        "run": run,
        "alarm": alarm,
        "detector": detector,
        "direction": direction,
        "start": start,
        "rounds": rounds,
        "until": until,
        "note": note,
        "actor": actor or myself(),
    }
    _act("silence", case, values, token, as_json, _silenced)


def _silenced(event: Document) -> str:
    if "alarm" in event:
        until = event["until_round"]
        return f"alarm {event['alarm'][:SHOWN]} rests until the run reaches round {until:,}"
    along = f" along {event['direction_name']}" if "direction_name" in event else ""
    last = event["until_round"] - 1
    return (
        f"alarms of {event['detector']}{along} rest in rounds {event['from_round']:,} to {last:,}"
    )


def _act(
    name: str,
    case: str,
    values: Mapping[str, Any],
    token: str | None,
    as_json: bool,
    said: Callable[[Document], str],
) -> None:
    """Acts, and says what was written down."""
    from roundlog.sanitize import for_terminal

    with asking(case, token) as (desk, line):
        document = desk.act(name, values)
    line.clear()
    emit(document, as_json, lambda answer: for_terminal(said(answer["event"])))
