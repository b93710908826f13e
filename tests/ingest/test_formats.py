"""Does today's code open a case of every format that was ever released, and say what it then said?

`tests/fixtures/cases/<format>/` is a case as the code of that format wrote it, and `<format>.json`
beside it is what it says. They are never made again. What today's code writes is the newest format,
byte for byte: whoever changes that adds a directory, and keeps the old ones.
"""

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from table_rows import all_rows, delete_projection

from forensics.verify import verify_case
from ingest.archive.contents import take
from ingest.archive.export import export_case
from ingest.archive.importing import import_case
from roundlog.case import Case
from roundlog.events import EVENT_TYPES

CASES = Path(__file__).resolve().parents[1] / "fixtures" / "cases"
MAKER = runpy.run_path(str(CASES / "make.py"))
FORMATS = sorted((path.name for path in CASES.iterdir() if path.is_dir()), key=int)


@pytest.fixture(params=FORMATS)
def kept(request: pytest.FixtureRequest) -> str:
    """A format that was released."""
    found: str = request.param
    return found


@pytest.fixture
def case(kept: str, tmp_path: Path) -> Case:
    return Case(shutil.copytree(CASES / kept, tmp_path / "case"))


@pytest.fixture
def facts(kept: str) -> dict[str, Any]:
    """What the case said when it was made."""
    stated: dict[str, Any] = json.loads((CASES / f"{kept}.json").read_bytes())
    return stated


def test_an_old_case_says_what_it_said_when_it_was_made(case: Case, facts: dict[str, Any]) -> None:
    assert MAKER["said"](case) == facts


def test_an_old_case_is_rebuilt_to_the_same_rows(case: Case) -> None:
    MAKER["said"](case)
    rows = all_rows(case)
    delete_projection(case)
    shutil.rmtree(case.blobs)
    MAKER["said"](case)
    assert all_rows(case) == rows


def test_an_old_case_is_exported_as_it_is(case: Case, kept: str, tmp_path: Path) -> None:
    export_case(case, tmp_path / "case.tar")
    import_case(tmp_path / "case.tar", tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(CASES / kept)
    assert verify_case(Case(tmp_path / "copy")).ok


def test_what_today_s_code_writes_is_the_newest_format(tmp_path: Path) -> None:
    MAKER["make"](tmp_path / "now")
    now, newest = contents(tmp_path / "now"), contents(CASES / FORMATS[-1])
    assert now.keys() == newest.keys()
    differing = [name for name in now if now[name] != newest[name]]
    assert not differing, (
        f"{differing} are written otherwise than in format {FORMATS[-1]}; if that is meant, keep "
        f"the old one, make a new directory with make.py, and say so in docs/reference/format.md"
    )


def test_the_newest_format_holds_every_kind_of_event() -> None:
    types = json.loads((CASES / f"{FORMATS[-1]}.json").read_bytes())["types"]
    assert {name for name, _ in types} == set(EVENT_TYPES)


def test_every_format_stays_small() -> None:
    for name in FORMATS:
        files = [path for path in (CASES / name).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 100_000, name


def contents(path: Path) -> dict[str, bytes]:
    """The evidence of a case, file by file."""
    return {
        piece.name: piece.source if isinstance(piece.source, bytes) else piece.source.read_bytes()
        for piece in take(Case(path))
    }
