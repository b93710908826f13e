"""Does roundlog say *when* as rightly as it claims? Fresh seeds, their twins, a table of claims.

Runs are worked off by `api.lab.campaign`: a campaign that was stopped goes on when it is asked for
again, and one more seed costs one more run. Cases go as soon as they are measured; of a twin one
series of numbers stays, from which replicates are made once all runs are in. The bars are those of
the shipped scenario, so with other settings errors are told and not judged.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from api.documents import Document, encode
from api.lab.cache import LIBRARIES, code_digest, judge_digest
from api.lab.campaign import Order, carry_out
from api.parameters import ParameterError
from api.records import Progress, silent
from forensics.evaluation.when import unpack
from forensics.evaluation.when_bars import BARS
from forensics.evaluation.when_replicates import Replicates, Shift, replicate
from forensics.evaluation.when_summary import claims
from roundlog.errors import QuestionError
from simulator.scenario import Scenario, load

MEASURE = "api.lab.evaluate_run:measure_run"

STOP = {"mobileai7": 60_000}
"""Rounds after which attacked runs of a scenario stop: by then success is beyond 50 %, and later
rounds change no answer. Twins run whole, since every round may raise a false alarm."""

REPLICATES = 2_000

SIMULATED_SHARE = 0.6
"""Of a run's time, roughly. For the progress line only."""

STEPS = ("simulate", "ingest", "onset", "at_ten", "watch", "control", "series")


@dataclass(frozen=True)
class Evaluation:
    """What is asked for.

    Attributes:
        source: A shipped scenario's name, or the path of a TOML file.
        seeds: Of attacked runs.
        twin_seeds: Of attack-free twins; by default the same.
        overrides: `KEY=VALUE`.
        rounds: Attacked runs stop after so many; by default as `STOP` says.
        replicates: Made onsets in all.
        workers: Processes; by default one a core.
        cache: Where finished runs are kept; by default `api.lab.cache.default_folder()`.
    """

    source: str
    seeds: Sequence[int]
    twin_seeds: Sequence[int] | None = None
    overrides: Sequence[str] = ()
    rounds: int | None = None
    replicates: int = REPLICATES
    workers: int | None = None
    cache: Path | None = None


def run_evaluation(evaluation: Evaluation, *, progress: Progress = silent) -> Document:
    """Runs what is not known yet, and judges all of it.

    Returns:
        `scenario`; `world` and `bars`: whose bars hold, and why; `code`, `judges` (digest of the
        sources that judge), `versions`, `seeds`, `twin_seeds`, `rounds`, `twin_rounds`; `rows`,
        one a run; `replicates`, or why there are none; `claims`; `errors`, one a run that failed.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: Nobody attacks within the rounds that are run.
    """
    scenario = load(evaluation.source, evaluation.overrides)
    twin = load(evaluation.source, [*evaluation.overrides, "fraction=0"])
    rounds = _attacked_rounds(scenario, evaluation.rounds)
    twin_seeds = evaluation.seeds if evaluation.twin_seeds is None else evaluation.twin_seeds
    orders = [
        *(Order(scenario, seed, rounds) for seed in evaluation.seeds),
        *(Order(twin, seed, None) for seed in twin_seeds),
    ]
    answers: list[Document | None] = [None] * len(orders)
    errors: dict[int, str] = {}
    for index, answer, error in carry_out(
        orders,
        measure=MEASURE,
        workers=evaluation.workers,
        cache=evaluation.cache,
        noun="runs",
        simulated=SIMULATED_SHARE,
        progress=progress,
    ):
        answers[index] = answer
        if answer is None:
            errors[index] = error or "no answer"
    runs = [answer for answer in answers if answer is not None]
    made, why_not = _replicates(runs, evaluation.replicates, evaluation.seeds)
    # A scenario under another name, or with other settings, is another world.
    world = evaluation.source if evaluation.source in BARS and not evaluation.overrides else None
    return {
        "scenario": {
            "name": scenario.name,
            "digest": scenario.digest(),
            "table": scenario.table(),
        },
        "overrides": list(evaluation.overrides),
        "world": world,
        "bars": "" if world is None else f"Bars of errors: {BARS[world].reason}",
        "code": code_digest(MEASURE),
        "judges": judge_digest(),
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "seeds": list(evaluation.seeds),
        "twin_seeds": list(twin_seeds),
        "rounds": scenario.rounds if rounds is None else rounds,
        "twin_rounds": twin.rounds,
        "rows": [
            _row(order, answer)
            for order, answer in zip(orders, answers, strict=True)
            if answer is not None
        ],
        "replicates": None if made is None else made.document(),
        "no_replicates": why_not,
        "claims": [claim.document() for claim in claims(runs, made, world)],
        "errors": [
            {
                "twin": orders[index].scenario.fraction == 0,
                "seed": orders[index].seed,
                "error": error,
            }
            for index, error in sorted(errors.items())
        ],
    }


