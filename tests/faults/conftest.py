"""What do all tests of faults share? Seeds, a fork server, and a fresh case."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign import Campaign, is_long, seeds
from doomed import serving_forks
from made_log import Maker

from roundlog.case import Case

# One test of the long form, on a machine that does something else beside it.
LONG_S = 1500


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: runs for the first seed only, since it takes minutes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("once") is not None
        metafunc.parametrize("seed", seeds()[:1] if once else seeds(), scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if is_long():
        for item in items:
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.fixture(scope="session")
def campaign() -> Campaign:
    return Campaign(long=is_long())


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    with serving_forks():
        yield


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """For thousands of small files, where how long the disk takes for each is not the question."""
    monkeypatch.setattr(os, "fdatasync", lambda handle: None)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case.create(tmp_path / "case")


@pytest.fixture
def maker(seed: int) -> Maker:
    return Maker(seed=seed)
