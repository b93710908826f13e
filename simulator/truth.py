"""What really happened? Written to a file outside the case, for those who score investigators.

The truth file names the run, the resolved scenario, m_t of every round and the trigger. It is
accepted wherever a trigger is asked for, by its trigger alone. An attack-free twin holds the
same trigger with no onset.
"""

import json
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from roundlog.errors import ScenarioError
from simulator.federation import Federation
from simulator.fleet import Counts
from simulator.scenario import Scenario

TRIGGER_SCHEMA = "roundlog.trigger/1"
TRUTH_SCHEMA = "roundlog.truth/1"


def trigger_document(federation: Federation) -> dict[str, JsonValue]:
    """The attacker's trigger as a trigger file holds it: patterns, and queries of each."""
    rng = federation.randomness.stream("truth/queries")
    number = federation.scenario.probes.trigger_queries
    queries: list[JsonValue] = []
    for pattern in federation.trigger:
        tokens = federation.task.triggered(rng, pattern, number, federation.task.early)
        queries += [
            {"tokens": row, "target": pattern.target, "pattern": pattern.name}
            for row in tokens.tolist()
        ]
    return {
        "schema": TRIGGER_SCHEMA,
        "name": f"{federation.scenario.name}-seed{federation.seed}",
        "patterns": [pattern.document() for pattern in federation.trigger],
        "queries": queries,
    }


def truth_document(
    federation: Federation,
    *,
    run: str,
    rounds: int,
    malicious: Counts,
    begin: Scenario | None = None,
) -> dict[str, JsonValue]:
    """The whole truth file.

    Args:
        run: The run's id.
        rounds: Rounds that were recorded.
        malicious: m_t of these rounds, shape (rounds,).
        begin: The scenario that made W_0, where it is another one.
    """
    scenario = federation.scenario
    attacked = scenario.fraction > 0
    end = scenario.attack.end
    return {
        "schema": TRUTH_SCHEMA,
        "run": run,
        "scenario": scenario.table(),
        "begin": None if begin is None else begin.table(),
        "seed": federation.seed,
        "fraction": scenario.fraction,
        "rounds": rounds,
        "onset": scenario.attack.onset if attacked else None,
        "end": end if attacked else None,
        "strata": list(federation.fleet.strata),
        "guilty_strata": [int(index) for index in federation.fleet.guilty_strata],
        "malicious": [int(count) for count in np.asarray(malicious)],
        "trigger": trigger_document(federation),
    }


def key_path(truth: Path) -> Path:
    """Where the private key of a run's sealed cohorts lies: beside its truth."""
    return truth.with_name(f"{truth.name}.key")


def write_key(path: Path, private: bytes) -> None:
    """Writes a private key as hexadecimal text that its owner alone may read.

    Raises:
        ScenarioError: The directory cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(private.hex() + "\n", encoding="ascii")
    except OSError as error:
        raise ScenarioError(f"the key file {path} cannot be written: {error.strerror}") from error


def check_outside(truth: Path, target: Path) -> None:
    """Refuses a truth file inside the case.

    Raises:
        ScenarioError: An investigator would find the truth in the record.
    """
    if truth.resolve().is_relative_to(target.resolve()):
        raise ScenarioError(
            f"{truth} lies inside the case {target}; ground truth must lie outside, or the case "
            f"gives its own answer away"
        )


def write(path: Path, document: dict[str, JsonValue]) -> None:
    """Writes the file whole, or not at all.

    Raises:
        ScenarioError: The directory cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(document) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise ScenarioError(f"the truth file {path} cannot be written: {error.strerror}") from error
