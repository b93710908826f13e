"""Are words gone for good, on record, and nothing else, wherever somebody is stopped?"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from killed_erasure import erase_and_kill, owning
from made_log import Maker, append_raw, last_heads, on_disk, write
from table_rows import Rows, all_rows, delete_projection

from forensics.scrub import scrub_case
from forensics.verify import verify_case
from ingest.archive.export import export_case
from ingest.erasure import Erasure, erase_texts, said_erased
from ingest.service import ingest_case
from ingest.still import copying
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import Frame, digest, encode_frame
from roundlog.errors import CaseBusyError, LogError
from roundlog.events import AuditSampled, TextsErased
from roundlog.log.files import lock_file
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments, scan_heads

WORDS = b'{"prompt":"words of item '

FACTS: dict[str, Any] = {
    "actor": "alice",
    "authenticated": "local",
    "note": "retention",
    "said_at": 20,
}


def audit(maker: Maker, round: int, item: int = 0, **fields: Any) -> Entry:
    """An answer to words that are found again wherever they are."""
    return maker.make(
        AuditSampled,
        {"text": b"salt" * 4 + WORDS + f'{round}/{item}"}}'.encode()},
        **{
            "round": round,
            "item": item,
            "category": "news",
            "answer": 3,
            "scores": {"margin": 0.4},
            "model_digest": "0" * 64,
            "inclusion_probability": 0.01,
            **fields,
        },
    )


def rounds(maker: Maker, count: int) -> list[Entry]:
    """Rounds with two audits behind each second one."""
    made = []
    for _ in range(count):
        made.append(maker.commit())
        if maker.round % 2 == 0:
            made += [audit(maker, maker.round, item) for item in (0, 1)]
    return made


@pytest.fixture
def recorded(case: Case, maker: Maker) -> Case:
    """Twenty rounds in two sealed segments: audits of models 2, 4, … 20, and of another run."""
    write(case, maker.opening() + rounds(maker, 10), seal=True)
    write(case, rounds(maker, 10), seal=True)
    other = Maker(run="other", seed=4)
    write(case, other.opening() + rounds(other, 4), seal=True)
    with case.own():
        ingest_case(case)
    return case


def erase(case: Case, before: int | None = None, run: str = "run", **options: Any) -> Erasure:
    with owning(case.path) as log:
        return erase_texts(case, log, run, before=before, **FACTS | options)


def words_in(path: Path) -> int:
    """How often anybody's words stand in any file below a directory."""
    return sum(one.read_bytes().count(WORDS) for one in path.rglob("*") if one.is_file())


def rebuilt(case: Case) -> Rows:
    delete_projection(case)
    with case.own():
        ingest_case(case)
    return all_rows(case)


def without_acts(rows: Rows) -> Rows:
    """Rows but those about what the owner said."""
    return {
        table: [row for row in found if row[1] != "owner"]
        for table, found in rows.items()
        if table not in ("watermarks", "erasures")
    }


def kinds(case: Case) -> set[str]:
    return {one.kind for one in verify_case(case).findings}


def test_words_before_a_round_go_and_everything_else_stays(recorded: Case) -> None:
    before, rows = verify_case(recorded), all_rows(recorded)
    seals = {path: path.read_bytes() for path in recorded.segments.rglob("*.seal")}
    sizes = {path: path.stat().st_size for path in recorded.segments.glob("*/server/*")}
    assert words_in(recorded.path) == 24
    done = erase(recorded, before=8)
    assert (done.texts, done.waiting, done.unreadable, done.files) == (6, 0, 0, 1)
    assert words_in(recorded.path) == 18
    after = verify_case(recorded)
    assert after.ok, after.findings
    assert (after.rounds, after.erased) == (before.rounds, 6)
    assert {path: path.read_bytes() for path in seals} == seals
    assert {path: path.stat().st_size for path in sizes} == sizes
    assert without_acts(all_rows(recorded)) == without_acts(rows)
    assert without_acts(rebuilt(recorded)) == without_acts(rows)


