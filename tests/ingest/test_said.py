"""Is what people and detectors say part of the record: durable, once, in order, and rebuilt?"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from made_log import Maker, write
from said_alarms import FIELDS, raise_alarm
from table_rows import all_rows, delete_projection

import ingest.said
from ingest.batch import Batch
from ingest.blobs import Blobs
from ingest.classify import Classifier
from ingest.place import Origin
from ingest.reader import Accepted, Reader, Rejected
from ingest.said import CaseLog
from ingest.service import ingest_case
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.errors import CaseError, LogError, LogLockedError, QuestionError, RecorderError
from roundlog.events import (
    OWNER,
    AlarmAcknowledged,
    AlarmRaised,
    AlarmSilenced,
    CohortSealed,
    ModelReleased,
    alarm_key,
)
from roundlog.log.port import Entry, Record
from roundlog.log.segments import list_segments, scan_heads
from roundlog.log.writer import SegmentWriter

Ingest = Callable[[], IngestSummary]

RUN = "run"
ACT: dict[str, Any] = {"actor": "alice", "authenticated": "local", "said_at": 5}


@pytest.fixture
def recorded(case: Case, maker: Maker, ingest: Ingest) -> Case:
    """A case of five rounds, ingested."""
    write(case, maker.opening() + maker.rounds(5), seal=True)
    ingest()
    return case


@contextmanager
def owning(case: Case, *, followed: bool = False) -> Iterator[tuple[CaseLog, Store]]:
    """The case's log in the hands of its owner."""
    with case.own():
        store = Store(case)
        log = CaseLog(case, store, followed=followed)
        try:
            yield log, store
        finally:
            log.close()
            store.close()


def heads(case: Case, run: str = RUN) -> list[bytes]:
    """Every head that the owner wrote of a run, in the order of the files."""
    found = []
    for segment in list_segments(case.segments / run / OWNER):
        for stored in scan_heads(segment.heads.read_bytes()):
            assert stored.frame is not None
            found.append(stored.frame.head)
    return found


def test_what_is_said_is_on_disk_and_seen_at_once(recorded: Case) -> None:
    with owning(recorded) as (log, store):
        event = raise_alarm(log, RUN)
        assert (event.id, event.run, event.producer) == ("run/owner/0", RUN, OWNER)
        assert heads(recorded) == [event.head()]
        assert store.rows("SELECT key, round, detector FROM alarms") == [(event.key, 12, "cusum")]
        log.say(AlarmAcknowledged, run=RUN, alarm=event.key, note="seen", **ACT)
        (row,) = store.rows("SELECT kind, alarm, actor, note, said_at FROM alarm_acts")
        assert row == ("acknowledged", event.key, "alice", "seen", 5)


def test_words_follow_one_another_as_any_producer_s_events(recorded: Case) -> None:
    with owning(recorded) as (log, _):
        first = raise_alarm(log, RUN)
    with owning(recorded) as (log, store):
        second = log.say(AlarmAcknowledged, run=RUN, alarm=first.key, **ACT)
        third = log.say(
            AlarmSilenced, run=RUN, detector="cusum", from_round=5, until_round=9, **ACT
        )
        assert [event.seq for event in (first, second, third)] == [0, 1, 2]
        rows = store.rows("SELECT seq, status FROM events WHERE producer = 'owner' ORDER BY seq")
        assert rows == [(0, "ok"), (1, "ok"), (2, "ok")]
        assert store.rows("FROM findings") == []
    seals = [segment.read_seal() for segment in list_segments(recorded.segments / RUN / OWNER)]
    assert [(seal.first_seq, seal.last_seq) for seal in seals] == [(0, 0), (1, 2)]


def test_an_alarm_is_said_once_even_after_a_restart(recorded: Case) -> None:
    with owning(recorded) as (log, store):
        first = raise_alarm(log, RUN)
        assert raise_alarm(log, RUN, score=7.5) == first
        assert log.alarm(RUN, first.key) == first
    delete_projection(recorded)
    with owning(recorded) as (log, store):
        assert log.alarm(RUN, first.key) == first
        ingest_case(recorded, store=store)
        assert raise_alarm(log, RUN) == first
        assert store.rows("SELECT count(*) FROM alarms") == [(1,)]
        others = [raise_alarm(log, RUN, **{name: value}) for name, value in OTHERS]
        assert len({event.key for event in (first, *others)}) == 5
        assert store.rows("SELECT count(*) FROM alarms") == [(5,)]
    assert len(heads(recorded)) == 5


