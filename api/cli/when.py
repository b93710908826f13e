"""Commands of time: onset, watch, replay."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from api.cli.asking import ask, question_options, trigger_of, twins
from api.cli.output import count, facts, percent, table
from api.cli.triggers import EXIT_FINDING, model_option, trigger_option
from api.documents import Document

F = TypeVar("F", bound=Callable[..., Any])

watched_option = click.option(
    "--trigger",
    metavar="TRIGGER",
    help="A trigger or truth file, or a name; watched beside those in the case's triggers/.",
)


def watch_options(command: F) -> F:
    """What is watched, and how often it may cry wolf."""
    for add in (
        model_option,
        click.option(
            "--horizon", type=click.IntRange(1), metavar="ROUNDS", help="Of the budget: 1,000,000."
        ),
        click.option(
            "--budget",
            type=click.FloatRange(0, min_open=True),
            metavar="ALARMS",
            help="False alarms expected at most, all charts together: 0.1.",
        ),
        click.option("--detectors", metavar="NAMES", help="Such as cusum,glr; all by default."),
        watched_option,
    ):
        command = add(command)
    return command


@twins("onset")
@click.command(short_help="Since which round was the model pushed toward a trigger?")
@question_options
@trigger_option
@click.option("--last", metavar="T", help="A model: what could have been said then.")
@click.option("--passes", type=click.IntRange(1, 2), default=2, show_default=True, help="Datings.")
@click.option(
    "--decoys", type=click.IntRange(0), default=200, show_default=True, help="To rank it among."
)
@model_option
@click.option("--fail-on-onset", is_flag=True, help="Exit 3 where an onset is found.")
def onset(
    case: str,
    run: str | None,
    trigger: str,
    last: str | None,
    passes: int,
    decoys: int,
    model: str | None,
    fail_on_onset: bool,
    as_json: bool,
    token: str | None,
) -> None:
    """Since which round was the model pushed toward a trigger?

    Answers with a set of rounds that holds the true one in 95 of 100 cases, from the recorded
    steps alone, and ranks the trigger among decoys that nobody attacked with.

    \b
    Example:
      roundlog onset my-case --trigger truth.json
    """
    values = {
        "run": run,
        "trigger": trigger_of(case, trigger),
        "last": last,
        "passes": passes,
        "decoys": decoys,
        "model": model,
    }
    document = ask("onset", case, values, token=token, as_json=as_json, table=_dated)
    if fail_on_onset and document["onset"] is not None:
        raise click.exceptions.Exit(EXIT_FINDING)


def _dated(document: Document) -> str:
    rows = [
        (
            number,
            one["direction"]["model"],
            one["round"],
            "–" if one["low"] is None else f"{one['low']:,} to {one['high']:,}",
            "–" if one["signal"] is None else f"{one['signal']:.3f}",
            "–" if one["p"] is None else f"{one['p']:.1g}",
        )
        for number, one in enumerate(document["passes"], 1)
    ]
    found = document["onset"]
    if found is None:
        said = (
            f"none found: a run without an attack shows as much with probability "
            f"{document['p']:.2g}, and it takes {document['significant']:g}"
            if document["p"] is not None
            else "cannot be told: too few rounds"
        )
    else:
        said = (
            f"round {found['round']:,}, or another of the {count(found['members'], 'round')} from "
            f"{found['low']:,} to {found['high']:,} ({found['coverage']:.0%} coverage)"
        )
    direction = document["passes"][-1]["direction"]
    return "\n".join(
        [
            table(rows, ("pass", "direction of model", "likeliest", "set", "signal", "p")),
            "",
            facts(
                [
                    ("onset", said),
                    *_shaped(document["shape"]),
                    ("signal", "rise of the mean step along the direction, in its own spread"),
                    (
                        "direction",
                        f"cosine {direction['kept']:.2f} with the gradient; honest span of "
                        + count(direction["rank"], "dimension")
                        + " removed",
                    ),
                    ("among decoys", _ranked(document)),
                ]
            ),
        ]
    )


def _shaped(shape: Document | None) -> list[tuple[str, str]]:
    if shape is None:
        return []
    said = shape["name"]
    if shape["end"] is not None:
        end = shape["end"]
        said = f"stopped in round {end['round']:,} ({end['low']:,} to {end['high']:,})"
    elif shape["name"] == "pulsed":
        said = f"on and off, every {shape['period']:,.0f} rounds for {shape['duty']:.0%} of them"
    elif shape["name"] == "ramp":
        said = f"ever stronger for {shape['length']:,.0f} rounds"
    elif shape["name"] == "waning":
        said = f"waning, down to 37 % in {shape['length']:,.0f} rounds, as a trigger that works is"
    return [("pushed", f"for {count(shape['rounds'], 'round')}; {said}")]


def _ranked(document: Document) -> str:
    if document["decoy_rank"] is None:
        return "no decoys to compare with"
    apart = f"{document['decoy_rank']} of {document['decoys'] + 1}, decoys that share no token"
    if document["published_rank"] is None:
        return apart
    return f"{apart}; {document['published_rank']} of {document['published_decoys'] + 1} among all"


@twins("watch")
@click.command(short_help="Who would have raised an alarm, and when?")
@question_options
@watch_options
@click.option("--fail-on-alarm", is_flag=True, help="Exit 3 where there is an alarm.")
def watch(
    case: str,
    run: str | None,
    trigger: str | None,
    detectors: str | None,
    budget: float | None,
    horizon: int | None,
    model: str | None,
    fail_on_alarm: bool,
    as_json: bool,
    token: str | None,
) -> None:
    """Who would have raised an alarm, and when? Detectors over every recorded round.

    What is said of a round rests on earlier rounds only, as `roundlog serve` says it live. Norm
    and cosine of the steps are watched beside the triggers: what servers look at today.

    \b
    Example:
      roundlog watch my-case --trigger truth.json
    """
    values = _watched_values(case, run, trigger, detectors, budget, horizon, model)
    document = ask("watch", case, values, token=token, as_json=as_json, table=_alarmed)
    if fail_on_alarm and document["alarms"]:
        raise click.exceptions.Exit(EXIT_FINDING)


@twins("replay")
@click.command(short_help="The record once more, as it happened, at any speed.")
@question_options
@watch_options
@click.option("--speed", type=click.FloatRange(0, min_open=True), metavar="N", help="1: as it was.")
@click.option("--from", "first", type=click.IntRange(0), metavar="T", help="The first round.")
@click.option("--to", "last", type=click.IntRange(0), metavar="T", help="The last round.")
@click.option("--publish", metavar="URL", help="Send the events to kafka://HOST:PORT/TOPIC too.")
def replay(
    case: str,
    run: str | None,
    trigger: str | None,
    detectors: str | None,
    budget: float | None,
    horizon: int | None,
    speed: float | None,
    first: int | None,
    last: int | None,
    publish: str | None,
    model: str | None,
    as_json: bool,
    token: str | None,
) -> None:
    """The record once more, as it happened: into detectors, and into a topic where one is named.

    Prints when each detector would have alarmed, how far the attack was then, and how much of it a
    stop at that round would have spared. The case is not changed.

    \b
    Example:
      roundlog replay my-case --trigger truth.json
      roundlog replay my-case --speed 5000 --from 900 --to 1200 --publish kafka://localhost:9092/again
    """
    values = _watched_values(case, run, trigger, detectors, budget, horizon, model)
    if first is not None or last is not None:
        values["rounds"] = f"{first or 0}..{'head' if last is None else last}"
    values |= {"speed": speed, "publish": publish}
    ask("replay", case, values, token=token, as_json=as_json, table=_alarmed)


def _watched_values(
    case: str,
    run: str | None,
    trigger: str | None,
    detectors: str | None,
    budget: float | None,
    horizon: int | None,
    model: str | None,
) -> dict[str, Any]:
    return {
        "run": run,
        "trigger": None if trigger is None else trigger_of(case, trigger),
        "detectors": detectors,
        "budget": budget,
        "horizon": horizon,
        "model": model,
    }


def _alarmed(document: Document) -> str:
    rows = [
        (
            one["round"],
            one["series"],
            one["chart"],
            f"{one['score']:.4g}",
            f"{one['threshold']:.4g}",
            percent(one["asr"]) if "asr" in one else "–",
            one["rounds_left"],
        )
        for one in document["alarms"]
    ]
    budget = document["budget"]
    lines = []
    if rows:
        head = ("round", "along", "chart", "score", "threshold", "success then", "rounds after it")
        lines += [table(rows, head), ""]
    else:
        lines += ["no alarm", ""]
    said = [
        ("read", f"{count(document['read'], 'round')} of {document['run']}"),
        ("watched", ", ".join(document["series"])),
        (
            "budget",
            f"{budget['alarms']:g} false alarms in {budget['rounds']:,} rounds over "
            + count(budget["charts"], "chart"),
        ),
    ]
    if document["end"] is not None:
        said.append(("success in the last model", percent(document["end"]["asr"])))
    if document.get("sent"):
        said.append(("sent", count(document["sent"], "event")))
    return "\n".join([*lines, facts(said)])
