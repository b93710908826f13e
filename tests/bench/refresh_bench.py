"""Does it matter that local updates are recomputed only every few rounds? Beside every round."""

import shutil
from pathlib import Path

from figures import Figure, Page
from zone_bench import ask

from forensics.trigger import load_trigger
from simulator.run import simulate
from simulator.scenario import load

SEEDS = (9101, 9102, 9103)
LEVELS = (0.1, 0.5, 0.9)
EVERY_ROUND = 1


def bench_refresh(page: Page, folder: Path) -> None:
    """Sustained crossings of the same seeds, as shipped and with a refresh every round."""
    shipped = load("quickstart").population.refresh
    found = {
        refresh: [_crossings(seed, refresh, folder) for seed in SEEDS]
        for refresh in (shipped, EVERY_ROUND)
    }
    topic = f"Refreshing local updates every {shipped} rounds or every round, seeds {SEEDS}"
    for index, level in enumerate(LEVELS):
        paths = {refresh: [one[index] for one in found[refresh]] for refresh in found}
        moved = [a - b for a, b in zip(paths[shipped], paths[EVERY_ROUND], strict=True)]
        spread = max(paths[EVERY_ROUND]) - min(paths[EVERY_ROUND])
        largest = max(abs(one) for one in moved)
        page.add(
            Figure(
                topic,
                f"sustained crossing of {level:.0%}, model",
                ", ".join(f"{t:,}" for t in paths[shipped]),
                "every round: " + ", ".join(f"{t:,}" for t in paths[EVERY_ROUND]),
                f"largest difference {largest:,}",
                f"within the seeds' spread, {spread:,}",
                largest <= spread,
            )
        )


def _crossings(seed: int, refresh: int, folder: Path) -> list[int]:
    case, truth = folder / f"case-{seed}-{refresh}", folder / f"truth-{seed}-{refresh}.json"
    simulate(load("quickstart", [f"population.refresh={refresh}"]), seed, case, truth)
    crossings = ask(case, load_trigger(truth), LEVELS, "exact").crossings
    shutil.rmtree(case)
    rounds = {row.level: row.round for row in crossings if row.mode == "sustained"}
    return [rounds[level] or 0 for level in LEVELS]
