"""What if a byte of the evidence changes? Found by its file, never passed over; the rest goes on.

A producer's log of two sealed segments and an open one. A bit of a heads, vec or seal file is
flipped: `roundlog verify` names that file, ingest takes everything but the event that the byte
belonged to and says which one that was, and no model is rebuilt through the damage.
"""

import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from campaign import Campaign
from kept_record import accepted_in, check_rebuild, damaged_files, ingested, places
from made_log import Maker, write

from forensics.rebuild import CaseModels
from forensics.verify import verify_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import DigestMismatchError, LogGapError
from roundlog.events import parse_head
from roundlog.log.port import Entry
from roundlog.log.segments import delta_bytes, list_segments, scan_heads


@dataclass
class Whole:
    """An undamaged case, and what each of its bytes belongs to."""

    case: Case
    entries: list[Entry]
    owners: dict[Path, list[tuple[range, int | None]]]
    """By file, relative to the case: stretches, and the seq of their event; None in a seal."""

    def seq_at(self, file: Path, byte: int) -> int | None:
        return next(seq for stretch, seq in self.owners[file] if byte in stretch)

    def rotten(self, path: Path, file: Path, byte: int, bit: int) -> Case:
        """A copy with one bit flipped."""
        case = Case(shutil.copytree(self.case.path, path))
        data = bytearray((case.path / file).read_bytes())
        data[byte] ^= 1 << bit
        (case.path / file).write_bytes(data)
        return case