OTHERS = (("round", 13), ("version", "2"), ("detector", "glr"), ("direction", None))


def test_an_alarm_that_is_on_disk_and_not_projected_is_known(recorded: Case) -> None:
    """The process was killed between writing the event and ingesting it."""
    with owning(recorded) as (log, _):
        said = raise_alarm(log, RUN)
    delete_projection(recorded)
    with owning(recorded) as (log, store):
        ingest_case(recorded, store=store)
        with store.transaction() as transaction:
            transaction.rows("DELETE FROM alarms")
        assert raise_alarm(log, RUN) == said


def test_what_was_said_comes_back_with_its_ids_from_the_segments_alone(
    recorded: Case, maker: Maker, ingest: Ingest
) -> None:
    with owning(recorded) as (log, _):
        alarm = raise_alarm(log, RUN)
        log.say(AlarmAcknowledged, run=RUN, alarm=alarm.key, **ACT)
        log.say(AlarmSilenced, run=RUN, alarm=alarm.key, from_round=5, until_round=9, **ACT)
        log.say(
            ModelReleased,
            run=RUN,
            version="1.0",
            round=5,
            digest=maker.schema.model_digest(maker.model),
            actor="bob",
            authenticated="local",
        )
    before = all_rows(recorded)
    assert [len(before[table]) for table in ("alarms", "alarm_acts", "releases")] == [1, 2, 1]
    assert before["releases"][0][4:] == (
        "1.0",
        5,
        maker.schema.model_digest(maker.model),
        "production",
        None,
        "bob",
        "local",
    )
    delete_projection(recorded)
    ingest()
    assert all_rows(recorded) == before


