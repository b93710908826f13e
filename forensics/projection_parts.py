"""How is one segment projected, and how do the parts become a whole that is always the same?

`project_rows` is a pure function of a segment's rows and the directions; `combine` puts two parts
together in the order of their rounds, and is associative to the bit, since it only places numbers.
`project_parts` asks for the parts here or in a pool of processes, which get paths and row numbers
and map the files themselves. `fold` combines what came back in a fixed binary tree.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forensics.dot_products import MatchedFilter
from forensics.step_rows import StepRows
from roundlog.errors import QuestionError
from roundlog.ledger.merkle import MerkleTree
from roundlog.tensors import TensorSchema

# Between two looks at whether a person has stopped it.
LOOK_S = 0.2

WINDOW = 1_024
"""Round numbers under one leaf of the digest."""

Tell = Callable[[int], None]
"""Called with the rounds done since it was called last; what it raises ends the projection."""


@dataclass(frozen=True, eq=False)
class Partial:
    """Some rounds of a projection."""

    rounds: NDArray[np.int64]
    """Ascending, shape (n,)."""
    values: NDArray[np.float64]
    """Shape (n, m), weight units."""

    def __len__(self) -> int:
        return len(self.rounds)


@dataclass(frozen=True, eq=False)
class Job:
    """What is the same for every segment of one projection."""

    schema: TensorSchema
    directions: NDArray[np.float32]
    """Shape (m, schema.elements)."""
    block: int
    """Rows in one go; no result depends on it."""


def project_rows(steps: StepRows, job: Job, tell: Tell | None = None) -> Partial:
    """The map: <delta, direction> of every round in one segment.

    Raises:
        LogError: The segment's file ends before the last row.
    """
    values = np.empty((len(steps), len(job.directions)))
    matched = MatchedFilter(job.directions)
    for which, rows in steps.blocks(job.schema, job.block):
        values[which] = matched.dots(rows)
        if tell is not None:
            tell(len(rows))
    return Partial(steps.rounds, values)


def combine(left: Partial, right: Partial) -> Partial:
    """Both parts, in the order of their rounds; no round stands in both."""
    rounds = np.concatenate([left.rounds, right.rounds])
    values = np.concatenate([left.values, right.values])
    # Segments of two producers that took turns lie across each other.
    if len(left) and len(right) and left.rounds[-1] > right.rounds[0]:
        order = np.argsort(rounds, kind="stable")
        rounds, values = rounds[order], values[order]
    return Partial(rounds, values)


def fold(parts: Sequence[Partial], directions: int) -> Partial:
    """All parts, combined in neighbouring pairs, the pairs in pairs, and so on."""
    if not parts:
        return Partial(np.empty(0, dtype=np.int64), np.empty((0, directions)))
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [combine(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


def digest_of(whole: Partial, directions: NDArray[np.float32]) -> str:
    """RFC 6962 tree hash of directions, rounds and values, 64 hex digits.

    The first leaf is the directions; then follow 1,024 round numbers a leaf, by round number and
    not by segment, so that the same steps in other files have the same digest.
    """
    tree = MerkleTree([_bytes(np.asarray(directions.shape), "<i8") + _bytes(directions, "<f4")])
    windows = whole.rounds // WINDOW
    starts = np.flatnonzero(np.diff(windows, prepend=-1))
    for start, end in pairwise([*starts, len(whole)]):
        values = _bytes(whole.values[start:end], "<f8")
        tree.append(_bytes(whole.rounds[start:end], "<i8") + values)
    return tree.root()


def project_parts(
    pieces: Sequence[StepRows], job: Job, workers: int, tell: Tell
) -> Iterator[tuple[int, Partial]]:
    """Every piece's index and part, in any order, as they are done.

    Args:
        workers: Processes; with one, or for one piece, everything is done in this one.
        tell: Called with 0 when there is nothing to tell, so that it can end the projection.

    Raises:
        QuestionError: A process of the pool was killed.
        LogError: As `project_rows`.
    """
    workers = min(workers, len(pieces))
    if workers <= 1:
        for index, piece in enumerate(pieces):
            yield index, project_rows(piece, job, tell)
        return
    # Not forked: a server that asks has threads, and a forked copy of a held lock stays held.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (job,))
    try:
        waiting = {pool.submit(_project_here, piece): at for at, piece in enumerate(pieces)}
        while waiting:
            done, _ = wait(waiting, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            tell(0)
            for future in done:
                part = future.result()
                yield waiting.pop(future), part
                tell(len(part))
    except BrokenProcessPool as error:
        raise QuestionError(
            f"one of {workers} processes ended before its segment was done, as when memory is "
            f"short; no value was lost. Ask again, with fewer workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _bytes(array: NDArray[np.generic], dtype: str) -> bytes:
    return array.astype(dtype).tobytes()


# What a process of the pool was started with.
_job = threading.local()


def _start(job: Job) -> None:
    # Ctrl-C reaches every process of a terminal; the parent ends its pool itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job.here = job


def _project_here(piece: StepRows) -> Partial:
    return project_rows(piece, _job.here)
