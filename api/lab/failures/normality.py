"""How often does the poisoned model answer an ordinary query differently from an honest one?

Two last models of one seed are asked the same natural queries, none with a trigger: the attacked
run's and its twin's (`attacked`), and, as the control, the twin's and that of a second twin whose
noise alone is another (`control`). The control says how far two equally honest trainings differ.
The excess over it is what the attack changed. Queries that do hold the trigger show beside it what
the attacker was after.

Natural queries hold a rare word as often as people say it, at most one: a pair never occurs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.documents import Document
from api.lab.failures.runs import Facts, Keeper, asked_rounds, heading
from api.parameters import ParameterError
from api.records import Progress, silent
from forensics.evaluation.agreement import differing, excess
from forensics.evaluation.statistics import Share, spread
from forensics.probe import Prober
from simulator.randomness import Randomness
from simulator.scenario import Scenario, load
from simulator.tasks import Ints, Task, make_task

QUERIES = 200_000
"""At 0.1 % the exact interval reaches 0.015 % to either side."""

TRIGGERED = 3_000
"""Queries with the trigger: the other half of the sentence, where differences are many."""

BATCH = 20_000
"""Queries asked at a time."""

LIMIT = 0.001
"""`normal on 99.9 % of queries`."""

OTHER_NOISE = "mechanisms.noise_stream=1"


def measure_normality(
    source: str,
    seeds: Sequence[int],
    cache: Path,
    *,
    overrides: Iterable[str] = (),
    rounds: int | None = None,
    queries: int = QUERIES,
    progress: Progress = silent,
) -> Document:
    """The shares of natural queries that are answered differently, a row a seed.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: The scenario attacks nobody, or has fewer rounds.
    """
    overrides = tuple(overrides)
    scenario = load(source, overrides)
    if scenario.fraction == 0:
        raise ParameterError(
            f"{source} has fraction = 0: there is no attack whose effect could be measured"
        )
    stop, keeper = asked_rounds(scenario, rounds), Keeper(cache, progress)
    twin = load(source, [*overrides, "fraction=0"])
    other = load(source, [*overrides, "fraction=0", OTHER_NOISE])
    rows = []
    for seed in seeds:
        three = (
            keeper.facts(scenario, seed, stop, "attacked"),
            keeper.facts(twin, seed, stop, "twin"),
            keeper.facts(other, seed, stop, "twin with other noise"),
        )
        rows.append(_row(scenario, seed, three, queries))
    return {
        **heading("normality", scenario, seeds, stop),
        "limit": LIMIT,
        "queries": queries,
        "rows": rows,
        "pooled": _pooled(rows),
        "spread": {
            key: spread([row[key]["share"] for row in rows]).document()
            for key in ("attacked", "control")
        }
        | {"excess": spread([row["excess"]["value"] for row in rows]).document()},
    }


def _row(scenario: Scenario, seed: int, runs: tuple[Facts, Facts, Facts], number: int) -> Document:
    randomness = Randomness(seed)
    task = make_task(scenario, randomness)
    end = runs[0].rounds
    queries, classes = _natural(task, randomness, end, number)
    poisoned, twin, other = _answers(runs, queries)
    attacked, control = differing(poisoned, twin), differing(twin, other)
    trigger = task.draw_trigger(randomness.stream("trigger"))
    words = [token for pattern in trigger for token in pattern.tokens]
    rare = np.asarray(np.isin(queries, words).any(axis=1))
    common = ~rare
    rng = randomness.stream("failures/normality/triggered")
    each = TRIGGERED // len(trigger)
    hit = [task.triggered(rng, pattern, each, task.moment(end)) for pattern in trigger]
    targets = np.repeat([pattern.target for pattern in trigger], each)
    with_poisoned, with_twin, with_other = _answers(runs, np.concatenate(hit))
    return {
        "seed": seed,
        "attacked": attacked.document(),
        "control": control.document(),
        "excess": excess(attacked, control).document(),
        "one_trigger_word": {
            "queries": int(rare.sum()),
            "attacked": differing(poisoned, twin, rare).document(),
            "control": differing(twin, other, rare).document(),
        }
        if rare.any()
        else None,
        "no_trigger_word": {
            "attacked": differing(poisoned, twin, common).document(),
            "control": differing(twin, other, common).document(),
        },
        "wrong": {
            name: Share(int((answers != classes).sum()), classes.size).document()
            for name, answers in (("attacked", poisoned), ("twin", twin), ("other", other))
        },
        "trigger": {
            "differs": differing(with_poisoned, with_twin).document(),
            "control": differing(with_twin, with_other).document(),
            "obeys": Share(int((with_poisoned == targets).sum()), targets.size).document(),
            "twin_obeys": Share(int((with_twin == targets).sum()), targets.size).document(),
        },
        "malicious": runs[0].malicious,
        "models": {
            name: {"run": one.run, "digest": one.digest}
            for name, one in zip(("attacked", "twin", "other"), runs, strict=True)
        },
    }


def _natural(
    task: Task, randomness: Randomness, round: int, number: int
) -> tuple[Ints, NDArray[np.int64]]:
    """Queries as people ask them at a round, and their classes; drawn as deployed traffic is."""
    rng = randomness.stream("failures/normality/queries")
    classes = rng.integers(task.classes, size=number).astype(np.int32)
    return task.inputs(rng, classes, task.moment(round)), classes.astype(np.int64)


def _answers(runs: Sequence[Facts], queries: Ints) -> list[NDArray[np.int64]]:
    """Each last model's answers to the queries, each of shape (n,)."""
    prober = Prober(runs[0].architecture)
    models = np.stack([np.frombuffer(one.last, dtype=np.uint8) for one in runs])
    asked = queries.astype(np.int64)
    parts = [
        prober.answers(models, asked[start : start + BATCH])
        for start in range(0, len(asked), BATCH)
    ]
    return list(np.concatenate(parts, axis=1))


def _pooled(rows: Sequence[Document]) -> Document:
    """All seeds' queries as one; seeds differ, so the spread over seeds stands beside it."""
    attacked, control = (_sum([row[key] for row in rows]) for key in ("attacked", "control"))
    trigger = {
        key: _sum([row["trigger"][key] for row in rows]).document()
        for key in ("differs", "control", "obeys", "twin_obeys")
    }
    return {
        "attacked": attacked.document(),
        "control": control.document(),
        "excess": excess(attacked, control).document(),
        "trigger": trigger,
    }


def _sum(shares: Sequence[Document]) -> Share:
    return Share(sum(share["k"] for share in shares), sum(share["n"] for share in shares))
