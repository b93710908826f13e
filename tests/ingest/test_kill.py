"""Is anything lost or taken twice when ingest is killed, wherever it was?"""

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kafka_node import KafkaCluster
from killed_ingest import following_child, ingest_whole, run_and_kill, warm
from made_log import Maker, write
from table_rows import Rows, all_rows, delete_projection

from ingest.service import ingest_case
from roundlog.case import Case
from roundlog.log.kafka import KafkaLog
from roundlog.log.port import Entry

KILLS = 20


@pytest.fixture(scope="module", autouse=True)
def fork_server() -> Iterator[None]:
    with warm():
        yield


@pytest.fixture(scope="module")
def events() -> list[Entry]:
    """Gaps, late fills, copies, refusals and second versions, all along the log."""
    rng = np.random.default_rng(3)
    maker = Maker()
    made = maker.opening()
    for index in range(40):
        block = maker.rounds(60)
        if index % 4 == 1:
            block.append(maker.commit(delta=b"short"))
        if index % 4 == 2:
            block.append(maker.commit(delta=np.full(8, np.nan, dtype=np.float32).tobytes()))
        if index % 4 == 3:
            late = block.pop(int(rng.integers(len(block))))
            block += [late, *block[10:20], maker.unknown()]
        if index % 8 == 5:
            del block[7:9]
            block.append(Maker(seed=index).opening()[2])
        made += block
    return made


def without_intake_marks(rows: Rows) -> Rows:
    """How many marks an intake file holds depends on how often ingest began."""
    marks = [row for row in rows["watermarks"] if row[0] != "intake"]
    return rows | {"watermarks": marks}


def test_killing_it_loses_nothing_and_doubles_nothing(tmp_path: Path, events: list[Entry]) -> None:
    case = Case.create(tmp_path / "case")
    write(case, events)
    untouched = Case(shutil.copytree(case.path, tmp_path / "untouched"))
    began = time.perf_counter()
    ingest_whole(untouched.path, None)
    whole_s = time.perf_counter() - began

    rng = random.Random(11)
    killed = sum(run_and_kill(case, None, rng.uniform(0, whole_s)) for _ in range(KILLS))
    ingest_whole(case.path, None)
    assert killed > 0
    assert all_rows(case) == all_rows(untouched)


@pytest.mark.kafka
def test_killing_it_behind_a_topic_loses_nothing_and_doubles_nothing(
    tmp_path: Path, events: list[Entry], kafka: KafkaCluster, topic: str
) -> None:
    log = KafkaLog(kafka.bootstrap, topic, create=False)
    log.append(events)
    log.send([("run", b"rubbish")] * 3)
    log.close()
    source = f"kafka://{kafka.bootstrap}/{topic}"
    untouched, case = (Case.create(tmp_path / name) for name in ("untouched", "case"))
    began = time.perf_counter()
    ingest_whole(untouched.path, source)
    whole_s = time.perf_counter() - began

    rng = random.Random(12)
    killed = sum(run_and_kill(case, source, rng.uniform(0, whole_s / 3)) for _ in range(KILLS))
    ingest_whole(case.path, source)
    assert killed > KILLS // 2
    expected = without_intake_marks(all_rows(untouched))
    assert without_intake_marks(all_rows(case)) == expected
    # What is on disk alone says the same.
    delete_projection(case)
    ingest_case(case)
    assert without_intake_marks(all_rows(case)) == expected


@pytest.mark.kafka
def test_killing_the_broker_loses_nothing_and_doubles_nothing(case: Case, maker: Maker) -> None:
    with KafkaCluster(1) as own:
        source = f"kafka://{own.bootstrap}/mortal"
        sent = send(own, maker.opening())
        # In a process of its own, since the client makes noise when its broker dies.
        with following_child(case, source):
            for _ in range(5):
                sent += send(own, maker.rounds(200))
                own.node.kill()
                own.node.start()
            sent += send(own, maker.rounds(20))
            time.sleep(1)
        ingest_whole(case.path, source)
    rows = all_rows(case)
    assert sorted(row[2] for row in rows["events"]) == list(range(sent))
    assert rows["findings"] == []


def send(cluster: KafkaCluster, entries: list[Entry]) -> int:
    log = KafkaLog(cluster.bootstrap, "mortal", partitions=1)
    log.append(entries)
    log.close()
    return len(entries)
