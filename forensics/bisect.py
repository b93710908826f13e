"""Which model does the search look at, one after the other, and what does that prove?

With a trigger it is the search of `forensics.search`, step by step. With a command
(`forensics.check`) it is git's: the first model must be good and the last bad, then the interval
is halved. Either way the answer is *an* upward crossing between its two ends, never "the first":
attack success is not monotone in t.

Every step is a line of a log (`forensics.bisection`), like git's, and a log can be replayed: the
same models are asked again in the same order, and every answer that differs is named.
"""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise

from forensics.bisection import Bisection, Difference, Log, Step, parse_log
from forensics.check import BAD, GOOD, SKIP, Check
from forensics.crossings import ModelReader
from forensics.floor import Floor
from forensics.levels import DECIMALS
from forensics.probe import Prober
from forensics.rebuild import CaseModels
from forensics.search import Findings, Look, conclude, search_level
from forensics.trigger import Trigger
from roundlog.errors import QuestionError, RoundRangeError

PATIENCE = 12
"""Skips in a row, inside a stretch of skipped models, after which all of it is left alone."""

AMONG = "among skipped"

OnStep = Callable[[Step], None]


def bisect_trigger(
    models: CaseModels,
    prober: Prober,
    trigger: Trigger,
    level: float,
    *,
    first: int | None = None,
    last: int | None = None,
    floor: Floor | None = None,
    on_step: OnStep | None = None,
) -> Bisection:
    """Searches a model at which the trigger began to succeed on `level` of its queries.

    Args:
        first: The first model of the interval; the run's first where it is left out, as `last`.
        floor: What decoys reach, to be told beside the answer.
        on_step: Called after every model that was asked.

    Raises:
        QuestionError: No such level or interval.
        TriggerError: The trigger does not fit the model, or has no scoring query.
        LogGapError: A model that is asked for cannot be rebuilt.
    """
    first, last = _interval(models, first, last)
    probes = trigger.scoring()
    reader = ModelReader(models, prober, probes)

    def looked(look: Look) -> None:
        if on_step is not None:
            on_step(_step(look, level))

    found = search_level(reader.hits, len(probes), level, first, last, on_look=looked)
    return _of_level(models, found, _trigger_question(probes.digest, level), first, last, floor)


def bisect_check(
    models: CaseModels,
    check: Check,
    *,
    first: int | None = None,
    last: int | None = None,
    on_step: OnStep | None = None,
) -> Bisection:
    """Searches a model at which a command began to say bad.

    Raises:
        CheckError: The command gave no verdict, or skipped one of the two ends.
        QuestionError: No such interval.
        LogGapError: A model that is asked for cannot be rebuilt.
    """
    first, last = _interval(models, first, last)
    steps: list[Step] = []

    def ask(t: int, why: str) -> str:
        verdict, code = check.ask(t)
        steps.append(Step(t, verdict, why, code=code))
        if on_step is not None:
            on_step(steps[-1])
        return verdict

    if ask(first, "first model") == GOOD and last > first and ask(last, "last model") == BAD:
        while (step := _next(steps)) is not None:
            ask(*step)
    return _of_check(models, check, steps, first, last)


def replay_trigger(
    models: CaseModels, prober: Prober, trigger: Trigger, log: str, on_step: OnStep | None = None
) -> Bisection:
    """Asks the models of a log again; `differences` names every answer that is not the logged one.

    Raises:
        QuestionError: Not a log, or one of another run, artefact, trigger or kind.
    """
    read = parse_log(log)
    probes = trigger.scoring()
    level = read.level
    if level is None or read.question != _trigger_question(probes.digest, level):
        raise QuestionError(
            f"the log answers {read.question!r}; the trigger at hand has the probe digest "
            f"{probes.digest[:16]}…"
        )
    _same_run(models, read)
    reader = ModelReader(models, prober, probes)
    looks: list[Look] = []

    def ask(logged: Step) -> Step:
        looks.append(Look(logged.round, reader.hits(logged.round), len(probes), logged.why))
        return _step(looks[-1], level)

    differences = _replay(read, ask, on_step)
    found = conclude(looks, level)
    return _of_level(models, found, read.question, read.first, read.last, None, differences)


def replay_check(
    models: CaseModels, check: Check, log: str, on_step: OnStep | None = None
) -> Bisection:
    """Runs the check on the models of a log again; see `replay_trigger`.

    Raises:
        QuestionError: Not a log, or one of another run, artefact, command or kind.
        CheckError: The command gave no verdict.
    """
    read = parse_log(log)
    if read.question != _check_question(check.command):
        raise QuestionError(
            f"the log answers {read.question!r}; the command at hand is "
            f"{_check_question(check.command)!r}"
        )
    _same_run(models, read)
    steps: list[Step] = []

    def ask(logged: Step) -> Step:
        verdict, code = check.ask(logged.round)
        steps.append(Step(logged.round, verdict, logged.why, code=code))
        return steps[-1]

    differences = _replay(read, ask, on_step)
    return _of_check(models, check, steps, read.first, read.last, differences)


