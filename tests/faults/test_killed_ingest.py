"""Is anything lost or taken twice when ingest is killed, at whatever moment, or the power goes?"""

import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from campaign import Campaign
from doomed import Ended, ingest, run, run_and_kill
from eventful_log import Eventful, eventful
from handed_topic import values_of
from kept_record import check_rebuild, check_record, files_of, ingested, places, same_facts
from made_log import write
from table_rows import Rows

from roundlog.case import Case
from roundlog.log.port import Entry

BATCH = 16

BEHIND = pytest.mark.parametrize("behind", ["segments", "topic"])


class Road:
    """How events come into a case: by its own segments, or by a topic that ingest takes in."""

    def __init__(self, behind: str, case: Case) -> None:
        self.case, self._is_topic = case, behind == "topic"
        self._entries: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        """Acknowledged when it returns."""
        self._entries += entries
        if not self._is_topic:
            write(self.case, entries)

    @property
    def values(self) -> list[bytes] | None:
        return values_of(self._entries) if self._is_topic else None

    def to_the_end(self) -> Ended:
        ended = run(ingest, self.case.path, self.values, BATCH, None)
        assert (ended.code, ended.error) == (0, "")
        return ended


def whole(road: Road, told: Eventful) -> Rows:
    """The rows of an ingest that nothing happens to."""
    road.append(told.entries)
    road.to_the_end()
    return ingested(road.case)


@BEHIND
def test_killed_at_any_instant_it_loses_nothing_and_doubles_nothing(
    tmp_path: Path, seed: int, campaign: Campaign, behind: str
) -> None:
    rng = random.Random(seed)
    told = eventful(seed, blocks=campaign.times(short=60, long=300))
    untouched = whole(Road(behind, Case.create(tmp_path / "untouched")), told)
    road = Road(behind, Case.create(tmp_path / "case"))
    kills = campaign.times(short=12, long=110)
    cuts = [*sorted(rng.sample(range(len(told.entries)), kills)), len(told.entries)]
    killed, done = 0, 0
    for cut in cuts:
        road.append(told.entries[done:cut])
        done = cut
        after_s = rng.expovariate(1 / 0.08)
        ended = run_and_kill(after_s, ingest, road.case.path, road.values, BATCH, None)
        assert ended.error == ""
        killed += ended.code == -signal.SIGKILL
    road.to_the_end()
    assert killed > kills // 4, "the kills came too late"
    rows = check_record(
        road.case,
        places(told.entries),
        refused=told.refused,
        findings=[row[1] for row in untouched["findings"]],
    )
    assert same_facts(rows, untouched)


@BEHIND
@pytest.mark.parametrize("end", ["kill", "power loss"])
def test_ended_between_any_two_writes_it_loses_nothing_and_doubles_nothing(
    tmp_path: Path, seed: int, campaign: Campaign, behind: str, end: str
) -> None:
    rng = random.Random(seed)
    told = eventful(seed, blocks=7)
    road = Road(behind, Case.create(tmp_path / "untouched"))
    road.append(told.entries)
    before = shutil.copytree(road.case.path, tmp_path / "before")
    steps = road.to_the_end().answer
    untouched = ingested(road.case)
    assert steps > 20
    # Between all of them in the long form; the short one reaches them all in a few runs.
    for at in rng.sample(range(steps), campaign.times(short=8, long=steps)):
        case = Case(shutil.copytree(before, tmp_path / f"ended-{at}"))
        assert run(ingest, case.path, road.values, BATCH, at, end).code == -signal.SIGKILL
        if rng.random() < 0.5:  # the recovery as well, somewhere
            run(ingest, case.path, road.values, BATCH, rng.randrange(steps), end)
        rows = ingested(case, road.values)
        assert same_facts(rows, untouched), f"step {at}"
        assert files_of(case).keys() == files_of(road.case).keys(), f"step {at}"
        if campaign.long or rng.random() < 0.3:
            check_rebuild(case, rows)
            # What a topic is read again for is known by its origin.
            assert same_facts(ingested(case, road.values), untouched), f"step {at}"
        shutil.rmtree(case.path)
