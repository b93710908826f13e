"""Does the main job hold at the incident's length? 110,000 rounds, through the command line."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import Figure, Page, cpu_seconds, median_and_range

from forensics.rebuild import CaseModels
from ingest.store import Store
from roundlog.case import Case

ROUNDLOG = Path(sys.executable).with_name("roundlog")
MEMORY_BAR_MIB = 2048
SEED = 41
REBUILDS = 200


@dataclass(frozen=True, slots=True)
class Run:
    """One command that ended well."""

    output: dict[str, Any]
    wall: float
    cpu: float
    anonymous_mib: float


def command(*arguments: str | Path) -> Run:
    """Runs `roundlog …  --json` and watches its anonymous memory.

    Raises:
        RuntimeError: It failed; the message holds what it said.
    """
    started, cpu = time.perf_counter(), cpu_seconds()
    process = subprocess.Popen(
        [str(ROUNDLOG), *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    out, errors = process.communicate()
    watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"roundlog {arguments[0]} exited {process.returncode}: {errors[-800:]}")
    return Run(json.loads(out), time.perf_counter() - started, cpu_seconds() - cpu, peak[0])


def _watch(process: "subprocess.Popen[str]", peak: list[float]) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("RssAnon:"):
                peak[0] = max(peak[0], int(line.split()[1]) / 1024)
        time.sleep(0.05)


HELP_BAR_S = 0.3


def bench_start(page: Page) -> None:
    """How quickly does the command line answer that it is there?"""
    cpu = []
    for _ in range(7):
        before = cpu_seconds()
        subprocess.run([str(ROUNDLOG), "--help"], capture_output=True, check=True)
        cpu.append(cpu_seconds() - before)
    middle = sorted(cpu)[len(cpu) // 2]
    page.add(
        Figure(
            "The command line",
            "`roundlog --help`, CPU",
            median_and_range(cpu, "s", 2),
            bar=f"< {HELP_BAR_S} s",
            holds=middle < HELP_BAR_S,
        )
    )


def bench_reference(page: Page, folder: Path) -> None:
    """Simulate, ingest, search, ask every model, verify; and 200 random rebuilds."""
    case, truth = folder / "case", folder / "truth.json"
    runs = {
        "simulate": command(
            "simulate", "mobileai7", "--seed", str(SEED), "--out", case, "--truth", truth
        ),
        "ingest": command("ingest", case),
    }
    asked = ("crossings", case, "--trigger", truth, "--levels", "0.01,0.1,0.5,0.9")
    runs["bisect"] = command("bisect", case, "--trigger", truth, "--level", "0.5")
    runs["search"] = command(*asked, "--search")
    runs["exact"] = command(*asked, "--exact")
    runs["verify"] = command("verify", case)
    rounds = runs["verify"].output["rounds"]
    topic = f"The incident's length: mobileai7, {rounds:,} rounds, seed {SEED}"

    def line(what: str, value: str, bar: str, holds: bool) -> None:
        page.add(Figure(topic, what, value, bar=bar, holds=holds))

    rate = rounds / runs["simulate"].cpu
    line("simulate and record", f"{rate:,.0f} rounds per CPU second", "≥ 500", rate >= 500)
    rate = rounds / runs["ingest"].wall
    line("ingest, from the command line", f"{rate:,.0f} rounds/s", "≥ 5,000", rate >= 5000)
    queries = runs["exact"].output["n"]
    for name, what, limit in (
        ("bisect", "bisect at 50 %, keyframes made on the way", 10),
        ("search", "crossings of four levels, search mode", 10),
        ("exact", f"crossings of four levels, every model asked {queries} queries", 60),
    ):
        wall = runs[name].wall
        line(what, f"{wall:.1f} s", f"< {limit} s", wall < limit)
    ok = runs["verify"].output["ok"]
    line("verify every byte", f"{runs['verify'].wall:.1f} s", "ok", ok)
    most = max(runs, key=lambda name: runs[name].anonymous_mib)
    peak = runs[most].anonymous_mib
    line(
        "largest anonymous memory of any of these",
        f"{peak:,.0f} MiB ({most})",
        f"< {MEMORY_BAR_MIB:,} MiB",
        peak < MEMORY_BAR_MIB,
    )
    matching = _random_rebuilds(Case(case))
    line(
        "models at random rounds that equal their recorded digest",
        f"{matching} of {REBUILDS}",
        f"{REBUILDS}",
        matching == REBUILDS,
    )
    for row in runs["exact"].output["crossings"]:
        if row["mode"] == "sustained":
            page.add(
                Figure(
                    topic,
                    f"sustained crossing of {row['level']:.0%} (S = {row['s']:,})",
                    "–" if row["round"] is None else f"model {row['round']:,}",
                    bar=row["status"],
                )
            )


def _random_rebuilds(case: Case) -> int:
    with case.own():
        store = Store(case)
        try:
            run = store.rows("SELECT run FROM runs", {})[0][0]
            models = CaseModels(case, store, run)
            ts = np.random.default_rng(SEED).integers(models.first, models.last + 1, REBUILDS)
            return sum(models.rebuild(int(t)).matches is True for t in ts)
        finally:
            store.close()
