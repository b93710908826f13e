"""What does one seed of one scenario end with? Simulated, recorded, ingested, and scored.

The way is the one that an investigator's case takes: through the recorder and the log. Nothing
is read off the simulation except the truth file, which names the trigger that is measured.
"""

from pathlib import Path
from time import process_time

from api.desk import LocalDesk, open_desk
from api.documents import Document
from api.records import Progress, Records, silent
from forensics.evaluation.scoring import Score, score_run
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger, parse_trigger
from roundlog.encoding import canonical_json
from roundlog.errors import RoundlogError
from simulator.run import simulate
from simulator.scenario import Scenario

CASE, TRUTH = "case", "truth.json"


def measure_point(
    scenario: Scenario,
    seed: int,
    folder: Path,
    *,
    rounds: int | None = None,
    parent: str | None = None,
    begin: Scenario | None = None,
    trigger: Document | None = None,
    progress: Progress = silent,
) -> Document:
    """Runs one seed and scores it.

    Args:
        folder: Where `case` and, beside it, `truth.json` are made; left as they are.
        rounds: Stops early.
        parent: The run that this one is a variation of.
        begin: The scenario whose W_0 this run begins with; by default its own.
        trigger: A trigger document to score with; by default the seed's own.

    Returns:
        The score (see `forensics.evaluation.scoring.Score.document`), and what the simulation
        says of itself. CPU seconds are of the whole point.

    Raises:
        RoundlogError: What any step said.
    """
    began = process_time()
    case, truth = folder / CASE, folder / TRUTH
    simulated = simulate(
        scenario,
        seed,
        case,
        truth,
        rounds=rounds,
        parent=parent,
        begin=begin,
        progress=lambda done, total: progress("simulate", done, total),
    )
    asked = load_trigger(truth)
    if trigger is not None:
        asked = parse_trigger(canonical_json(trigger), "the trigger to score with")
    score = score_case(case, simulated.run, asked, progress)
    return {
        **score.document(),
        "rounds": simulated.rounds,
        "malicious": simulated.malicious,
        "rejected": simulated.rejected,
        "devices": simulated.devices,
        "simulate_cpu_seconds": round(simulated.cpu_seconds, 3),
        "cpu_seconds": round(process_time() - began, 3),
    }


def score_case(case: Path, run: str, trigger: Trigger, progress: Progress = silent) -> Score:
    """The score of a run of a case that nobody else holds; ingests what is not yet.

    Raises:
        CaseBusyError: Another process owns the case.
        RoundlogError: What ingesting and scoring said.
    """
    with open_desk(case, progress=progress, fall_back=False) as desk:
        if not isinstance(desk, LocalDesk):
            raise RoundlogError(f"{case} is a server's address; a case directory is needed")
        return score_records(desk.records, run, trigger, progress)


def score_records(
    records: Records, run: str, trigger: Trigger, progress: Progress = silent
) -> Score:
    """The score of a run of an open case.

    Raises:
        QuestionError: There is no such run, or the measurement was stopped.
        RoundlogError: What rebuilding and probing said.
    """
    return score_run(
        CaseModels(records.case, records.store, records.run(run)),
        records.store,
        trigger,
        progress=lambda done, total: progress("score", done, total),
        stop=records.stopping,
    )
