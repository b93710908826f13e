"""What if it runs for weeks? Memory, handles and files stay in bounds, and every event is there.

A recorder and a follower in one process, as in a server: 8,000 events in every test run, a million
in the long form (some years of a federation that makes a round every few minutes).
"""

from contextlib import closing
from pathlib import Path

import pytest
from campaign import Campaign
from doomed import Child, Ended, Use, soak
from table_rows import delete_projection

from forensics.verify import verify_case
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.log.segments import EVENTS_PER_SEGMENT

# DuckDB keeps what it has written since its last checkpoint in memory as well: up to 64 MB of log.
GROWTH = 128 << 20

# The case's marker, its owner, the database, its log, a lock, the blobs of the model, and room for
# a checkpoint that is under way.
FILES = 12

WHAT_IT_SAYS = """
SELECT
    count(*), count(DISTINCT seq), min(seq), max(seq), bit_xor(hash(seq, digest, prev)),
    (SELECT count(*) FROM findings), (SELECT count(*) FROM quarantine),
    (SELECT count(*) FROM duplicates), (SELECT count(*) FROM rounds)
FROM events
"""


def said(case: Case) -> tuple[int, ...]:
    """A projection in nine numbers: a million rows are too many to hold."""
    with case.own(), closing(Store(case)) as store:
        ingest_case(case, store=store)
        return store.rows(WHAT_IT_SAYS)[0]


@pytest.mark.once
def test_a_long_run_needs_no_more_than_a_short_one(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    events = campaign.times(short=8_000, long=1_000_000)
    child = Child(soak, tmp_path / "case", events, events // 50, seed)
    uses: list[Use] = []
    while isinstance(use := child.hear(600), Use):
        uses.append(use)
    assert use == Ended(0), use
    child.end()
    warm = uses[len(uses) // 5 :]
    assert max(use.resident for use in warm) - warm[0].resident < GROWTH
    assert max(use.handles for use in warm) - min(use.handles for use in warm) <= 2
    for use in uses:
        assert use.files <= FILES + 3 * (use.events // EVENTS_PER_SEGMENT + 1)
    case, total = Case(tmp_path / "case"), uses[-1].events
    found = said(case)
    assert found[:4] == (total, total, 0, total - 1)
    assert found[5:] == (0, 0, 0, (total - 3) // 2)
    delete_projection(case)
    assert said(case) == found
    assert verify_case(case).ok
