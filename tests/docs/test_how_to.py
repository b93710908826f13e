"""Do the code blocks of the how-to pages run as they stand?"""

import re
from pathlib import Path

import pytest

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
