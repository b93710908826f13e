"""Does a scrub look at every byte that a case keeps, name what is wrong, and keep its rate?"""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_log import Maker, append_raw, on_disk, write

from forensics.pace import Pace
from forensics.scrub import Scrubbed, scrub_case
from forensics.verify import verify_case
from ingest.intake import IntakeFile, Note, TopicPartition
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import digest

AT = TopicPartition("cluster", "fl.rounds", "topic-id", "0")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with something in every folder: one refused record, and notes about a topic."""
    case = Case.create(tmp_path_factory.mktemp("scrub") / "case")
    maker = Maker()
    write(case, maker.opening() + maker.rounds(10))
    append_raw(case, b"no frame at all " * 20, on_disk(maker.audit()))
    write(case, [maker.commit()], seal=True)
    file = IntakeFile(case.intake, AT)
    notes = [Note("lost", 5, {"until": 9, "reason": "a test", "topic": AT.topic})]
    file.append(notes, Note("read", 12, {"topic": AT.topic}))
    file.close()
    with case.own():
        ingest_case(case)
    return case.path


@pytest.fixture
def case(kept: Path, tmp_path: Path) -> Case:
    return Case(shutil.copytree(kept, tmp_path / "case"))


@contextmanager
def opened(case: Case) -> Iterator[Store]:
    with case.own():
        store = Store(case)
        try:
            yield store
        finally:
            store.close()


def scrub(case: Case, **options: Any) -> Scrubbed:
    with opened(case) as store:
        return scrub_case(case, store=store, **options)


def new_findings(case: Case) -> list[tuple[str, str | None]]:
    """Kind and file of what a scrub finds that was not there when the case was made."""
    found = [(one.kind, one.file) for one in scrub(case).verdict.findings]
    # The bytes that are no frame stay where they are, and the lost range was noted.
    usual = ["damaged", "lost_range"]
    for kind in usual:
        found.remove(next(one for one in found if one[0] == kind))
    return found


def test_a_scrub_says_what_verify_says_and_how_much_was_read(case: Case) -> None:
    with opened(case) as store:
        verdict = verify_case(case, store=store).document()
        scrubbed = scrub_case(case, store=store).document()
    assert {key: scrubbed[key] for key in verdict} == verdict
    beside = [*case.blobs.iterdir(), *case.quarantine.iterdir(), *case.intake.rglob("*.log")]
    assert scrubbed["files"] == len(beside)
    read = sum(path.stat().st_size for path in [*case.segments.rglob("*.*"), *beside])
    folded = 11 * 32
    assert scrubbed["bytes"] == read + folded - _seal_bytes(case)


def _seal_bytes(case: Case) -> int:
    # A seal is a few hundred bytes, read whole with its segment, and not paced.
    return sum(path.stat().st_size for path in case.segments.rglob("*.seal"))


@pytest.mark.parametrize("folder", ["blobs", "quarantine", "intake", "segments"])
def test_any_flipped_bit_is_found_in_its_file(case: Case, folder: str) -> None:
    rng = random.Random(f"scrub {folder}")
    root = case.path / folder
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    for _ in range(12):
        path = rng.choice(files)
        original = path.read_bytes()
        at, bit = rng.randrange(len(original)), rng.randrange(8)
        changed = bytearray(original)
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        name = str(path.relative_to(case.path))
        named = [one for one in scrub(case).verdict.findings if one.file == name]
        usual = folder == "segments" and path.suffix == ".heads"
        where = f"bit {bit} of byte {at} of {name} was flipped, and nobody noticed"
        assert len(named) > usual, where
        path.write_bytes(original)


def test_a_damaged_place_is_named_by_its_byte(case: Case) -> None:
    path = sorted(case.segments.rglob("*.vec"))[0]
    data = bytearray(path.read_bytes())
    data[4 * 32 + 7] ^= 1
    path.write_bytes(data)
    found = next(one for one in scrub(case).verdict.findings if one.kind == "bad_digest")
    assert (found.file, found.byte, found.round) == (
        "segments/run/server/000000000000.vec",
        4 * 32,
        4,
    )
    assert "no model from 5 on can be rebuilt" in found.detail


def test_a_blob_that_is_wrong_or_gone_says_what_it_holds_and_how_to_get_it_back(
    case: Case,
) -> None:
    model = digest(Maker().model.tobytes())
    (case.blobs / model).write_bytes(b"other bytes")
    assert new_findings(case) == [("bad_digest", f"blobs/{model}")]
    (case.blobs / model).unlink()
    found = scrub(case).verdict.findings[-1]
    assert (found.kind, found.run, found.file) == ("missing_file", "run", f"blobs/{model}")
    assert "W_0 of run run" in found.detail
    # As it says: the log holds it too.
    case.database.unlink()
    with case.own():
        ingest_case(case)
    assert new_findings(case) == []


def test_files_that_nobody_knows_are_named(case: Case) -> None:
    (case.blobs / "notes.txt").write_bytes(b"?")
    (case.quarantine / "notes.txt").write_bytes(b"?")
    (case.blobs / "left.part").write_bytes(b"of a writer that was killed")
    (case.path / "README").write_bytes(b"?")
    case.triggers.mkdir()
    (case.triggers / "suspect.json").write_bytes(b"{}")
    assert new_findings(case) == [
        ("stray_file", "blobs/notes.txt"),
        ("stray_file", "quarantine/notes.txt"),
    ]
    assert scrub(case).verdict.unchecked == (
        "triggers/: 1 file carries no digest to compare with",
        "what is no part of a case: README",
    )


def test_the_tail_of_notes_is_torn_unless_somebody_is_writing_it(case: Case) -> None:
    with next(case.intake.rglob("*.log")).open("ab") as file:
        file.write(b"rl\x01\x00half a note")
    assert new_findings(case) == [("torn_tail", f"intake/{AT.origin}.log")]
    followed = scrub(case, followed=True).verdict.findings
    assert "torn_tail" not in {one.kind for one in followed}


def test_one_run_can_be_scrubbed_alone(case: Case) -> None:
    other = Maker(run="other")
    write(case, other.opening() + other.rounds(2), seal=True)
    with case.own():
        ingest_case(case)
    assert scrub(case, run="other").verdict.rounds == 2
    assert scrub(case).verdict.rounds == 13


def test_progress_reaches_its_total_and_ends_what_it_raises_in(case: Case) -> None:
    told: list[tuple[int, int]] = []
    scrubbed = scrub(case, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == scrubbed.bytes <= told[-1][1]

    def stop(done: int, total: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        scrub(case, progress=stop)


def test_a_pace_holds_its_rate_and_can_be_interrupted() -> None:
    pace = Pace(1_000_000, lambda done: None)
    began = time.monotonic()
    for _ in range(20):
        pace(10_000)
    assert time.monotonic() - began >= 0.2
    assert pace.bytes == 200_000
    calls: list[int] = []

    def stop(done: int) -> None:
        calls.append(done)
        if len(calls) == 3:
            raise InterruptedError("enough")

    began = time.monotonic()
    with pytest.raises(InterruptedError, match="enough"):
        Pace(1, stop)(3_600)
    # It would have slept for an hour.
    assert time.monotonic() - began < 30