def test_the_act_says_whose_words_went_when_and_why(recorded: Case) -> None:
    (event,) = erase(recorded, before=8).events
    assert (event.id, event.from_producer, event.first_seq, event.texts) == (
        "run/owner/0",
        "server",
        5,
        6,
    )
    assert (event.before_round, event.actor, event.note) == (8, "alice", "retention")
    assert event.covers("server", event.last_seq)
    assert not event.covers("server", event.last_seq + 1)
    assert not event.covers("other", event.last_seq)
    rows = rebuilt(recorded)["erasures"]
    assert [row[4:9] for row in rows] == [("server", 5, event.last_seq, 6, 8)]


def test_what_is_gone_is_not_erased_twice_and_the_rest_can_follow(recorded: Case) -> None:
    erase(recorded, before=8)
    again = erase(recorded, before=8)
    assert (again.texts, again.events, again.files) == (0, [], 0)
    rest = erase(recorded)
    assert (rest.texts, len(rest.events), rest.files) == (14, 1, 2)
    assert verify_case(recorded).erased == 20
    other = erase(recorded, run="other")
    assert other.texts == 4
    assert words_in(recorded.path) == 0


def test_a_dry_run_counts_and_leaves_every_byte(recorded: Case) -> None:
    before = {path: path.read_bytes() for path in recorded.segments.rglob("*.*")}
    counted = erase(recorded, before=8, dry_run=True)
    assert (counted.texts, counted.events, counted.files) == (6, [], 0)
    assert {path: path.read_bytes() for path in recorded.segments.rglob("*.*")} == before


def test_zeros_that_nobody_answers_for_are_damage(recorded: Case) -> None:
    (done,) = erase(recorded, before=4).events
    # Somebody takes the owner's word away, and with it the only reason for the zeros.
    for path in (recorded.segments / "run" / "owner").glob("0*"):
        path.unlink()
    findings = verify_case(recorded).findings
    assert [one.kind for one in findings] == ["bad_digest"] * 2
    assert "no erasure is on record" in findings[0].detail
    assert findings[0].round == 2
    assert done.texts == 2
    # A rebuild takes the event for what it is all the same: its words are gone, it is not.
    assert rebuilt(recorded)["quarantine"] == []


def test_an_older_copy_that_was_put_back_is_told_and_can_be_erased_again(recorded: Case) -> None:
    path = list_segments(recorded.segments / "run" / "server")[0].heads
    older = path.read_bytes()
    erase(recorded, before=8)
    path.write_bytes(older)
    found = verify_case(recorded).findings
    assert {one.kind for one in found} == {"unerased"}
    assert len(found) == 6
    assert "`roundlog erase` finishes it" in found[0].detail
    done = erase(recorded, before=0)
    assert (done.texts, done.events, done.files) == (6, [], 1)
    assert verify_case(recorded).ok


def test_a_segment_that_is_being_written_waits_until_it_is_sealed(case: Case, maker: Maker) -> None:
    write(case, maker.opening() + rounds(maker, 4))
    with lock_file(case.segments / "run" / "server" / ".lock"):
        waiting = erase(case)
        assert (waiting.texts, waiting.waiting, waiting.events) == (0, 4, [])
        assert words_in(case.segments) == 4
    # Nobody writes any more, sealed or not.
    done = erase(case)
    assert (done.texts, done.waiting) == (4, 0)
    write(case, rounds(maker, 2), seal=True)
    assert verify_case(case).ok
    assert words_in(case.segments) == 2


def test_what_comes_in_late_for_an_erased_stretch_goes_with_the_next_erasure(
    case: Case, maker: Maker
) -> None:
    entries = maker.opening() + rounds(maker, 8)
    late = next(one for one in entries if one.event.type.startswith("fl.audit"))
    write(case, [one for one in entries if one is not late], seal=True)
    assert erase(case).texts == 7
    write(case, [late], seal=True)
    # It is an erased event of that stretch? No: it stands before the first that was there.
    assert erase(case).texts == 1
    assert verify_case(case).erased == 8
    assert words_in(case.path) == 0


