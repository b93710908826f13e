"""Commands that run experiments: demo, simulate, scenario."""

from pathlib import Path

import click

from api.cli.output import emit, facts, percent
from api.cli.progress import ProgressLine
from api.documents import Document

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another value for a field, such as attack.shape=ramp; may be given several times.",
)


@click.command(short_help="Run a federation with an adversary, and record it.")
@click.argument("scenario", metavar="SCENARIO")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), required=True, help="Of all randomness.")
@click.option(
    "--fraction", type=click.FloatRange(0, 1), help="Share of devices controlled; 0: twin."
)
@click.option("--rounds", type=click.IntRange(1), help="Stop early, after so many rounds.")
@set_option
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Case to record into."
)
@click.option("--to", metavar="URL", help="Record to kafka://HOST:PORT/TOPIC instead.")
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File for the ground truth, outside the case.",
)
@json_option
def simulate(
    scenario: str,
    seed: int,
    fraction: float | None,
    rounds: int | None,
    overrides: tuple[str, ...],
    out: Path | None,
    to: str | None,
    truth: Path,
    as_json: bool,
) -> None:
    """Run a federation with an adversary, and record it as a real server would.

    SCENARIO is a shipped name (`roundlog scenario` lists them) or the path of a TOML file. The
    same scenario and seed give the same events, bit for bit.

    \b
    Example:
      roundlog simulate quickstart --seed 1 --out my-case --truth truth.json
      roundlog simulate quickstart --seed 1 --fraction 0 --out my-twin --truth twin.json

    \b
    Python: simulator.run.simulate
    HTTP:   none; a server records what it is sent, and simulates nothing
    """
    target = to if out is None else out
    if target is None or (out is not None and to is not None):
        raise click.UsageError("say where to record: either --out CASE or --to kafka://…")
    from api.lab.simulation import run_scenario

    line = ProgressLine()
    try:
        document = run_scenario(
            scenario,
            seed,
            target,
            truth,
            rounds=rounds,
            fraction=fraction,
            overrides=overrides,
            progress=line,
        )
    finally:
        line.clear()
    emit(document, as_json, _simulated)


def _simulated(document: Document) -> str:
    rate = document["rounds"] / max(document["cpu_seconds"], 1e-9)
    return facts(
        [
            ("run", document["run"]),
            ("recorded into", document["target"]),
            ("rounds", document["rounds"]),
            ("devices controlled", percent(document["fraction"])),
            ("poisoned updates", document["malicious"]),
            ("audited answers", document["audits"]),
            ("CPU", f"{document['cpu_seconds']:.1f} s, {rate:,.0f} rounds/s"),
            ("ground truth", str(document["truth"])),
        ]
    )


@click.group(short_help="Show or check what would be simulated.", invoke_without_command=True)
@json_option
@click.pass_context
def scenario(ctx: click.Context, as_json: bool) -> None:
    """Show or check what would be simulated; alone, list the scenarios that are shipped.

    \b
    Example:
      roundlog scenario
      roundlog scenario show quickstart

    \b
    Python: simulator.scenario.load
    HTTP:   none; scenarios hold the attack, which no investigator may see
    """
    if ctx.invoked_subcommand is None:
        from api.lab.simulation import describe_scenario, scenario_names

        described = [describe_scenario(name) for name in scenario_names()]
        listed = [
            {"name": one["name"], "description": one["scenario"].get("description", "")}
            for one in described
        ]
        emit({"scenarios": listed}, as_json, _scenarios)


def _scenarios(document: Document) -> str:
    return facts((one["name"], one["description"]) for one in document["scenarios"])


@scenario.command(short_help="The whole scenario, every field documented.")
@click.argument("source", metavar="SCENARIO")
@set_option
@json_option
def show(source: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """The whole scenario as TOML, defaults filled in, every field documented.

    \b
    Example:
      roundlog scenario show quickstart --set attack.shape=ramp > mine.toml

    \b
    Python: simulator.scenario.load
    HTTP:   none; scenarios hold the attack, which no investigator may see
    """
    from api.lab.simulation import describe_scenario

    emit(describe_scenario(source, overrides), as_json, lambda one: str(one["toml"]).rstrip("\n"))


@scenario.command(short_help="Is a scenario file in order?")
@click.argument("source", metavar="SCENARIO")
@set_option
@json_option
def check(source: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Is a scenario file in order? Exit 2 with line and allowed values where it is not.

    \b
    Example:
      roundlog scenario check mine.toml

    \b
    Python: simulator.scenario.load
    HTTP:   none; scenarios hold the attack, which no investigator may see
    """
    from api.lab.simulation import describe_scenario

    described = describe_scenario(source, overrides)
    document = {"ok": True, "name": described["name"], "digest": described["digest"]}
    emit(document, as_json, lambda one: f"{one['name']} is in order; digest {one['digest']}")


@click.command(short_help="Simulate a poisoning, record it, and find it: in a minute.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="New directory for case, truth and picture; roundlog-demo, or the next that is free.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Of all randomness.",
)
@click.option("--twin", is_flag=True, help="Also run the attack-free twin; takes twice as long.")
@json_option
def demo(out: Path | None, seed: int, twin: bool, as_json: bool) -> None:
    """The main job from end to end: simulate a poisoning, record it, rebuild models, find it.

    \b
    Example:
      roundlog demo --out my-demo

    \b
    Python: api.lab.demo.run_demo
    HTTP:   none; every step has a route of its own, see /openapi.json
    """
    from api.lab.demo import run_demo
    from api.lab.story import tell

    line = ProgressLine()

    def step(said: str) -> None:
        line.clear()
        click.echo(said, err=True)

    try:
        document = run_demo(out, seed, twin=twin, progress=line, step=step)
    finally:
        line.clear()
    emit(document, as_json, tell)
