"""What does a simulated client cost, what does recording add, and what does the fleet's size?

The outside anchor is Apple's pfl-research on the same job (`pfl_anchor.py`). Everything is counted
in CPU seconds, user and system, of processes held to one thread: other people use the machine, and
wall time would measure them. The two sides of a ratio take turns, for the same reason.
"""

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from anchor_env import ONE_THREAD, measure_anchor
from figures import Figure, Page, median_and_range
from reference_bench import MEMORY_BAR_MIB, Run, command

from roundlog.recorder import Recorder
from simulator.federation import Federation
from simulator.recorded import RecordedServer
from simulator.scenario import Scenario, load

SEED = 43
TOPIC = f"Federations, seed {SEED}"

COHORT, TURNS, ANCHOR_ROUNDS = 1_000, 3, 5
ANCHOR_BAR = 40

# The anchor's job, whatever the scenario says: 20 items a device in batches of ten, two steps, and
# a server that is not kept from seeing updates, since pfl's is not. The attack begins at once.
JOB = (
    "fidelity=device",
    "secure_aggregation=false",
    f"cohort.size={COHORT}",
    "population.queries=20",
    "client.batch=10",
    "client.steps=2",
    "attack.onset=0",
    # Paid by both runs, and no round of either.
    "model.warm_up=0",
)

# Randomness comes in blocks of ten rounds, so a run of one round computes ten: the shorter run,
# whose CPU is taken off for all that stands before round 0, is one whole block.
FEW = 10
MORE = 310

EPOCHS = 10
# 100 rounds, after which the scenario's next audit is due: shorter runs count round 0's too often.
RECORDED_BLOCKS = 10
RECORDING_BAR_PERCENT = 1.2

SMALL_FLEET, LARGE_FLEET = 100_000, 3_400_000_000
FLEET_BLOCKS = 200
FLEET_BAR = 1.1

WIDE_ROUNDS = 10_000
WIDE_DISK_BYTES = 14 << 30


def bench_federation(page: Page, folder: Path) -> None:
    """The anchor, the recorder's share, the fleet's size, and the memory of a wide model."""
    os.environ.update(ONE_THREAD)  # every command from here on, also where `make` did not say so
    for part in PARTS.values():
        part(page, folder)


@dataclass(frozen=True, slots=True)
class Slope:
    """What training costs, told from what stands before round 0."""

    whole: float
    """CPU seconds of the longer command."""

    start: float
    """CPU seconds of the same command over `FEW` rounds."""

    devices: int
    """Devices trained in the rounds between."""

    @property
    def rate(self) -> float:
        """Devices trained per CPU second."""
        return self.devices / (self.whole - self.start)


def slope(folder: Path, overrides: tuple[str, ...]) -> Slope:
    """Simulates and records digits through the command line, over `FEW` rounds and over `MORE`.

    Raises:
        RuntimeError: A command failed.
    """
    few, more = (simulated(folder, "digits", rounds, overrides) for rounds in (FEW, MORE))
    return Slope(more.cpu, few.cpu, more.output["devices"] - few.output["devices"])


def simulated(folder: Path, scenario: str, rounds: int, overrides: tuple[str, ...]) -> Run:
    """One `roundlog simulate`, whose case is thrown away.

    Raises:
        RuntimeError: It failed.
    """
    work = Path(tempfile.mkdtemp(dir=folder))
    settings = [word for override in overrides for word in ("--set", override)]
    place: list[str | Path] = ["--out", work / "case", "--truth", work / "truth.json"]
    try:
        return command(
            "simulate", scenario, "--seed", str(SEED), "--rounds", str(rounds), *settings, *place
        )
    finally:
        shutil.rmtree(work)


