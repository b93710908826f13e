"""What do workers do for tests that look at workers? Answer at once, fail, or die."""

import os
from pathlib import Path
from typing import Any

from roundlog.errors import QuestionError
from simulator.scenario import Scenario

ECHO, FAIL, DIE = "measured_runs:echo", "measured_runs:fail", "measured_runs:die"


def echo(
    scenario: Scenario, seed: int, folder: Path, *, rounds: int | None, progress: Any, **given: Any
) -> dict[str, Any]:
    """Answers with what it was given; leaves a file in its folder."""
    progress("simulate", 1, 2)
    (folder / "seen").write_text(str(seed))
    return {
        "scenario": scenario.digest(),
        "seed": seed,
        "rounds": rounds,
        "given": sorted(given),
        "began_with": given["begin"].digest() if "begin" in given else None,
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def fail(
    scenario: Scenario, seed: int, folder: Path, *, rounds: int | None, progress: Any
) -> dict[str, Any]:
    """Fails for odd seeds."""
    if seed % 2:
        raise QuestionError(f"seed {seed} is odd")
    return echo(scenario, seed, folder, rounds=rounds, progress=progress)


def die(
    scenario: Scenario, seed: int, folder: Path, *, rounds: int | None, progress: Any
) -> dict[str, Any]:
    """Takes its process with it, for odd seeds."""
    if seed % 2:
        os._exit(9)
    return echo(scenario, seed, folder, rounds=rounds, progress=progress)
