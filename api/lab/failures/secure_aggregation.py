"""Does secure aggregation stop the attack? It changes no bit, and hides who sent the poison.

The same devices, one by one, with and without it: two recorded runs whose models must be equal
round for round, attacked and in the twin. And one round looked at from the server: what a device
sent, and what of it arrives under masks.
"""

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.documents import Document
from api.lab.failures.runs import heading, recorded
from api.parameters import ParameterError
from api.records import Progress, Records, silent
from forensics.evaluation.agreement import first_difference
from forensics.evaluation.power import area
from forensics.evaluation.statistics import Share, spread
from forensics.evaluation.uniformity import Uniformity, evenness, uniformity
from simulator.adversary import strength
from simulator.federation import Federation
from simulator.fidelity import Clients, DeviceClients
from simulator.fidelity.device import Attendance
from simulator.scenario import Scenario, load
from simulator.secure_aggregation import Residues, decode, secure_sum

SETTINGS = (
    "fidelity=device",
    "cohort.size=128",
    "fraction=0.04",
    "attack.onset=0",
    "audits.items=0",
)
"""Small cohorts, so that the protocol really runs; a fraction large enough that each has attackers.
The reference's 0.1 % of 10,000 devices is ten; 4 % of 128 is five."""

ROUNDS = 20

BINS = 48
"""Of a histogram of residues."""


class View(NamedTuple):
    """One round, from both sides."""

    sent: Residues
    """What devices handed to the protocol, shape (n, d)."""
    received: Residues
    """What the server saw of each, shape (n, d)."""
    malicious: NDArray[np.bool_]
    """Who acted for the attacker, shape (n,)."""
    elements: NDArray[np.int64]
    """Which elements a poisoned update moves."""
    total: Residues
    """The sum, shape (d,)."""


def measure_secure_aggregation(
    source: str,
    seeds: Sequence[int],
    *,
    overrides: Iterable[str] = (),
    rounds: int | None = None,
    progress: Progress = silent,
) -> Document:
    """Equality of both runs, and the server's view of round 0; a row a seed.

    Args:
        overrides: `KEY=VALUE`, after `SETTINGS`.
        rounds: Of each run; by default `ROUNDS`.

    Raises:
        ScenarioError: A field or value is not allowed.
        ParameterError: Cohorts are not simulated device by device, or devices do not report.
    """
    given = [*SETTINGS, *overrides]
    scenario = load(source, given)
    fit = scenario.fidelity == "device" and scenario.fraction > 0
    if not fit or scenario.device.dropout > 0 or scenario.attack.onset > 0:
        raise ParameterError(
            "the server's view of round 0 needs fidelity=device, device.dropout=0, attack.onset=0 "
            "and fraction above 0; leave them as they are"
        )
    stop = min(ROUNDS if rounds is None else rounds, scenario.rounds)
    rows: list[Document] = []
    for seed in seeds:
        both = [
            _compared(source, [*given, *more], seed, stop, progress)
            for more in ([], ["fraction=0"])
        ]
        rows.append(
            {
                "seed": seed,
                "attacked": both[0],
                "twin": both[1],
                "view": _view(scenario, seed),
            }
        )
    return {
        **heading("secure-aggregation", scenario, seeds, stop),
        "rows": rows,
        "equal": {
            side: Share(
                sum(row[side]["equal"] for row in rows), sum(row[side]["rounds"] for row in rows)
            ).document()
            for side in ("attacked", "twin")
        },
        "spread": {
            key: spread([row["view"][key] for row in rows]).document()
            for key in ("evenness", "area_plain", "area_masked")
        },
    }


def _compared(
    source: str, given: Sequence[str], seed: int, rounds: int, progress: Progress
) -> Document:
    """The runs with and without it, and how many of their models are the same."""
    digests, runs, malicious = [], [], 0
    for secure in ("true", "false"):
        scenario = load(source, [*given, f"secure_aggregation={secure}"])
        with recorded(scenario, seed, rounds, progress) as (simulated, records):
            digests.append(_digests(records, simulated.run))
            runs.append(simulated.run)
            malicious = simulated.malicious
    with_, without = digests
    return {
        "rounds": rounds,
        "equal": sum(one == other for one, other in zip(with_, without, strict=True)),
        "first_difference": first_difference(with_, without),
        "last_digest": with_[-1],
        "runs": {"with": runs[0], "without": runs[1]},
        "malicious": malicious,
    }


