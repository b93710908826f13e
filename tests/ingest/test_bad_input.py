"""What becomes of input that cannot be right? A row of its own, with a reason; ingest goes on."""

from collections.abc import Callable

import numpy as np
import pytest
from made_log import Maker, append_raw, last_heads, on_disk, write
from table_rows import Rows, all_rows, delete_projection

from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.encoding import HEADER, Frame, digest, encode_frame
from roundlog.events import ModelGenesis, ProbesPublished, RoundCommitted
from roundlog.log.segments import list_segments

Ingest = Callable[[], IngestSummary]

REASON, DETAIL, SEQ = 1, 2, 5


def rows_after(case: Case, ingest: Ingest) -> Rows:
    """Rows after ingesting, which are the same when the projection is built again."""
    ingest()
    rows = all_rows(case)
    delete_projection(case)
    ingest()
    assert all_rows(case) == rows
    return rows


def kinds(rows: Rows) -> list[str]:
    return sorted(row[1] for row in rows["findings"])


@pytest.mark.parametrize(
    ("stretch", "reason"),
    [
        (np.random.default_rng(7).bytes(5000), "not_a_frame"),
        # Whatever stands behind a frame that was cut short is taken for its end.
        (encode_frame(Frame(b"{}" * 400))[:500], "checksum"),
        (encode_frame(Frame(b'{"type":"\xff\xfe"}')), "utf8"),
        (encode_frame(Frame(b'{"type":')), "json"),
        (encode_frame(Frame(b'["a list"]')), "not_an_event"),
        (encode_frame(Frame(b'{"type":"fl.round.committed.v1"}')), "field"),
        (encode_frame(Frame(b'{"type":"fl.new.kind.v9","seq":-1}')), "not_an_event"),
        (encode_frame(Frame(b'{"type":"x"}', b"side"))[:-1] + b"X", "checksum"),
        (HEADER.pack(b"rl", 9, 0, 4, 0, 2, 0, 0) + b"{}{}", "layout_version"),
        (HEADER.pack(b"rl", 1, 0, 50_000_000, 0, 2, 0, 0) + bytes(1_000_000), "oversized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_no_event_go_to_quarantine(
    case: Case, maker: Maker, ingest: Ingest, stretch: bytes, reason: str
) -> None:
    write(case, maker.opening())
    append_raw(case, stretch, on_disk(maker.audit()))
    write(case, [maker.commit()])
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == [reason]
    assert rows["quarantine"][0][DETAIL]
    size, kept, file = (
        rows["quarantine"][0][9],
        rows["quarantine"][0][10],
        rows["quarantine"][0][12],
    )
    assert (size, kept) == (len(stretch), min(len(stretch), 65_536))
    assert (case.quarantine / file).read_bytes().endswith(b"\n" + stretch[:65_536])
    assert [len(rows["events"]), len(rows["rounds"]), kinds(rows)] == [5, 1, []]


def test_a_record_of_50_mb_is_told_with_its_size(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, maker.opening())
    giant = HEADER.pack(b"rl", 1, 0, 50_000_000, 0, 2, 0, 0) + bytes(50_000_000)
    append_raw(case, giant, on_disk(maker.audit()))
    ingest()
    rows = all_rows(case)
    assert [(row[REASON], row[9], row[10]) for row in rows["quarantine"]] == [
        ("oversized", len(giant), 65_536)
    ]
    assert len(rows["events"]) == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_stored_and_found(
    case: Case, maker: Maker, ingest: Ingest, value: float
) -> None:
    delta = np.ones(8, dtype=np.float32)
    delta[3] = value
    write(case, [*maker.opening(), maker.commit(delta=delta.tobytes()), maker.commit()])
    rows = rows_after(case, ingest)
    assert kinds(rows) == ["not_finite"]
    assert [row[15] for row in rows["rounds"]] == [False, True]


def test_a_large_but_finite_vector_is_not_found(case: Case, maker: Maker, ingest: Ingest) -> None:
    delta = np.full(8, 3e38, dtype=np.float32)
    write(case, [*maker.opening(), maker.commit(delta=delta.tobytes())])
    assert kinds(rows_after(case, ingest)) == []


def test_a_vector_of_the_wrong_dimension_is_refused_without_a_gap(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    wrong = np.ones(9, dtype=np.float32).tobytes()
    write(case, [*maker.opening(), maker.commit(delta=wrong), maker.commit()])
    rows = rows_after(case, ingest)
    assert [(row[REASON], row[SEQ]) for row in rows["quarantine"]] == [("dimension", 3)]
    assert "36 bytes, the model has 32" in rows["quarantine"][0][DETAIL]
    assert kinds(rows) == []
    assert [row[7] for row in rows["events"]] == ["ok", "ok", "ok", "gap"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"patched": 5}, "patch"),
        ({"delta": b""}, "dimension"),
    ],
)
def test_a_round_that_cannot_be_folded_is_refused(
    case: Case, maker: Maker, ingest: Ingest, changed: dict[str, object], reason: str
) -> None:
    write(case, [*maker.opening(), maker.commit(**changed), maker.audit()])  # type: ignore[arg-type]
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == [reason]
    assert len(rows["rounds"]) == 0