def test_a_late_copy_inside_an_erased_stretch_was_erased_before_it_came(
    case: Case, maker: Maker
) -> None:
    entries = maker.opening() + rounds(maker, 8)
    audits = [one for one in entries if one.event.type.startswith("fl.audit")]
    write(case, [one for one in entries if one is not audits[3]], seal=True)
    erase(case)
    write(case, [audits[3]], seal=True)
    assert kinds(case) == {"unerased"}
    done = erase(case, before=0)
    assert (done.texts, done.events) == (1, [])
    assert verify_case(case).ok


def test_refused_records_lose_their_words_too_and_keep_their_rows(case: Case, maker: Maker) -> None:
    entries = maker.opening() + rounds(maker, 4)
    fork = Maker(seed=1)
    fork.opening()
    fork.commit()
    fork.commit()
    write(case, entries)
    append_raw(case, on_disk(audit(fork, 2, 7)))  # another event under a seq that is taken
    write(case, rounds(maker, 1), seal=True)
    rows = rebuilt(case)
    assert [row[1] for row in rows["quarantine"]] == ["equivocation"]
    assert words_in(case.quarantine) == 1
    done = erase(case)
    # One seq has two texts, in the segment, and one of them in quarantine as well.
    assert (done.texts, done.files) == (4, 2)
    assert words_in(case.path) == 0
    again = rebuilt(case)
    assert again["quarantine"] == rows["quarantine"]
    assert without_acts(again) == without_acts(rows)
    assert len(list(case.quarantine.iterdir())) == 1
    with case.own():
        store = Store(case)
        found = scrub_case(case, store=store).verdict.findings
        store.close()
    assert [one.kind for one in found] == ["equivocation"]


def test_words_that_were_damaged_before_stay_damage(case: Case, maker: Maker) -> None:
    entry = audit(maker, 0)
    side = entry.frame.side.replace(b"words", b"wards")
    write(case, [*maker.opening()])
    append_raw(case, encode_frame(Frame(entry.frame.head, side)))
    write(case, rounds(maker, 2), seal=True)
    rows = rebuilt(case)
    assert [row[1] for row in rows["quarantine"]] == ["side_digest"]
    assert "bad_digest" in kinds(case)
    done = erase(case)
    assert done.texts == 3
    assert b"wards" not in b"".join(p.read_bytes() for p in case.path.rglob("*") if p.is_file())
    assert without_acts(rebuilt(case)) == without_acts(rows)
    assert kinds(case) == {"bad_digest"}


def test_bytes_that_cannot_be_read_are_counted_and_left_alone(case: Case, maker: Maker) -> None:
    write(case, maker.opening() + rounds(maker, 2))
    half = on_disk(audit(maker, 9))[5:]
    append_raw(case, half, on_disk(audit(maker, 9)))
    write(case, [], seal=True)
    with case.own():
        ingest_case(case)
    done = erase(case)
    # The stretch in the segment, and the same bytes in quarantine.
    assert (done.texts, done.unreadable) == (3, 2)
    assert words_in(case.quarantine) == 1


def test_an_export_after_an_erasure_holds_no_words_and_verifies(
    recorded: Case, tmp_path: Path
) -> None:
    erase(recorded)
    erase(recorded, run="other")
    data = export_case(recorded, tmp_path / "x.tar").path.read_bytes()
    assert WORDS not in data
    assert b"fl.texts.erased.v1" in data


