"""What if events come twice, in another order, with holes, or from two servers of one run at once?

Appending is at-least-once, so all of this is allowed: each event counts once, whenever it came, a
hole is told when it appears and is no hole any more when it was filled, and what two producers say
is never mixed up. Pieces of the log are ingested in between, at places that a seed chooses.
"""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from campaign import Campaign
from handed_topic import values_of
from kept_record import accepted_in, check_rebuild, check_record, ingested, places
from made_log import Maker, write

from ingest.store import Store
from roundlog.case import Case
from roundlog.log.port import Entry

PRODUCERS = ("east", "west")


def of_two_servers(seed: int, rounds: int) -> list[list[Entry]]:
    """What each of two producers says of one run, in order."""
    makers = [Maker(producer=name, seed=seed + at) for at, name in enumerate(PRODUCERS)]
    return [maker.opening() + maker.rounds(rounds) for maker in makers]


def shuffled(said: list[list[Entry]], rng: random.Random) -> list[Entry]:
    """Both mixed; events are held back for a while, or sent again."""
    queues = [list(one) for one in said]
    mixed: list[Entry] = []
    while any(queues):
        queue = rng.choice([one for one in queues if one])
        mixed.append(queue.pop(0))
    for _ in range(len(mixed) // 6):
        late = mixed.pop(rng.randrange(len(mixed)))
        mixed.insert(rng.randrange(len(mixed) + 1), late)
    for _ in range(len(mixed) // 6):
        again = rng.choice(mixed)
        mixed.insert(rng.randrange(len(mixed) + 1), again)
    return mixed


def pieces(entries: list[Entry], rng: random.Random, many: int) -> Iterator[list[Entry]]:
    cuts = sorted(rng.sample(range(len(entries)), many))
    for first, stop in zip([0, *cuts], [*cuts, len(entries)], strict=True):
        yield entries[first:stop]


def open_gaps(case: Case) -> list[tuple[str, int, int]]:
    with closing(Store(case)) as store:
        return [tuple(row[1:]) for row in store.rows("FROM open_gaps ORDER BY ALL")]


@pytest.mark.parametrize("behind", ["segments", "topic"])
def test_each_event_counts_once_whatever_the_order_and_however_often_it_comes(
    tmp_path: Path, seed: int, campaign: Campaign, behind: str
) -> None:
    rng = random.Random(seed)
    for at in range(campaign.times(short=1, long=30)):
        said = of_two_servers(rng.randrange(2**32), rounds=25)
        mixed = shuffled(said, rng)
        case = Case.create(tmp_path / f"{at}")
        sent: list[Entry] = []
        for piece in pieces(mixed, rng, many=3):
            sent += piece
            if behind == "segments":
                write(case, piece)
            rows = ingested(case, values_of(sent) if behind == "topic" else None)
            assert accepted_in(rows) == places(sent)
        # What was held back was a gap for a while; nothing else was ever wrong.
        assert {row[1] for row in rows["findings"]} <= {"gap", "schema"}
        assert rows["quarantine"] == []
        assert len(rows["duplicates"]) == len(mixed) - len(places(mixed))
        check_rebuild(case, rows)
        assert open_gaps(case) == []


def test_what_never_comes_stays_a_gap(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    said = of_two_servers(seed, rounds=25)
    holes = {name: sorted(rng.sample(range(4, 50), 3)) for name in PRODUCERS}
    kept = [
        [entry for entry in entries if entry.event.seq not in holes[entry.event.producer]]
        for entries in said
    ]
    for piece in pieces(shuffled(kept, rng), rng, many=2):
        write(case, piece)
        ingested(case)
    rows = check_record(case, {one for entries in kept for one in places(entries)}, findings=None)
    assert {row[1] for row in rows["findings"]} <= {"gap", "schema"}
    missing = {(name, seq) for name in PRODUCERS for seq in holes[name]}
    assert {
        (name, seq) for name, first, last in open_gaps(case) for seq in range(first, last + 1)
    } == missing


def test_two_servers_that_call_themselves_the_same_are_told_apart_by_what_they_say(
    case: Case, seed: int
) -> None:
    """The first one that is read stays; the other is kept in quarantine, event by event."""
    rng = random.Random(seed)
    one, other = (Maker(seed=seed + at) for at in range(2))
    first = one.opening() + one.rounds(10)
    second = other.opening() + other.rounds(10)
    shared = places(first) & places(second)
    mixed = shuffled([first, second], rng)
    for piece in pieces(mixed, rng, many=3):
        write(case, piece)
        rows = ingested(case)
    accepted = accepted_in(rows)
    assert len(accepted) == len({place[:3] for place in accepted}) == len(first)
    refused = {(row[3], row[4], row[5], row[7]) for row in rows["quarantine"]}
    assert accepted | refused == places(first) | places(second)
    assert accepted & refused == set()
    assert {row[1] for row in rows["quarantine"]} == {"equivocation"}
    told = {row[4] for row in rows["findings"] if row[1] == "equivocation"}
    assert told == {place[2] for place in refused}
    assert shared <= accepted
    check_rebuild(case, rows)
