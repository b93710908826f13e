"""Which claims about *when* do the runs bear out? A line each: k of n, its bar, whether it holds.

Bars come from `forensics.evaluation.when_bars`. Lines without one are there to be compared with.
Nothing is averaged over worlds, and an onset that was not found counts as infinitely wrong.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forensics.evaluation.statistics import Share
from forensics.evaluation.uniformity import evenness
from forensics.evaluation.when_bars import (
    ALPHA,
    BARS,
    MEDIAN_ERROR,
    NEARLY_ALL,
    SUCCESS_LARGEST,
    SUCCESS_MEDIAN,
    WIDEST,
    Bars,
    least_successes,
    most_events,
    most_successes,
)
from forensics.evaluation.when_replicates import Replicates
from forensics.onset import SIGNIFICANT

FEWEST_RANKS = 10
"""Twins from which on evenness is tested: with n, a distance of 1.63 / √n is seen."""

TIES_SEED = 0
"""A rank among d + 1 places is spread evenly over its place, so that evenness can be asked of it:
by random numbers of this seed."""

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """One line."""

    key: str
    claim: str
    bar: str
    """In words; empty where the line is for comparison."""
    holds: bool | None = None
    """None where there is no bar, or no run to tell by."""
    share: Share | None = None
    value: float | None = None
    """Where the claim is about a number and not about a share."""
    unit: str = ""

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        share = None if self.share is None else self.share.document()
        return {
            "key": self.key,
            "claim": self.claim,
            "k": None if self.share is None else self.share.k,
            "n": None if self.share is None else self.share.n,
            "low": None if share is None else share["low"],
            "high": None if share is None else share["high"],
            "value": self.value,
            "unit": self.unit,
            "bar": self.bar,
            "holds": self.holds,
        }


def claims(
    runs: Sequence[Run], replicates: Replicates | None, world: str | None = None
) -> list[Claim]:
    """The table of claims.

    Args:
        runs: What `forensics.evaluation.when.measure_when` said of each, attacked and twins.
        replicates: Made of the twins' series; None where none could be made.
        world: Whose bars hold for errors; a name in `BARS`.
    """
    attacked = [run for run in runs if run["onset"] is not None]
    twins = [run for run in runs if run["onset"] is None]
    bars = BARS.get(world or "", Bars())
    lines: list[Claim] = []
    if attacked:
        lines += [*_dating(attacked, bars), *_deciding(attacked), *_watching(attacked)]
    if replicates is not None:
        lines += _replicates(replicates)
    if twins:
        lines += _clearing(twins)
    for name, members in (("attacked run", attacked), ("twin", twins)):
        if members:
            lines.append(_cpu(name, members))
    return lines


def _nearly_all(key: str, claim: str, hits: Iterable[bool], floor: float = NEARLY_ALL) -> Claim:
    """A claim that is true of 95 % of runs, and must be seen in a share of `floor` in any case."""
    listed = list(hits)
    share = Share(sum(listed), len(listed))
    least = least_successes(share.n)
    if least == 0:
        return Claim(key, claim, "too few runs to tell", None, share)
    least = max(least, math.ceil(floor * share.n))
    return Claim(key, claim, f"at least {least} of {share.n}", share.k >= least, share)


def _limited(key: str, claim: str, value: float, limit: float | None, unit: str) -> Claim:
    if limit is None:
        return Claim(key, claim, "", None, value=value, unit=unit)
    bar = f"at most {limit:.0%}" if unit == "share" else f"at most {limit:,g}"
    return Claim(key, claim, bar, value <= limit, value=value, unit=unit)


def _dating(attacked: Sequence[Run], bars: Bars) -> list[Claim]:
    lines = [
        _nearly_all(
            "coverage",
            "the set of rounds holds the onset",
            _covered(attacked, "two_pass"),
            floor=0.0,
        ),
        Claim(
            "coverage_one_pass",
            "the same after one pass only",
            "",
            share=_share(_covered(attacked, "one_pass")),
        ),
    ]
    errors = [
        abs(run["two_pass"]["error"]) if run["two_pass"]["found"] else math.inf for run in attacked
    ]
    for key, words, level, limit in (
        ("error_median", "error of the likeliest round, median", 0.5, bars.median),
        ("error_p90", "the same, nine of ten", 0.9, bars.p90),
        ("error_largest", "the same, largest", 1.0, bars.largest),
    ):
        lines.append(_limited(key, words, _quantile(errors, level), limit, "rounds"))
    if bars.within is not None:
        lines.append(
            _nearly_all(
                "error_within",
                f"the error is at most {bars.within} rounds",
                [error <= bars.within for error in errors],
            )
        )
    found = [run["two_pass"] for run in attacked if run["two_pass"]["found"]]
    if found:
        widths = [one["high"] - one["low"] + 1 for one in found]
        signals = [one["signal"] for one in found]
        lines += [
            Claim("width", "rounds in the set, median", "", None, None, _median(widths), "rounds"),
            Claim("signal", "signal a round, median", "", None, None, _median(signals), "sd"),
        ]
    return lines


def _covered(runs: Sequence[Run], which: str) -> list[bool]:
    return [bool(run[which]["covered"]) for run in runs]


def _deciding(attacked: Sequence[Run]) -> list[Claim]:
    ranks = [
        run["at_ten"]["decoy_rank"]
        for run in attacked
        if run["at_ten"] is not None and run["at_ten"]["decoy_rank"] is not None
    ]
    if not ranks:
        return []
    words = "at 10 % success the trigger ranks first among decoys"
    return [_nearly_all("decoy_rank", words, [rank == 1 for rank in ranks])]


def _watching(attacked: Sequence[Run]) -> list[Claim]:
    lines = [
        _nearly_all(
            "alarm_before_ten",
            "an alarm comes before success reaches 10 %",
            [_in_time(run["watch"]) for run in attacked],
        ),
        Claim(
            "control_before_ten",
            "the same along the plain gradient",
            "",
            share=_share([_in_time(run["control"]) for run in attacked]),
        ),
    ]
    firsts = [run["watch"]["first"] for run in attacked]
    success = [math.inf if first is None else first["asr"] for first in firsts]
    lines += [
        _limited("success_median", "success at that alarm, median", _median(success),
                 SUCCESS_MEDIAN, "share"),
        _limited("success_largest", "the same, largest", max(success), SUCCESS_LARGEST, "share"),
    ]  # fmt: skip
    for key, words, which in (
        ("delay", "rounds from the onset to the alarm, median", "watch"),
        ("delay_control", "the same along the plain gradient", "control"),
    ):
        delays = [
            math.inf if run[which]["first"] is None else run[which]["first"]["delay"]
            for run in attacked
        ]
        lines.append(Claim(key, words, "", None, None, _median(delays), "rounds"))
    return lines


def _in_time(watch: Run) -> bool:
    return watch["first"] is not None and bool(watch["first"]["before_ten"])


def _replicates(found: Replicates) -> list[Claim]:
    share = Share(found.covered, found.n)
    least = least_successes(found.independent) / found.independent
    return [
        Claim(
            "replicates_coverage",
            "made onsets: the set holds the onset",
            f"{least:.1%} to {WIDEST:.0%}",
            least * found.n <= found.covered <= WIDEST * found.n,
            share,
        ),
        _limited(
            "replicates_error",
            "made onsets: median error",
            found.median_error,
            MEDIAN_ERROR,
            "× 2 (sd / mean)²",
        ),
        Claim(
            "replicates_width",
            "made onsets: rounds in the set, median",
            "",
            value=found.median_width,
            unit="rounds",
        ),
    ]


def _clearing(twins: Sequence[Run]) -> list[Claim]:
    share = _share([bool(run["two_pass"]["found"]) for run in twins])
    most = most_successes(share.n, SIGNIFICANT)
    lines = [
        Claim(
            "onset_in_twin",
            "an onset is found in a twin",
            f"at most {most} of {share.n}",
            share.k <= most,
            share,
        )
    ]
    for series, words in (
        (None, "false alarms over all twins"),
        ("trigger", "of these along the trigger's direction"),
        ("norm", "of these by the norm"),
        ("cosine", "of these by the cosine"),
    ):
        count, most = _alarms(twins, "watch", series), most_events(_expected(twins, series))
        rounds = sum(run["watch"]["rounds"] for run in twins)
        bar = f"at most {most} in {rounds:,} rounds"
        key = "false_alarms" if series is None else f"false_alarms_{series}"
        lines.append(Claim(key, words, bar, count <= most, None, count, "alarms"))
    control = _alarms(twins, "control", "trigger")
    lines.append(
        Claim(
            "false_alarms_control",
            "along the plain gradient",
            "",
            value=control,
            unit="alarms",
        )
    )
    lines += _even(twins)
    numbers = [run["series"] for run in twins]
    for key, words, values in (
        ("series_mean", "mean of a twin's series, largest", [one["mean"] for one in numbers]),
        ("series_sd", "sd, second half to first, largest departure from 1",
         [one["sd_ratio"] - 1 for one in numbers]),
        ("series_autocorrelation", "autocorrelation of a twin's series, largest",
         [one["autocorrelation"] for one in numbers]),
    ):  # fmt: skip
        largest = max(values, key=abs)
        unit = "sd" if key == "series_mean" else ""
        lines.append(Claim(key, words, "", None, None, float(largest), unit))
    return lines


def _alarms(twins: Sequence[Run], which: str, series: str | None) -> int:
    if series is None:
        return sum(int(run[which]["false_alarms"]) for run in twins)
    return sum(int(run[which]["false_by_series"].get(series, 0)) for run in twins)


def _expected(twins: Sequence[Run], series: str | None) -> float:
    """False alarms that the budget allows a series: its charts' part of what it allows them all."""
    expected = 0.0
    for run in twins:
        watch = run["watch"]
        budget, charts = watch["budget"], watch["charts"]
        part = 1.0 if series is None else charts.get(series, 0) / budget["charts"]
        expected += budget["alarms"] * watch["rounds"] / budget["rounds"] * part
    return expected


