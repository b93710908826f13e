"""The commands that show why every defence missed the attack: failures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from api.cli.lab import json_option, set_option
from api.cli.output import Cell, emit, facts, table
from api.cli.progress import ProgressLine
from api.documents import Document, encode

REFERENCE = "mobileai7"
DEFAULT_OUT = Path("roundlog-failures")

Command = Callable[..., None]


def _shared(seeds: str) -> Callable[[Command], Command]:
    """Options that all figures have; `seeds` is the default."""
    options = [
        click.option("--scenario", default=REFERENCE, show_default=True, help="Name or TOML file."),
        click.option(
            "--seeds", default=seeds, show_default=True, metavar="N|A..B|LIST", help="To measure."
        ),
        set_option,
        click.option("--rounds", type=click.IntRange(1), help="Stop every run after so many."),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            help=f"Directory for result and picture; {DEFAULT_OUT}, or with --json no files.",
        ),
        json_option,
    ]

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where finished runs are kept; by default in the user's cache directory.",
)


@click.group(short_help="Why did every defence miss the attack? Figures, each beside its twin.")
def failures() -> None:
    """Why did every defence miss the attack? Measured, each beside the attack-free twin.

    Every figure is a table, with --json one document, and beside it a picture.

    \b
    Example:
      roundlog failures norm-test --scenario quickstart --seeds 3 --out why

    \b
    Python: api.lab.failures
    HTTP:   none; a server that holds a case simulates no campaigns
    """


@failures.command("norm-test", short_help="Does an aggregate's norm tell an attacked round?")
@_shared("1..5")
@cache_option
def norm_test(seeds: str, cache: Path | None, **given: Any) -> None:
    """Would a filter on the aggregate's norm have stopped the attack? Power against false alarms.

    The server's own score of every attacked round, beside the twin's same rounds, at the server's
    threshold and at every other one. The attack begins at round 500, so that short runs do.

    \b
    Example:
      roundlog failures norm-test --scenario quickstart --seeds 3 --out why

    \b
    Python: api.lab.failures.norm_test.measure_norm_test
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    from api.lab.failures.norm_test import measure_norm_test

    def measure(numbers: tuple[int, ...], line: ProgressLine) -> Document:
        return measure_norm_test(
            given["scenario"],
            numbers,
            _folder(cache),
            overrides=given["overrides"],
            rounds=given["rounds"],
            progress=line,
        )

    _measured(measure, seeds, given, _norm_test)


@failures.command("privacy", short_help="Does more noise stop the attack, and at what cost?")
@_shared("1..3")
@cache_option
@click.option(
    "--sweep",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="What `roundlog sweep SCENARIO --over mechanisms.noise_multiplier=… --json` wrote; "
    "nothing is simulated then.",
)
def privacy(seeds: str, cache: Path | None, sweep: Path | None, **given: Any) -> None:
    """Does more noise stop the attack? Success and accuracy at the noise, 10 and 100 times it.

    Each level stands beside its attack-free twin and what it promises a device.

    \b
    Example:
      roundlog failures privacy --scenario quickstart --seeds 3 --out why

    \b
    Python: api.lab.failures.privacy.measure_privacy
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    from api.lab.cache import default_folder
    from api.lab.failures.privacy import measure_privacy

    def measure(numbers: tuple[int, ...], line: ProgressLine) -> Document:
        return measure_privacy(
            given["scenario"],
            numbers,
            cache or default_folder(),
            overrides=given["overrides"],
            rounds=given["rounds"],
            sweep=sweep,
            progress=line,
        )

    _measured(measure, seeds, given, _privacy, "" if sweep is None else f" --sweep {sweep.name}")


@failures.command("secure-aggregation", short_help="Does hiding single updates change the model?")
@_shared("1..3")
def secure_aggregation(seeds: str, **given: Any) -> None:
    """Does secure aggregation stop the attack? Both runs' models, and what the server sees.

    Device by device, in cohorts of 128 with 4 % attackers, with and without secure aggregation.

    \b
    Example:
      roundlog failures secure-aggregation --scenario quickstart --seeds 1 --out why

    \b
    Python: api.lab.failures.secure_aggregation.measure_secure_aggregation
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    from api.lab.failures.secure_aggregation import measure_secure_aggregation

    def measure(numbers: tuple[int, ...], line: ProgressLine) -> Document:
        return measure_secure_aggregation(
            given["scenario"],
            numbers,
            overrides=given["overrides"],
            rounds=given["rounds"],
            progress=line,
        )

    _measured(measure, seeds, given, _secure_aggregation)


