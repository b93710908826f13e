"""Do our pages show what works? Commands exist, links lead somewhere, one command really runs."""

import re
from pathlib import Path

import pytest
from render import BLOCK, examples, run

from api.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_that_the_readme_shows_exists() -> None:
    known = set(main.commands) if hasattr(main, "commands") else set()
    known |= set(main.list_commands(None))  # type: ignore[arg-type]
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    shown = [example.command for block in blocks for example in examples(block)]
    verbs = {match for command in shown for match in re.findall(r"\broundlog (\w+)", command)}
    assert verbs <= known, verbs - known
    assert {"simulate", "ingest", "crossings", "bisect", "rebuild", "verify"} <= verbs


def test_every_example_of_the_readme_shows_an_output_or_makes_a_file() -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    silent = [one.command for block in blocks for one in examples(block) if not one.shown]
    assert all(command.startswith("cp ") for command in silent), silent


def test_a_rendered_command_gives_its_output_and_a_failing_one_stops(tmp_path: Path) -> None:
    assert run("roundlog --version", tmp_path).startswith("roundlog")
    with pytest.raises(RuntimeError, match=r"exited 1: .*no case\.json"):
        run("roundlog runs nowhere", tmp_path)
