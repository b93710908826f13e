"""What is simulated? One TOML table, every field of it documented, nothing unknown accepted.

A wrong field or value is refused with its line and with what is allowed, before anything runs.
"""

from simulator.scenario.reading import altered, load, read, shipped
from simulator.scenario.table import Table
from simulator.scenario.tables import (
    Assistant,
    Attack,
    Client,
    Device,
    Digits,
    Mechanisms,
    Model,
    Population,
    Scenario,
)
from simulator.scenario.toml import to_toml

__all__ = [
    "Assistant",
    "Attack",
    "Client",
    "Device",
    "Digits",
    "Mechanisms",
    "Model",
    "Population",
    "Scenario",
    "Table",
    "altered",
    "load",
    "read",
    "shipped",
    "to_toml",
]
