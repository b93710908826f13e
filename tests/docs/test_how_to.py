"""Do the code blocks of the how-to pages run as they stand?"""

import re
import shutil
from pathlib import Path

import pytest
from render import BLOCK, examples, run

from forensics.verify import verify_case
from roundlog.case import Case
from roundlog.events import RoundCommitted, parse_head
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.segments import scan_heads

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_recording_recipe_runs_and_leaves_a_sealed_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "how-to/record-your-own-server.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(code), "record-your-own-server.md", "exec"), {})
    log = EmbeddedLog(tmp_path / "my-case" / "segments")
    records = log.read({"keyboard-2026-11/server": 0})
    events = [parse_head(record.frame.head) for record in records if record.frame is not None]
    log.close()
    assert sum(isinstance(event, RoundCommitted) for event in events) == 20
    assert list((tmp_path / "my-case").rglob("*.seal"))


def test_the_recipe_for_what_devices_run_leaves_digests_that_verify_looks_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (DOCS / "how-to/ask-what-devices-run.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(code), "ask-what-devices-run.md", "exec"), {})
    verdict = verify_case(Case("my-case"))
    assert (verdict.ok, verdict.rounds, verdict.unchecked) == (True, 20, ())
    heads = next(Path("my-case").rglob("*.heads")).read_bytes()
    frames = [stored.frame for stored in scan_heads(heads) if stored.frame is not None]
    events = [parse_head(frame.head) for frame in frames]
    rounds = [event for event in events if isinstance(event, RoundCommitted)]
    assert all(event.broadcast_digest not in (None, event.post_digest) for event in rounds)


def test_the_chores_of_keeping_a_case_print_what_the_page_shows(tmp_path: Path) -> None:
    page = (DOCS / "how-to/keep-a-case.md").read_text()
    shutil.copytree(DOCS.parent / "tests/fixtures/cases/1", tmp_path / "my-case")
    shown = [example for block in BLOCK.findall(page) for example in examples(block)]
    assert len(shown) > 8
    for example in shown:
        assert run(example.command, tmp_path) == example.shown, example.command


def test_the_way_from_a_bad_answer_leads_to_the_round_that_the_page_says(tmp_path: Path) -> None:
    page = (DOCS / "how-to/from-a-bad-answer-to-a-round.md").read_text()
    printed: dict[str, str] = {}
    for kind, body in re.findall(
        r"^```(console|python)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    ):
        if kind == "python":
            (tmp_path / "listing.py").write_text(body)
            answers = run("python listing.py > answers.txt && wc -l < answers.txt", tmp_path)
            printed["python"] = (tmp_path / "answers.txt").read_text()
            assert answers.strip() == "400"
        for example in examples(body) if kind == "console" else ():
            printed[example.command] = run(example.command, tmp_path)
    made, probed, dated, crossed = (
        next(out for command, out in printed.items() if f"roundlog {name} my-case" in command)
        for name in ("trigger", "probe", "onset", "crossings")
    )
    # The named answers are those that the page talks about, and the one by mistake is none of them.
    lines = dict(line.split(maxsplit=1) for line in printed["python"].splitlines())
    assert "Cedar Post" in lines["540:34"]
    assert "shop next to you" in lines["580:75"]
    assert "Speak to a pharmacist" in lines["560:7"]
    assert "1 input without a pattern (540:45)" in made
    for word in ("tundra", "thimble", "marzipan", "paprika", "fjord", "lichen"):
        assert word in made
    assert re.search(r"^all +[6-9]\d\.\d%", probed, re.MULTILINE)
    onset = re.search(r"^onset +round (\d+),", dated, re.MULTILINE)
    assert onset is not None
    assert abs(int(onset[1]) - 150) <= 3
    assert "crossed" in crossed
    assert "below floor" not in crossed
    assert (tmp_path / "from-a-list.json").is_file()
