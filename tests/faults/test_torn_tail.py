"""What if a crash tore the last event? Every length that it may have left, in a run of its own.

One case holds a run for each tear, so that one ingest judges them all: first while nobody has come
back, then behind a recorder that came back and went on.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from campaign import Campaign
from kept_record import Place, check_record, place_of, places
from made_log import Maker, write

from forensics.verify import verify_case
from roundlog.case import Case
from roundlog.encoding import HEADER, START, encode_frame
from roundlog.log.port import Entry
from roundlog.log.segments import Segment

ROW = 32


pytestmark = pytest.mark.usefixtures("quick_disk")


@dataclass
class Torn:
    """A run whose files end somewhere in its last event."""

    case: Case
    maker: Maker
    acknowledged: list[Entry]
    last: Entry

    @classmethod
    def make(
        cls, case: Case, run: str, tear: Callable[[bytes, bytes], tuple[bytes, bytes]]
    ) -> "Torn":
        """Writes three events and a round, then tears what the round left in heads and vec."""
        maker = Maker(run=run)
        opening = maker.opening()
        write(case, opening)
        segment = Segment(case.segments / run / "server", 0)
        before = segment.heads.read_bytes()
        torn = cls(case, maker, opening, maker.commit())
        write(case, [torn.last])
        heads, vec = tear(segment.heads.read_bytes()[len(before) :], segment.vec.read_bytes())
        segment.heads.write_bytes(before + heads)
        segment.vec.write_bytes(vec)
        return torn

    def record_on(self) -> set[Place]:
        """The server comes back, and says the last event again, which nobody had acknowledged."""
        more = [self.last, *self.maker.rounds(1)]
        write(self.case, more)
        return places(more)


def some(lengths: range, campaign: Campaign, rng: random.Random) -> list[int]:
    """All of them in the long form; in the short one every byte of the header, and some others."""
    if campaign.long:
        return list(lengths)
    first = HEADER.size + 2
    return [*lengths[:first], *rng.sample(lengths[first:-1], 60), lengths[-1]]


def test_heads_cut_at_any_byte_cost_nothing_that_was_acknowledged(
    case: Case, seed: int, campaign: Campaign
) -> None:
    probe = Torn.make(case, "probe", lambda heads, vec: (heads, vec))
    size = Segment(case.segments / "probe" / "server", 0).heads.stat().st_size
    length = size - sum(len(encode_frame(entry.frame)) for entry in probe.acknowledged)
    cuts = some(range(length), campaign, random.Random(seed))
    runs = [
        Torn.make(case, f"cut-{cut}", lambda heads, vec, cut=cut: (heads[:cut], vec))  # type: ignore[misc]
        for cut in cuts
    ]
    torn = ["torn_tail"] * (len(cuts) - cuts.count(0))
    kept = places([*probe.acknowledged, probe.last])
    kept |= {place for run in runs for place in places(run.acknowledged)}
    check_record(case, kept, findings=torn, reasons=torn)
    assert [found.kind for found in verify_case(case).findings if found.kind == "torn_tail"] == torn
    kept |= {place for run in runs for place in run.record_on()}
    check_record(case, kept, findings=torn, reasons=torn)
    assert verify_case(case).ok


def test_rows_that_no_head_names_are_cut_without_a_word(
    case: Case, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    # Vec is written first: any part of the row, whole, or with what the disk made of the rest.
    lengths = [*range(ROW + 1), *(rng.randrange(ROW, 4096) for _ in range(8))]
    runs = [
        Torn.make(
            case,
            f"row-{at}",
            lambda _, vec, length=length: (b"", (vec + rng.randbytes(4096))[:length]),  # type: ignore[misc]
        )
        for at, length in enumerate(lengths)
    ]
    kept = {place for run in runs for place in places(run.acknowledged)}
    check_record(case, kept)
    kept |= {place for run in runs for place in run.record_on()}
    check_record(case, kept)
    assert verify_case(case).ok


def test_a_row_that_its_head_proves_is_missed_when_any_byte_of_it_is_gone(
    case: Case, seed: int
) -> None:
    """No crash does this, since rows are durable before heads: it is damage, and is told."""
    runs = [
        Torn.make(case, f"row-{length}", lambda heads, vec, length=length: (heads, vec[:length]))  # type: ignore[misc]
        for length in range(ROW)
    ]
    refused = {place_of(run.last): "vec_row" for run in runs}
    kept = {place for run in runs for place in places([*run.acknowledged, run.last])}
    found = ["bad_digest"] * len(runs)
    check_record(case, kept, refused=refused, findings=found)
    # The server goes on behind it, in a segment of its own, and no byte of the old one moves.
    before = {run.maker.run: _files(run) for run in runs}
    for run in runs:
        more = run.maker.rounds(2)
        write(case, more)
        kept |= places(more)
    check_record(case, kept, refused=refused, findings=found)
    assert {run.maker.run: _files(run) for run in runs} == before
    blamed = {found.file for found in verify_case(case).findings if found.kind == "vec_size"}
    assert blamed == {f"segments/{run.maker.run}/server/000000000000.vec" for run in runs}


def test_garbage_behind_the_last_event_is_told_kept_and_cut(
    case: Case, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    runs = [
        Torn.make(case, f"garbage-{at}", lambda heads, vec: (garbage(heads, rng), vec))
        for at in range(campaign.times(short=40, long=400))
    ]
    kept = {place for run in runs for place in places(run.acknowledged)}
    torn = ["torn_tail"] * len(runs)
    check_record(case, kept, findings=torn, reasons=torn)
    kept |= {place for run in runs for place in run.record_on()}
    check_record(case, kept, findings=torn, reasons=torn)
    assert verify_case(case).ok


def garbage(frame: bytes, rng: random.Random) -> bytes:
    """Bytes that no writer of ours wrote behind each other, and none that are a whole frame."""
    flipped = bytearray(frame)
    flipped[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
    return rng.choice(
        [
            rng.randbytes(rng.randint(1, 5000)),
            bytes(rng.randint(1, 5000)),  # what a file system makes of a length without its data
            bytes(flipped),
            frame[: rng.randrange(1, len(frame))] + bytes(rng.randint(1, 600)),
            START * rng.randint(1, 600),
            bytes(HEADER.pack(b"rl", 1, 0, 2**32 - 1, 0, 65_535, 65_535, 2**32 - 1)),
            frame[:-1] + bytes([frame[-1] ^ 255]) + frame[:40],
        ]
    )


def _files(run: Torn) -> tuple[bytes, bytes]:
    segment = Segment(run.case.segments / run.maker.run / "server", 0)
    return segment.heads.read_bytes(), segment.vec.read_bytes()
