"""Where do the steps of a run lie, and what are their numbers? Rows of mapped files, in blocks.

Small enough to be sent to another process, which maps the file itself. Only the recorded delta is
read: not the patch, which mends the last bits of a few elements, and not whether the bytes are the
recorded ones; `roundlog verify` says that.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.maps import FileMaps
from forensics.models import numbers
from roundlog.errors import LogError
from roundlog.log.segments import Segment
from roundlog.tensors import Array, TensorSchema

COPY_BYTES = 16 << 20
"""What is copied at a time, where rows cannot be used as they lie; it stays near the processor."""


@dataclass(frozen=True, eq=False)
class StepRows:
    """Steps of one run that lie in one segment."""

    segment: Segment
    rounds: NDArray[np.int64]
    """Ascending, shape (n,)."""
    rows: NDArray[np.int64]
    """Of the vec file, shape (n,)."""

    def __len__(self) -> int:
        return len(self.rounds)

    @property
    def adjoining(self) -> bool:
        """Whether the rows lie one behind the other, as where no round was done again."""
        return bool(np.all(np.diff(self.rows) == 1))

    def blocks(
        self, schema: TensorSchema, size: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The deltas as float32, at most `size` rows at a time.

        Yields:
            Which of the rounds, and their numbers, shape (m, schema.elements), in schema order,
            buffers included: a view of the mapped file where the rows adjoin and all tensors are
            float32.

        Raises:
            LogError: The file ends before the last row.
        """
        raw = self._raw(schema)
        adjoining = self.adjoining
        if not (adjoining and schema.uniform == np.dtype("<f4")):
            # float64 is the widest in between.
            size = max(1, min(size, COPY_BYTES // max(1, 8 * schema.elements)))
        for start in range(0, len(self), size):
            which = slice(start, min(start + size, len(self)))
            at = self.rows[which]
            block = raw[at[0] : at[0] + len(at)] if adjoining else raw[at]
            yield which, _float32(block, schema)

    def row(self, index: int, schema: TensorSchema) -> NDArray[np.float32]:
        """The delta of `rounds[index]`, shape (1, schema.elements).

        Raises:
            LogError: The file ends before its row.
        """
        alone = StepRows(self.segment, self.rounds[[index]], self.rows[[index]])
        return next(alone.blocks(schema, 1))[1]

    def _raw(self, schema: TensorSchema) -> NDArray[np.uint8]:
        """Every row of the file, shape (rows, schema.nbytes)."""
        vec = FileMaps(keep=1).view(self.segment.vec)
        there = len(vec) // schema.nbytes
        last = int(np.argmax(self.rows))
        if self.rows[last] >= there:
            raise LogError(
                f"{self.segment.vec} holds {there:,} rows, and round {int(self.rounds[last])} was "
                f"recorded in row {int(self.rows[last])}; without it no step of this segment is "
                f"read. Run `roundlog verify`: it names what was cut off."
            )
        used = np.frombuffer(vec, dtype=np.uint8, count=there * schema.nbytes)
        return used.reshape(there, schema.nbytes)


def _float32(block: Array, schema: TensorSchema) -> NDArray[np.float32]:
    # Beyond the range of float32 lies infinity, which the values will show.
    with np.errstate(over="ignore"):
        return numbers(block, schema).astype(np.float32, copy=False)
