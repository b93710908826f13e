"""What if a record was made to do harm, or to be misread? Accepted whole or refused with a reason.

Thousands of mutations of good frames (`poisoned_frames`). Whatever they are, ingest raises nothing,
and every record of the topic is an event, a copy of one, or in quarantine: none is skipped. Those
bytes in a segment, where a length may swallow what stands behind it, neither.
"""

import gzip
import itertools
import random
from collections.abc import Iterable

import psutil
import pytest
from campaign import Campaign
from handed_topic import ORIGIN, values_of
from kept_record import accepted_in, check_rebuild, ingested, places
from made_log import Maker, append_raw, last_heads, on_disk, write
from poisoned_frames import every_kind, framed, poisoned
from table_rows import Rows

from roundlog.case import Case
from roundlog.log.embedded import offset_of
from roundlog.log.port import RAW_LIMIT
from roundlog.log.segments import scan_heads

pytestmark = pytest.mark.usefixtures("quick_disk")


def check_every_record(rows: Rows, offsets: Iterable[int], origin: str | None) -> None:
    """Each record of a log left exactly one row: of an event, of a copy, or in quarantine."""
    events = [row[12] for row in rows["events"] if row[11] == origin]
    copies = [row[5] for row in rows["duplicates"] if row[4] == origin]
    refused = [row[15] for row in rows["quarantine"] if row[13] == origin]
    assert sorted([*events, *copies, *refused]) == sorted(offsets)


def test_every_poisoned_record_of_a_topic_is_taken_or_refused(
    case: Case, maker: Maker, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    good = every_kind(maker)
    some = campaign.times(short=1_500, long=25_000)
    bad = list(itertools.islice(poisoned(good, rng), some))
    later = maker.rounds(3)
    values = [*values_of(good), *bad, *values_of(later)]
    rows = ingested(case, values)
    check_every_record(rows, range(len(values)), ORIGIN)
    assert places([*good, *later]) <= accepted_in(rows)
    reasons = {row[1] for row in rows["quarantine"]}
    assert reasons >= {
        "checksum",
        "field",
        "json",
        "side_digest",
        "equivocation",
        "lengths",
        "utf8",
    }
    check_rebuild(case, rows)


def test_every_poisoned_stretch_of_a_segment_is_taken_or_refused(
    case: Case, maker: Maker, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    good = every_kind(maker)
    write(case, good)
    later = [maker.audit() for _ in range(20)]
    bad = poisoned(good, rng)
    for entry in later:
        some = campaign.times(short=40, long=900)
        append_raw(case, *itertools.islice(bad, some), on_disk(entry))
    heads = last_heads(case)
    offsets = [offset_of(0, stored.offset) for stored in scan_heads(heads.read_bytes())]
    rows = ingested(case)
    check_every_record(rows, offsets, None)
    # Of the later events, a length that lies may have swallowed one: then its bytes are kept.
    assert places(good) <= accepted_in(rows)
    check_rebuild(case, rows)
    # And a recorder that comes back goes on behind it.
    write(case, more := Maker(run="run", producer="other").opening())
    assert places(more) <= accepted_in(ingested(case))


@pytest.mark.parametrize("bomb", ["compressed", "giant", "deep", "wide"])
def test_a_bomb_is_kept_as_small_as_it_came(case: Case, maker: Maker, bomb: str) -> None:
    value = {
        # A record is not a compressed file: nothing expands it. (Kafka's own batches are: there.)
        "compressed": gzip.compress(bytes(1 << 28)),
        "giant": b"rl\1\0" + bytes(24 << 20),
        "deep": framed(b'{"type":' + b"[" * 65_000),
        "wide": framed(b"[" + b"0," * 32_000 + b"0]"),
    }[bomb]
    ingested(case, values_of(maker.opening()))
    before = psutil.Process().memory_info().rss
    values = [*values_of(maker.opening()), *[value] * 3]
    rows = ingested(case, values)
    assert psutil.Process().memory_info().rss - before < 200 << 20
    assert len(rows["quarantine"]) == 3
    assert all(row[10] <= RAW_LIMIT + 64 for row in rows["quarantine"])
    assert {row[9] for row in rows["quarantine"]} == {len(value)}
