"""What does `make setup` do when there is little or nothing to do?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what set-up reads, with an environment that stands in for an installed one."""
    (tmp_path / ".ci").mkdir()
    for name in (".ci/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run_setup(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", ".ci/setup"],
        cwd=checkout,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refuse_to_install(checkout: Path) -> Path:
    """A `pip` for this checkout's environment that notes that it was asked, and fails."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(checkout / ".venv")], check=True
    )
    asked = checkout / "asked"
    module = next((checkout / ".venv").glob("lib/python*/site-packages")) / "pip.py"
    module.write_text(
        "import pathlib, sys\n"
        f"pathlib.Path({str(asked)!r}).open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "sys.exit(0 if '--version' in sys.argv else 1)\n",
        encoding="utf-8",
    )
    return asked


def stamp(checkout: Path) -> None:
    """Mark the environment as made from exactly these files, as set-up itself does."""
    command = (
        'venv=.venv; { pwd; cat pyproject.toml constraints.txt .ci/setup "$venv/pyvenv.cfg"; }'
        " | { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }"
        ' > "$venv/.roundlog-setup"'
    )
    subprocess.run(["bash", "-c", command], cwd=checkout, check=True)


def test_a_second_setup_does_nothing(checkout: Path) -> None:
    asked = refuse_to_install(checkout)
    stamp(checkout)
    done = run_setup(checkout)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not asked.exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", ".ci/setup"])
def test_a_change_of_what_it_installs_from_makes_setup_run_again(checkout: Path, name: str) -> None:
    asked = refuse_to_install(checkout)
    stamp(checkout)
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    done = run_setup(checkout, UV_OFFLINE="1")
    assert done.returncode != 0
    first = asked.read_text(encoding="utf-8").splitlines()[1]
    assert "--no-index" in first, "the first thing tried is what this machine offers itself"
    assert "torch" in first, "torch comes before the rest"


def test_a_failed_setup_leaves_no_mark_that_it_was_done(checkout: Path) -> None:
    refuse_to_install(checkout)
    assert run_setup(checkout, UV_OFFLINE="1").returncode != 0
    assert not (checkout / ".venv" / ".roundlog-setup").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the ordinary index has a CPU build")
def test_the_cuda_build_is_announced_with_its_size_before_it_is_fetched(checkout: Path) -> None:
    refuse_to_install(checkout)
    done = run_setup(checkout, UV_OFFLINE="1")
    assert "CUDA build" in done.stderr
    assert "5.4 GB on disk" in done.stderr


def test_an_old_or_missing_python_is_named_with_the_way_out(checkout: Path) -> None:
    done = run_setup(checkout, ROUNDLOG_PYTHON="no-such-python")
    assert done.returncode == 1
    assert "no Python 3.11 or newer found at no-such-python" in done.stderr
    assert "ROUNDLOG_PYTHON=" in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_unknown_installer_is_refused_with_the_allowed_ones(checkout: Path) -> None:
    done = run_setup(checkout, ROUNDLOG_PIP="conda")
    assert done.returncode == 1
    assert "it may be 'pip' or 'uv pip'" in done.stderr
