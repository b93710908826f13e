"""Does a case hold what its producers were told that it holds? The question behind every fault.

(a) Every acknowledged event is in the projection once, accepted or refused; and nothing else is,
    but for events whose acknowledgement a crash kept from being heard.
(b) The projection is what the case's own files say: deleted and built again, it has the same rows.
(c) Whatever was wrong stands there as a finding, or in quarantine with its reason.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache
from importlib import resources
from pathlib import Path

from handed_topic import SOURCE, handed
from table_rows import Rows, delete_projection

from forensics.verify import verify_case
from ingest.service import ingest_case
from ingest.store import TABLES, Store
from roundlog.case import Case
from roundlog.encoding import digest
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.port import Entry

Place = tuple[str, str, int, str]
"""Run, producer, seq, digest of the head."""


def place_of(entry: Entry) -> Place:
    """What identifies an event, wherever it lies."""
    event = entry.event
    return event.run, event.producer, event.seq, digest(entry.frame.head)


def places(entries: Iterable[Entry]) -> set[Place]:
    """As `place_of`, of many."""
    return {place_of(entry) for entry in entries}


def check_record(
    case: Case,
    acknowledged: Collection[Place],
    *,
    undecided: Collection[Place] = (),
    refused: Mapping[Place, str] | None = None,
    findings: Collection[str] | None = (),
    reasons: Collection[str] | None = None,
) -> Rows:
    """Ingests what is left to ingest and holds the case against what was promised.

    Args:
        undecided: May be there, since a crash came before the acknowledgement or with it.
        refused: Of the acknowledged ones, those that no fold could use, with the reason.
        findings: The kinds of all findings; None where the test looks itself.
        reasons: The reasons of all quarantined records; by default those of `refused`.

    Returns:
        Every row, by table.
    """
    rows = ingested(case)
    refused = refused or {}
    accepted = accepted_in(rows)
    expected = set(acknowledged) - set(refused)
    # (a)
    assert expected - accepted == set(), "acknowledged, and not in the projection"
    assert accepted - expected - set(undecided) == set(), "in the projection, and never promised"
    kept = {(row[3], row[4], row[5], row[7]): row[1] for row in rows["quarantine"]}
    assert {one: kept.get(one) for one in refused} == dict(refused)
    # (c)
    if findings is not None:
        found = Counter(row[1] for row in rows["findings"])
        assert found == Counter(findings), f"found {found}"
    if reasons is None:
        reasons = list(refused.values())
    why = Counter(row[1] for row in rows["quarantine"])
    assert why == Counter(reasons), f"refused: {why}"
    # (b)
    check_rebuild(case, rows)
    return rows


def accepted_in(rows: Rows) -> set[Place]:
    """The accepted events; no two of them may have one place."""
    found = [(row[0], row[1], row[2], row[5]) for row in rows["events"]]
    assert len({one[:3] for one in found}) == len(found), "an event was taken twice"
    return set(found)


def ingested(case: Case, values: Sequence[bytes] | None = None) -> Rows:
    """Ingests what the case's own files hold, and a topic of these values; reads every row."""
    source = None if values is None else SOURCE
    with case.own(), closing(Store(case)) as store, handed(values or ()):
        ingest_case(case, source=source, store=store)
        return {table: sorted(store.rows(f"FROM {table}"), key=repr) for table in TABLES}


def check_rebuild(case: Case, rows: Rows) -> None:
    """(b) alone."""
    delete_projection(case)
    assert settled(ingested(case)) == settled(rows), "a rebuild gives other rows"


def settled(rows: Rows) -> Rows:
    """Without how far a topic was read: a mark that was never synced may be lost, which costs
    reading a little again."""
    return rows | {"watermarks": [row for row in rows["watermarks"] if row[0] == "segments"]}


def same_facts(one: Rows, other: Rows) -> bool:
    """Whether two projections say the same, wherever the bytes of an event came to lie."""
    return _without_places(one) == _without_places(other)


def _without_places(rows: Rows) -> Rows:
    kept = {
        table: [
            at
            for at, name in enumerate(names)
            if name not in PLACE_COLUMNS and (name == "log_offset" or not name.endswith("_offset"))
        ]
        for table, names in _columns().items()
    }
    return {
        table: sorted((tuple(row[at] for at in kept[table]) for row in found), key=repr)
        for table, found in rows.items()
        if table != "watermarks"
    }


PLACE_COLUMNS = {"segment", "row"}


@cache
def _columns() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for script in (resources.files("ingest") / "schema").iterdir():
        for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", script.read_text(), re.S):
            found[table] = re.findall(r"^    (\w+) ", body, re.M)
    return found


def files_of(case: Case) -> dict[str, bytes]:
    """The evidence, byte for byte: what ingest writes, and what it must not change."""
    kept = ("segments", "quarantine", "blobs")
    found = [path for name in kept for path in (case.path / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(case.path)): path.read_bytes() for path in found}


def on_record(root: Path, partition: str) -> set[Place]:
    """What a log holds, whoever has read it: the places of its whole events."""
    log = EmbeddedLog(root)
    try:
        records = log.read({partition: 0}, max_records=10**9, max_bytes=1 << 40, timeout_s=0)
    finally:
        log.close()
    return places_in(record.frame.head for record in records if record.frame is not None)


def damaged_files(case: Case) -> set[str]:
    """The files that `roundlog verify` blames, relative to the case."""
    return {one.file for one in verify_case(case).findings if one.file is not None}


def places_in(heads: Iterable[bytes]) -> set[Place]:
    """As `places`, of heads as they lie in a file."""
    from roundlog.events import parse_head

    events = [(parse_head(head), digest(head)) for head in heads]
    return {(event.run, event.producer, event.seq, name) for event, name in events}
