"""How is an experiment run from a scenario's name? Simulator, recorder and truth file, joined."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from api.documents import Document
from api.records import Progress, silent
from simulator.run import simulate
from simulator.scenario import Scenario, load, shipped, to_toml


def run_scenario(
    source: str,
    seed: int,
    target: Path | str,
    truth: Path,
    *,
    rounds: int | None = None,
    fraction: float | None = None,
    overrides: Iterable[str] = (),
    progress: Progress = silent,
) -> Document:
    """Simulates one seed of a scenario and records it.

    Args:
        source: A shipped scenario's name, or the path of a TOML file.
        target: A case directory, or `kafka://HOST:PORT/TOPIC`.
        truth: Where the ground truth goes; outside the case.
        overrides: `KEY=VALUE`, as in `attack.shape=ramp`.

    Raises:
        ScenarioError: A field or value is not allowed.
        RoundlogError: What the recorder said.
    """
    summary = simulate(
        load(source, overrides),
        seed,
        target,
        truth,
        rounds=rounds,
        fraction=fraction,
        progress=lambda done, total: progress("simulate", done, total),
    )
    return {**asdict(summary), "seed": seed, "target": str(target)}


def describe_scenario(source: str, overrides: Iterable[str] = ()) -> Document:
    """A resolved scenario: its table, its digest, and its commented TOML.

    Raises:
        ScenarioError: A field or value is not allowed, with its line.
    """
    scenario: Scenario = load(source, overrides)
    return {
        "name": scenario.name,
        "digest": scenario.digest(),
        "scenario": scenario.table(),
        "toml": to_toml(scenario),
    }


def scenario_names() -> tuple[str, ...]:
    """Scenarios that come with the simulator."""
    return shipped()
