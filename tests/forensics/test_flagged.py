"""Are audited answers read back as they were recorded, and refused where they are gone?"""

import shutil
from pathlib import Path

import pytest
from flagged_run import AUDITED, ITEMS, FlaggedRun, record_flagged

from forensics.flagged import audited
from roundlog.encoding import canonical_json, encode_frame
from roundlog.errors import QuestionError
from roundlog.events import AuditSampled, parse_head, split_side
from roundlog.log.segments import scan_heads
from roundlog.recorder import Recorder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> FlaggedRun:
    return record_flagged(tmp_path_factory.mktemp("flagged") / "case", seed=1)


@pytest.fixture
def run(original: FlaggedRun, tmp_path: Path) -> FlaggedRun:
    shutil.copytree(original.path, tmp_path / "case")
    return FlaggedRun(
        tmp_path / "case", original.run, original.document, original.pool, original.items
    )


def _overwrite(run: FlaggedRun, t: int, item: int, text: bytes | None, *, crc: bool = True) -> None:
    """Another text in place of an audited one, or zeros; perhaps with the frame's checksum."""
    for path in run.path.rglob("*.heads"):
        data = path.read_bytes()
        for stored in scan_heads(data):
            assert stored.frame is not None
            event = parse_head(stored.frame.head)
            if isinstance(event, AuditSampled) and (event.round, event.item) == (t, item):
                side = (text or b"").ljust(len(stored.frame.side), b"\0")
                frame = encode_frame(type(stored.frame)(stored.frame.head, side))
                if not crc:
                    frame = data[stored.offset : stored.end].replace(stored.frame.side, side)
                path.write_bytes(data[: stored.offset] + frame + data[stored.end :])
                return
    raise AssertionError(f"no audited answer {t}:{item}")


def _record_again(run: FlaggedRun, item: int, words: bytes) -> None:
    with Recorder(run.path, run=run.run, on_error="raise") as recorder:
        recorder.record(
            AuditSampled,
            round=AUDITED[0],
            item=item,
            category="again",
            answer=1,
            model_digest="0" * 64,
            inclusion_probability=1.0,
            tails={"text": b"s" * 16 + words},
            erasable=frozenset({"text"}),
        )


def test_named_answers_come_back_with_tokens_answer_and_place(original: FlaggedRun) -> None:
    wanted = [one for one in original.items if one.holds][::2]
    with original.open() as (store, models):
        found = audited(models, store, [(one.round, one.item) for one in wanted])
    assert [list(one.tokens) for one in found] == [one.tokens for one in wanted]
    assert [one.answer for one in found] == [one.answer for one in wanted]
    assert [one.said for one in found] == [one.name for one in wanted]
    assert {one.category for one in found} == {"question"}


def test_an_answer_named_twice_comes_once(original: FlaggedRun) -> None:
    with original.open() as (store, models):
        found = audited(models, store, [(6, 3), (7, 3), (6, 3)])
    assert [one.said for one in found] == ["6:3", "7:3"]


def test_an_item_that_is_not_there_is_refused_with_those_that_are(original: FlaggedRun) -> None:
    with original.open() as (store, models):
        with pytest.raises(QuestionError, match=rf"no audited answer 6:{ITEMS}; .* 0 to 23"):
            audited(models, store, [(6, 0), (6, ITEMS)])
        with pytest.raises(QuestionError, match=r"of model 5; it has some of models 6, 7"):
            audited(models, store, [(5, 0)])


def test_a_run_that_was_never_audited_points_at_examples(original: FlaggedRun) -> None:
    with original.open() as (store, models):
        models.run = "another"
        with pytest.raises(QuestionError, match=r"recorded no audited answers .* labelled set"):
            audited(models, store, [(0, 0)])


@pytest.mark.parametrize("crc", [True, False], ids=["checksum renewed", "bytes alone"])
def test_erased_words_are_said_to_be_erased(run: FlaggedRun, crc: bool) -> None:
    _overwrite(run, AUDITED[0], 3, None, crc=crc)
    with run.open() as (store, models):
        assert audited(models, store, [(AUDITED[0], 4)])
        with pytest.raises(QuestionError, match="audited answer 6:3 were erased, for good"):
            audited(models, store, [(AUDITED[0], 4), (AUDITED[0], 3)])


def test_words_that_were_changed_are_not_taken_for_what_was_said(run: FlaggedRun) -> None:
    with run.open():
        pass  # Ingested as it was; then somebody puts other words in their place.
    other = b"s" * 16 + canonical_json({"tokens": [1, 2, 3, 4]})
    _overwrite(run, AUDITED[0], 3, other)
    changed = pytest.raises(QuestionError, match=r"6:3 are not those that were recorded; .*verify")
    with run.open() as (store, models), changed:
        audited(models, store, [(AUDITED[0], 3)])


def test_another_head_in_its_place_is_noticed(run: FlaggedRun) -> None:
    with run.open():
        pass
    path = next(run.path.rglob("*.heads"))
    data = path.read_bytes()
    assert b'"answer":' in data
    stored = next(
        one
        for one in scan_heads(data)
        if one.frame is not None and b"audit.sampled" in one.frame.head
    )
    assert stored.frame is not None
    event = parse_head(stored.frame.head)
    assert isinstance(event, AuditSampled)
    head = stored.frame.head.replace(
        b'"answer":%d' % event.answer, b'"answer":%d' % (7 - event.answer)
    )
    frame = encode_frame(type(stored.frame)(head, stored.frame.side))
    path.write_bytes(data[: stored.offset] + frame + data[stored.end :])
    changed = pytest.raises(QuestionError, match="not those that were recorded")
    with run.open() as (store, models), changed:
        audited(models, store, [(event.round, event.item)])


def test_an_answer_recorded_without_tokens_is_refused(run: FlaggedRun) -> None:
    for item, words in enumerate((b"{}", b"[]", b'{"tokens": [1, "x"]}', b"nonsense")):
        _record_again(run, item, words)
    with run.open() as (store, models):
        for item in range(4):
            with pytest.raises(QuestionError, match=f"6:{item} was recorded without the tokens"):
                audited(models, store, [(AUDITED[0], item)])


def test_of_an_item_recorded_twice_the_later_one_counts(run: FlaggedRun) -> None:
    _record_again(run, 3, canonical_json({"tokens": [9, 9, 9, 9]}))
    with run.open() as (store, models):
        (found,) = audited(models, store, [(AUDITED[0], 3)])
    assert (found.tokens, found.answer, found.category) == ((9, 9, 9, 9), 1, "again")


def test_the_prompt_of_an_event_is_what_was_read(original: FlaggedRun) -> None:
    """By way of the event itself, without the projection."""
    with original.open() as (store, models):
        found = {one.said: one.tokens for one in audited(models, store, [(7, i) for i in range(9)])}
    seen = 0
    for path in original.path.rglob("*.heads"):
        for stored in scan_heads(path.read_bytes()):
            assert stored.frame is not None
            event = parse_head(stored.frame.head)
            if isinstance(event, AuditSampled) and f"{event.round}:{event.item}" in found:
                text = bytes(split_side(event, stored.frame.side)["text"])
                tokens = list(found[f"{event.round}:{event.item}"])
                assert canonical_json({"tokens": tokens})[1:-1] in text
                seen += 1
    assert seen == 9