def test_a_round_without_a_patch_is_refused(case: Case, maker: Maker, ingest: Ingest) -> None:
    whole = maker.opening()
    model = maker.schema.model_digest(maker.model)
    broken = maker.make(
        RoundCommitted,
        {"delta": bytes(32)},
        round=0,
        cohort_size=1,
        schema_digest=maker.schema.digest,
        pre_digest=model,
        post_digest=model,
    )
    write(case, [*whole, broken])
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == ["tails"]


def test_strata_that_do_not_match_the_run_are_found(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, [*maker.opening(strata=5), maker.commit()])
    rows = rows_after(case, ingest)
    assert kinds(rows) == ["dimension"]
    assert "counts 2 strata, run.opened names 5" in rows["findings"][0][6]


def test_a_model_that_is_not_what_it_names_is_found_or_refused(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    opened, schema, _ = maker.opening()
    unlike = Maker()
    unlike.seq, unlike.prev = 2, digest(schema.frame.head)
    other = {"schema_digest": maker.schema.digest, "digest": "a" * 64}
    write(
        case,
        [
            opened,
            schema,
            unlike.make(ModelGenesis, {"weights": bytes(32)}, **other),
            unlike.make(ModelGenesis, {"weights": bytes(31)}, **other),
            unlike.make(
                ModelGenesis, {"weights": bytes(32)}, **(other | {"schema_digest": "b" * 64})
            ),
        ],
    )
    rows = rows_after(case, ingest)
    assert kinds(rows) == ["bad_digest", "schema"]
    assert [row[REASON] for row in rows["quarantine"]] == ["dimension"]


def test_a_probe_set_that_is_not_what_it_names_is_told(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    fields = {"probe_set": "p", "role": "clean", "digest": "c" * 64, "n": 2}
    tails = {"inputs": bytes(16), "labels": bytes(8)}
    write(
        case,
        [
            maker.make(ProbesPublished, tails, width=2, **fields),
            maker.make(ProbesPublished, tails, width=3, **fields),
        ],
    )
    rows = rows_after(case, ingest)
    assert kinds(rows) == ["bad_digest"]
    assert sorted(row[REASON] for row in rows["quarantine"]) == ["dimension"]


def test_an_unknown_type_is_stored_and_marked(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, [*maker.opening(), maker.unknown(), maker.commit()])
    rows = rows_after(case, ingest)
    assert [(row[3], row[7]) for row in rows["events"] if row[7] != "ok"] == [
        ("fl.weather.observed.v1", "unknown")
    ]
    assert (rows["quarantine"], rows["findings"]) == ([], [])


def test_a_flipped_bit_in_a_vector_is_a_bad_digest(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening() + maker.rounds(3), seal=True)
    vec = list_segments(case.segments / "run" / "server")[0].vec
    data = bytearray(vec.read_bytes())
    data[40] ^= 1
    vec.write_bytes(data)
    rows = rows_after(case, ingest)
    assert [(row[REASON], row[SEQ]) for row in rows["quarantine"]] == [("side_digest", 5)]
    assert [(row[1], row[4], row[5]) for row in rows["findings"]] == [("bad_digest", 5, 1)]
    assert [row[4] for row in rows["rounds"]] == [0, 2]


def test_a_vector_file_that_ends_too_early_is_a_bad_digest(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening() + maker.rounds(3), seal=True)
    vec = list_segments(case.segments / "run" / "server")[0].vec
    vec.write_bytes(vec.read_bytes()[:64])
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == ["vec_row"]
    assert kinds(rows) == ["bad_digest"]


def test_a_flipped_bit_in_a_head_is_refused_and_leaves_a_gap(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening() + maker.rounds(3), seal=True)
    heads = last_heads(case)
    data = bytearray(heads.read_bytes())
    data[data.index(b"audit.sampled")] ^= 1
    heads.write_bytes(data)
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == ["checksum"]
    assert kinds(rows) == ["gap"]


def test_an_event_in_the_log_of_another_is_refused(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening())
    stranger = Maker(run="elsewhere")
    append_raw(case, on_disk(stranger.audit()), on_disk(maker.audit()))
    rows = rows_after(case, ingest)
    assert [row[REASON] for row in rows["quarantine"]] == ["misplaced"]
    assert len(rows["events"]) == 4


def test_a_torn_tail_is_told_and_stays_told_when_it_is_cut(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening())
    append_raw(case, on_disk(maker.audit())[:-7])
    torn = rows_after(case, ingest)
    assert kinds(torn) == ["torn_tail"]
    assert len(torn["events"]) == 3
    returned = Maker()
    returned.opening()
    write(case, [returned.commit(), returned.audit()])
    rows = rows_after(case, ingest)
    assert (kinds(rows), len(rows["events"])) == (["torn_tail"], 5)
