"""Where do the outputs in our pages come from? From running their commands: `make docs`.

A fenced `console` block holds commands behind `$ ` and, below each, what it printed. This program
runs every command of a page in one working folder, in order, and puts the real output in its place.
A command that fails stops the rendering, so no page can show what does not work.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/how-to/ask-what-if.md", "docs/how-to/from-a-bad-answer-to-a-round.md")
PICTURE = "poisoning.png"

BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", flags=re.DOTALL | re.MULTILINE)

# A page shows the shape of a long answer, not all of it.
MOST_LINES = 24


@dataclass(frozen=True, slots=True)
class Example:
    """One command of a page and the output shown under it."""

    command: str
    shown: str


def examples(block: str) -> list[Example]:
    """The commands of one block, in order; a line that ends in a backslash goes on."""
    found: list[Example] = []
    lines = block.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            continue
        command = line[2:]
        while command.endswith("\\"):
            command += "\n" + lines.pop(0)
        shown = []
        while lines and not lines[0].startswith("$ "):
            shown.append(lines.pop(0))
        found.append(Example(command, "\n".join(shown).rstrip()))
    return found


def run(command: str, folder: Path) -> str:
    """Standard output of one command of a page, cut to a readable length.

    Raises:
        RuntimeError: The command failed; the message holds what it said.
    """
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{command}` exited {done.returncode}: {done.stderr.strip()[-800:]}")
    lines = done.stdout.rstrip().splitlines()
    if len(lines) > MOST_LINES:
        rest = len(lines) - MOST_LINES
        lines = [*lines[:MOST_LINES], f"… ({rest} more lines)"]
    return "\n".join(line.rstrip() for line in lines)


def render(page: str, folder: Path) -> str:
    """The page with every output replaced by what its command prints now."""

    def redo(match: re.Match[str]) -> str:
        parts = []
        for example in examples(match.group(1)):
            print(f"$ {example.command}", file=sys.stderr, flush=True)
            output = run(example.command, folder)
            parts.append(f"$ {example.command}\n{output}".rstrip() + "\n")
        return "\n".join(parts)

    return BLOCK.sub(redo, page)


def main() -> int:
    """Renders every page in a fresh folder of its own, and draws the demo's picture."""
    with tempfile.TemporaryDirectory() as folder:
        run("roundlog demo --out demo", Path(folder))
        shutil.copyfile(Path(folder) / "demo" / PICTURE, ROOT / "docs" / PICTURE)
    for name in PAGES:
        path = ROOT / name
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(render(path.read_text(), Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
