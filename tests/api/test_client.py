"""Does `roundlog.open` give the same answers from a directory and from a server?"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from doors import ROUNDS, Recorded, Served
from polars.testing import assert_frame_equal

import roundlog
from api.client import Source
from roundlog.case import Case
from roundlog.errors import CaseError, RoundlogError, RoundRangeError


@pytest.fixture(scope="module")
def local(original: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    import shutil

    folder: Path = tmp_path_factory.mktemp("opened")
    shutil.copytree(original.case, folder / "case")
    with roundlog.open(folder / "case") as source:
        yield source


@pytest.fixture(scope="module")
def remote(served: Served) -> Iterator[Source]:
    with roundlog.open(served.url) as source:
        yield source


FRAMES: dict[str, dict[str, Any]] = {
    "runs": {},
    "rounds": {},
    "series": {"pixels": 20},
    "log": {"type": "round.committed", "limit": 9},
    "findings": {},
    "quarantine": {},
    "triggers": {},
    "drift": {"every": 100},
    "timeline": {},
    "alarms": {},
}


@pytest.mark.parametrize("name", FRAMES)
def test_lists_are_equal_frames_from_both(local: Source, remote: Source, name: str) -> None:
    here, there = (getattr(source, name)(**FRAMES[name]) for source in (local, remote))
    assert isinstance(here, pl.DataFrame)
    assert_frame_equal(here, there)


def test_rounds_are_complete_and_typed(local: Source) -> None:
    rounds = local.rounds()
    assert rounds["round"].to_list() == list(range(ROUNDS))
    assert rounds.schema["delta_norm"] == pl.Float64
    assert rounds.schema["time"] == pl.Datetime("us")


def test_rounds_beyond_one_page_are_put_together(
    local: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.parameters import RoundsParams

    monkeypatch.setattr(RoundsParams.model_fields["limit"], "default", 70)
    assert local.rounds().height == ROUNDS


def test_facts_are_equal_documents_from_both(
    local: Source, remote: Source, shared: Recorded
) -> None:
    asks: list[Callable[[Source], Any]] = [
        lambda source: source.show(12),
        lambda source: source.diff(0),
        lambda source: source.rebuild("head"),
        lambda source: source.probe(shared.truth),
        lambda source: source.bisect(shared.truth, level=0.2),
        lambda source: source.verify(),
    ]
    for ask in asks:
        assert ask(local) == ask(remote)


def test_crossings_are_equal_frames_for_a_file_and_for_its_document(
    local: Source, remote: Source, shared: Recorded
) -> None:
    document = json.loads(shared.truth.read_bytes())["trigger"]
    by_file = local.crossings(str(shared.truth), levels=[0.2], mode="exact")
    by_document = remote.crossings(document, levels=(0.2,), mode="exact")
    assert_frame_equal(by_file, by_document)
    assert by_file["mode"].to_list() == ["first", "sustained", "last", "isotonic"]


def test_a_model_is_written_from_both(
    local: Source, remote: Source, tmp_path: Path, served: Served
) -> None:
    from safetensors.numpy import load_file

    for name, source in (("here", local), ("there", remote)):
        assert source.rebuild(7, out=tmp_path / name)["matches"]
    here, there = load_file(tmp_path / "here"), load_file(tmp_path / "there")
    assert all((here[name] == there[name]).all() for name in here)


def test_a_truth_file_leaves_this_process_by_its_trigger_alone(
    remote: Source, shared: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    sent: list[bytes] = []
    send = httpx.Client.send

    def watching(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        sent.append(request.read())
        return send(client, request, **options)

    monkeypatch.setattr(httpx.Client, "send", watching)
    remote.probe(shared.truth)
    assert b'"queries"' in b"".join(sent)
    assert b"malicious" not in b"".join(sent)
    assert b"onset" not in b"".join(sent)


def test_errors_keep_their_meaning_on_the_way(local: Source, remote: Source) -> None:
    with pytest.raises(RoundRangeError, match="models 0 to 300"):
        local.rebuild(9_999)
    with pytest.raises(RoundlogError, match="models 0 to 300"):
        remote.rebuild(9_999)
    with pytest.raises(KeyError, match="no question is called 'rewind'"):
        local.ask("rewind")


def test_an_open_case_is_owned_and_let_go(recorded: Recorded) -> None:
    source = roundlog.open(recorded.case)
    assert Case(recorded.case).current_owner() is not None
    source.close()
    assert Case(recorded.case).current_owner() is None


def test_what_is_no_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="is not a case"):
        roundlog.open(tmp_path)


def test_without_an_opener_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roundlog, "OPENERS", "roundlog.none")
    with pytest.raises(RoundlogError, match=r"pip install 'roundlog\[server\]'"):
        roundlog.open("anything")
