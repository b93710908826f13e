"""What if ingest is asked to stop, at any instant? It drains its batch, and exits 0 within 5 s.

A container's runtime kills after 10 s. Everything up to the last whole batch is committed, and the
next ingest goes on from there.
"""

import random
import time
from pathlib import Path

import pytest
from campaign import Campaign
from doomed import Child, ingest_until_asked
from eventful_log import eventful
from handed_topic import values_of
from kept_record import check_rebuild, ingested, same_facts
from made_log import write

from roundlog.case import Case

DRAIN_S = 5.0


@pytest.mark.parametrize("behind", ["segments", "topic"])
def test_asked_to_stop_at_any_instant_it_ends_well_and_soon(
    tmp_path: Path, seed: int, campaign: Campaign, behind: str
) -> None:
    rng = random.Random(seed)
    told = eventful(seed, blocks=campaign.times(short=40, long=120))
    values = values_of(told.entries) if behind == "topic" else None
    case, untouched = (Case.create(tmp_path / name) for name in ("case", "untouched"))
    if values is None:
        write(untouched, told.entries)
    expected = ingested(untouched, values)
    stopped = done = 0
    for at in range(stops := campaign.times(short=5, long=40)):
        until = len(told.entries) * (at + 1) // stops
        if values is None:
            write(case, told.entries[done:until])
        done = until
        child = Child(ingest_until_asked, case.path, values and values[:until], 8)
        assert child.hear() == "begun"
        time.sleep(rng.uniform(0, 0.15) if at else 0)
        began = time.monotonic()
        child.process.terminate()
        ended = child.end()
        assert time.monotonic() - began < DRAIN_S
        assert (ended.code, ended.error) == (0, "")
        stopped += bool(ended.answer)
    assert stopped, "every stop came too late"
    rows = ingested(case, values)
    assert same_facts(rows, expected)
    check_rebuild(case, rows)
