"""What does a projection hold? Every row of every table, in an order that does not depend on it."""

from typing import Any

from ingest.store import TABLES, Store
from roundlog.case import Case

Rows = dict[str, list[tuple[Any, ...]]]

SOURCE_COLUMNS = {"origin", "partition", "log_offset", "segment", "row"}
"""Columns that say where a record came from or lies; they differ between logs."""


def all_rows(case: Case, *, without_sources: bool = False) -> Rows:
    """Rows by table, sorted; `without_sources` leaves out what differs between two logs."""
    store = Store(case)
    try:
        found: Rows = {}
        for table in TABLES:
            frame = store.query("FROM query_table($t)", {"t": table})
            if without_sources:
                if table in ("watermarks", "duplicates"):
                    continue
                side = [name for name in frame.columns if name.endswith("_offset")]
                drop = (
                    SOURCE_COLUMNS
                    | set(side)
                    | ({"id", "file"} if table == "quarantine" else set())
                )
                frame = frame.drop(drop & set(frame.columns))
            found[table] = sorted(frame.rows(), key=repr)
        return found
    finally:
        store.close()


def delete_projection(case: Case) -> None:
    """Removes the database, and nothing else."""
    for path in case.path.glob("roundlog.duckdb*"):
        path.unlink()
