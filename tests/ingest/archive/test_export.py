"""Is a case as one file whole, the same bytes each time, and there only when it is durable?"""

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from made_log import Maker, append_raw, on_disk, write
from said_alarms import raise_alarm
from table_rows import all_rows, delete_projection

from forensics.verify import verify_case
from ingest.archive import contents
from ingest.archive.contents import take
from ingest.archive.errors import ArchiveError
from ingest.archive.export import export_case
from ingest.archive.importing import import_case
from ingest.intake import IntakeFile, Note, TopicPartition
from ingest.said import CaseLog
from ingest.service import ingest_case
from ingest.still import copying, rewriting
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import CaseBusyError
from roundlog.log.segments import list_segments

AT = TopicPartition("cluster", "fl.rounds", "-topic_id", "0")


def duplicate(offset: int, run: str) -> Note:
    fields = {"run": run, "producer": "server", "seq": 3, "digest": "0" * 64, "topic": AT.topic}
    return Note("duplicate", offset, fields)


def fill(case: Case, ingest: bool = True) -> None:
    """Two runs, one of them open, and something in every folder."""
    maker, other = Maker(), Maker(run="other", seed=3)
    write(case, maker.opening() + maker.rounds(4))
    append_raw(case, b"no frame " * 9, on_disk(maker.audit()))
    write(case, other.opening() + other.rounds(3), seal=True)
    lost = Note("lost", 5, {"until": 9, "reason": "a test", "topic": AT.topic})
    file = IntakeFile(case.intake, AT)
    file.append([lost, duplicate(10, "run"), duplicate(11, "other")], _read(12))
    file.close()
    case.triggers.mkdir()
    (case.triggers / "my suspect.json").write_bytes(b"{}")
    (case.path / "outbox").mkdir()
    (case.path / "outbox" / "webhook-1.log").write_bytes(
        b'{"event":"run/owner/0"}\n{"event":"other/owner/0"}\n{"half'
    )
    if not ingest:
        return
    with case.own():
        store = Store(case)
        ingest_case(case, store=store)
        log = CaseLog(case, store)
        raise_alarm(log, "run")
        log.close()
        store.close()


def _read(offset: int) -> Note:
    return Note("read", offset, {"topic": AT.topic})


@pytest.fixture
def filled(case: Case) -> Case:
    fill(case)
    return case


def copy(case: Case, tmp_path: Path, run: str | None = None) -> Case:
    """Out as one file, in as another case."""
    out = tmp_path / f"{run}.tar"
    export_case(case, out, run=run)
    import_case(out, tmp_path / f"copy-{run}")
    return Case(tmp_path / f"copy-{run}")


def names(case: Case, run: str | None = None) -> list[str]:
    return [piece.name for piece in take(case, run)]


def test_the_copy_has_the_same_rows_and_the_same_verdict(filled: Case, tmp_path: Path) -> None:
    copied = copy(filled, tmp_path)
    assert verify_case(copied) == verify_case(filled)
    with copied.own():
        ingest_case(copied)
    delete_projection(filled)
    with filled.own():
        ingest_case(filled)
    assert all_rows(copied) == all_rows(filled)
    assert all_rows(copied)["quarantine"]


def test_two_exports_of_one_record_are_the_same_bytes_wherever_it_lies(
    filled: Case, tmp_path: Path
) -> None:
    first = export_case(filled, tmp_path / "a.tar")
    assert hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest() == first.sha256
    assert first.bytes == (tmp_path / "a.tar").stat().st_size
    for path in filled.path.rglob("*"):
        os.utime(path, (1e9, 1e9))
    # What is made again does not come along, so it does not matter whether it is there.
    (filled.path / "cache").mkdir()
    (filled.path / "cache" / "x").write_bytes(b"?")
    delete_projection(filled)
    again = export_case(copy(filled, tmp_path), tmp_path / "b.tar")
    assert again.sha256 == first.sha256


def test_evidence_is_taken_and_what_is_made_again_is_not(filled: Case) -> None:
    taken = names(filled)
    assert taken == sorted(taken)
    assert {name.split("/")[0] for name in taken} == {
        "case.json",
        "segments",
        "quarantine",
        "intake",
        "triggers",
        "outbox",
    }
    assert not [name for name in taken if name.endswith((".lock", ".part"))]


def test_any_tar_unpacks_it_and_sha256sum_checks_it(filled: Case, tmp_path: Path) -> None:
    export_case(filled, tmp_path / "a.tar")
    for command in (["tar", "xf", "a.tar"], ["sha256sum", "-c", "--quiet", "SHA256SUMS"]):
        where = tmp_path if command[0] == "tar" else tmp_path / "case"
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    unpacked = Case(tmp_path / "case")
    with unpacked.own():
        ingest_case(unpacked)
    assert all_rows(unpacked)["alarms"] == all_rows(filled)["alarms"]


def test_one_run_leaves_the_others_and_what_was_read_of_them_behind(
    filled: Case, tmp_path: Path
) -> None:
    copied = copy(filled, tmp_path, "other")
    assert {path.name for path in copied.segments.iterdir()} == {"other"}
    assert not copied.quarantine.exists()
    journal = (copied.path / "outbox" / "webhook-1.log").read_bytes()
    assert journal == b'{"event":"other/owner/0"}\n'
    with copied.own():
        ingest_case(copied)
    rows = all_rows(copied)
    assert [row[:2] for row in rows["duplicates"]] == [("other", "server")]
    assert [row[1] for row in rows["findings"]] == ["lost_range"]
    # Its events came from a topic, or may: nothing says that the other runs were read from there.
    assert "kafka" not in {row[0] for row in rows["watermarks"]}
    with_refused = copy(filled, tmp_path, "run")
    assert len(list(with_refused.quarantine.iterdir())) == 1
    with pytest.raises(ArchiveError, match="holds no run 'neither'"):
        export_case(filled, tmp_path / "none.tar", run="neither")


