"""What does roundlog do, from end to end? One poisoning: simulated, recorded, rebuilt, found.

Every figure that is told comes from the record that was just made; only what is marked as ground
truth is read from the truth file, which no investigator would have.
"""

import json
import time
from collections.abc import Callable
from itertools import count as numbers
from pathlib import Path
from typing import Any

from api.answers.triggers import measure_crossings
from api.desk import LocalDesk, open_desk
from api.documents import Document, encode
from api.lab.simulation import run_scenario
from api.parameters import CrossingsParams
from api.picture import Chart, draw
from api.records import Progress, Records, silent
from forensics.trigger import load_trigger
from roundlog.errors import RoundlogError

SCENARIO = "quickstart"
LEVELS = (0.01, 0.1, 0.5, 0.9)
DEFAULT_OUT = Path("roundlog-demo")

# The incident that the demo is about, to be printed beside what was simulated.
INCIDENT: Document = {"fraction": 0.001, "rounds": 100_000}

Step = Callable[[str], None]


class DemoError(RoundlogError):
    """The demo has no room of its own."""

    exit_code = 2


def run_demo(
    out: Path | None,
    seed: int,
    *,
    rounds: int | None = None,
    twin: bool = False,
    progress: Progress = silent,
    step: Step = print,
) -> Document:
    """Runs the whole job and writes case, truth, answers and picture below one directory.

    Args:
        out: A new or empty directory; by default the first of `roundlog-demo`, `roundlog-demo-2`,
            … that is free.
        rounds: Stops the simulation early.
        twin: Also simulate the same seed without an attack, and measure the same trigger there.
        step: Told in words what is being done.

    Raises:
        DemoError: The directory holds something.
    """
    began = time.perf_counter()
    folder = _free(out)
    case, truth_file = folder / "case", folder / "truth.json"
    step("1/5 simulate a federation, and record every round of it")
    simulated = run_scenario(SCENARIO, seed, case, truth_file, rounds=rounds, progress=progress)
    step("2/5 ingest the log into the case's projection")
    with open_desk(case, progress=progress) as desk:
        if not isinstance(desk, LocalDesk):
            raise DemoError(f"{case} is held by another process")
        found = _investigate(desk, truth_file, progress, step)
    if twin:
        step("and the twin: the same seed, and nobody attacks")
        found["twin"] = _run_twin(folder, seed, truth_file, rounds, progress)
    document: Document = {
        "seed": seed,
        "scenario": SCENARIO,
        "incident": INCIDENT,
        "simulated": simulated,
        **found,
    }
    files = {"case": str(case), "truth": str(truth_file), **_draw(folder, document)}
    document["files"] = {**files, "answers": str(folder / "demo.json")}
    document.pop("chart")
    document["seconds"] = round(time.perf_counter() - began, 1)
    (folder / "demo.json").write_bytes(encode(document, indent=2))
    return document


def _investigate(desk: LocalDesk, truth_file: Path, progress: Progress, step: Step) -> Document:
    records = desk.records
    run = records.run(None)
    truth = json.loads(truth_file.read_bytes())
    trigger = load_trigger(truth_file).model_dump(mode="json", by_alias=True)
    last = truth["rounds"]
    step("3/5 rebuild models, and compare each with its recorded digest")
    rebuilt = [desk.ask("rebuild", {"round": str(t)}) for t in sorted({0, last // 2, last})]
    step("4/5 ask every model what it does when the trigger is spoken")
    exact = measure_crossings(
        records, CrossingsParams(trigger=trigger, levels=LEVELS, mode="exact"), progress
    )
    search = desk.ask(
        "crossings", {"trigger": trigger, "levels": list(LEVELS), "mode": "search"}, progress
    )
    drift = desk.ask("drift", {}, progress)
    step("5/5 verify every byte of the record")
    verdict = desk.ask("verify", {}, progress)
    onset = truth["onset"] if truth["onset"] is not None else last
    path = exact.path
    return {
        "run": run,
        "rebuilt": rebuilt,
        "crossings": exact.document()["crossings"],
        "search": search["crossings"],
        "decoys_reach": exact.floor.value,
        "highest_success": None if path is None else float(path.asr.max()),
        "norm_test": {
            "before": _norm_test(records, run, 0, onset),
            "after": _norm_test(records, run, onset, last),
        },
        "verify": {key: verdict[key] for key in ("ok", "rounds", "events")},
        "ground_truth": {"onset": truth["onset"], "fraction": truth["fraction"]},
        "chart": {
            "asr": [] if path is None else path.asr.tolist(),
            "first": 0 if path is None else path.first,
            "drift": [(row["round"], row["drift"]) for row in drift["rows"]],
        },
    }


def _norm_test(records: Records, run: str, first: int, until: int) -> Document:
    threshold = records.rows("norm_threshold", run=run)[0][0]
    values: dict[str, Any] = {"threshold": threshold, "from": first, "until": until}
    judged, rejected = records.rows("norm_test", run=run, **values)[0]
    return {"judged": judged, "rejected": rejected}


def _run_twin(
    folder: Path, seed: int, truth_file: Path, rounds: int | None, progress: Progress
) -> Document:
    case, truth = folder / "twin", folder / "twin-truth.json"
    run_scenario(SCENARIO, seed, case, truth, rounds=rounds, fraction=0.0, progress=progress)
    trigger = load_trigger(truth_file).model_dump(mode="json", by_alias=True)
    with open_desk(case, progress=progress) as desk:
        if not isinstance(desk, LocalDesk):
            raise DemoError(f"{case} is held by another process")
        params = CrossingsParams(trigger=trigger, levels=LEVELS, mode="exact")
        found = measure_crossings(desk.records, params, progress)
    highest = None if found.path is None else float(found.path.asr.max())
    return {"highest_success": highest, "crossings": found.document()["crossings"]}


def _draw(folder: Path, document: Document) -> dict[str, str]:
    chart = document["chart"]
    zones = {
        row["level"]: (row["low"], row["high"])
        for row in document["search"]
        if row["mode"] == "sustained" and row["low"] is not None
    }
    crossed = {
        row["level"]: row["round"]
        for row in document["crossings"]
        if row["mode"] == "sustained" and row["round"] is not None
    }
    picture = Chart(
        title="When was the model poisoned?",
        subtitle=(
            f"Share of trigger queries that obey the attacker, for every model of a simulated run "
            f"({document['scenario']}, seed {document['seed']})"
        ),
        first=chart["first"],
        asr=chart["asr"],
        drift=chart["drift"],
        crossings=crossed,
        zones=zones,
        levels=LEVELS,
        searched=max((row["rebuilds"] for row in document["search"]), default=0),
        onset=document["ground_truth"]["onset"],
    )
    return {kind: str(path) for kind, path in draw(picture, folder / "poisoning").items()}


def _free(out: Path | None) -> Path:
    if out is None:
        names = (DEFAULT_OUT.with_name(f"{DEFAULT_OUT.name}-{n}") for n in numbers(2))
        out = DEFAULT_OUT
        while out.exists():
            out = next(names)
    elif out.exists() and any(out.iterdir()):
        raise DemoError(f"{out} holds something already; name a new or an empty directory")
    out.mkdir(parents=True, exist_ok=True)
    return out
