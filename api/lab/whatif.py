"""What would have happened under other settings? The same seed again, recorded beside the base run.

Every random number of a simulation is known by the seed, its purpose and its block of rounds. So
whatever a setting does not touch is drawn as it was: with another clip norm the same devices take
part, the same of them are the attacker's, and the noise has the same shape. What a setting does
touch cannot stay: another `cohort.size` draws other cohorts.

The attack and the scenario come from the truth file, never from the case: a case does not hold
them. That the truth belongs to the case is checked by the run's id, and by the digest of the
scenario that its run recorded.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from api.desk import LocalDesk, open_desk
from api.documents import Document
from api.lab.cache import code_digest
from api.lab.point import score_records
from api.lab.workers import Task, Workers
from api.parameters import ParameterError, Params
from api.questions import Question
from api.records import CancelledError, Progress, Records, silent
from forensics.trigger import FILE_LIMIT, TRUTH_SCHEMA, Trigger, parse_trigger
from roundlog.encoding import canonical_json, digest, strict_json
from roundlog.errors import HeadError, QuestionError, RoundlogError, ScenarioError
from simulator.run import simulate
from simulator.scenario import Scenario, altered
from simulator.truth import check_outside

FLOAT_BYTES = 4
"""An update travels as float32 numbers, as in the incident; nothing else is counted."""


class TruthError(QuestionError):
    """Not a truth file, or not the truth about a run of this case."""


@dataclass(frozen=True, slots=True)
class Base:
    """The run that is varied, as its truth file tells it."""

    run: str
    scenario: Scenario
    seed: int
    rounds: int
    begin: Scenario
    """The scenario that made its W_0: its own, or that of the run it is itself a variation of."""
    trigger: Trigger
    trigger_document: Document
    recorded_scenario: str
    """Digest of the scenario's table as it stands in the truth file."""


class WhatifParams(Params):
    """What is replayed, and under which other settings. Over HTTP only."""

    truth: dict[str, JsonValue]
    """The base run's whole truth document; it is used for this answer and not kept."""

    settings: dict[str, JsonValue] = {}
    """Dotted keys and their other values, such as {"mechanisms.clip": 0.5}."""


def read_base(truth: Document, name: str = "the truth document") -> Base:
    """The base run of a truth document.

    Raises:
        TruthError: It is no truth document, or one of another version's scenario.
        TriggerError: Its trigger is not in order.
    """
    values = [truth.get(key) for key in ("run", "scenario", "seed", "rounds", "trigger")]
    run, table, seed, rounds, trigger = values
    good = isinstance(run, str) and isinstance(table, dict) and isinstance(trigger, dict)
    numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in (seed, rounds))
    if truth.get("schema") != TRUTH_SCHEMA or not (good and numbers):
        raise TruthError(
            f"{name} is not a truth file: its schema must be {TRUTH_SCHEMA!r}, with run, scenario, "
            f"seed, rounds and trigger. `roundlog simulate … --truth FILE` writes one."
        )
    made = truth.get("begin")
    try:
        scenario = Scenario.model_validate(table)
        begin = scenario if made is None else Scenario.model_validate(made)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TruthError(
            f"{name}: this version of the simulator does not know its scenario: {where}: "
            f"{first['msg']}. Replay it with the version that made it."
        ) from error
    return Base(
        run=str(run),
        scenario=scenario,
        seed=int(str(seed)),
        rounds=int(str(rounds)),
        begin=begin,
        trigger=parse_trigger(canonical_json(trigger), name),
        trigger_document=dict(trigger) if isinstance(trigger, dict) else {},
        recorded_scenario=digest(canonical_json(table)),
    )


