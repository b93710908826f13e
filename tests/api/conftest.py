"""A small poisoned run, recorded once for each test process, and the doors to it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import LOUD, ROUNDS, Recorded, Served, serving

from api.lab.simulation import run_scenario


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The run; nobody writes into this case."""
    folder = tmp_path_factory.mktemp("recorded")
    summary = run_scenario(
        "quickstart",
        3,
        folder / "case",
        folder / "truth.json",
        rounds=ROUNDS,
        fraction=0.04,
        overrides=LOUD,
    )
    return Recorded(folder / "case", folder / "truth.json", summary["run"])


@pytest.fixture
def recorded(original: Recorded, tmp_path: Path) -> Recorded:
    """A copy of the run's case, for the test to do with what it wants."""
    shutil.copytree(original.case, tmp_path / "case")
    return Recorded(tmp_path / "case", original.truth, original.run)


@pytest.fixture(scope="module")
def shared(original: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A copy for the reading tests of one module."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(original.case, folder / "case")
    return Recorded(folder / "case", original.truth, original.run)


@pytest.fixture(scope="module")
def served(shared: Recorded) -> Iterator[Served]:
    """A server over the module's copy."""
    with serving(shared) as found:
        yield found


@pytest.fixture
def fresh(recorded: Recorded) -> Iterator[Served]:
    """A server over a copy of the test's own."""
    with serving(recorded) as found:
        yield found
