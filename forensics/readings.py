"""What is the attack success of every model of a run? Measured, one after the other, and kept.

Readings are kept in the case's `cache/readings/`, in chunks of 2,048 models, each under a name
derived from everything it depends on: the digests of its models, the form in which they are asked
where it is not the master weights, the queries, the architecture
(a recorded one; a person's own code may change, so its answers are not kept) and this code's
version. So an interrupted measurement goes on where it stopped, a run that grew is
measured further, and a changed history is simply not found there. `fresh` measures all again.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from forensics.levels import AsrPath, Counts
from forensics.probe import Prober, check_probes
from forensics.rebuild import CaseModels
from forensics.trigger import ProbeSet
from roundlog.encoding import canonical_json, digest
from roundlog.errors import QuestionError

CODE_VERSION = "roundlog.readings/1"
"""Changes whenever the same models and queries could give other hits."""

CHUNK = 2_048
"""Models a file: 0.1 s of work at the reference model, so little is lost by an interruption."""

Progress = Callable[[int, int], None]


class StoppedError(QuestionError):
    """The person stopped a measurement; what was measured is kept."""


@dataclass(frozen=True, eq=False)
class RunReadings:
    """Hits of every model of a run, pooled and by pattern.

    Attributes:
        path: All queries pooled.
        patterns: Names of the patterns.
        by_pattern: Hits, shape (models, patterns).
        sizes: Queries of each pattern.
        probe_digest: Which queries.
        rebuilt: Models that were rebuilt and asked now; the others were read from the cache.
    """

    path: AsrPath
    patterns: tuple[str, ...]
    by_pattern: Counts
    sizes: tuple[int, ...]
    probe_digest: str
    rebuilt: int


def read_run(
    models: CaseModels,
    prober: Prober,
    probes: ProbeSet,
    *,
    fresh: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> RunReadings:
    """The hits of every model of a run.

    Args:
        fresh: Do not read the cache.
        progress: Called with (models done, models in all).
        stop: When set, the measurement ends; what is done is kept for the next time.

    Raises:
        StoppedError: `stop` was set.
        LogGapError: A model cannot be rebuilt, because rounds are missing.
        DigestMismatchError: A rebuilt model is not the recorded one.
        TriggerError: The probes do not fit the model, or none are left to score with.
    """
    check_probes(probes)
    names = tuple(dict.fromkeys(probes.patterns))
    members = np.array([[of == name for name in names] for of in probes.patterns], dtype=np.int64)
    total = models.last - models.first + 1
    by_pattern = np.empty((total, len(names)), dtype=np.int64)
    rebuilt = 0
    for start in range(models.first, models.last + 1, CHUNK):
        end = min(start + CHUNK, models.last + 1)
        part = by_pattern[start - models.first : end - models.first]
        file = _file(models, prober, probes, start, end)
        known = None if fresh or file is None else _load(file, part.shape, probes)
        if known is not None:
            part[:] = known
        else:
            for ts, block in models.blocks(start, end - 1):
                if stop is not None and stop.is_set():
                    raise StoppedError(
                        f"stopped at model {int(ts[0])} of {models.last}; {start - models.first:,} "
                        f"readings are kept, so asking again goes on from there"
                    )
                at = int(ts[0]) - start
                part[at : at + len(ts)] = prober.hits(block, probes).astype(np.int64) @ members
                if progress is not None:
                    progress(int(ts[-1]) - models.first + 1, total)
            rebuilt += end - start
            if file is not None:
                _keep(file, part)
        if progress is not None:
            progress(end - models.first, total)
    return RunReadings(
        path=AsrPath(models.first, by_pattern.sum(axis=1), len(probes)),
        patterns=names,
        by_pattern=by_pattern,
        sizes=tuple(int(size) for size in members.sum(axis=0)),
        probe_digest=probes.digest,
        rebuilt=rebuilt,
    )


def _file(
    models: CaseModels, prober: Prober, probes: ProbeSet, start: int, end: int
) -> Path | None:
    if prober.identity is None:
        return None
    depends_on: dict[str, JsonValue] = {
        "version": CODE_VERSION,
        "architecture": prober.identity,
        "probes": probes.digest,
        "patterns": digest(canonical_json(list(probes.patterns))),
        "models": digest(*(models.recorded_digest(t).encode() for t in range(start, end))),
    }
    if models.artefact != "master":
        # Q(W) is a function of W: its form and the digests of W say which models these are.
        depends_on["form"] = models.form
    return models.case.cache / "readings" / f"{digest(canonical_json(depends_on))}.npy"


def _load(file: Path, shape: tuple[int, ...], probes: ProbeSet) -> Counts | None:
    try:
        kept = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = kept.shape == shape and kept.dtype == np.int32 and kept.size
    if not fits or kept.min() < 0 or kept.max() > len(probes):
        return None
    return np.asarray(kept, dtype=np.int64)


def _keep(file: Path, part: Counts) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            np.save(handle, part.astype(np.int32), allow_pickle=False)
        temporary.replace(file)
    except OSError:
        # A case on a full or read-only disk is still measured, only not remembered.
        return