def bench_anchor(page: Page, folder: Path) -> None:
    """Client updates per CPU second beside pfl's, in turns: pfl, roundlog, pfl, roundlog, …"""
    tuned: list[float] = []
    plain: list[float] = []
    slopes: list[Slope] = []
    version = ""
    for turn in range(TURNS):
        asked = ("--cohort", str(COHORT), "--rounds", str(ANCHOR_ROUNDS), "--seed", str(turn))
        measured = measure_anchor(*asked)
        version = measured["version"]
        tuned.append(measured["clients_per_cpu_second"])
        slopes.append(slope(folder, JOB))
        plain.append(measure_anchor(*asked, "--plain")["clients_per_cpu_second"])
    ours = [one.rate for one in slopes]
    unit = "client updates per CPU second"
    rounds = f"{TURNS} × {ANCHOR_ROUNDS} rounds of {COHORT:,} clients"
    what = f"pfl {version}, digits without attack or record"
    page.add(
        Figure(
            TOPIC,
            f"{what}, as in its examples, {rounds}",
            median_and_range(plain, unit, 0),
            ratio=f"{median(ours) / median(plain):.1f}",
        )
    )
    page.add(Figure(TOPIC, f"{what}, tuned, {rounds}", median_and_range(tuned, unit, 0)))
    page.add(
        Figure(
            TOPIC,
            f"digits at device fidelity, the same job with attack and record, {TURNS} × "
            f"{MORE - FEW} rounds",
            median_and_range(ours, unit, 0),
            limit=f"{median(tuned):,.0f} (pfl, tuned)",
            ratio=f"{median(ours) / median(tuned):.1f}",
            bar=f"ratio ≥ {ANCHOR_BAR}",
            holds=median(ours) >= ANCHOR_BAR * median(tuned),
        )
    )
    for what, values in (
        (f"the whole command of {MORE} rounds", [one.whole for one in slopes]),
        (f"the command of {FEW} rounds, taken off", [one.start for one in slopes]),
    ):
        page.add(Figure(TOPIC, f"digits: {what}, CPU", median_and_range(values, "s")))


def bench_recording(page: Page, folder: Path) -> None:
    """What recording adds to rounds of 1,000 clients and 10 epochs.

    Two federations of one seed take turns, block by block, and one of them is recorded. Their
    difference scatters by more than the bar where others use the machine, so the bar is held
    against an account: CPU of all threads that went into no block of either, until the record is
    sealed; without a recorder it is 0.00 %. The difference stands beside it, for what the account
    cannot see: colder caches.
    """
    settings = (f"client.steps={2 * EPOCHS}", f"rounds={10 * RECORDED_BLOCKS}")
    scenario = load("digits", (*JOB, *settings))
    accounts = [_account(scenario, SEED + turn, folder / f"record-{turn}") for turn in range(TURNS)]
    shares = [100 * one.recording / one.recorded for one in accounts]
    differences = [100 * (one.recorded + one.recording - one.bare) / one.bare for one in accounts]
    what = f"recording rounds of {COHORT:,} clients × {EPOCHS} epochs"
    rounds = f"{TURNS} × {scenario.rounds} rounds"
    page.add(
        Figure(
            TOPIC,
            f"{what}: CPU beside that of computing them, {rounds}",
            median_and_range(shares, "%", 2),
            bar=f"≤ {RECORDING_BAR_PERCENT} %",
            holds=median(shares) <= RECORDING_BAR_PERCENT,
        )
    )
    page.add(
        Figure(
            TOPIC,
            f"{what}: CPU above that of a federation without recorder, {TURNS} pairs",
            median_and_range(differences, "%"),
        )
    )


@dataclass(slots=True)
class Account:
    """CPU seconds of one pair of federations, of which one is recorded."""

    bare: float = 0.0
    """Computing rounds that nobody records."""

    recorded: float = 0.0
    """Computing the rounds that are recorded."""

    recording: float = 0.0
    """Everything else, the recorder's own thread included."""


def _account(scenario: Scenario, seed: int, case: Path) -> Account:
    result, run = Account(), scenario.run_id(seed)
    bare, recorded = Federation(scenario, seed), Federation(scenario, seed)
    server = RecordedServer(recorded, run)
    unseen, seen = bare.blocks(), recorded.blocks()
    with Recorder(case, run=run, on_error="raise") as recorder:
        server.open(recorder)
        begun = time.process_time()
        for _ in range(RECORDED_BLOCKS):
            # Of this thread alone: the recorder's may still be writing what came before.
            first = time.thread_time()
            next(unseen)
            second = time.thread_time()
            block = next(seen)
            result.bare += second - first
            result.recorded += time.thread_time() - second
            server.commit(recorder, block, scenario.rounds)
    result.recording = time.process_time() - begun - result.bare - result.recorded
    shutil.rmtree(case)
    return result


