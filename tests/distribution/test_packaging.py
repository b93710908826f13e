"""Does the distribution hold what it says: names, entry points, pins?

The decision about top-level names, and its cost, is ADR-1.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"roundlog", "ingest", "forensics", "simulator", "api"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel of this checkout, built without isolation and without a network."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return zipfile.Path(built)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin for pin in pins), "every line pins one version"
    return {canonical(pin) for pin in pins}


def canonical(requirement: str) -> str:
    """The distribution's name in a requirement, as package indexes compare it."""
    name = requirement
    for mark in "[<>=!~; ":
        name = name.split(mark, 1)[0]
    return name.lower().replace("_", "-")


def test_the_wheel_installs_exactly_the_rooms_of_the_house(wheel: zipfile.Path) -> None:
    names = {entry.name for entry in wheel.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == ROOMS


def test_the_wheel_carries_the_licence(wheel: zipfile.Path) -> None:
    (info,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    text = (info / "licenses" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text


def test_the_wheel_carries_every_data_file_that_the_code_reads(wheel: zipfile.Path) -> None:
    kinds = {".py", ".sql", ".toml", ".json", ".html", ".css", ".js", ".typed"}
    expected = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }
    assert expected <= set(wheel.root.namelist())


def test_no_installed_distribution_claims_the_name_of_a_room() -> None:
    owners = packages_distributions()
    claimed = {room: owners[room] for room in ROOMS if set(owners.get(room, [])) - {"roundlog"}}
    assert claimed == {}


def test_the_contracts_on_imports_name_every_room(project: dict[str, Any]) -> None:
    assert set(project["tool"]["importlinter"]["root_packages"]) == ROOMS
    assert set(project["tool"]["mypy"]["files"]) > ROOMS


def test_every_dependency_but_torch_is_pinned(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    needed = {canonical(line) for line in project["project"]["dependencies"]}
    needed |= {canonical(line) for extra in extras.values() for line in extra}
    assert needed - pinned() == {"torch"}


def test_the_constraints_leave_the_build_of_torch_alone() -> None:
    assert [
        name for name in pinned() if name.startswith(("torch", "triton", "nvidia", "cuda"))
    ] == []


def test_fastapi_has_a_floor_and_no_cap_since_flower_pins_its_own(project: dict[str, Any]) -> None:
    server = project["project"]["optional-dependencies"]["server"]
    assert [line for line in server if line.startswith("fastapi")] == ["fastapi>=0.135"]