def _even(twins: Sequence[Run]) -> list[Claim]:
    """Without an attack the trigger is one more decoy, so its rank is as likely as any."""
    ranked = [run["ranks"] for run in twins if run["ranks"]["published_rank"] is not None]
    if not ranked:
        return []
    ranks = np.array([one["published_rank"] for one in ranked], dtype=np.float64)
    places = np.array([one["published_decoys"] + 1 for one in ranked], dtype=np.float64)
    spread = np.random.default_rng(TIES_SEED).random(len(ranked))
    p = evenness((ranks - spread) / places).p
    words = f"the trigger's rank among published decoys is even, {len(ranked)} twins"
    if len(ranked) < FEWEST_RANKS:
        return [Claim("rank_even", words, f"{FEWEST_RANKS} twins needed", None, None, p, "p")]
    return [Claim("rank_even", words, f"at least {ALPHA:g}", p >= ALPHA, None, p, "p")]


def _cpu(name: str, runs: Sequence[Run]) -> Claim:
    seconds = [sum(run["seconds"].values()) for run in runs]
    key = f"cpu_{name.replace(' ', '_')}"
    return Claim(key, f"CPU time of one {name}, median", "", value=_median(seconds), unit="s")


def _share(hits: Sequence[bool]) -> Share:
    return Share(sum(hits), len(hits))


def _median(values: Sequence[float]) -> float:
    """The upper median: infinity where half of the values are."""
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], level: float) -> float:
    return float(sorted(values)[math.ceil(level * (len(values) - 1))])
