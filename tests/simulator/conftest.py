"""Small federations: the quickstart's law with fewer archetypes and no long warm-up."""

from collections.abc import Callable

import pytest

from simulator.federation import Federation
from simulator.scenario import Scenario, load

SMALL = (
    "model.warm_up=40",
    "population.archetypes=64",
    "probes.clean=50",
    "probes.pool=60",
    "probes.decoys=4",
    "probes.decoy_queries=5",
    "probes.trigger_queries=20",
    "audits.every=25",
    "audits.items=6",
    "attack.onset=20",
    "rounds=200",
)


Small = Callable[..., Scenario]


@pytest.fixture
def small_with() -> Small:
    """A small scenario under further overrides."""

    def make(*overrides: str) -> Scenario:
        return load("quickstart", [*SMALL, *overrides])

    return make


@pytest.fixture
def small(small_with: Small) -> Scenario:
    return small_with()


@pytest.fixture
def federation(small: Scenario) -> Federation:
    return Federation(small, 7)