def test_a_sealed_cohort_has_a_row_without_what_is_in_the_seal(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    opening = maker.opening()
    sealed = maker.make(CohortSealed, {"sealed": b"secret"}, round=3, attempt=1, rule="sampler")
    write(case, [*opening, sealed])
    ingest()
    (row,) = all_rows(case)["cohorts"]
    assert row[:3] + row[4:] == (RUN, "server", 3, 3, 1, "sampler")


def test_the_recorder_s_evidence_is_not_touched_by_what_is_said(recorded: Case) -> None:
    folder = recorded.segments / RUN / "server"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with owning(recorded) as (log, _):
        raise_alarm(log, RUN)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_said_of_a_run_that_nobody_recorded(recorded: Case) -> None:
    with owning(recorded) as (log, _), pytest.raises(QuestionError, match="no run 'rum' of which"):
        raise_alarm(log, "rum")
    assert not (recorded.segments / "rum").exists()


def test_only_the_owner_of_the_case_says_anything(recorded: Case) -> None:
    store = Store(recorded)
    log = CaseLog(recorded, store)
    with pytest.raises(CaseError, match="is not owned by this process"):
        raise_alarm(log, RUN)
    recorded.owner.write_text(json.dumps({"pid": os.getpid() + 1}))
    with pytest.raises(CaseError, match="ask the server that owns it"):
        raise_alarm(log, RUN)
    store.close()
    assert heads(recorded) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": float("nan")}, r"AlarmRaised\.score"),
        ({"surprise": 1}, r"AlarmRaised\.surprise"),
        ({"round": -1}, r"AlarmRaised\.round"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_said(
    recorded: Case, fields: dict[str, Any], message: str
) -> None:
    with owning(recorded) as (log, _):
        with pytest.raises(RecorderError, match=message):
            raise_alarm(log, RUN, **fields)
        with pytest.raises(RecorderError, match=r"AlarmRaised\.version: Field required"):
            log.say(AlarmRaised, run=RUN, **{k: v for k, v in FIELDS.items() if k != "version"})
    assert heads(recorded) == []


def test_a_recorder_under_the_owner_s_name_is_noticed(recorded: Case) -> None:
    writer = SegmentWriter(recorded.segments / RUN / OWNER, run=RUN, producer=OWNER)
    with owning(recorded) as (log, _), pytest.raises(LogLockedError, match="another process"):
        raise_alarm(log, RUN)
    writer.close()


def test_a_disk_that_refuses_loses_no_word_and_the_next_one_follows(
    recorded: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owning(recorded) as (log, _):
        first = raise_alarm(log, RUN)

        def full(self: SegmentWriter) -> None:
            raise LogError("no space left")

        with monkeypatch.context() as patched:
            patched.setattr(SegmentWriter, "flush", full)
            with pytest.raises(LogError, match="no space left"):
                raise_alarm(log, RUN, round=20)
        assert log.alarm(RUN, alarm_of(20)) is None
        second = raise_alarm(log, RUN, round=20)
    assert heads(recorded) == [first.head(), second.head()]
    assert second.seq == 1


def alarm_of(round_: int) -> str:
    direction = FIELDS["direction"]
    return alarm_key(RUN, "cusum", "1", direction=direction, round=round_)


def test_many_threads_speak_in_one_chain(recorded: Case) -> None:
    with owning(recorded) as (log, store):
        threads = [
            threading.Thread(target=lambda t=t: raise_alarm(log, RUN, round=t % 4))
            for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert store.rows("SELECT count(*), count(DISTINCT key) FROM alarms") == [(4, 4)]
        assert store.rows("FROM findings") == []


def test_beside_a_reader_that_follows_the_log_an_event_is_projected_once(recorded: Case) -> None:
    with owning(recorded, followed=True) as (log, store):
        stop = threading.Event()
        options: dict[str, Any] = {"store": store, "until_end": False, "stop": stop}
        follower = threading.Thread(target=ingest_case, args=(recorded,), kwargs=options)
        follower.start()
        for t in range(3):
            raise_alarm(log, RUN, round=t)
            assert store.rows("SELECT count(*) FROM alarms") == [(t + 1,)]
        stop.set()
        follower.join(30)
        assert store.rows("FROM duplicates") == []
        assert store.rows("FROM findings") == []


def test_a_reader_that_is_held_up_delays_the_answer_only_so_long(
    recorded: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ingest.said, "SEEN_S", 0.05)
    with owning(recorded, followed=True) as (log, store):
        event = raise_alarm(log, RUN)
        assert store.rows("FROM alarms") == []
    assert heads(recorded) == [event.head()]
    assert "is on disk, and not projected after" in caplog.text


def read_from_topic(case: Case, entry: Entry) -> Accepted | Rejected:
    """What becomes of a record that came from a topic."""
    record = Record("0", 7, 8, len(entry.frame), entry.frame)
    store = Store(case)
    try:
        with store.transaction() as transaction:
            batch = Batch(transaction, Blobs(case.blobs))
            read = Reader(Classifier({}, batch), batch).read(record, Origin("c/t/0", "0", 7))
    finally:
        store.close()
    assert isinstance(read, Accepted | Rejected)
    return read


def test_nobody_speaks_for_the_owner_through_a_topic(case: Case) -> None:
    acknowledged: dict[str, Any] = {"alarm": alarm_of(12), **ACT}
    release: dict[str, Any] = {"version": "1", "round": 0, "digest": alarm_of(12)}
    person: dict[str, Any] = {"actor": "alice", "authenticated": "oidc"}
    forged = [
        Maker(producer=OWNER).make(AlarmAcknowledged, **acknowledged),
        Maker().make(AlarmAcknowledged, **acknowledged),
        Maker().make(ModelReleased, **release, **person),
        Maker(producer=OWNER).make(ModelReleased, **release),
    ]
    for entry in forged:
        read = read_from_topic(case, entry)
        assert isinstance(read, Rejected)
        assert read.refused.reason == "reserved"
        assert "only the owner of the case says" in read.refused.detail
    assert isinstance(read_from_topic(case, Maker().make(ModelReleased, **release)), Accepted)
