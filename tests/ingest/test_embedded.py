"""Does every fact of the case's own log reach its table, once, with the right bytes behind it?"""

import json
from collections.abc import Callable

import numpy as np
import pytest
from made_log import Maker, write
from table_rows import all_rows

from ingest.service import ingest_case
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.encoding import canonical_json, digest
from roundlog.errors import IngestError
from roundlog.events import (
    CohortSealed,
    ContinuityBreak,
    ModelReleased,
    ProbesPublished,
    RecorderGap,
    RoundFailed,
    SnapshotStored,
)
from roundlog.fold import apply_step
from roundlog.log.segments import Segment
from roundlog.tensors import TensorSchema

Ingest = Callable[[], IngestSummary]


def test_every_model_can_be_folded_from_the_rows_alone(
    case: Case, maker: Maker, ingest: Ingest
) -> None:
    write(case, maker.opening() + maker.rounds(30), seal=True)
    ingest()
    store = Store(case)
    layout, texts = store.rows("SELECT layout, texts_blob FROM schemas")[0]
    weights, w0_digest = store.rows("SELECT weights_blob, digest FROM geneses")[0]
    rounds = store.query("FROM rounds ORDER BY round").rows(named=True)
    store.close()
    schema = TensorSchema.model_validate_json(layout)
    model = np.frombuffer((case.blobs / weights).read_bytes(), dtype=np.uint8).copy()
    assert schema.model_digest(model) == w0_digest == rounds[0]["pre_digest"]
    assert len(rounds) == 30
    for row in rounds:
        segment = Segment(case.segments / row["run"] / row["producer"], row["segment"])
        heads, vec = segment.heads.read_bytes(), segment.vec.read_bytes()
        delta = vec[row["row"] * row["delta_bytes"] :][: row["delta_bytes"]]
        patch = heads[row["patch_offset"] :][: row["patch_bytes"]]
        apply_step(model, delta, patch, schema)
        assert schema.model_digest(model) == row["post_digest"]
        strata = heads[row["strata_offset"] :][: row["strata_bytes"]]
        assert np.frombuffer(strata, "<u4").tolist() == [1, 2]
    assert json.loads((case.blobs / texts).read_bytes()) == {"labels": ["a", "b"]}


def test_an_audit_row_points_at_its_text(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, [*maker.opening(), maker.audit(), maker.audit()])
    ingest()
    row = all_rows(case)["audits"][1]
    segment, offset, length = row[11], row[13], row[14]
    heads = Segment(case.segments / "run" / "server", segment).heads.read_bytes()
    assert heads[offset : offset + length] == b"salt" * 4 + b'{"prompt":"hello"}'


def test_a_probe_set_is_stored_by_digest(case: Case, maker: Maker, ingest: Ingest) -> None:
    inputs = np.arange(6, dtype="<i4").tobytes()
    labels = np.arange(3, dtype="<i4").tobytes()
    about = canonical_json({"rule": "drawn by hand"})
    probes = maker.make(
        ProbesPublished,
        {"inputs": inputs, "labels": labels, "about": about},
        probe_set="clean-1",
        role="clean",
        digest=digest(inputs, labels),
        n=3,
        width=2,
    )
    write(case, [probes])
    assert ingest().findings == 0
    row = all_rows(case)["probe_sets"][0]
    assert row[4:6] == ("clean-1", "clean")
    assert [(case.blobs / name).read_bytes() for name in (row[10], row[11], row[13])] == [
        inputs,
        labels,
        about,
    ]
    assert row[12] is None


def test_every_other_kind_has_its_row(case: Case, maker: Maker, ingest: Ingest) -> None:
    name = "a" * 64
    opening = maker.opening()
    write(
        case,
        [
            *opening,
            maker.make(RoundFailed, round=0, attempt=0, reason="too few devices", cohort_size=3),
            maker.make(ModelReleased, version="1.0", round=0, digest=name, channel="beta"),
            maker.make(SnapshotStored, round=0, digest=name, location="s3://models/0"),
            maker.make(CohortSealed, {"sealed": b"secret"}, round=0, rule="ids"),
            maker.make(RecorderGap, reason="the disk failed", expected=0, got=4),
            maker.make(ContinuityBreak, reason="restored", round=4, expected=name, got=name),
        ],
    )
    summary = ingest()
    rows = all_rows(case)
    tables = ("round_failures", "releases", "snapshots", "interruptions", "events")
    assert [len(rows[table]) for table in tables] == [1, 1, 1, 2, 9]
    assert sorted(row[1] for row in rows["findings"]) == ["continuity", "recorder_gap"]
    assert summary.quarantined == 0


def test_ingesting_again_adds_nothing(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, maker.opening() + maker.rounds(5))
    ingest()
    before = all_rows(case)
    assert ingest().events == 0
    assert all_rows(case) == before


def test_new_events_are_read_from_the_watermark(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, maker.opening() + maker.rounds(5))
    assert ingest().events == 13
    write(case, maker.rounds(2000))
    assert ingest().events == 4000
    rows = all_rows(case)
    assert [row[2] for row in sorted(rows["events"], key=lambda row: row[2])] == list(range(4013))
    assert rows["findings"] == []


def test_many_producers_and_runs_are_kept_apart(case: Case, ingest: Ingest) -> None:
    makers = [Maker(run=run, producer=who) for run in ("a", "b") for who in ("x", "y")]
    for maker in makers:
        write(case, maker.opening() + maker.rounds(3))
    assert ingest().events == 4 * 9
    for maker in makers:
        write(case, maker.rounds(2))
    assert ingest().findings == 0
    assert len(all_rows(case)["rounds"]) == 4 * 5


def test_progress_reaches_its_total(case: Case, maker: Maker) -> None:
    write(case, maker.opening() + maker.rounds(4000), seal=True)
    seen: list[tuple[int, int | None]] = []
    ingest_case(case, progress=lambda summary: seen.append((summary.done, summary.total)))
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_removed_evidence_is_not_passed_over(case: Case, maker: Maker, ingest: Ingest) -> None:
    write(case, maker.opening() + maker.rounds(5))
    ingest()
    heads = Segment(case.segments / "run" / "server", 0).heads
    heads.write_bytes(heads.read_bytes()[:-40])
    with pytest.raises(IngestError, match="segments/run/server ends before the point"):
        ingest()
