"""The command that states what a scenario's noise promises: privacy."""

import click

from api.cli.lab import json_option, set_option
from api.cli.output import count, emit, facts, table
from api.documents import Document

NOISE = {
    "central_gaussian": "central: the server adds {z:g} clip norms to the sum",
    "local_gaussian": "local: every device adds {z:g} clip norms; {seen:.4g} on the sum",
    "none": "none",
}
UNBOUNDED = "unbounded"


@click.command(short_help="What does a scenario's noise promise one device?")
@click.argument("source", metavar="SCENARIO")
@set_option
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=1e-10,
    show_default=True,
    help="Probability with which the promise may fail.",
)
@json_option
def privacy(source: str, overrides: tuple[str, ...], delta: float, as_json: bool) -> None:
    """What a scenario's noise promises one device: in a round, in the whole run, and once it is
    known in which rounds the device was.

    SCENARIO is a shipped name (`roundlog scenario` lists them) or the path of a TOML file. Nothing
    is simulated. Every epsilon is an upper bound.

    \b
    Example:
      roundlog privacy mobileai7
      roundlog privacy mobileai7 --set mechanisms.noise_multiplier=0.73 --set rounds=1000000

    \b
    Python: simulator.privacy.accounting.account
    HTTP:   none; scenarios hold the attack, which no investigator may see
    """
    from api.lab.privacy import account_scenario

    emit(account_scenario(source, overrides, delta=delta), as_json, _shown)


def _shown(document: Document) -> str:
    noise = NOISE[document["mechanism"]].format(
        z=document["noise_multiplier"], seen=document["noise_multiplier_seen"]
    )
    cohort = (
        f"{document['cohort_size']:,} of {count(document['devices'], 'device')} in each of "
        f"{count(document['rounds'], 'round')}; q = {document['sampling_rate']:.3g}"
    )
    about = facts(
        [
            ("scenario", document["scenario"]),
            ("noise", noise),
            ("clip norm", document["clip"]),
            (
                "cohort",
                cohort,
            ),
            ("neighbours", document["adjacency"]),
            ("delta", document["delta"]),
        ]
    )
    if document["epsilon_round"] is None:
        cause = "no noise is added" if document["mechanism"] == "none" else "the noise is 0"
        return f"{about}\n\nepsilon  {UNBOUNDED}: {cause}, in no round and not in the run"
    return f"{about}\n\n{_promises(document)}\n\n{_cost(document)}"


def _promises(document: Document) -> str:
    taken = document["participations"]
    typical = count(taken["typical"], "round")
    rows = [
        ("one round", "epsilon_round", "the device is known to be in it"),
        ("", "epsilon_round_sampled", "nobody knows who is in it"),
        ("whole run", "epsilon_run", "nobody knows who is in which round"),
        (
            "",
            "epsilon_run_membership_known",
            f"the device is known to have been in {typical} (expected {taken['expected']:.3g})",
        ),
        (
            "",
            "epsilon_run_membership_known_high",
            f"… in {count(taken['high'], 'round')}; one device in a million is in more",
        ),
    ]
    if document["epsilon_run_against_server"] is not None:
        seen = f"the server sees each update of a device that was in {typical}"
        rows.append(("", "epsilon_run_against_server", seen))
    return table(
        [(span, f"{document[key]:.4g}", covers) for span, key, covers in rows],
        ["covers", "epsilon", "while"],
    )


def _cost(document: Document) -> str:
    cost = document["membership_cost"]
    if cost is None:
        return "Knowing who took part costs nothing measurable here."
    times = f"{cost:,.0f}" if cost >= 100 else f"{cost:.3g}"
    return (
        f"Knowing who took part raises the run's epsilon from {document['epsilon_run']:.3g} to "
        f"{document['epsilon_run_membership_known']:.3g}: {times} times as much."
    )