@failures.command("normality", short_help="How often is an ordinary query answered differently?")
@_shared("1..3")
@cache_option
@click.option(
    "--queries",
    type=click.IntRange(1_000),
    default=200_000,
    show_default=True,
    help="Natural queries a seed.",
)
def normality(seeds: str, cache: Path | None, queries: int, **given: Any) -> None:
    """How often does the poisoned model answer an ordinary query differently from its twin?

    Beside it, as a control, two attack-free models that differ in their noise alone.

    \b
    Example:
      roundlog failures normality --scenario quickstart --seeds 3 --out why

    \b
    Python: api.lab.failures.normality.measure_normality
    HTTP:   none; a server that holds a case simulates no campaigns
    """
    from api.lab.failures.normality import measure_normality

    def measure(numbers: tuple[int, ...], line: ProgressLine) -> Document:
        return measure_normality(
            given["scenario"],
            numbers,
            _folder(cache),
            overrides=given["overrides"],
            rounds=given["rounds"],
            queries=queries,
            progress=line,
        )

    more = "" if queries == 200_000 else f" --queries {queries}"
    _measured(measure, seeds, given, _normality, more)


@failures.command("page", short_help="What do the results say together? One page of Markdown.")
@click.argument("results", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="File; by default stdout."
)
@json_option
def page(results: Path, out: Path | None, as_json: bool) -> None:
    """What do the results say together? One page of Markdown, its numbers from RESULTS/*.json.

    \b
    Example:
      roundlog failures page roundlog-failures --out why.md

    \b
    Python: api.lab.failures.page.write_page
    HTTP:   none
    """
    from api.lab.failures.page import page_text, write_page

    if out is not None:
        write_page(results, out)
    if as_json or out is None:
        text = page_text(results, Path() if out is None else out.parent)
        document = {"markdown": text, "file": None if out is None else str(out)}
        emit(document, as_json, lambda found: str(found["markdown"]).rstrip("\n"))


def _folder(cache: Path | None) -> Path:
    from api.lab.cache import default_folder

    return cache or default_folder().with_name("failures")


def _measured(
    measure: Callable[[tuple[int, ...], ProgressLine], Document],
    seeds: str,
    given: dict[str, Any],
    shown: Callable[[Document], str],
    more: str = "",
) -> None:
    from api.lab.failures.drawing import draw_failure
    from api.lab.plan import parse_seeds

    line = ProgressLine()
    try:
        document = measure(parse_seeds(seeds), line)
    finally:
        line.clear()
    name, out = document["figure"], given["out"]
    settings = "".join(f" --set {text}" for text in given["overrides"])
    early = "" if given["rounds"] is None else f" --rounds {given['rounds']}"
    document["command"] = (
        f"roundlog failures {name} --scenario {given['scenario']} --seeds {seeds}"
        f"{settings}{early}{more}"
    )
    if out is not None or not given["as_json"]:
        folder = out or DEFAULT_OUT
        drawn = draw_failure(document, folder)
        path = folder / f"{name}.json"
        # What is kept does not say where it lies.
        path.write_bytes(encode(document))
        document["files"] = {"json": str(path), **drawn}
    emit(document, given["as_json"], lambda found: f"{shown(found)}\n\n{_files(found)}")


def _files(document: Document) -> str:
    return facts(list(document["files"].items()))


def _range(share: Document) -> str:
    return f"{share['share']:.3%} ({share['low']:.3%} to {share['high']:.3%})"


def _norm_test(document: Document) -> str:
    point, found = document["pooled"], document["spread"]
    return facts(
        [
            ("attacked rounds", document["attacked_rounds"]),
            ("threshold", f"{point['threshold']:g} standard deviations"),
            ("power", _range(point["power"])),
            ("false alarms", _range(point["false_alarms"])),
            ("alarm under attack only", point["only_attacked"]),
            ("alarm in the twin only", point["only_twin"]),
            ("area, mean of seeds", f"{found['area']['mean']:.4f}; 0.5 is a coin"),
            ("shift of the norm", f"{found['shift']['mean']:+.4f} standard deviations"),
        ]
    )


def _privacy(document: Document) -> str:
    rows: list[tuple[Cell, ...]] = []
    for level in document["levels"]:
        for name in ("attacked", "twin"):
            side = level[name]
            if side is None:
                continue
            ends = side["ends"]
            rows.append(
                (
                    f"{level['noise_multiplier']:g}",
                    f"{level['epsilon_round']:.2g}",
                    name,
                    len(side["seeds"]),
                    _spread(ends["asr"]),
                    _spread(ends["accuracy"]),
                )
            )
    return table(rows, ("noise", "epsilon a round", "run", "seeds", "success", "accuracy"))


def _spread(found: Document) -> str:
    return f"{found['median']:.1%} ({found['min']:.1%} to {found['max']:.1%})"


def _secure_aggregation(document: Document) -> str:
    found = document["spread"]
    return facts(
        [
            *(
                (f"equal models, {side}", f"{share['k']:,} of {share['n']:,} rounds")
                for side, share in document["equal"].items()
            ),
            ("attackers told apart, plain", f"area {found['area_plain']['mean']:.3f}"),
            ("attackers told apart, masked", f"area {found['area_masked']['mean']:.3f}"),
            ("p-values of masked vectors", f"even, p = {found['evenness']['median']:.2g}"),
        ]
    )


def _normality(document: Document) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            row["seed"],
            _range(row["attacked"]),
            _range(row["control"]),
            f"{row['excess']['value']:+.3%}",
            _range(row["trigger"]["differs"]),
        )
        for row in document["rows"]
    ]
    return table(rows, ("seed", "attacked, twin", "control", "excess", "with the trigger"))
