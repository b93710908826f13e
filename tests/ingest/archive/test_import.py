"""Is a file that somebody sent read as a case only where it is one, and leads it nowhere else?"""

import io
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from made_log import Maker, write

from forensics.verify import verify_case
from ingest.archive.errors import AlteredArchiveError, ArchiveError
from ingest.archive.export import export_case
from ingest.archive.importing import SUMS_LIMIT, import_case
from ingest.archive.tar import ending, header, padding
from roundlog.case import Case
from roundlog.encoding import digest

MARKER = b'{"schema": "roundlog.case/1"}\n'


@pytest.fixture
def archive(case: Case, maker: Maker, tmp_path: Path) -> Path:
    """A case of five rounds, as one file."""
    write(case, maker.opening() + maker.rounds(5), seal=True)
    return export_case(case, tmp_path / "case.tar").path


def refuse(archive: Path, match: str, kind: type[ArchiveError] = ArchiveError) -> None:
    """The file is refused, and nothing of it is left anywhere."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=match) as raised:
        import_case(archive, archive.parent / "copy")
    assert raised.type is kind
    assert str(raised.value).startswith(str(archive))
    assert set(archive.parent.rglob("*")) == before


def made(path: Path, files: dict[str, bytes], sums: bytes | None = None) -> Path:
    """An archive of these files, with the sums that belong to it unless others are given."""
    lines = [f"{digest(data)}  {name.partition('/')[2]}\n" for name, data in sorted(files.items())]
    listed = {**files, "case/SHA256SUMS": "".join(lines).encode() if sums is None else sums}
    body = b"".join(
        header(name, len(data)) + data + padding(len(data)) for name, data in listed.items()
    )
    path.write_bytes(body + ending(len(body)))
    return path


def with_member(path: Path, change: Callable[[tarfile.TarInfo], None], **options: object) -> Path:
    """An archive with one more member, made by Python's own writer."""
    with tarfile.open(path, "w", **options) as file:  # type: ignore[call-overload]
        for name, data in (("case/case.json", MARKER), ("case/segments/r/p/0.heads", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name != "case/case.json":
                change(info)
            file.addfile(info, io.BytesIO(data))
    return path


def test_what_was_exported_comes_in_as_a_case(archive: Path, case: Case) -> None:
    told: list[tuple[int, int]] = []
    found = import_case(
        archive, archive.parent / "copy", progress=lambda done, total: told.append((done, total))
    )
    copied = Case(archive.parent / "copy")
    assert found.document() == {
        "case": str(copied.path),
        "files": 4,
        "bytes": sum(p.stat().st_size for p in copied.path.rglob("*") if p.is_file()),
        "runs": ["run"],
    }
    assert told[-1][0] <= told[-1][1] == archive.stat().st_size
    assert verify_case(copied) == verify_case(case)
    assert not (copied.path / "SHA256SUMS").exists()


def test_an_empty_directory_is_taken_and_another_is_not(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert import_case(archive, tmp_path / "empty").files == 4
    with pytest.raises(ArchiveError, match="exists already"):
        import_case(archive, tmp_path / "empty")
    with pytest.raises(ArchiveError, match=r"nowhere\.tar: No such file"):
        import_case(tmp_path / "nowhere.tar", tmp_path / "x")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "case//etc/passwd",
        "../outside",
        "case/../../outside",
        "case/segments/../../x",
        "case/segments/r/p/..",
        "case/segments/r/p/a\\b",
        "case/segments/r/p/a\nb",
        "case/roundlog.duckdb",
        "case/blobs/x",
        "case/segments/r/0.heads",
        "case/quarantine/a/b",
        "case/case.json/x",
        "other/case.json",
        "case",
        "case/",
    ],
)
def test_a_name_that_no_case_gives_its_files_is_refused(tmp_path: Path, name: str) -> None:
    refuse(made(tmp_path / "x.tar", {"case/case.json": MARKER, name: b"x"}), "no name that an")


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (tarfile.SYMTYPE, 0),
        (tarfile.LNKTYPE, 0),
        (tarfile.CHRTYPE, 0),
        (tarfile.BLKTYPE, 0),
        (tarfile.FIFOTYPE, 0),
        (tarfile.DIRTYPE, 0),
        (tarfile.CONTTYPE, 0),
        (tarfile.GNUTYPE_SPARSE, 0),
        (tarfile.GNUTYPE_LONGNAME, 0),
        (tarfile.XHDTYPE, 0),
        (tarfile.AREGTYPE, 1),
    ],
)
def test_whatever_is_no_plain_file_is_refused_by_its_type(
    tmp_path: Path, kind: bytes, size: int
) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.size, info.linkname = kind, size, "/etc/passwd"

    path = with_member(tmp_path / "x.tar", change, format=tarfile.USTAR_FORMAT)
    refuse(path, "is no plain file")


