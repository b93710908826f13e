"""What is known of *when* in one seed of one scenario? Simulated, recorded, ingested, measured.

The way is the one that an investigator's case takes: through the recorder and the log. The trigger
comes from the truth file, and the true onset from the scenario.
"""

from pathlib import Path
from time import process_time

from api.desk import LocalDesk, open_desk
from api.documents import Document
from api.records import Progress, silent
from forensics.evaluation.when import measure_when
from forensics.rebuild import CaseModels
from forensics.trigger import load_trigger
from roundlog.errors import RoundlogError
from simulator.run import simulate
from simulator.scenario import Scenario

CASE, TRUTH = "case", "truth.json"


def measure_run(
    scenario: Scenario,
    seed: int,
    folder: Path,
    *,
    rounds: int | None = None,
    progress: Progress = silent,
) -> Document:
    """Runs one seed and measures it; see `forensics.evaluation.when.measure_when`.

    Args:
        folder: Where `case` and, beside it, `truth.json` are made; left as they are.
        rounds: Stops early.

    Returns:
        What was measured, with the run's name and rounds, and the CPU seconds of every step.

    Raises:
        RoundlogError: What any step said.
    """
    case, truth = folder / CASE, folder / TRUTH
    simulated = simulate(
        scenario,
        seed,
        case,
        truth,
        rounds=rounds,
        progress=lambda done, total: progress("simulate", done, total),
    )
    began = process_time()
    with open_desk(case, progress=progress, fall_back=False) as desk:
        if not isinstance(desk, LocalDesk):
            raise RoundlogError(f"{case} is held by a server; a new case cannot be")
        records = desk.records
        ingested = process_time() - began
        found = measure_when(
            CaseModels(records.case, records.store, simulated.run),
            records.store,
            load_trigger(truth),
            scenario.attack.onset if scenario.fraction > 0 else None,
            progress=lambda done, total: progress("measure", done, total),
        )
    return {
        **found,
        "run": simulated.run,
        "rounds": simulated.rounds,
        "malicious": simulated.malicious,
        "seconds": {
            "simulate": round(simulated.cpu_seconds, 3),
            "ingest": round(ingested, 3),
            **found["seconds"],
        },
    }