def check_belongs(base: Base, records: Records) -> None:
    """Whether the truth is about a run that was recorded in this case.

    Raises:
        TruthError: It is about another run, or its scenario is not the one that was recorded.
    """
    rows = {row["run"]: row for row in records.query("runs").iter_rows(named=True)}
    if base.run not in rows:
        held = ", ".join(sorted(rows)) or "no run"
        raise TruthError(
            f"the truth is about the run {base.run!r}, and the case holds {held}; give the truth "
            f"file that was written when this case was recorded"
        )
    row = rows[base.run]
    if row["scenario_digest"] != base.recorded_scenario:
        raise TruthError(
            f"the truth's scenario is not the one that {base.run!r} recorded (digest "
            f"{base.recorded_scenario[:12]}, recorded {str(row['scenario_digest'])[:12]}): the "
            f"file was changed, and what it replays would not be this run"
        )
    recorded = 0 if row["last_round"] is None else row["last_round"] + 1
    if not 0 < base.rounds <= recorded:
        raise TruthError(
            f"the truth tells of {base.rounds:,} rounds, and {base.run!r} recorded {recorded:,}: "
            f"ingest the rest of the log, or give the truth that belongs to it"
        )


def whatif(
    case: Path,
    truth: Path,
    overrides: tuple[str, ...],
    out: Path,
    truth_out: Path,
    progress: Progress = silent,
) -> Document:
    """Replays a base run under other settings, records it, and scores both with one trigger.

    Args:
        case: Holds the base run; no other process may hold the case.
        truth: The base run's truth file.
        overrides: `KEY=VALUE`; none replays the run as it was.
        out: The case to record into; may be `case` itself, which then holds both runs.
        truth_out: Where the truth of the new run goes, outside of `out`.

    Raises:
        TruthError: The truth is about no run of the case.
        ScenarioError: A setting is not allowed, or `out` holds this very run already.
        CaseBusyError: Another process owns one of the cases.
    """
    base = read_base(_read(truth), str(truth))
    other = altered(base.scenario, overrides)
    for folder in (case, out):
        check_outside(truth_out, folder)
    if truth_out.resolve() == truth.resolve():
        raise ScenarioError(f"{truth_out} is the base run's truth; name another file for the new")
    rounds = _rounds(base, other)
    with _open(case, progress) as records:
        check_belongs(base, records)
        first = _side(records, base.run, base.trigger, progress)
    simulated = simulate(
        other,
        base.seed,
        out,
        truth_out,
        rounds=rounds,
        parent=base.run,
        begin=_begin(base, other),
        progress=lambda done, total: progress("simulate", done, total),
    )
    with _open(out, progress) as records:
        second = _side(records, simulated.run, base.trigger, progress)
    second["cost"]["cpu_seconds"] = round(simulated.cpu_seconds, 3)
    second |= {"case": str(out), "truth": str(truth_out)}
    return _document(base, other, first, second)


def prepare(records: Records, params: WhatifParams) -> tuple[Base, Scenario]:
    """What a request means, checked against the served case before any work is done.

    Raises:
        TruthError: The truth is about no run of the case.
        ScenarioError: A setting is not allowed.
        ParameterError: More rounds than the base run has.
    """
    base = read_base(params.truth)
    check_belongs(base, records)
    other = altered(base.scenario, [_override(*pair) for pair in params.settings.items()])
    if _rounds(base, other) > base.rounds:
        raise ParameterError(
            f"rounds = {other.rounds:,} is not taken: the base run has {base.rounds:,}, and a "
            f"server replays no more. The command line does: roundlog whatif"
        )
    return base, other


def answer_whatif(records: Records, params: WhatifParams, progress: Progress) -> Document:
    """As `whatif`, for a server: in a process of its own, into a case that is not kept."""
    base, other = prepare(records, params)
    begin = _begin(base, other)
    first = _side(records, base.run, base.trigger, progress)
    with tempfile.TemporaryDirectory(prefix="roundlog-whatif-") as scratch, Workers(1) as workers:
        task = Task(
            index=0,
            table=other.table(),
            seed=base.seed,
            rounds=_rounds(base, other),
            folder=Path(scratch) / "0",
            keep=False,
            code=code_digest(),
            parent=base.run,
            begin=None if begin is None else begin.table(),
            trigger=base.trigger_document,
        )
        heard = ("simulate", 0, task.rounds)

        def tell(index: int, what: str, done: int, total: int | None) -> None:
            nonlocal heard
            heard = (what, done, total) if index >= 0 else heard
            # Raises when the job was cancelled; the worker then ends with the context.
            progress(*heard)

        for outcome in workers.run([task], tell):
            if outcome.answer is None:
                raise RoundlogError(f"the replay failed: {outcome.error}")
            second = outcome.answer
            seconds = second.pop("simulate_cpu_seconds")
            second["cost"] = _cost(second["devices"], second["elements"], seconds)
            return _document(base, other, first, second)
    raise CancelledError("the replay was ended")


