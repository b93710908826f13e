"""Commands that run many simulations, or one again under other settings: sweep, whatif."""

from pathlib import Path

import click

from api.cli.lab import json_option, set_option
from api.cli.output import Cell, emit, emit_lines, percent, table
from api.cli.progress import ProgressLine
from api.documents import Document

DEFAULT_OUT = Path("roundlog-sweep")


@click.command(short_help="How does the outcome depend on a setting? Many seeds of many points.")
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--over",
    multiple=True,
    metavar="KEY=V1,V2,…",
    help="A setting and the values that it takes; may be given several times.",
)
@click.option("--grid", is_flag=True, help="Multiply several --over, not one key at a time.")
@click.option("--twin", is_flag=True, help="Add the attack-free twin of every point.")
@click.option(
    "--seeds",
    required=True,
    metavar="N|A..B|LIST",
    help="5 means 1 to 5; or a range 3..7, or a list 1,4,9..12.",
)
@set_option
@click.option("--rounds", type=click.IntRange(1), help="Stop every run after so many rounds.")
@click.option("--keep", is_flag=True, help="Keep every case and truth file, in OUT/cases.")
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where finished points are kept; by default in the user's cache directory.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Directory for table and figure; {DEFAULT_OUT}, or with --json no files.",
)
@json_option
@click.option("--jsonl", is_flag=True, help="One JSON document for each row, as points end.")
def sweep(
    scenario: str,
    over: tuple[str, ...],
    grid: bool,
    twin: bool,
    seeds: str,
    overrides: tuple[str, ...],
    rounds: int | None,
    keep: bool,
    workers: int | None,
    cache: Path | None,
    out: Path | None,
    as_json: bool,
    jsonl: bool,
) -> None:
    """How does the outcome depend on a setting? Simulates and scores many seeds of many points.

    One --over walks through its values. Several vary one key at a time from the scenario as it
    stands, which then is a point itself; with --grid they are multiplied. fraction=0 is a value
    like another: the attack-free twin. Each point is recorded into a temporary case, ingested,
    scored with its own trigger, and dropped.

    Finished points are kept by the code's digest, the resolved scenario and the seed: a sweep
    that was stopped goes on when the same command is given again. A point that fails is reported,
    stops no other, and makes the exit code 1.

    \b
    Example:
      roundlog sweep quickstart --over fraction=0,0.002,0.01 --seeds 5
      roundlog sweep quickstart --over fraction=0.01,0.02 --over mechanisms.clip=0.5,1 \\
        --grid --twin --seeds 1..3 --json

    \b
    Python: api.lab.sweep.run_sweep
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    if as_json and jsonl:
        raise click.UsageError("--json is one document and --jsonl many: choose one")
    from api.lab.plan import parse_seeds, parse_variation
    from api.lab.sweep import Sweep, run_sweep, write_files

    files_wanted = out is not None or not (as_json or jsonl)
    folder = out or DEFAULT_OUT
    if keep and not files_wanted:
        raise click.UsageError("--keep needs a place: say --out DIR")
    line = ProgressLine()

    def show(row: Document) -> None:
        line.clear()
        emit_lines([row])

    wanted = Sweep(
        scenario,
        parse_seeds(seeds),
        overrides=overrides,
        over=[parse_variation(text) for text in over],
        grid=grid,
        twin=twin,
        rounds=rounds,
        workers=workers,
        cache=cache,
        keep=folder / "cases" if keep else None,
    )
    try:
        document = run_sweep(wanted, progress=line, row=show if jsonl else None)
    finally:
        line.clear()
    if files_wanted:
        document["files"] = write_files(document, folder)
    for failed in document["errors"]:
        click.echo(
            f"failed: {_point(failed['point'])}, seed {failed['seed']}: ", err=True, nl=False
        )
        click.echo(failed["error"], err=True)
    if not jsonl:
        emit(document, as_json, _swept)
    if document["errors"]:
        raise click.exceptions.Exit(1)


def _point(settings: Document) -> str:
    from api.lab.plan import point_label

    return point_label(settings)


def _swept(document: Document) -> str:
    head = ("point", "seeds", "success", "lowest to highest", "accuracy", "lowest to highest",
            "crossed 50%", "at model", "CPU s")  # fmt: skip
    rows = []
    for one in document["summary"]:
        share, reached = one["crossing_50_share"], one["crossing_50"]
        rows.append(
            (
                _point(one["point"]),
                one["seeds"],
                *_median_and_range(one["asr"]),
                *_median_and_range(one["accuracy"]),
                f"{share['k']} of {share['n']}",
                None if reached is None else round(reached["median"]),
                round(one["cpu_seconds"]["median"], 1),
            )
        )
    lines = [table(rows, head)]
    lines.append("Medians over seeds. Success and accuracy are of the last model; a crossing is")
    lines.append("sustained, and its model the median of the seeds that have one.")
    if document.get("files"):
        lines += ["", *(str(path) for path in document["files"].values())]
    return "\n".join(lines)


def _median_and_range(spread: Document | None) -> tuple[str, str]:
    if spread is None:
        return "–", "–"
    return percent(spread["median"]), f"{percent(spread['min'])} to {percent(spread['max'])}"


@click.command(short_help="What would have happened under other settings? The same seed again.")
@click.argument("case", metavar="CASE")
@click.option(
    "--base",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="TRUTH",
    help="Truth file of the run in CASE that is replayed.",
)
@set_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Case to record into; may be CASE, which then holds both runs.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File for the new run's ground truth, outside the cases.",
)
@json_option
def whatif(
    case: str,
    base: Path,
    overrides: tuple[str, ...],
    out: Path,
    truth: Path,
    as_json: bool,
) -> None:
    """What would have happened under other settings? Replays the seed, the cohorts and the attack.

    Scenario, seed and attack come from the truth file; the new run names the base as its parent.
    Both are scored with the base's trigger.

    Each random stream is known by seed, purpose and block of rounds, so what a setting does not
    touch is drawn as it was, and both runs begin with the same W_0. What a setting touches cannot
    stay: cohort.size draws other cohorts, population.* other devices and data, fraction other
    attackers among the same devices, model.* and the sizes of a network another W_0.

    \b
    Example:
      roundlog whatif my-case --base truth.json --set mechanisms.clip=0.5 \\
        --out half-clip --truth half-clip.json

    \b
    Python: api.lab.whatif.whatif
    HTTP:   POST /api/v1/whatif, of a server that was started with --lab
    """
    from api.lab.whatif import whatif as replay

    line = ProgressLine()
    try:
        document = replay(Path(case), base, overrides, out, truth, line)
    finally:
        line.clear()
    emit(document, as_json, _compared)


BARS = "▁▂▃▄▅▆▇█"
BARS_WIDE = 25


def _compared(document: Document) -> str:
    sides = [document["base"], document["other"]]
    changed = [
        (key, *(_value(values[name]) for name in ("base", "other")))
        for key, values in document["settings"].items()
    ]
    rows: list[tuple[Cell, ...]] = [
        ("run", *(side["run"] for side in sides)),
        *(changed or [("settings", "the same", "the same")]),
        ("rounds", *(f"{side['rounds']:,}" for side in sides)),
        ("success at the end", *map(_success, sides)),
        ("its path, 0 to 100%", *(bars(side["path"]["asr"]) for side in sides)),
        ("highest success", *(percent(side["highest"]) for side in sides)),
        ("accuracy at the end", *(percent(side["accuracy"]) for side in sides)),
        ("lowest accuracy", *(percent(side["lowest_accuracy"]) for side in sides)),
    ]
    for one, two in zip(*(side["crossings"] for side in sides), strict=True):
        name = f"{percent(one['level'])} sustained from model"
        rows.append((name, *(_crossed(row) for row in (one, two))))
    costs = [side["cost"] for side in sides]
    rows += [
        ("CPU to simulate", *(_seconds(cost["cpu_seconds"]) for cost in costs)),
        ("devices asked", *(f"{cost['devices']:,}" for cost in costs)),
        ("uploaded by devices", *(_bytes(cost["bytes_uploaded"]) for cost in costs)),
    ]
    return table(rows, ("", "base", "other"))


def bars(values: list[float]) -> str:
    """Shares as a line of bars, from 0 to 1; evenly thinned to fit."""
    count = min(len(values), BARS_WIDE)
    picked = [values[index * (len(values) - 1) // max(1, count - 1)] for index in range(count)]
    top = len(BARS) - 1
    return "".join(BARS[min(top, max(0, round(value * top)))] for value in picked)


def _value(value: object) -> str:
    return "left out" if value is None else str(value)


def _success(side: Document) -> str:
    return f"{percent(side['asr'])} ({percent(side['asr_low'])} to {percent(side['asr_high'])})"


def _crossed(row: Document) -> str:
    return row["status"].replace("_", " ") if row["round"] is None else f"{row['round']:,}"


def _seconds(seconds: float | None) -> str:
    return "not recorded" if seconds is None else f"{seconds:,.1f} s"


def _bytes(number: int) -> str:
    units = ("B", "KB", "MB", "GB", "TB", "PB")
    place = min(len(units) - 1, (len(str(number)) - 1) // 3)
    return f"{number / 1_000**place:.3g} {units[place]}"
