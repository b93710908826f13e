"""What if the disk is full or broken, at any file and any step? Told; nothing is lost or doubled.

Ingest and the writer of a log are refused at one durable step, or from one on, with ENOSPC or EIO,
or are given half a write. What comes out is an error of ours, and the next attempt, on a disk that
works again, ends where an undisturbed one does.
"""

import errno
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from campaign import Campaign
from doomed import batches_of, ingest_within, run
from durable_steps import DurableSteps, Step
from eventful_log import eventful
from handed_topic import values_of
from kept_record import check_rebuild, check_record, ingested, places, same_facts
from made_log import Maker, write

from forensics.verify import verify_case
from ingest.store import StoreError
from roundlog.case import Case
from roundlog.errors import LogError, RoundlogError
from roundlog.log.writer import SegmentWriter

BATCH = 16

FILES: dict[str, Callable[[Path], bool]] = {
    "heads": lambda path: path.suffix == ".heads",
    "vec": lambda path: path.suffix == ".vec",
    "seal": lambda path: ".seal" in path.name,
    "quarantine": lambda path: "quarantine" in path.parts,
    "intake": lambda path: "intake" in path.parts,
    "blobs": lambda path: "blobs" in path.parts,
    "directories": lambda path: path.is_dir(),
}


class Fault:
    """A disk that refuses a step, and the ones behind it where it `lasts`."""

    def __init__(self, at: int, error: int, *, lasts: bool, short: bool) -> None:
        self._at, self.error = at, error
        self._lasts, self._short = lasts, short
        self.met = False

    def act(self, step: Step) -> int | None:
        """As `durable_steps.Act`."""
        if step.index < self._at or (step.index > self._at + self._short and not self._lasts):
            return None
        if step.kind in ("commit", "committed", "delete"):
            return None  # DuckDB's own; and a full disk still deletes
        self.met = True
        if self._short and step.index == self._at and step.kind == "write" and step.size > 1:
            return step.size // 2
        raise OSError(self.error, os.strerror(self.error), str(step.path))


@pytest.mark.parametrize("file", FILES)
def test_a_disk_that_refuses_ingest_is_told_and_costs_nothing(
    tmp_path: Path, seed: int, campaign: Campaign, file: str
) -> None:
    rng = random.Random(seed)
    told = eventful(seed, blocks=7)
    behind_topic = file in ("heads", "vec", "seal", "intake") or rng.random() < 0.5
    values = values_of(told.entries) if behind_topic else None
    fresh = Case.create(tmp_path / "fresh")
    if values is None:
        write(fresh, told.entries)
    untouched = Case(shutil.copytree(fresh.path, tmp_path / "untouched"))
    with batches_of(BATCH), DurableSteps(untouched.path) as steps:
        expected = ingested(untouched, values)
    mine = [step.index for step in steps.seen if FILES[file](step.path)]
    assert mine, f"no step is about {file}"
    for at in rng.sample(mine, min(len(mine), campaign.times(short=3, long=40))):
        case = Case(shutil.copytree(fresh.path, tmp_path / f"{at}"))
        fault = Fault(
            at,
            rng.choice((errno.ENOSPC, errno.EIO)),
            lasts=rng.random() < 0.5,
            short=rng.random() < 0.5,
        )
        with batches_of(BATCH), DurableSteps(case.path, fault.act):
            said = ""
            try:
                ingested(case, values)
            except RoundlogError as error:
                said = str(error)
            assert not said or os.strerror(fault.error) in said
        assert fault.met
        rows = ingested(case, values)
        assert same_facts(rows, expected), f"step {at}"
        check_rebuild(case, rows)
        shutil.rmtree(case.path)


def test_a_commit_that_raised_is_settled_by_our_own_watermark(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    """It may have happened, or not: nobody can tell from outside."""
    rng = random.Random(seed)
    told = eventful(seed, blocks=campaign.times(short=14, long=70))
    for values in (None, values_of(told.entries)):
        case = Case.create(tmp_path / f"{values is None}")
        if values is None:
            write(case, told.entries)
        untouched = Case(shutil.copytree(case.path, tmp_path / f"untouched-{values is None}"))
        expected = ingested(untouched, values)
        failures = in_a_row = passed = 0

        def act(step: Step) -> None:
            nonlocal failures, in_a_row, passed
            if step.kind in ("commit", "committed") and in_a_row < 2 and rng.random() < 0.4:
                failures, in_a_row, passed = failures + 1, in_a_row + 1, 0
                raise StoreError(f"the disk said no, at {step.kind}")
            passed += step.kind == "committed"
            # A third one in a row would be believed, and two may pass before the batch comes again.
            in_a_row = 0 if passed > 2 else in_a_row

        with batches_of(BATCH), DurableSteps(case.path, act):
            rows = ingested(case, values)
        assert failures
        assert same_facts(rows, expected)
        check_rebuild(case, rows)


def test_a_kernel_that_lets_no_file_grow_costs_nothing(
    tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    """A refusal that is real: of the segments, or of DuckDB's own files where those are there."""
    rng = random.Random(seed)
    told = eventful(seed, blocks=60)
    untouched = [Case.create(tmp_path / f"untouched-{at}") for at in range(2)]
    write(untouched[0], told.entries)
    expected = [ingested(untouched[0]), ingested(untouched[1], values_of(told.entries))]
    refused = 0
    for at in range(campaign.times(short=4, long=60)):
        case, half = Case.create(tmp_path / f"{at}"), len(told.entries) // 2
        values = values_of(told.entries) if at % 2 else None
        if values is None:
            write(case, told.entries[:half])
        if rng.random() < 0.5:  # a projection that is there already
            ingested(case, values and values[:half])
        if values is None:
            write(case, told.entries[half:])
        ended = run(ingest_within, case.path, values, round(10 ** rng.uniform(4, 5.5)))
        assert ended.code == 0, f"the process ended with {ended.code}"
        assert ended.error.split(":")[0] in ("", "StoreError", "LogError"), ended.error
        refused += bool(ended.error)
        rows = ingested(case, values)
        assert same_facts(rows, expected[at % 2])
        check_rebuild(case, rows)
        shutil.rmtree(case.path)
    assert refused, "no limit was low enough"


def test_a_recorder_whose_disk_fails_now_and_then_records_everything_once(
    case: Case, maker: Maker, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    entries = maker.opening() + maker.rounds(campaign.times(short=800, long=6000))
    directory = case.segments / "run" / "server"
    due, failures = 0, 0

    def act(step: Step) -> int | None:
        if step.kind in ("write", "sync", "make", "cut") and rng.random() < 0.06:
            if step.kind == "write" and step.size > 1 and rng.random() < 0.5:
                return rng.randrange(1, step.size)
            error = rng.choice((errno.ENOSPC, errno.EIO))
            raise OSError(error, os.strerror(error), str(step.path))
        return None

    with DurableSteps(case.path, act):
        while due < len(entries):
            writer = None
            try:
                writer = SegmentWriter(directory, run="run", producer="server")
                # A round whose acknowledgement was not heard is said again only if it is not there.
                assert writer.next_seq >= due, "what was acknowledged is gone"
                due = writer.next_seq
                while due < len(entries):
                    batch = entries[due : due + rng.randint(1, 40)]
                    for entry in batch:
                        writer.append(entry)
                    writer.flush()
                    due += len(batch)
            except LogError:
                failures += 1
            finally:
                if writer is not None:
                    with suppress(LogError):
                        writer.close(seal=rng.random() < 0.3)
    assert failures > 3
    check_record(case, places(entries))
    assert verify_case(case).ok
