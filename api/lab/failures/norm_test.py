"""Would a filter on the aggregate's norm have stopped the attack? Power against false alarms.

The score is the recorded one, of the server's own filter (`simulator.server.NormFilter`): how many
standard deviations an aggregate is longer than those before it. Attacked rounds stand beside the
same rounds of the attack-free twin, whose noise is the same, so a round that both runs raise an
alarm in is an alarm about noise.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.documents import Document
from api.lab.failures.runs import Facts, Keeper, asked_rounds, heading
from api.parameters import ParameterError
from api.records import Progress, silent
from forensics.evaluation.power import (
    OperatingPoint,
    area,
    curve,
    operating_point,
    pool,
    shift,
)
from forensics.evaluation.statistics import spread
from simulator.scenario import Scenario, load

ONSET = "attack.onset=500"
"""Early, so that a short run has attacked rounds; the filter needs a hundred to learn."""

ROUNDS = 5_500

BINS = 60
"""Of the histogram of norms."""

Floats = NDArray[np.float64]


def measure_norm_test(
    source: str,
    seeds: Sequence[int],
    cache: Path,
    *,
    overrides: Iterable[str] = (),
    rounds: int | None = None,
    progress: Progress = silent,
) -> Document:
    """Power, false alarms and the whole curve; a row a seed, and all rounds together.

    Args:
        overrides: `KEY=VALUE`; an onset given here takes the place of `ONSET`.
        rounds: Stops every run; by default after `ROUNDS`, or all where there are fewer.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: No round would be attacked, or the scenario has fewer rounds.
    """
    settings = [ONSET, *overrides]
    scenario, twin = load(source, settings), load(source, [*settings, "fraction=0"])
    stop = asked_rounds(scenario, min(ROUNDS, scenario.rounds) if rounds is None else rounds)
    total = scenario.rounds if stop is None else stop
    end = min(scenario.attack.end or total, total)
    if scenario.fraction == 0 or scenario.attack.onset >= end:
        raise ParameterError(
            f"no round is attacked: fraction {scenario.fraction:g}, onset "
            f"{scenario.attack.onset:,}, and {total:,} rounds; the power of a test needs some. "
            f"Give more --rounds, or an earlier attack.onset."
        )
    keeper = Keeper(cache, progress)
    pairs = [
        (
            keeper.facts(scenario, seed, stop, "attacked"),
            keeper.facts(twin, seed, stop, "twin"),
        )
        for seed in seeds
    ]
    span = slice(scenario.attack.onset, end)
    judged = [_judge(scenario, *pair, span) for pair in pairs]
    attacked = np.concatenate([one.scores[span] for one, _ in pairs])
    quiet = np.concatenate([one.scores[span] for _, one in pairs])
    known = np.isfinite(attacked) & np.isfinite(quiet)
    rows = [
        {"seed": seed, **row, "malicious": pair[0].malicious, "runs": [one.run for one in pair]}
        for seed, (_, row), pair in zip(seeds, judged, pairs, strict=True)
    ]
    return {
        **heading("norm-test", scenario, seeds, stop),
        "onset": scenario.attack.onset,
        "attacked_rounds": int(known.sum()),
        "rows": rows,
        "pooled": pool([point for point, _ in judged]).document(),
        "curve": curve(attacked[known], quiet[known]).document(),
        "spread": {
            key: spread([float(row[key]) for row in rows]).document()
            for key in ("area", "shift", "power", "false_alarm_rate")
        },
        "norms": _norms(pairs, span),
    }


def _judge(
    scenario: Scenario, attacked: Facts, twin: Facts, span: slice
) -> tuple[OperatingPoint, Document]:
    known = np.isfinite(attacked.scores[span]) & np.isfinite(twin.scores[span])
    one, other = attacked.scores[span][known], twin.scores[span][known]
    point = operating_point(one, other, scenario.server.norm_threshold)
    return point, {
        **point.document(),
        "power": point.power.k / point.power.n,
        "false_alarm_rate": point.false_alarms.k / point.false_alarms.n,
        "area": area(one, other),
        "shift": shift(attacked.norms[span], twin.norms[span]),
        "curve": curve(one, other).document(),
    }


def _norms(pairs: Sequence[tuple[Facts, Facts]], span: slice) -> Document:
    """How long aggregates are, attacked and not: a histogram over all seeds, in weight units."""
    attacked = np.concatenate([one.norms[span] for one, _ in pairs])
    quiet = np.concatenate([one.norms[span] for _, one in pairs])
    edges = np.histogram_bin_edges(np.concatenate([attacked, quiet]), bins=BINS)
    sides = {}
    for name, norms in (("attacked", attacked), ("twin", quiet)):
        sides[name] = {
            "counts": np.histogram(norms, edges)[0].tolist(),
            "mean": float(norms.mean()),
            "deviation": float(norms.std(ddof=1)),
        }
    return {"edges": edges.tolist(), **sides}
