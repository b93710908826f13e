"""Does more noise stop the attack? Success and accuracy over rounds, at three levels of noise.

Reads a sweep's document, or makes one: `mechanisms.noise_multiplier` as the scenario has it, ten
and a hundred times that, each with its attack-free twin. Beside each stands what it promises one
device (`simulator.privacy.accounting`).
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from api.documents import Document
from api.lab.failures.runs import heading
from api.lab.plan import Variation
from api.lab.privacy import account_scenario
from api.lab.sweep import Sweep, run_sweep
from api.parameters import ParameterError
from api.records import Progress, silent
from forensics.evaluation.statistics import spread
from simulator.scenario import Scenario, load

KEY = "mechanisms.noise_multiplier"
TIMES = (1, 10, 100)
DIGITS = 10
"""Significant ones of a multiplied noise: 542 and not 542.0000000000001."""


def measure_privacy(
    source: str,
    seeds: Sequence[int],
    cache: Path,
    *,
    overrides: Iterable[str] = (),
    rounds: int | None = None,
    sweep: Path | None = None,
    progress: Progress = silent,
) -> Document:
    """Paths and ends at three levels of noise, attacked and not.

    Args:
        sweep: A document that `roundlog sweep SCENARIO --over mechanisms.noise_multiplier=… --json`
            wrote; points that differ in anything but noise and fraction are passed over. Without
            it the sweep is run here.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: The document is not a sweep of this scenario, or lacks a level of noise.
    """
    overrides = tuple(overrides)
    scenario = load(source, overrides)
    if scenario.mechanisms.noise == "none" or not scenario.mechanisms.noise_multiplier:
        raise ParameterError(f"{source} has no noise to multiply; set {KEY} above 0")
    multiples = {
        times: float(f"{times * scenario.mechanisms.noise_multiplier:.{DIGITS}g}")
        for times in TIMES
    }
    if sweep is None:
        values = tuple(repr(value) for value in multiples.values())
        wanted = Sweep(
            source,
            seeds,
            overrides=overrides,
            over=[Variation(KEY, values)],
            twin=True,
            rounds=rounds,
            workers=1,
            cache=cache,
        )
        document = run_sweep(wanted, progress=progress)
    else:
        document = read_sweep(sweep, scenario)
        seeds, rounds = document["seeds"], document["rounds"]
    levels = [
        _level(source, overrides, scenario, document, times, multiplier)
        for times, multiplier in multiples.items()
    ]
    return {
        **heading("privacy", scenario, seeds, rounds),
        "scenario": document["scenario"],
        "code": document["code"],
        "onset": scenario.attack.onset,
        "over": document["over"],
        "levels": levels,
        "errors": document["errors"],
    }


def read_sweep(path: Path, scenario: Scenario) -> Document:
    """A sweep's JSON document, of this very scenario.

    Raises:
        ParameterError: It is another document, or a sweep of another scenario.
    """
    try:
        found: Any = json.loads(path.read_bytes())
        table, rows, seeds = found["scenario"]["table"], found["rows"], found["seeds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{path} is not what `roundlog sweep --json` writes ({type(error).__name__}: {error})"
        ) from error
    if not all(isinstance(one, kind) for one, kind in ((table, dict), (rows, list), (seeds, list))):
        raise ParameterError(f"{path} is not what `roundlog sweep --json` writes")
    theirs, ours = _matters(table), _matters(scenario.table())
    unlike = sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key))
    if unlike:
        raise ParameterError(
            f"{path} is a sweep of a scenario that differs from this one in {', '.join(unlike)}: "
            f"name the scenario and --set that it was made with"
        )
    return {"rounds": None, "errors": [], "code": None, "over": {}, **found}


def _matters(table: Document) -> Document:
    """A scenario's table without what it makes no use of: devices one by one, the other task."""
    unused = {"assistant", "digits"} - {table.get("task")}
    if table.get("fidelity") == "cohort":
        unused.add("device")
    return {key: value for key, value in table.items() if key not in unused}


def _level(
    source: str,
    overrides: Sequence[str],
    scenario: Scenario,
    document: Document,
    times: int,
    multiplier: float,
) -> Document:
    mine = [row for row in document["rows"] if _noise(row, scenario) == multiplier]
    attacked = [row for row in mine if _fraction(row, scenario) == scenario.fraction]
    if not attacked:
        failed = document["errors"]
        why = f"; the first of its failures: {failed[0]['error']}" if failed else "; sweep over it"
        raise ParameterError(f"the sweep has no attacked point with {KEY} = {multiplier:g}{why}")
    twins = [row for row in mine if row["twin"]]
    promised = account_scenario(source, [*overrides, f"{KEY}={multiplier!r}"])
    return {
        "times": times,
        "noise_multiplier": multiplier,
        "epsilon_round": promised["epsilon_round"],
        "epsilon_run": promised["epsilon_run"],
        "delta": promised["delta"],
        "attacked": _side(attacked),
        "twin": _side(twins) if twins else None,
    }


def _noise(row: Document, scenario: Scenario) -> float | None:
    """The row's noise; None where it differs from the scenario in something else."""
    if set(row["point"]) - {KEY, "fraction"}:
        return None
    return float(row["point"].get(KEY, scenario.mechanisms.noise_multiplier))


def _fraction(row: Document, scenario: Scenario) -> float:
    return float(row["point"].get("fraction", scenario.fraction))


def _side(rows: Sequence[Document]) -> Document:
    paths = [row["path"] for row in rows]
    shortest = min((path["models"] for path in paths), key=lambda models: int(models[-1]))
    drawn = {}
    for name in ("asr", "accuracy"):
        values = np.array([np.interp(shortest, path["models"], path[name]) for path in paths])
        drawn[name] = {
            "median": np.median(values, axis=0).tolist(),
            "low": values.min(axis=0).tolist(),
            "high": values.max(axis=0).tolist(),
        }
    return {
        "seeds": [row["seed"] for row in rows],
        "models": shortest,
        **drawn,
        "ends": {
            name: spread([row[name] for row in rows]).document()
            for name in ("asr", "accuracy", "highest")
        },
        "floor": spread([row["floor"] for row in rows]).document()
        if all(row["floor"] is not None for row in rows)
        else None,
        "rows": [
            {key: row[key] for key in ("seed", "run", "asr", "asr_low", "asr_high", "accuracy")}
            for row in rows
        ],
    }