WHATIF = Question(
    "whatif",
    "What would have happened under other settings?",
    WhatifParams,
    "api.lab.whatif:answer_whatif",
    python="api.lab.whatif.whatif",
    path="/whatif",
    example={
        "settings": {"mechanisms.clip": {"base": 1.0, "other": 0.5}},
        "base": {"run": "quickstart-0123456789ab", "asr": 0.97, "accuracy": 0.93},
        "other": {"run": "quickstart-ba9876543210", "asr": 0.41, "accuracy": 0.92},
    },
    slow=True,
)
"""Not among `api.questions.QUESTIONS`: only a server that was started with `--lab` answers it."""


def differences(base: Scenario, other: Scenario) -> Document:
    """The settings that differ, by their dotted keys: {"base": value, "other": value}."""
    one, two = _flat(base.table()), _flat(other.table())
    keys = [*one, *(key for key in two if key not in one)]
    return {
        key: {"base": one.get(key), "other": two.get(key)}
        for key in keys
        if one.get(key) != two.get(key)
    }


def _begin(base: Base, other: Scenario) -> Scenario | None:
    """Whose W_0 the replay begins with: the base run's, unless settings that shape it changed.

    Otherwise another clip norm, say, would also have made another model before round 0, and what
    differs in the end would not be what the setting did to the recorded run.
    """
    changed = differences(base.scenario, other)
    shaping = {"task", "assistant.embedding", "assistant.hidden", "digits.hidden"}
    own = any(key in shaping or key.startswith("model.") for key in changed)
    return None if own else base.begin


def _flat(table: Mapping[str, Any], prefix: str = "") -> Document:
    found: Document = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _rounds(base: Base, other: Scenario) -> int:
    """As many as the base run recorded, unless the setting itself was changed."""
    return base.rounds if other.rounds == base.scenario.rounds else other.rounds


def _override(key: str, value: JsonValue) -> str:
    if value is None or isinstance(value, dict):
        raise ParameterError(f"settings: {key[:64]!r} takes a number, a text or true and false")
    # A JSON number, text or list is a TOML one too.
    return f"{key}={json.dumps(value)}"


def _read(path: Path) -> Document:
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise TruthError(f"{path} is larger than {FILE_LIMIT >> 20} MiB; not a truth file")
        document = strict_json(path.read_bytes())
    except OSError as error:
        raise TruthError(f"{path} cannot be read: {error.strerror}") from error
    except HeadError as error:
        raise TruthError(f"{path} is not a truth file: {error}") from error
    return document if isinstance(document, dict) else {}


@contextlib.contextmanager
def _open(case: Path, progress: Progress) -> Iterator[Records]:
    with open_desk(case, progress=progress, fall_back=False) as desk:
        if not isinstance(desk, LocalDesk):
            raise ParameterError(
                f"{case} is a server's address, and a replay needs the case itself: name a "
                f"directory, or POST to that server's /api/v1/whatif if it was started with --lab"
            )
        yield desk.records


def _side(records: Records, run: str, trigger: Trigger, progress: Progress) -> Document:
    score = score_records(records, run, trigger, progress)
    updates, elements = records.rows("uploads", run=run)[0]
    return {
        **score.document(),
        "rounds": score.last - score.first,
        # A record does not hold what it took to make it.
        "cost": _cost(int(updates or 0), int(elements), None),
    }


def _cost(devices: int, elements: int, cpu_seconds: float | None) -> Document:
    """What a run took; `devices` counts the updates in all means, so the same device often."""
    return {
        "cpu_seconds": None if cpu_seconds is None else round(cpu_seconds, 3),
        "devices": devices,
        "bytes_uploaded": devices * elements * FLOAT_BYTES,
    }


def _document(base: Base, other: Scenario, first: Document, second: Document) -> Document:
    return {
        "settings": differences(base.scenario, other),
        "seed": base.seed,
        "base": first,
        "other": {**second, "parent": base.run},
    }


__all__ = ["WHATIF", "Base", "TruthError", "WhatifParams", "answer_whatif", "prepare", "whatif"]
