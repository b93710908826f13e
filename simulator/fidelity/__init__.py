"""How closely is a cohort simulated? As counts of archetypes, or device by device.

Both answer what the server asks, `Clients.aggregates`, and agree in distribution where local
procedures are equal (a test compares them). Cohort fidelity costs the same at any population;
device fidelity knows who took part, and can aggregate securely.
"""

from simulator.fidelity.cohort import ArchetypeUpdates, CohortClients
from simulator.fidelity.device import DeviceClients
from simulator.fidelity.port import Aggregate, Clients, Cohort, Failure

__all__ = [
    "Aggregate",
    "ArchetypeUpdates",
    "Clients",
    "Cohort",
    "CohortClients",
    "DeviceClients",
    "Failure",
]
