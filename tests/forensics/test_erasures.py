"""Does `verify` tell erasure from damage, also while somebody erases?"""

from pathlib import Path
from typing import Any

import pytest
from killed_erasure import owning
from made_log import Maker, write

import forensics.erasures
from forensics.evidence import RunEvidence
from forensics.verify import verify_case
from ingest.erasure import erase_texts
from roundlog.case import Case

FACTS: dict[str, Any] = {
    "actor": "alice",
    "authenticated": "local",
    "note": "retention",
    "said_at": 9,
}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    case, maker = Case.create(tmp_path / "case"), Maker()
    write(case, maker.opening() + maker.rounds(9), seal=True)
    return case


def erase(case: Case, before: int) -> None:
    with owning(case.path) as log:
        erase_texts(case, log, "run", before=before, **FACTS)


def test_words_that_go_while_the_files_are_read_are_no_fault(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(case, 3)
    looked: list[int] = []
    real = forensics.erasures.verify_erasures

    def late(one: Case, run: RunEvidence) -> int:
        # Every file was read; then somebody erases more, and says so.
        looked.append(sum(text.erased for text in run.texts))
        erase(case, 6)
        # And a reader that saw the owner's log before the segments: it knows of no erasure at all.
        run.said.clear()
        return real(one, run)

    monkeypatch.setattr("forensics.verify.verify_erasures", late)
    verdict = verify_case(case)
    assert (verdict.findings, verdict.erased, looked) == ((), 2, [2])
    monkeypatch.undo()
    assert verify_case(case).erased == 5


def test_a_word_that_the_owner_said_and_nobody_did_yet_is_told(case: Case) -> None:
    from datetime import UTC, datetime

    from roundlog.events import TextsErased

    with owning(case.path) as log:
        log.say(
            TextsErased,
            run="run",
            time=datetime(2026, 11, 26, tzinfo=UTC),
            from_producer="server",
            first_seq=0,
            last_seq=6,
            texts=2,
            **FACTS,
        )
    found = verify_case(case).findings
    assert [(one.kind, one.round) for one in found] == [("unerased", 1), ("unerased", 2)]
    assert all(one.file == "segments/run/server/000000000000.heads" for one in found)
    assert all(one.byte for one in found)


def test_another_producer_s_words_are_not_meant(case: Case) -> None:
    other = Maker(producer="second", seed=8)
    write(case, [*other.opening(), other.audit()], seal=True)
    # Its only answer is of model 0, those of the server are of models 1 to 9.
    erase(case, 1)
    assert verify_case(case).erased == 1
    for producer, there in (("second", False), ("server", True)):
        path = next((case.segments / "run" / producer).glob("*.heads"))
        assert (b"hello" in path.read_bytes()) == there
