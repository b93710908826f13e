"""What does a figure need of a run? Its last model, its trigger, and what the filter said.

A run goes through the recorder and the log, is ingested, and its last model is rebuilt from the
record. That is minutes of work and yields a few numbers, which are kept by the digest of the code,
the resolved scenario, the seed and the rounds, as a sweep's points are.
"""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.desk import LocalDesk, open_desk
from api.documents import Document
from api.lab.cache import PointCache, code_digest
from api.parameters import ParameterError
from api.records import Progress, Records, silent
from forensics.evaluation.power import norm_scores
from forensics.rebuild import CaseModels
from roundlog.errors import RoundlogError
from simulator.run import Summary, simulate
from simulator.scenario import Scenario

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Facts:
    """What is kept of a run."""

    run: str
    rounds: int
    malicious: int
    """Poisoned updates in all."""
    norms: Floats
    """Length of every round's aggregate, in weight units, shape (rounds,)."""
    scores: Floats
    """What the filter said, in standard deviations; NaN while it was learning."""
    last: bytes
    """The last model, as the record has it."""
    digest: str
    """Of that model."""
    architecture: tuple[str, Document]


def asked_rounds(scenario: Scenario, rounds: int | None) -> int | None:
    """The rounds after which a run is stopped; None for all of them.

    Raises:
        ParameterError: The scenario has fewer.
    """
    if rounds is not None and not 0 < rounds <= scenario.rounds:
        raise ParameterError(
            f"--rounds {rounds:,} is not allowed: {scenario.name} has {scenario.rounds:,} rounds"
        )
    return None if rounds == scenario.rounds else rounds


@contextmanager
def recorded(
    scenario: Scenario, seed: int, rounds: int | None, progress: Progress = silent
) -> Iterator[tuple[Summary, Records]]:
    """A run in a case that is gone afterwards, ingested and open.

    Raises:
        RoundlogError: What any step said.
    """
    with tempfile.TemporaryDirectory(prefix="roundlog-failures-") as scratch:
        case = Path(scratch) / "case"
        simulated = simulate(
            scenario,
            seed,
            case,
            Path(scratch) / "truth.json",
            rounds=rounds,
            progress=lambda done, total: progress("simulate", done, total),
        )
        with open_desk(case, progress=progress, fall_back=False) as desk:
            if not isinstance(desk, LocalDesk):
                raise RoundlogError(f"{case} is held by a server; a new case cannot be")
            yield simulated, desk.records


class Keeper:
    """Runs that were made before by the same code are not made again.

    Args:
        folder: Where finished runs are kept.
        progress: Told which run is under way, and how far it is.
    """

    def __init__(self, folder: Path, progress: Progress = silent) -> None:
        self._cache, self._progress = PointCache(folder, code_digest()), progress

    def facts(self, scenario: Scenario, seed: int, rounds: int | None, what: str) -> Facts:
        """What is known of a run; it is made where nothing is.

        Args:
            what: Name of the run, for people who wait.

        Raises:
            RoundlogError: What any step said.
        """
        key = scenario.digest()
        known = self._cache.get(key, seed, rounds)
        if known is None:
            known = self._make(scenario, seed, rounds, f"seed {seed}, {what}")
            self._cache.put(key, seed, rounds, known)
        name, config = known["architecture"]
        return Facts(
            run=known["run"],
            rounds=known["rounds"],
            malicious=known["malicious"],
            norms=_floats(known["norms"]),
            scores=_floats(known["scores"]),
            last=base64.b64decode(known["last"]),
            digest=known["digest"],
            architecture=(name, config),
        )

    def _make(self, scenario: Scenario, seed: int, rounds: int | None, name: str) -> Document:
        def tell(what: str, done: int, total: int | None) -> None:
            self._progress(f"{name}: {what}", done, total)

        with recorded(scenario, seed, rounds, tell) as (simulated, records):
            models = CaseModels(records.case, records.store, simulated.run)
            last = models.rebuild(models.last)
            architecture, config = models.architecture
            said = norm_scores(records.store, simulated.run)
            return {
                "run": simulated.run,
                "rounds": simulated.rounds,
                "malicious": simulated.malicious,
                "norms": said["norm"].to_list(),
                "scores": said["score"].to_list(),
                "last": base64.b64encode(models.model(models.last).tobytes()).decode(),
                "digest": last.digest,
                "architecture": [architecture, dict(config)],
            }


def heading(
    figure: str, scenario: Scenario, seeds: Sequence[int], rounds: int | None
) -> dict[str, Any]:
    """What every figure's document begins with: of what it is, and by which code."""
    return {
        "figure": figure,
        "scenario": {
            "name": scenario.name,
            "digest": scenario.digest(),
            "table": scenario.table(),
        },
        "code": code_digest(),
        "seeds": list(seeds),
        "rounds": scenario.rounds if rounds is None else rounds,
    }


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