def _digests(records: Records, run: str) -> list[str]:
    sql = (resources.files("forensics") / "sql" / "model_digests.sql").read_text()
    return [str(digest) for _, digest in records.store.rows(sql, {"run": run})]


class _WatchedClients(DeviceClients):
    """Devices as they are; what the first round hands to the protocol is kept for looking at."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.first: list[tuple[int, Residues, Attendance]] = []

    def _sum(self, draw: int, sent: Residues, attendance: Attendance) -> Residues:
        if not self.first:
            self.first.append((draw, sent, attendance))
        return super()._sum(draw, sent, attendance)


class _WatchedFederation(Federation):
    """A federation as it is, over devices that are watched."""

    watched: _WatchedClients

    def clients(self) -> Clients:
        self.watched = _WatchedClients(
            self.scenario, self.task, self.fleet, self.adversary, self.randomness
        )
        return self.watched


def watch(scenario: Scenario, seed: int) -> View:
    """Round 0 of a federation, as its protocol runs, from both sides.

    Raises:
        ScenarioError: The round failed again and again.
    """
    federation = _WatchedFederation(scenario, seed)
    next(federation.blocks())
    draw, sent, attendance = federation.watched.first[0]
    # Nobody dropped out, so the same entropy gives the same round of the protocol again, and its
    # server, which `DeviceClients` does not keep, can be asked what it saw.
    rng = federation.randomness.stream("devices/secure-aggregation", draw)
    rng.random(attendance.counted.size)
    played = secure_sum(sent, entropy=rng)
    received = np.stack([played.server.received(client) for client in range(len(sent))])
    ids = attendance.ids[attendance.counted]
    level = float(strength(scenario.attack, np.array([0]))[0])
    elements = federation.adversary.elements
    return View(sent, received, federation.fleet.acting(ids, level), elements, played.total)


def _view(scenario: Scenario, seed: int) -> Document:
    view = watch(scenario, seed)
    plain = [uniformity(vector) for vector in view.sent]
    masked = [uniformity(vector) for vector in view.received]
    attacker, honest = np.flatnonzero(view.malicious), np.flatnonzero(~view.malicious)
    if not attacker.size:
        raise ParameterError(
            f"round 0 of seed {seed} has no attacker among {len(view.sent)} devices; another seed, "
            f"a larger cohort.size or fraction gives some"
        )
    values = np.array([one.p for one in masked])
    return {
        "round": 0,
        "elements": view.sent.shape[1],
        "clients": len(view.sent),
        "attackers": [int(at) for at in attacker],
        "zeros": {
            "plain": [one.zeros for one in plain],
            "masked": [one.zeros for one in masked],
        },
        "p": {"plain": [one.p for one in plain], "masked": values.tolist()},
        "area_plain": _told_apart(plain, view.malicious),
        "area_masked": _told_apart(masked, view.malicious),
        "evenness": evenness(values).p,
        "pictures": {
            "honest": _histograms(view, int(honest[0])),
            "attacker": _histograms(view, int(attacker[0])),
        },
    }


def _told_apart(found: Sequence[Uniformity], malicious: NDArray[np.bool_]) -> float:
    """Probability that an attacker's vector has more zeros than an honest device's; 0.5 is chance.

    A server that knew that poison moves few elements would look there first.
    """
    zeros = np.array([one.zeros for one in found], dtype=np.float64)
    return area(zeros[malicious], zeros[~malicious])


def _histograms(view: View, client: int) -> Document:
    """What a device sent and what arrived, both as signed numbers of the ring, shape (d,)."""
    edges = np.linspace(-(2.0**31), 2.0**31, BINS + 1)
    vectors = {"sent": view.sent[client], "received": view.received[client]}
    return {
        "client": client,
        "edges": edges.tolist(),
        **{
            name: np.histogram(decode(vector).astype(np.float64), edges)[0].tolist()
            for name, vector in vectors.items()
        },
        **{f"{name}_first": decode(vector)[:8].tolist() for name, vector in vectors.items()},
    }
