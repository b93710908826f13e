"""What if the clock jumps by hours, to and fro? Nothing in the case changes, least of all order.

`time` in an event is for people; `seq`, the chain and the offsets order. What is measured, such as
how long to wait, is measured by a clock that cannot be set.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from unittest import mock

import numpy as np
from campaign import Campaign
from doomed import SCHEMA, batches_of, trained
from eventful_log import eventful
from handed_topic import values_of
from kept_record import check_record, ingested, on_record
from made_log import write
from table_rows import Rows

import ingest.said
import roundlog.recorder
from forensics.verify import verify_case
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.recorder import Recorder


@contextmanager
def jumping_clock(rng: random.Random) -> Iterator[None]:
    """Every look at the wall clock says another hour, up to half a year away."""
    wall, wall_ns = time.time, time.time_ns

    def jump() -> float:
        return rng.uniform(-180, 180) * 86_400

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumping":
            found = datetime.now(tz) + timedelta(seconds=jump())
            return cls.combine(found.date(), found.timetz())

    with ExitStack() as stack:
        for module, name, jumps in (
            (time, "time", lambda: wall() + jump()),
            (time, "time_ns", lambda: wall_ns() + int(jump() * 1e9)),
            (roundlog.recorder, "datetime", Jumping),
            (ingest.said, "datetime", Jumping),
        ):
            stack.enter_context(mock.patch.object(module, name, jumps))
        yield


def test_ingest_says_the_same_under_a_clock_that_jumps(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    told = eventful(seed, blocks=campaign.times(short=14, long=300))
    for values in (None, values_of(told.entries)):
        found: list[Rows] = []
        for jumps in (False, True):
            case = Case.create(tmp_path / f"{values is None}-{jumps}")
            with ExitStack() as stack:
                if jumps:
                    stack.enter_context(jumping_clock(rng))
                if values is None:
                    write(case, told.entries)
                with batches_of(16):
                    found.append(ingested(case, values))
        assert found[0] == found[1]


def test_a_run_recorded_under_a_clock_that_jumps_is_in_order_and_whole(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    runs: list[tuple[Case, np.ndarray]] = []
    for jumps in (False, True):
        path = tmp_path / f"{jumps}"
        model = np.zeros(64, np.float32)
        with ExitStack() as stack:
            if jumps:
                stack.enter_context(jumping_clock(rng))
            for piece in range(3):
                with Recorder(path, run="run", on_error="raise") as recorder:
                    recorder.genesis(SCHEMA, model, architecture="made", round=20 * piece)
                    for t in range(20 * piece, 20 * piece + 20):
                        model = trained(model, t)
                        recorder.commit(model, round=t, cohort_size=10)
        runs.append((Case(path), model))
    (steady, expected), (jumped, model) = runs
    assert model.tobytes() == expected.tobytes()
    assert verify_case(jumped).ok
    recorded = on_record(jumped.segments, "run/server")
    rows = check_record(jumped, recorded)
    assert [row[2] for row in sorted(rows["events"], key=lambda row: row[2])] == list(range(62))
    # Only the time for people differs, and what is a digest of it.
    expected_rows = ingested(steady)
    assert len(rows["rounds"]) == 60
    assert [row[9:11] for row in sorted(rows["rounds"], key=lambda row: row[4])] == [
        row[9:11] for row in sorted(expected_rows["rounds"], key=lambda row: row[4])
    ]


def test_a_stop_is_not_waited_for_longer_when_the_clock_jumps(case: Case, seed: int) -> None:
    write(case, eventful(seed, blocks=2).entries)
    stop = threading.Event()
    with jumping_clock(random.Random(seed)), closing(Store(case)) as store:
        thread = threading.Thread(
            target=ingest_case,
            args=(case,),
            kwargs={"store": store, "until_end": False, "stop": stop},
        )
        thread.start()
        time.sleep(0.3)
        stop.set()
        began = time.monotonic()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - began < 5