@pytest.fixture(scope="module")
def whole(seed: int, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    case, maker = Case.create(tmp_path_factory.mktemp("whole") / "case"), Maker(seed=seed)
    parts = [maker.opening() + maker.rounds(2), maker.rounds(3), maker.rounds(2)]
    for part in parts:
        write(case, part, seal=part is not parts[-1])
    assert verify_case(case).ok
    owners: dict[Path, list[tuple[range, int | None]]] = {}
    for segment in list_segments(case.segments / "run" / "server"):
        heads, vec, seal = (
            file.relative_to(case.path) for file in (segment.heads, segment.vec, segment.seal)
        )
        for stored in scan_heads(segment.heads.read_bytes()):
            assert stored.frame is not None
            seq, size = parse_head(stored.frame.head).seq, delta_bytes(stored.frame)
            owners.setdefault(heads, []).append((range(stored.offset, stored.end), seq))
            if size:
                row = (stored.frame.row or 0) * size
                owners.setdefault(vec, []).append((range(row, row + size), seq))
        if segment.sealed:
            owners[seal] = [(range(segment.seal.stat().st_size), None)]
    return Whole(case, [entry for part in parts for entry in part], owners)


def bytes_of(whole: Whole) -> list[tuple[Path, int]]:
    return [
        (file, byte)
        for file, stretches in whole.owners.items()
        for stretch, _ in stretches
        for byte in stretch
    ]


def test_any_flipped_byte_is_found_in_its_file(
    whole: Whole, tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    every = bytes_of(whole)
    assert len(every) > 5000
    case = Case(shutil.copytree(whole.case.path, tmp_path / "case"))
    for file, byte in every if campaign.long else rng.sample(every, 250):
        kept = (case.path / file).read_bytes()
        data = bytearray(kept)
        data[byte] ^= 1 << rng.randrange(8)
        (case.path / file).write_bytes(data)
        assert str(file) in damaged_files(case), f"byte {byte} of {file}"
        (case.path / file).write_bytes(kept)
    assert verify_case(case).ok


def test_ingest_takes_all_but_the_event_that_a_flipped_byte_belonged_to(
    whole: Whole, tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    acknowledged = places(whole.entries)
    of_events = [one for one in bytes_of(whole) if whole.seq_at(*one) is not None]
    last = max(entry.event.seq for entry in whole.entries)
    for at, (file, byte) in enumerate(rng.sample(of_events, campaign.times(short=10, long=300))):
        case = whole.rotten(tmp_path / f"{at}", file, byte, rng.randrange(8))
        seq = whole.seq_at(file, byte)
        rows = ingested(case)
        assert {one[2] for one in acknowledged - accepted_in(rows)} == {seq}, f"{file} {byte}"
        kinds = {row[1] for row in rows["findings"]}
        if file.suffix == ".vec":
            assert [(row[1], row[5]) for row in rows["quarantine"]] == [("side_digest", seq)]
            assert "bad_digest" in kinds
        else:
            assert rows["quarantine"], f"{file} {byte}"
            assert seq == last or "gap" in kinds, f"{file} {byte}: {kinds}"
        check_rebuild(case, rows)
        shutil.rmtree(case.path)


def test_a_seal_that_rots_costs_no_event(whole: Whole, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for file, stretches in whole.owners.items():
        if file.suffix == ".seal":
            byte = rng.choice(stretches[0][0])
            case = whole.rotten(tmp_path / file.stem, file, byte, rng.randrange(8))
            assert accepted_in(ingested(case)) == places(whole.entries)


def test_what_rots_behind_the_watermark_is_found_and_what_comes_is_taken(
    whole: Whole, tmp_path: Path, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    for at in range(campaign.times(short=3, long=40)):
        case = Case(shutil.copytree(whole.case.path, tmp_path / f"{at}"))
        before = accepted_in(ingested(case))
        file, byte = rng.choice(bytes_of(whole))
        data = bytearray((case.path / file).read_bytes())
        data[byte] ^= 1 << rng.randrange(8)
        (case.path / file).write_bytes(data)
        stranger = Maker(run="other", seed=seed)
        write(case, more := stranger.opening())
        assert accepted_in(ingested(case)) == before | places(more)
        assert str(file) in damaged_files(case)
        shutil.rmtree(case.path)


@pytest.mark.parametrize("when", ["before it was ingested", "behind the watermark"])
def test_no_model_is_rebuilt_through_a_row_that_rotted(
    whole: Whole, tmp_path: Path, seed: int, when: str
) -> None:
    rng = random.Random(seed)
    rows = [(file, b) for file, b in bytes_of(whole) if file.suffix == ".vec"]
    file, byte = rng.choice(rows)
    case = Case(shutil.copytree(whole.case.path, tmp_path / "case"))
    if when == "behind the watermark":
        ingested(case)
    data = bytearray((case.path / file).read_bytes())
    data[byte] ^= 1 << rng.randrange(8)
    (case.path / file).write_bytes(data)
    ingested(case)
    seq = whole.seq_at(file, byte)
    damaged = next(entry.event for entry in whole.entries if entry.event.seq == seq)
    t = damaged.round  # type: ignore[attr-defined]
    with closing(Store(case)) as store:
        models = CaseModels(case, store, "run")
        for model in range(models.last + 1):
            if model <= t:
                assert models.whole(model).matches
            elif when == "behind the watermark":
                with pytest.raises(DigestMismatchError, match=f"model {model} was rebuilt as"):
                    models.whole(model)
            else:
                with pytest.raises(LogGapError, match=f"round {t} is missing"):
                    models.whole(model)


def test_a_quarantined_record_that_rots_is_told_when_the_projection_is_built_again(
    case: Case, maker: Maker, seed: int
) -> None:
    """Behind Kafka it is all that is left of the record; here its segment has it still."""
    write(case, [*maker.opening(), maker.commit(delta=b"short")])
    rows = ingested(case)
    (path,) = case.quarantine.iterdir()
    data = bytearray(path.read_bytes())
    data[random.Random(seed).randrange(data.index(b"\n"))] ^= 128  # no UTF-8 any more
    path.write_bytes(data)
    case.database.unlink()
    again = ingested(case)
    assert "damaged_file" in {row[1] for row in again["findings"]}
    assert accepted_in(again) == accepted_in(rows)
