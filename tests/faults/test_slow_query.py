"""What if somebody asks for minutes while events come in? Ingest goes on; the asker sees one state.

The question counts the events, works for a long time, and counts them again, in one statement: both
counts must be one committed state, however many batches were committed meanwhile.
"""

import random
import threading
import time
from contextlib import closing

from campaign import Campaign
from doomed import batches_of
from kept_record import check_record, places
from made_log import Maker, write

from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case

BATCH = 32

# Work in the middle of a statement that no optimiser can leave out, a few microseconds a thousand.
LONG_QUESTION = """
WITH before AS MATERIALIZED (SELECT count(*) AS n, coalesce(max(seq), -1) AS last FROM events),
work AS MATERIALIZED (
    SELECT sum(hash(range + before.n) % 7) AS done FROM range($size), before
),
after AS MATERIALIZED (
    SELECT count(*) AS n, coalesce(max(seq), -1) AS last
    FROM events, work WHERE work.done IS NOT NULL
)
SELECT before.n, after.n, before.last, after.last FROM before, work, after
"""


def test_a_long_question_neither_stops_ingest_nor_sees_half_a_batch(
    case: Case, maker: Maker, seed: int, campaign: Campaign
) -> None:
    rng = random.Random(seed)
    entries = maker.opening() + maker.rounds(50)
    write(case, entries)
    seconds = campaign.times(short=1, long=60)
    committed, stop = [0], threading.Event()
    answers: list[tuple[int, int, int, int]] = []
    with closing(Store(case)) as store, batches_of(BATCH):

        def follow() -> None:
            ingest_case(
                case,
                store=store,
                until_end=False,
                stop=stop,
                progress=lambda summary: committed.append(summary.events),
            )

        def ask() -> None:
            size = 1_000_000
            while not stop.is_set():
                began = time.monotonic()
                answers.extend(store.rows(LONG_QUESTION, {"size": size}))
                # Until one takes as long as it shall.
                if time.monotonic() - began < seconds / 3:
                    size *= 2

        threads = [threading.Thread(target=work) for work in (follow, ask)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or len(answers) < 2:
            more = maker.rounds(rng.randint(1, 40))
            write(case, more)
            entries += more
            time.sleep(0.02)
        while committed[-1] < len(entries):
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
    for first, again, last, last_again in answers:
        assert (first, last) == (again, last_again)
        assert last == first - 1, "events of a batch were seen without those before them"
        assert first in committed, "a state that was never committed"
    assert len(set(committed)) > 5
    check_record(case, places(entries))