def _attacked_rounds(scenario: Scenario, wanted: int | None) -> int | None:
    """After how many rounds attacked runs stop; None for all that there are."""
    stop = STOP.get(scenario.name) if wanted is None else wanted
    if wanted is not None and not 0 < wanted <= scenario.rounds:
        raise ParameterError(
            f"--rounds {wanted:,} is not allowed: {scenario.name} has {scenario.rounds:,} rounds"
        )
    if stop is not None and stop >= scenario.rounds:
        stop = None
    end = scenario.rounds if stop is None else stop
    if scenario.fraction == 0 or scenario.attack.onset >= end:
        raise ParameterError(
            f"nobody attacks: fraction {scenario.fraction:g}, onset "
            f"{scenario.attack.onset:,}, and {end:,} rounds; there is no onset to date. Give more "
            f"--rounds, or an earlier attack.onset"
        )
    return stop


def _replicates(
    runs: Sequence[Document], number: int, seeds: Sequence[int]
) -> tuple[Replicates | None, str | None]:
    """Made onsets from the twins' series and the attacked runs' shifts; or why there are none."""
    series = [unpack(run["series"]["recorded"]) for run in runs if run["series"] is not None]
    shifts = [
        Shift(run["two_pass"]["signal"], run["two_pass"]["rounds"])
        for run in runs
        if run["onset"] is not None and run["two_pass"]["found"]
    ]
    try:
        return replicate(series, shifts, number, min(seeds, default=0)), None
    except QuestionError as error:
        return None, str(error)


def _row(order: Order, answer: Document) -> Document:
    """A run without the series that replicates are made of."""
    series = answer["series"]
    if series is not None:
        series = {key: value for key, value in series.items() if key != "recorded"}
    return {
        "seed": order.seed,
        "twin": order.scenario.fraction == 0,
        "whole": order.rounds is None,
        **answer,
        "series": series,
    }


def table_of(document: Document) -> pl.DataFrame:
    """One line a run: what was dated, what the watch said, and CPU seconds by step."""
    rows = [_flat(row) for row in document["rows"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], strict=False) for name in names}
    )


def _flat(row: Document) -> Document:
    watch, ten, ranks, series = (row[key] or {} for key in ("watch", "at_ten", "ranks", "series"))
    dated = ("found", "round", "low", "high", "covered", "error", "signal", "p", "rounds")
    first, numbers = watch["first"] or {}, ("mean", "sd_ratio", "autocorrelation")
    control = row["control"]
    flat: Document = {
        **{key: row[key] for key in ("seed", "twin", "run", "rounds", "whole", "onset")},
        **{f"{which}_{key}": row[which][key] for which in ("one_pass", "two_pass")
           for key in dated},
        "ten_reached": ten.get("reached"),
        **{f"ten_{key}": ten.get(key) for key in ("round", "low", "high", "covered")},
        "decoy_rank": (ten or ranks).get("decoy_rank"),
        "decoys": (ten or ranks).get("decoys"),
        **{key: ranks.get(key) for key in ("published_rank", "published_decoys")},
        "watched_rounds": watch["rounds"],
        "false_alarms": watch["false_alarms"],
        **{f"false_{name}": number for name, number in watch["false_by_series"].items()},
        "alarmed": " ".join(watch["alarmed"]),
        "alarm_round": first.get("round"),
        "alarm_delay": first.get("delay"),
        "alarm_before_ten": first.get("before_ten"),
        **{f"alarm_asr{end}": first.get(key) for end, key in
           (("", "asr"), ("_low", "low"), ("_high", "high"))},
        "control_false": control["false_by_series"]["trigger"],
        "control_delay": (control["first"] or {}).get("delay"),
        **{f"series_{key}": series.get(key) for key in numbers},
        **{f"cpu_{step}": row["seconds"].get(step) for step in STEPS},
        "cpu_seconds": round(sum(row["seconds"].values()), 3),
    }  # fmt: skip
    return flat


def write_files(document: Document, folder: Path) -> dict[str, str]:
    """Writes `evaluation.parquet`, `evaluation.csv` and `evaluation.json`.

    Returns:
        The files by their format. The parquet file also holds every alarm of each run, and the
        JSON file claims and facts without the rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"evaluation.{kind}" for kind in ("parquet", "csv", "json")}
    table = table_of(document)
    table.write_csv(files["csv"])
    kinds: dict[str, Any] = {
        "round": pl.Int64,
        "series": pl.String,
        "detector": pl.String,
        "chart": pl.String,
    }
    table.with_columns(
        pl.Series(
            f"{which}_alarm_{name}",
            [[alarm[name] for alarm in row[which]["alarms"]] for row in document["rows"]],
            dtype=pl.List(kind),
        )
        for which in ("watch", "control")
        for name, kind in kinds.items()
    ).write_parquet(files["parquet"])
    kept = {key: value for key, value in document.items() if key != "rows"}
    files["json"].write_bytes(encode(kept, indent=2))
    return {kind: str(path) for kind, path in files.items()}
