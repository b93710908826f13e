"""How often is search mode right? Fresh seeds, each beside the exact answer and a twin."""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from figures import Figure, Page

from forensics.crossings import Crossing, Crossings, Mode, find_crossings
from forensics.probe import Prober
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import RoundlogError
from simulator.run import simulate
from simulator.scenario import load

LEVELS = (0.1, 0.5)
SEEDS = tuple(range(9001, 9021))
BAR_OF_20 = 17
WIDTH_BAR = 0.08
TWIN_LEVELS = (0.1, 0.5, 0.9)
MODES: tuple[Mode, Mode] = ("exact", "search")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One level of one seed."""

    seed: int
    level: float
    bracket_holds: bool
    """Whether the bracket holds an upward crossing of the exact path."""
    zone_holds: bool
    """Whether the zone holds the exact sustained and isotonic crossing."""
    width: float
    """Of the zone, as a share of the run."""
    rebuilds: int


def try_seed(seed: int, folder: Path) -> tuple[list[Outcome], list[Crossing]]:
    """Simulates one seed and its twin; the outcomes, and what the twin reports."""
    scenario, truth = load("quickstart"), folder / f"truth-{seed}.json"
    case, twin = folder / f"case-{seed}", folder / f"twin-{seed}"
    simulate(scenario, seed, case, truth)
    trigger = load_trigger(truth)
    exact, search = (ask(case, trigger, LEVELS, mode) for mode in MODES)
    outcomes = [_judge(seed, level, exact, search) for level in LEVELS]
    simulate(scenario, seed, twin, folder / f"twin-{seed}.json", fraction=0.0)
    found = ask(twin, trigger, TWIN_LEVELS, "exact")
    for path in (case, twin):
        shutil.rmtree(path)
    return outcomes, list(found.crossings)


def ask(path: Path, trigger: Trigger, levels: tuple[float, ...], mode: Mode) -> Crossings:
    """The crossings of a case of one run, ingested where it is not yet."""
    case = Case(path)
    with case.own():
        ingest_case(case)
        store = Store(case)
        try:
            run = store.rows("SELECT run FROM runs", {})[0][0]
            models = CaseModels(case, store, run)
            prober = Prober(models.architecture)
            return find_crossings(models, store, prober, trigger, levels, mode=mode)
        finally:
            store.close()


def _judge(seed: int, level: float, exact: Crossings, search: Crossings) -> Outcome:
    facts = {row.mode: row for row in exact.crossings if row.level == level}
    rows = {row.mode: row for row in search.crossings if row.level == level}
    zone, bracket, path = rows["sustained"], rows["any"], exact.path
    places = [zone.low, zone.high, bracket.low, bracket.high]
    places += [facts[mode].round for mode in ("sustained", "isotonic")]
    if path is None or any(place is None for place in places):
        raise RoundlogError(f"seed {seed}: level {level} was not crossed; nothing to compare")
    low, high, below, at, *crossings = (int(place or 0) for place in places)
    asr = path.asr
    return Outcome(
        seed=seed,
        level=level,
        bracket_holds=bool(below < at and asr[below] < level <= asr[at]),
        zone_holds=all(low <= crossing <= high for crossing in crossings),
        width=(high - low) / (exact.last - exact.first),
        rebuilds=max(row.rebuilds for row in rows.values()),
    )


def bench_zones(page: Page, folder: Path, seeds: tuple[int, ...] = SEEDS) -> None:
    """The campaign: k of n zones, widths, brackets, and the twins' crossings."""
    outcomes: list[Outcome] = []
    twins: list[Crossing] = []
    for seed in seeds:
        mine, twin = try_seed(seed, folder)
        outcomes += mine
        twins += twin
        print(f"seed {seed}: {json.dumps([one.zone_holds for one in mine])}", flush=True)
    topic = f"Search mode on quickstart, seeds {seeds[0]} to {seeds[-1]}, with twins"
    bar = BAR_OF_20 * len(seeds) // 20
    for level in LEVELS:
        here = [one for one in outcomes if one.level == level]
        held = sum(one.zone_holds for one in here)
        widths = sorted(one.width for one in here)
        page.add(
            Figure(
                topic,
                f"{level:.0%}: zone holds the sustained and the isotonic crossing",
                f"{held} of {len(here)}",
                bar=f"≥ {bar}",
                holds=held >= bar,
            )
        )
        median = widths[len(widths) // 2]
        page.add(
            Figure(
                topic,
                f"{level:.0%}: width of the zone, share of the run",
                f"{median:.1%} ({widths[0]:.1%}–{widths[-1]:.1%})",
                bar=f"median ≤ {WIDTH_BAR:.0%}",
                holds=median <= WIDTH_BAR,
            )
        )
    brackets = sum(one.bracket_holds for one in outcomes)
    page.add(
        Figure(
            topic,
            "bracket holds an upward crossing",
            f"{brackets} of {len(outcomes)}",
            bar="all",
            holds=brackets == len(outcomes),
        )
    )
    most = max(one.rebuilds for one in outcomes)
    page.add(Figure(topic, "models asked a level", f"at most {most}", bar="≤ 40", holds=most <= 40))
    crossed = [row for row in twins if row.status in {"crossed", "at_start"}]
    page.add(
        Figure(
            topic,
            "twins that report a crossing of 10 % or above",
            f"{len(crossed)} of {len(twins)} readings",
            bar="none",
            holds=not crossed,
        )
    )


def main() -> int:
    """Runs the campaign alone, on seeds of the caller's choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("seeds", type=int, nargs="+")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    page = Page(command="tests/bench/zone_bench.py")
    bench_zones(page, options.folder, tuple(options.seeds))
    return 1 if any(figure.holds is False for figure in page.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
