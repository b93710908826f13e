"""How far did each server step go along a direction? A matched filter over a whole run.

s_t = <delta_t, g>, where delta_t = W_{t+1} − W_t is the recorded delta of round t, multiplied in
float32 tiles and added in float64 (`forensics.dot_products`). The patch that mends the last bits of
a few elements is left out: it moves a value by less than float32 rounding does. A value's bits
depend on the step, the direction and the processor, never on blocks, processes, or the range that
was asked for, so a run that is watched and one that is read afterwards agree.

Segments that are sealed are projected once for the same directions: their values are kept in the
case's `cache/projections/`, under a name derived from everything they depend on. An open segment is
read every time. That the bytes read are the recorded ones is not checked here: `roundlog verify`.

References:
    Turin, "An introduction to matched filters", IRE Trans. Inf. Theory 6(3), 1960.
"""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from forensics.dot_products import arithmetic, dots
from forensics.neighbours import neighbours
from forensics.projection_parts import Job, Partial, digest_of, fold, project_parts
from forensics.readings import StoppedError
from forensics.rebuild import CaseModels
from forensics.step_rows import StepRows
from roundlog.encoding import canonical_json, digest
from roundlog.errors import LogError, QuestionError
from roundlog.tensors import Array, TensorSchema

__all__ = ["Projection", "dots", "neighbours", "project"]

CODE_VERSION = "roundlog.projections/1"
"""Changes whenever the same rows and directions could give other values."""

CHECKSUM_BYTES = 32
"""At the end of a kept file: a flipped bit, or values of another name, would be wrong answers."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Projection:
    """The steps of a run along some directions."""

    run: str
    rounds: NDArray[np.int64]
    """Shape (n,), ascending; rounds that are missing in the record are absent."""
    values: NDArray[np.float64]
    """Shape (n, m), weight units: positive where W moved the way the direction points."""
    digest: str
    """Of directions, rounds and values; the same however they were computed."""
    computed: int
    """Rounds that were projected now."""
    reused: int
    """Rounds whose values were kept from an earlier time."""


def project(
    models: CaseModels,
    directions: Array,
    *,
    first: int | None = None,
    last: int | None = None,
    workers: int = 1,
    block: int = 1_024,
    cache: bool = True,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Projection:
    """Every step of rounds `first` … `last` along every direction.

    Args:
        directions: Shape (m, elements), in schema order, buffers included, where they hold zeros;
            any float dtype, used as float32. Their lengths count.
        first: A round, not a model; by default the run's first one.
        last: A round, itself included; by default the run's last one.
        workers: Processes. One reads 10 GB a second and more, and each takes half a second to
            start, so several are for runs of many GB.
        block: Rows between two looks at `stop`; no value depends on it.
        cache: Whether values are kept, and those that were are used.
        progress: Called with (rounds done, rounds in all).
        stop: When set, the projection ends; segments that are done are kept for the next time.

    Raises:
        QuestionError: A direction is of another length or not finite; the range is empty.
        RoundRangeError: The run has no such round.
        StoppedError: `stop` was set.
        LogError: A segment's file was cut off.
    """
    if workers < 1 or block < 1:
        raise QuestionError(f"{workers} workers and blocks of {block} rows; both are 1 or more")
    along = _directions(directions, models.schema)
    pieces = models.step_rows(first, last)
    files = [_file(models, piece, along) if cache else None for piece in pieces]
    parts = {at: _load(file, pieces[at], len(along)) for at, file in enumerate(files) if file}
    known = {at: part for at, part in parts.items() if part is not None}
    reused = sum(map(len, known.values()))
    total = sum(map(len, pieces))
    done = reused

    def tell(rounds: int) -> None:
        nonlocal done
        done += rounds
        if progress is not None and rounds:
            progress(done, total)
        if stop is not None and stop.is_set() and done < total:
            raise StoppedError(
                f"stopped after {done:,} of {total:,} rounds; what is kept of whole segments is "
                f"used when it is asked again"
            )

    tell(reused)
    missing = [at for at in range(len(pieces)) if at not in known]
    job = Job(models.schema, along, block)
    for index, part in project_parts([pieces[at] for at in missing], job, workers, tell):
        at = missing[index]
        known[at] = part
        if (file := files[at]) is not None:
            _keep(file, part)
    whole = fold([known[at] for at in range(len(pieces))], len(along))
    return Projection(
        run=models.run,
        rounds=whole.rounds,
        values=whole.values,
        digest=digest_of(whole, along),
        computed=total - reused,
        reused=reused,
    )


def _directions(directions: Array, schema: TensorSchema) -> NDArray[np.float32]:
    given = np.asarray(directions)
    if given.ndim != 2 or not len(given) or given.shape[1] != schema.elements:
        raise QuestionError(
            f"directions of shape {list(given.shape)}; give [m, {schema.elements}], one row a "
            f"direction, in the order of the model's schema, buffers included"
        )
    if given.dtype.kind not in "fiu":
        raise QuestionError(f"directions of {given.dtype} are no numbers along which to project")
    with np.errstate(over="ignore"):
        along = np.ascontiguousarray(given, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(along).all(axis=1))
    if bad.size:
        raise QuestionError(
            f"direction {int(bad[0])} is not finite as float32, so every value along it would be "
            f"meaningless; scale it, or derive it again"
        )
    return along


def _file(models: CaseModels, piece: StepRows, along: NDArray[np.float32]) -> Path | None:
    """Where the values of this piece are kept; None where they may not be."""
    try:
        seal, vec = piece.segment.read_seal(), piece.segment.vec.stat()
    except (OSError, LogError):
        return None
    depends_on: dict[str, JsonValue] = {
        "version": CODE_VERSION,
        "segment": seal.root,
        # A file that was changed, read, and put back has the same seal at the end.
        "vec": [vec.st_size, vec.st_mtime_ns],
        "steps": digest(_little(piece.rounds), _little(piece.rows)),
        "schema": models.schema.digest,
        "directions": digest(along.astype("<f4").tobytes()),
        "arithmetic": arithmetic(models.schema.elements),
    }
    return models.case.cache / "projections" / f"{digest(canonical_json(depends_on))}.npy"


def _little(numbers: NDArray[np.int64]) -> bytes:
    return numbers.astype("<i8").tobytes()


def _checksum(file: Path, content: bytes) -> bytes:
    return hashlib.sha256(file.name.encode() + content).digest()


def _load(file: Path, piece: StepRows, directions: int) -> Partial | None:
    try:
        kept = file.read_bytes()
        content, checksum = kept[:-CHECKSUM_BYTES], kept[-CHECKSUM_BYTES:]
        if _checksum(file, content) != checksum:
            return None
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = values.shape == (len(piece), directions) and values.dtype == np.float64
    return Partial(piece.rounds, values) if fits else None


def _keep(file: Path, part: Partial) -> None:
    content = io.BytesIO()
    np.save(content, part.values, allow_pickle=False)
    content.write(_checksum(file, content.getvalue()))
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.getvalue())
        temporary.replace(file)
    except OSError:
        # A case on a full or read-only disk is still projected, only not remembered.
        return
