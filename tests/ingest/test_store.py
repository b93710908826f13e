"""Does the projection hold what a transaction said, all or nothing, and nothing but that?"""

import threading
from collections.abc import Iterator

import polars as pl
import pytest
from table_rows import all_rows

from ingest.store import TABLES, Store, StoreError
from roundlog.case import Case

DUPLICATE = ("run", "server", 4, "a" * 64, None, 17)


@pytest.fixture
def store(case: Case) -> Iterator[Store]:
    opened = Store(case)
    yield opened
    opened.close()


def test_a_query_answers_with_a_frame(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.insert("duplicates", [DUPLICATE])
    frame = store.query("SELECT seq, origin FROM duplicates WHERE run = $run", {"run": "run"})
    assert frame.to_dict(as_series=False) == {"seq": [4], "origin": [None]}
    assert frame.schema["seq"] == pl.Int64


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="half way"), store.transaction() as transaction:
        transaction.insert("duplicates", [DUPLICATE])
        transaction.set_watermark("segments", "run/server", 9, of=("", "", ""))
        raise RuntimeError("half way")
    assert store.rows("FROM duplicates") == store.rows("FROM watermarks") == []


def test_a_transaction_sees_its_own_rows_and_others_do_not(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.insert("duplicates", [DUPLICATE])
        assert transaction.rows("SELECT count(*) FROM duplicates") == [(1,)]
        seen: list[object] = []
        reader = threading.Thread(target=lambda: seen.append(store.rows("FROM duplicates")))
        reader.start()
        reader.join(timeout=10)
        assert seen == [[]]
    assert store.rows("FROM duplicates") == [DUPLICATE]


def test_a_watermark_moves_and_is_kept_apart_by_source(store: Store) -> None:
    topic = ("cluster", "fl.rounds", "topic-id")
    with store.transaction() as transaction:
        transaction.set_watermark("kafka", "0", 5, of=topic)
        transaction.set_watermark("kafka", "1", 6, of=topic)
        transaction.set_watermark("intake", "0", 7, of=topic)
        transaction.set_watermark("kafka", "0", 8, of=topic)
    found = store.rows("SELECT source, partition, next_offset FROM watermarks ORDER BY ALL")
    assert found == [("intake", "0", 7), ("kafka", "0", 8), ("kafka", "1", 6)]


def test_committed_rows_survive_reopening(case: Case, store: Store) -> None:
    with store.transaction() as transaction:
        transaction.insert("duplicates", [DUPLICATE])
    store.reopen()
    assert store.rows("FROM duplicates") == [DUPLICATE]


def test_no_question_reaches_other_files(store: Store) -> None:
    with pytest.raises(StoreError, match="disabled by configuration"):
        store.query("SELECT * FROM read_text('/etc/hostname')")
    with pytest.raises(StoreError, match="configuration"):
        store.rows("SET enable_external_access = true")


@pytest.mark.parametrize("sql", ["SELECT no_such_column FROM rounds", "SELEKT", "SELECT $missing"])
def test_a_wrong_question_is_refused(store: Store, sql: str) -> None:
    with pytest.raises(StoreError, match="the projection cannot answer"):
        store.query(sql)


def test_every_table_and_view_can_be_asked(store: Store) -> None:
    views = ("current_rounds", "open_gaps", "missing_rounds")
    for name in (*TABLES, *views):
        assert store.query("FROM query_table($name)", {"name": name}).height == 0


def test_a_projection_of_another_version_is_made_anew(case: Case) -> None:
    store = Store(case)
    with store.transaction() as transaction:
        transaction.insert("duplicates", [DUPLICATE])
        transaction.rows("UPDATE store_version SET v = 'roundlog.store/0'")
    store.close()
    assert all_rows(case)["duplicates"] == []


def test_a_damaged_file_is_refused_with_advice(case: Case) -> None:
    case.database.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match="delete it and run `roundlog ingest` again"):
        Store(case)