def test_an_extended_header_is_refused_whatever_it_says(tmp_path: Path) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"GNU.sparse.realsize": "1000000000000"}

    path = with_member(tmp_path / "x.tar", change, format=tarfile.PAX_FORMAT)
    refuse(path, "is no plain file")
    path.unlink()
    path = with_member(tmp_path / "x.tar", lambda info: None, format=tarfile.GNU_FORMAT)
    refuse(path, "another kind of tar file")


def test_a_file_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    claim = header("case/segments/r/p/0.heads", (8 << 30) - 1)
    path.write_bytes(header("case/case.json", 30) + MARKER + padding(30) + claim + b"x" * 512)
    refuse(path, r"it ends 8,589,934,079 bytes before", AlteredArchiveError)
    base256 = bytearray(claim)
    base256[124:136] = b"\x80" + bytes(3) + (1 << 40).to_bytes(8, "big")
    path.write_bytes(_with_checksum(base256) + ending(512))
    refuse(path, "claims 1,099,511,627,776 bytes")
    path.write_bytes(header("case/SHA256SUMS", SUMS_LIMIT + 1) + b"x" * 512)
    refuse(path, "above 268,435,456")


def _with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 100

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Full)
    refuse(archive, "100 are free beside the case")


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    one = header("case/case.json", 30) + MARKER + padding(30)
    (tmp_path / "x.tar").write_bytes(one + one + ending(2048))
    refuse(tmp_path / "x.tar", "comes twice")


def test_a_flipped_bit_anywhere_is_found(archive: Path) -> None:
    rng, original = random.Random("import"), archive.read_bytes()
    for _ in range(60):
        at, bit = rng.randrange(len(original)), rng.randrange(8)
        changed = bytearray(original)
        changed[at] ^= 1 << bit
        archive.write_bytes(changed)
        try:
            import_case(archive, archive.parent / "copy")
        except ArchiveError:
            assert not (archive.parent / "copy").exists()
        else:
            pytest.fail(f"bit {bit} of byte {at} was flipped, and nobody noticed")


def test_a_file_cut_anywhere_is_found(archive: Path) -> None:
    original = archive.read_bytes()
    end = len(original) - len(original[len(original.rstrip(b"\0")) :])
    for stop in [0, 1, 511, 512, 513, *range(1024, end, 1777), end]:
        archive.write_bytes(original[:stop])
        with pytest.raises(ArchiveError):
            import_case(archive, archive.parent / "copy")
    archive.write_bytes(b"no tar file at all" * 100)
    refuse(archive, "it is no tar file")
    archive.write_bytes(b"")
    refuse(archive, "it is no tar file: empty header")


def test_sums_that_do_not_fit_the_files_name_the_first_that_is_wrong(tmp_path: Path) -> None:
    path, files = tmp_path / "x.tar", {"case/case.json": MARKER, "case/triggers/a": b"1"}
    good = [f"{digest(MARKER)}  case.json\n", f"{digest(b'1')}  triggers/a\n"]
    for sums, match in (
        ([good[0]], "'triggers/a' is not one of the files"),
        ([*good, f"{digest(b'')}  triggers/b\n"], "'triggers/b' is missing"),
        ([good[0], f"{digest(b'2')}  triggers/a\n"], "'triggers/a' does not have the digest"),
        (reversed(good), "was not written by an export"),
    ):
        refuse(made(path, files, "".join(sums).encode()), match, AlteredArchiveError)
    assert import_case(made(path, files), tmp_path / "copy").files == 2


def test_something_behind_the_end_is_refused(archive: Path) -> None:
    original = archive.read_bytes()
    archive.write_bytes(original + b"x")
    refuse(archive, "behind the end of the archive", AlteredArchiveError)
    whole = original.rstrip(b"\0")
    whole += padding(len(whole))
    extra = header("case/triggers/x", 1) + b"x" + padding(1)
    archive.write_bytes(whole + extra + ending(len(whole) + len(extra)))
    refuse(archive, "stands behind SHA256SUMS", AlteredArchiveError)


def test_a_case_of_another_version_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.tar", {"case/case.json": b'{"schema": "roundlog.case/9"}'})
    refuse(path, "holds no case.*version 'roundlog.case/9'")
    path.unlink()
    refuse(made(tmp_path / "x.tar", {"case/triggers/a": b"1"}), "has no case.json")