def test_nothing_is_erased_while_the_case_is_exported(
    recorded: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.still.rewriting.__wrapped__.__defaults__", (0.1,))
    with copying(recorded), pytest.raises(CaseBusyError, match="exported or erased from"):
        erase(recorded)
    assert words_in(recorded.path) == 24


def test_a_disk_that_refuses_in_between_is_told_and_the_next_erasure_finishes(
    recorded: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        # The second segment does not fit any more.
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(LogError, match=r"heads: No space left .* run `roundlog erase` again"):
            erase(recorded)
    assert kinds(recorded) == {"unerased"}
    done = erase(recorded)
    assert (done.events, words_in(recorded.segments / "run")) == ([], 0)
    assert verify_case(recorded).ok


def test_what_an_eraser_that_was_killed_left_behind_goes_too(recorded: Case) -> None:
    left = list_segments(recorded.segments / "run" / "server")[0].heads
    part = left.with_name(f"{left.name}.1.1.part")
    part.write_bytes(left.read_bytes())
    erase(recorded)
    assert not part.exists()
    assert words_in(recorded.segments / "run") == 0


def test_the_file_that_was_replaced_is_overwritten_as_well(recorded: Case) -> None:
    path = list_segments(recorded.segments / "run" / "server")[0].heads
    with path.open("rb") as older:
        erase(recorded)
        # Whoever has it open reads what everybody reads.
        assert older.read() == path.read_bytes()


def test_killed_between_any_two_writes_every_word_is_there_or_erased(
    case: Case, maker: Maker, tmp_path: Path
) -> None:
    write(case, maker.opening() + rounds(maker, 4))
    fork = Maker(seed=1)
    fork.opening()
    fork.rounds(1)
    append_raw(case, on_disk(audit(fork, 1)))  # refused: its seq is taken
    write(case, rounds(maker, 2), seal=True)
    rows, kill_at, killed = rebuilt(case), 0, True
    assert words_in(case.path) == 8
    while killed:
        kill_at += 1
        copied = Case(shutil.copytree(case.path, tmp_path / str(kill_at)))
        killed = erase_and_kill(copied.path, kill_at, run="run", **FACTS)
        _check_after_kill(copied, rows, f"killed before write {kill_at}")
        shutil.rmtree(copied.path)
    # The owner's word, then two files: each its bytes, its name, its folder, and what it was.
    assert kill_at > 10, f"only {kill_at - 1} writes were seen"


def _check_after_kill(case: Case, rows: Rows, where: str) -> None:
    verdict = verify_case(case)
    left = {one.kind for one in verdict.findings} - {"equivocation"}
    assert left <= {"unerased", "stray_file"}, (where, verdict.findings)
    assert without_acts(rebuilt(case)) == without_acts(rows), where
    said = len(said_erased(case, "run"))
    assert said == 1 or words_in(case.path) == 8, where
    # Whoever comes next finishes it, by whatever word it was begun.
    erase(case)
    assert words_in(case.path) == 0, where
    verdict = verify_case(case)
    assert {one.kind for one in verdict.findings} == {"equivocation"}, (where, verdict.findings)
    assert (verdict.erased, len(said_erased(case, "run"))) == (7, 1), where


def test_nobody_erases_through_a_topic(maker: Maker) -> None:
    from roundlog.events import is_owners

    entry = maker.make(
        TextsErased,
        from_producer="server",
        first_seq=0,
        last_seq=9,
        texts=1,
        actor="mallory",
        authenticated="local",
        said_at=0,
    )
    assert is_owners(entry.event)


def test_a_text_of_zeros_with_its_own_digest_was_not_erased(case: Case, maker: Maker) -> None:
    fields = {"category": "news", "answer": 1, "model_digest": "0" * 64}
    zeros = maker.make(
        AuditSampled,
        {"text": bytes(20)},
        round=0,
        item=0,
        inclusion_probability=0.5,
        **fields,
    )
    assert zeros.event.tails[0].erasable == digest(bytes(20))
    write(case, [*maker.opening(), zeros, *rounds(maker, 2)], seal=True)
    verdict = verify_case(case)
    assert (verdict.ok, verdict.erased) == (True, 0)
    heads = last_heads(case).read_bytes()
    assert all(stored.frame is not None for stored in scan_heads(heads))