def bench_fleet(page: Page, folder: Path) -> None:
    """CPU a round, simulated and recorded, under a small and a large fleet, block by block."""
    small, large = (_costs_by_block(devices, folder) for devices in (SMALL_FLEET, LARGE_FLEET))
    pairs = list(itertools.islice(zip(small, large, strict=False), 1 + FLEET_BLOCKS))[1:]
    small.close()
    large.close()
    less, more = ([1000 * pair[side] for pair in pairs] for side in (0, 1))
    ratios = [large_block / small_block for small_block, large_block in pairs]
    what = f"quickstart at cohort fidelity, CPU a round over {FLEET_BLOCKS} blocks, a fleet of"
    page.add(Figure(TOPIC, f"{what} {SMALL_FLEET:,}", median_and_range(less, "ms", 2)))
    page.add(
        Figure(
            TOPIC,
            f"{what} {LARGE_FLEET:,}",
            median_and_range(more, "ms", 2),
            limit=f"{median(less):.2f} ms",
            ratio=f"{median(ratios):.2f} (median of pairs)",
            bar=f"ratio ≤ {FLEET_BAR}",
            holds=median(ratios) <= FLEET_BAR,
        )
    )


def _costs_by_block(devices: int, folder: Path) -> Generator[float, None, None]:
    """CPU seconds a round, of this thread, for one block after the other."""
    scenario = load("quickstart", (f"population.devices={devices}", "model.warm_up=0"))
    case, run = folder / f"fleet-{devices}", scenario.run_id(SEED)
    federation = Federation(scenario, SEED)
    server = RecordedServer(federation, run)
    with Recorder(case, run=run, on_error="raise") as recorder:
        server.open(recorder)
        begun = time.thread_time()
        for block in federation.blocks():
            server.commit(recorder, block, scenario.rounds)
            yield (time.thread_time() - begun) / len(block.models)
            begun = time.thread_time()


def bench_wide(page: Page, folder: Path) -> None:
    """Anonymous memory of 10,000 rounds of a model of a megabyte.

    Raises:
        RuntimeError: The disk has no room for the case.
    """
    free = shutil.disk_usage(folder).free
    if free < WIDE_DISK_BYTES:
        raise RuntimeError(
            f"{WIDE_ROUNDS:,} rounds of mobileai7-wide need {WIDE_DISK_BYTES >> 30} GiB for a "
            f"while, and {folder} has {free >> 30} GiB; set TMPDIR to a larger disk."
        )
    run = simulated(folder, "mobileai7-wide", WIDE_ROUNDS, ())
    page.add(
        Figure(
            TOPIC,
            f"mobileai7-wide, {run.output['rounds']:,} rounds of 1 MB each: anonymous memory",
            f"{run.anonymous_mib:,.0f} MiB ({run.cpu:,.0f} CPU s)",
            bar=f"< {MEMORY_BAR_MIB:,} MiB",
            holds=run.anonymous_mib < MEMORY_BAR_MIB,
        )
    )


def median(values: list[float]) -> float:
    """The middle value; of an even number the upper one, as `median_and_range` prints it."""
    return sorted(values)[len(values) // 2]


PARTS = {
    "anchor": bench_anchor,
    "recording": bench_recording,
    "fleet": bench_fleet,
    "wide": bench_wide,
}


def main() -> int:
    """Measures some of the parts alone; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", choices=PARTS, nargs="+")
    page = Page(command="tests/bench/federation_bench.py")
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory(prefix="roundlog-bench-") as folder:
        for part in parser.parse_args().parts:
            PARTS[part](page, Path(folder))
    return 1 if any(figure.holds is False for figure in page.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