def test_an_open_segment_is_cut_behind_its_last_whole_head_and_its_rows(case: Case) -> None:
    maker = Maker()
    write(case, maker.opening() + maker.rounds(3))
    segment = list_segments(case.segments / "run" / "server")[0]
    whole = segment.heads.stat().st_size
    with segment.heads.open("ab") as heads, segment.vec.open("ab") as vec:
        heads.write(on_disk(maker.audit())[:-1])
        vec.write(b"a row whose head is not there yet")
    sizes = {piece.name.rsplit(".", 1)[1]: piece.size for piece in take(case)}
    assert (sizes["heads"], sizes["vec"]) == (whole, 3 * 32)
    assert contents.open_segments(take(case)) == 1
    write(case, [], seal=True)


def test_what_belongs_to_no_segment_is_taken_so_that_the_copy_shows_it_too(
    filled: Case, tmp_path: Path
) -> None:
    first = list_segments(filled.segments / "other" / "server")[0]
    first.heads.unlink()
    (first.directory / "notes.txt").write_bytes(b"?")
    found = {one.kind for one in verify_case(copy(filled, tmp_path)).findings}
    assert {"missing_file", "stray_file"} <= found
    assert found == {one.kind for one in verify_case(filled).findings}


def test_what_a_note_vouches_for_is_taken_with_it(
    filled: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks a batch of a topic becomes durable: events first, then its note."""
    real = contents._notes
    third = Maker(run="third", seed=9)

    def notes(case: Case, run: str | None) -> list[contents.Piece]:
        found = list(real(case, run))
        write(case, third.opening())
        file = IntakeFile(case.intake, AT)
        file.append([], _read(15))
        file.close()
        return found

    monkeypatch.setattr(contents, "_notes", notes)
    taken = {piece.name: piece for piece in take(filled)}
    note = taken[f"intake/{AT.origin}.log"]
    assert note.size < (filled.path / note.name).stat().st_size
    assert "segments/third/server/000000000000.heads" in taken


def test_a_file_that_is_there_stays(filled: Case, tmp_path: Path) -> None:
    out = tmp_path / "mine.tar"
    out.write_bytes(b"mine")
    with pytest.raises(ArchiveError, match="exists already"):
        export_case(filled, out)
    assert out.read_bytes() == b"mine"
    with pytest.raises(ArchiveError, match="No such file or directory"):
        export_case(filled, tmp_path / "nowhere" / "x.tar")


def test_a_name_that_somebody_takes_meanwhile_is_theirs(filled: Case, tmp_path: Path) -> None:
    out = tmp_path / "late.tar"

    def tell(done: int, total: int) -> None:
        out.write_bytes(b"theirs")

    with pytest.raises(ArchiveError, match="File exists"):
        export_case(filled, out, progress=tell)
    assert out.read_bytes() == b"theirs"
    assert list(tmp_path.glob("*.part")) == []


def test_an_export_that_is_stopped_leaves_nothing(filled: Case, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_case(filled, tmp_path / "x.tar", progress=tell)
    assert len(told) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_file_that_shrinks_meanwhile_is_told(
    filled: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = take(filled)
    longer = [contents.Piece(p.name, p.source, p.size + p.name.endswith("vec")) for p in pieces]
    monkeypatch.setattr("ingest.archive.export.take", lambda case, run: longer)
    with pytest.raises(ArchiveError, match=r"vec became 1 bytes shorter"):
        export_case(filled, tmp_path / "x.tar")


def test_a_name_that_no_tar_can_keep_is_told(filled: Case, tmp_path: Path) -> None:
    (filled.triggers / "two\nlines.json").write_bytes(b"{}")
    with pytest.raises(ArchiveError, match="rename it"):
        export_case(filled, tmp_path / "x.tar")
    (filled.triggers / "two\nlines.json").rename(filled.triggers / ("long" * 40))
    with pytest.raises(ArchiveError, match="does not fit a tar file"):
        export_case(filled, tmp_path / "x.tar")


def test_names_of_the_longest_runs_fit(case: Case, tmp_path: Path) -> None:
    maker = Maker(run="r" * 64, producer="p" * 64)
    write(case, maker.opening(), seal=True)
    with tarfile.open(export_case(case, tmp_path / "x.tar").path) as archive:
        assert f"case/segments/{'r' * 64}/{'p' * 64}/000000000000.heads" in archive.getnames()


def test_who_copies_and_who_rewrites_wait_for_each_other(filled: Case, tmp_path: Path) -> None:
    with (
        copying(filled),
        copying(filled),
        pytest.raises(CaseBusyError, match="it is being exported"),
        rewriting(filled, 0.1),
    ):
        pass
    with (
        rewriting(filled),
        pytest.raises(CaseBusyError, match="texts are being erased"),
        copying(filled, 0.1),
    ):
        pass
    export_case(filled, tmp_path / "x.tar")
