"""Where does every recorded step of a run lie? Its row in a table, its bytes in memory maps."""

import numpy as np
import polars as pl

from forensics.maps import FileMaps
from forensics.step_rows import StepRows
from roundlog.case import Case
from roundlog.errors import LogGapError
from roundlog.log.segments import Segment


class StepTable:
    """The steps of one run, oldest first.

    Args:
        table: What `forensics/sql/steps_to_fold.sql` selects.
    """

    def __init__(self, case: Case, table: pl.DataFrame, run: str) -> None:
        self._run_folder = case.segments / run
        self._places = table.select("round", "producer", "segment", "row", "schema_digest")
        self._rounds = table["round"].to_numpy()
        self._columns = [
            table[name].to_list()
            for name in ("producer", "segment", "row", "delta_bytes", "patch_offset", "patch_bytes")
        ]
        self._post = table["post_digest"].to_list()
        self._broadcast = table["broadcast_digest"].to_list()
        self._contiguous = bool(
            len(self._rounds) == 0
            or int(self._rounds[-1]) - int(self._rounds[0]) + 1 == len(self._rounds)
        )
        self._maps = FileMaps()

    @property
    def end(self) -> int:
        """The model after the last recorded round; 0 where there is no round."""
        return int(self._rounds[-1]) + 1 if len(self._rounds) else 0

    def has(self, first: int, last: int) -> bool:
        """Whether rounds first … last − 1 are all there."""
        if last <= first:
            return last == first
        low, high = np.searchsorted(self._rounds, [first, last])
        return bool(high - low == last - first)

    def post_digest(self, round_: int) -> str:
        """Of the model after a round.

        Raises:
            LogGapError: The round is not recorded.
        """
        return str(self._post[self._index(round_)])

    def broadcast_digest(self, round_: int) -> str | None:
        """Of what devices run after a round; None where none is recorded."""
        found = self._broadcast[self._index(round_)]
        return None if found is None else str(found)

    def step(self, round_: int) -> tuple[memoryview, memoryview]:
        """Delta and patch of one round, straight from the files."""
        index = self._index(round_)
        producer, segment, row, delta_bytes, patch_offset, patch_bytes = (
            column[index] for column in self._columns
        )
        files = Segment(self._run_folder / producer, segment)
        vec, heads = self._maps.view(files.vec), self._maps.view(files.heads)
        start = row * delta_bytes
        return vec[start : start + delta_bytes], heads[patch_offset : patch_offset + patch_bytes]

    def rows(self, first: int, last: int, layout: str) -> list[StepRows]:
        """Rounds first … last of one layout, grouped by segment; the earliest group first."""
        low, high = np.searchsorted(self._rounds, [first, last + 1])
        places = self._places.slice(low, high - low).filter(pl.col("schema_digest") == layout)
        groups = places.group_by("producer", "segment", maintain_order=True)
        return [
            StepRows(
                Segment(self._run_folder / str(producer), int(str(segment))),
                part["round"].to_numpy(),
                part["row"].to_numpy(),
            )
            for (producer, segment), part in groups
        ]

    def _index(self, round_: int) -> int:
        if self._contiguous and len(self._rounds):
            index = round_ - int(self._rounds[0])
        else:
            index = int(np.searchsorted(self._rounds, round_))
        if not 0 <= index < len(self._rounds) or int(self._rounds[index]) != round_:
            before = self._rounds[self._rounds < round_]
            behind = self._rounds[self._rounds > round_]
            raise LogGapError(
                expected=int(before[-1]) + 1 if before.size else round_,
                found=int(behind[0]) if behind.size else None,
            )
        return index
