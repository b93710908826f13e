"""How does a simulated federation become a record? Through the Recorder, as a real server's would.

`simulator.recorded` says what stands in the record; this module runs a scenario, sees to it that
the truth lies outside the case, and counts.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np

from roundlog.case import Case
from roundlog.errors import ScenarioError
from roundlog.log.address import is_kafka
from roundlog.recorder import Recorder
from simulator.federation import Federation
from simulator.recorded import RecordedServer
from simulator.scenario import Scenario
from simulator.truth import check_outside, key_path, truth_document, write, write_key

Progress = Callable[[int, int], None]
"""Called now and then with the rounds done and the rounds in all."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was simulated."""

    run: str
    """The run's id."""

    rounds: int
    """Rounds recorded; below what was asked for only where the run was interrupted."""

    fraction: float
    """Share of the fleet that the attacker controlled."""

    malicious: int
    """Poisoned updates sent in all."""

    audits: int
    """Answers sampled for review."""

    rejected: int
    """Aggregates that the norm filter would have rejected."""

    cpu_seconds: float
    """CPU time, all threads, recording included."""

    devices: int
    """Updates of single devices in the means."""

    truth: Path
    """Where the ground truth was written."""

    cohort_key: Path | None
    """Where the private key of the sealed cohorts was written; None where none were sealed."""


def simulate(
    scenario: Scenario,
    seed: int,
    target: Path | str,
    truth_path: Path | str,
    *,
    rounds: int | None = None,
    fraction: float | None = None,
    parent: str | None = None,
    begin: Scenario | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs one seed of a scenario, records it, and writes the truth beside it.

    Args:
        scenario: What is simulated; see `simulator.scenario.load`.
        target: A case directory (made where it is missing), or `kafka://HOST:PORT/TOPIC`.
        truth_path: Where the ground truth goes: outside the case.
        rounds: Stops early, after so many rounds; they are the full run's first rounds.
        fraction: Another share of controlled devices; 0 simulates the attack-free twin.
        parent: The run that this one is a variation of; part of the run's id.
        begin: The scenario whose W_0, of the same seed, this run begins with; by default its own.
        progress: Called after each block of rounds.

    Raises:
        ScenarioError: A value is not allowed, the truth file would lie inside the case, or the
            case holds this run already.
        RoundlogError: What the recorder said.
    """
    begun = process_time()
    if fraction is not None:
        scenario = scenario.with_fraction(fraction)
    if rounds is not None and not 0 < rounds <= scenario.rounds:
        raise ScenarioError(f"rounds = {rounds} is not allowed; allowed: 1 to {scenario.rounds}")
    total = scenario.rounds if rounds is None else rounds
    run, truth = scenario.run_id(seed, parent), Path(truth_path)
    spool = None
    if is_kafka(target):
        # A run that is simulated again is the same bytes again, and ingest drops copies. So each
        # simulation spools afresh, beside its truth, and what it could not send stays there.
        spool = truth.with_name(f"{truth.name}.spool")
        shutil.rmtree(spool, ignore_errors=True)
    else:
        _prepare(Path(target), truth, run)
    start = None if begin is None else Federation(begin, seed).start
    federation = Federation(scenario, seed, start=start)
    server = RecordedServer(federation, run, parent)
    if server.private_key is not None:
        write_key(key_path(truth), server.private_key)
    with Recorder(target, run=run, on_error="raise", spool=spool) as recorder:
        server.open(recorder)
        try:
            for block in federation.blocks():
                server.commit(recorder, block, total)
                if progress is not None:
                    progress(server.rounds, total)
                if server.rounds >= total:
                    break
        finally:
            # An interrupted run is a shorter run: its truth is as good as its record.
            malicious = np.concatenate([*server.malicious, np.empty(0, dtype=np.int64)])
            document = truth_document(
                federation, run=run, rounds=server.rounds, malicious=malicious, begin=begin
            )
            write(truth, document)
    if spool is not None:
        shutil.rmtree(spool)
    return Summary(
        run=run,
        rounds=server.rounds,
        fraction=scenario.fraction,
        malicious=int(malicious.sum()),
        audits=server.audits,
        rejected=server.rejected,
        devices=server.devices,
        cpu_seconds=process_time() - begun,
        truth=truth,
        cohort_key=None if server.private_key is None else key_path(truth),
    )


def _prepare(case: Path, truth: Path, run: str) -> None:
    check_outside(truth, case)
    folder = Case.create(case).segments / run
    if any(folder.glob("*/*.heads")):
        raise ScenarioError(
            f"{case} already holds the run {run}: the same scenario and seed. Its rounds would be "
            f"recorded twice; choose another case, or delete {folder}."
        )