def _replay(
    log: Log, ask: Callable[[Step], Step], on_step: OnStep | None
) -> tuple[Difference, ...]:
    differences = []
    for line, logged in log.steps:
        found = ask(logged)
        if on_step is not None:
            on_step(found)
        if found.answer != logged.answer:
            differences.append(Difference(line, logged.round, logged.answer, found.answer))
    return tuple(differences)


def _same_run(models: CaseModels, log: Log) -> None:
    if log.run != models.run:
        raise QuestionError(f"the log is of run {log.run!r}; this is run {models.run!r}")
    if log.artefact != models.artefact:
        raise QuestionError(
            f"the log is of the {log.artefact} models, and the {models.artefact} models are asked; "
            f"replay it with --artefact {log.artefact}"
        )


def _step(look: Look, level: float) -> Step:
    verdict = BAD if look.asr >= level else GOOD
    return Step(look.round, verdict, look.why, hits=look.hits, n=look.n)


def _of_level(
    models: CaseModels,
    found: Findings,
    question: str,
    first: int,
    last: int,
    floor: Floor | None,
    differences: tuple[Difference, ...] | None = None,
) -> Bisection:
    low, high = found.bracket or (None, None)
    if found.status == "at_start":
        low = high = min(look.round for look in found.looks)
    return Bisection(
        run=models.run,
        artefact=models.artefact,
        first=first,
        last=last,
        question=question,
        level=found.level,
        steps=tuple(_step(look, found.level) for look in found.looks),
        status=found.status,
        low=low,
        high=high,
        zone=found.zone,
        floor=floor,
        differences=differences,
    )


def _of_check(
    models: CaseModels,
    check: Check,
    steps: Sequence[Step],
    first: int,
    last: int,
    differences: tuple[Difference, ...] | None = None,
) -> Bisection:
    ends = {step.round: step.verdict for step in steps}
    if SKIP in (ends[first], ends.get(last)):
        which = first if ends[first] == SKIP else last
        raise QuestionError(
            f"the check skipped model {which}, an end of the interval; give it a model that can "
            f"be tested at both ends"
        )
    status, low, high = "crossed", *_closest(steps)
    if ends[first] == BAD:
        status, low, high = "at_start", first, first
    elif high is None:
        status, low = "never", None
    return Bisection(
        run=models.run,
        artefact=models.artefact,
        first=first,
        last=last,
        question=_check_question(check.command),
        level=None,
        steps=tuple(steps),
        status=status,
        low=low,
        high=high,
        differences=differences,
    )


def _closest(steps: Sequence[Step]) -> tuple[int | None, int | None]:
    """Of all neighbouring good and bad models, skipped ones aside, the closest two."""
    tested = sorted((step.round, step.verdict) for step in steps if step.verdict != SKIP)
    pairs = [
        (after - before, before, after)
        for (before, good), (after, bad) in pairwise(tested)
        if (good, bad) == (GOOD, BAD)
    ]
    return min(pairs)[1:] if pairs else (None, None)


def _next(steps: Sequence[Step]) -> tuple[int, str] | None:
    """The next model to check, and why; None when the closest good and bad models stay as they are.

    Broken models mostly come in one stretch. So when one was skipped, its distance to the good and
    to the bad end is halved first, then the gaps inside it; and after many skips in a row it is
    taken as a whole.
    """
    low, high = _closest(steps)
    given_up = [(s.verdict, s.why) for s in steps[-PATIENCE:]] == [(SKIP, AMONG)] * PATIENCE
    if low is None or high is None or given_up:
        return None
    known = sorted({step.round for step in steps if low <= step.round <= high})
    gaps = [(after - before, -before) for before, after in pairwise(known) if after - before > 1]
    ends = [gap for gap in gaps if -gap[1] == low or gap[0] - gap[1] == high]
    if not gaps:
        return None
    width, start = max(ends or gaps)
    why = "halfway" if len(known) == 2 else "edge of skipped" if ends else AMONG
    return width // 2 - start, why


def _interval(models: CaseModels, first: int | None, last: int | None) -> tuple[int, int]:
    low = models.first if first is None else first
    high = models.last if last is None else last
    if not models.first <= low <= high <= models.last:
        raise RoundRangeError(
            f"run {models.run!r} has models {models.first} to {models.last}; {low} to {high} is no "
            f"interval of these"
        )
    return low, high


def _trigger_question(probe_digest: str, level: float) -> str:
    decimals = f"{level:.{DECIMALS}f}".rstrip("0")
    return f"trigger {probe_digest} level {decimals}{'0' if decimals.endswith('.') else ''}"


def _check_question(command: Sequence[str]) -> str:
    return f"check {json.dumps(list(command))}"
