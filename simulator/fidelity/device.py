"""What is a cohort's mean, device by device? Each one sampled trains, clips, adds noise, and sends.

Devices are drawn without replacement from the fleet, some never report, some report too late. What
one sends is fixed-point numbers, whether or not secure aggregation hides them, so a sum has the
same bits either way, and does not depend on the order of devices. With secure aggregation the
server's side of this module gets masked vectors and their sum, nothing else.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roundlog.cohort import Counts, Ids, Membership, draw_members, strata_of
from roundlog.errors import ScenarioError
from simulator.adversary import Adversary, strength
from simulator.clients import LocalTraining
from simulator.fidelity.port import Aggregate, Cohort, Failure
from simulator.fleet import Fleet
from simulator.mechanisms import noise_purpose
from simulator.population import DeviceData
from simulator.randomness import BLOCK, Randomness
from simulator.scenario import Scenario
from simulator.secure_aggregation import (
    Assumptions,
    Fate,
    Residues,
    TooFewClientsError,
    decode,
    encode,
    encoded_sum,
    secure_sum,
)
from simulator.tasks import Floats, Task

# Draws of a round that fails again and again. At 16 bits a round, draws never overlap.
ATTEMPT_BITS = 16
MOST_ATTEMPTS = 100
# Local noise reaches further than the clip norm; six standard deviations are passed once in 10^9
# numbers, and the ring has room for eight.
NOISE_REACH = 8.0

# Sums are exact here, so that devices may be trained in larger chunks than archetypes, whose means
# are sums of floats. Calls cost less a device, and more of what they pass on leaves the cache.
CHUNKS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Attendance:
    """What became of the devices of one draw."""

    ids: Ids
    """Devices in the order of the draw, shape (n,)."""

    absent: NDArray[np.bool_]
    """Which never reported."""

    late: NDArray[np.bool_]
    """Which reported after enough others had."""

    @property
    def counted(self) -> NDArray[np.bool_]:
        return ~(self.absent | self.late)


class DeviceClients:
    """Device fidelity, as `Clients`."""

    refresh = 1

    def __init__(
        self,
        scenario: Scenario,
        task: Task,
        fleet: Fleet,
        adversary: Adversary,
        randomness: Randomness,
    ) -> None:
        self.scenario = scenario
        self._network = task.architecture
        self._fleet, self._adversary, self._randomness = fleet, adversary, randomness
        self._data = DeviceData(scenario, fleet, task, randomness)
        client = scenario.client
        self._training = LocalTraining(
            self._network,
            lr=client.lr,
            steps=client.steps,
            batch=client.batch,
            chunks=CHUNKS_AT_ONCE,
        )
        self._sampled = math.ceil(scenario.cohort.size * scenario.device.over_selection)
        self._key = randomness.key("population/members")
        self._least = max(2, math.ceil(scenario.device.least * scenario.cohort.size))
        # Whatever round the server accepts, the protocol shall be able to unmask: then what fails
        # does not depend on whether secure aggregation is on.
        self._assumptions = Assumptions(dropout_share=max(0.0, 1 - self._least / self._sampled))
        self._block, self._cohorts = -1, np.zeros((0, 0), dtype=np.int64)

    def aggregates(self, first: int, model: Tensor, clip: float) -> list[Aggregate]:
        """As `Clients.aggregates`."""
        sampled = self._counts(first)
        failures: list[Failure] = []
        while True:
            found = self._attempt(first, model, clip, sampled, tuple(failures))
            if isinstance(found, Aggregate):
                return [found]
            failures.append(found)
            if len(failures) == MOST_ATTEMPTS:
                raise ScenarioError(
                    f"round {first} failed {MOST_ATTEMPTS} times, at last because {found.reason}. "
                    f"Lower device.dropout or device.least, or raise device.over_selection."
                )

    def _attempt(
        self, round: int, model: Tensor, clip: float, sampled: Counts, before: tuple[Failure, ...]
    ) -> Aggregate | Failure:
        scenario = self.scenario
        draw = (round << ATTEMPT_BITS) + len(before)
        attendance = self._attend(draw, sampled)
        ids = attendance.ids[attendance.counted]
        if ids.size < self._least:
            reason = (
                f"{ids.size} of {attendance.ids.size} devices reported; a round needs {self._least}"
            )
            return Failure(reason, ids.size)
        acting = np.zeros(ids.size, dtype=bool)
        if scenario.fraction > 0:
            level = float(strength(scenario.attack, np.array([round]))[0])
            acting = self._fleet.acting(ids, level)
        grid = self.ring_grid(clip)
        sent, below = self._send(round, draw, ids, acting, model, clip, grid)
        try:
            total = self._sum(draw, sent, attendance)
        except TooFewClientsError as error:
            return Failure(str(error), ids.size)
        mean = decode(total).astype(np.float64) * (grid / ids.size)
        cohort = Cohort(
            strata=np.bincount(strata_of(ids), minlength=len(sampled)),
            counted=ids.size,
            malicious=int(acting.sum()),
            below=below,
            membership=Membership(
                key=self._key,
                draw=draw,
                sampled=tuple(int(count) for count in sampled),
                no_shows=tuple(int(at) for at in np.flatnonzero(attendance.absent)),
                late=tuple(int(at) for at in np.flatnonzero(attendance.late)),
            ),
            failures=before,
        )
        return Aggregate(mean.astype(np.float32), cohort)

    def ring_grid(self, clip: float) -> float:
        """Spacing of the fixed-point numbers that devices send: a power of two, and as fine as
        the sum of a cohort allows in 32 bits.
        """
        settings = self.scenario.mechanisms
        reach = clip
        if settings.noise == "local":
            reach *= 1 + NOISE_REACH * settings.noise_multiplier
        return 2.0 ** math.ceil(math.log2(reach * self._sampled) - 30)

    def _counts(self, round: int) -> Counts:
        """Devices to draw from each stratum; never more than it has."""
        block = round // BLOCK
        if block != self._block:
            self._block, self._cohorts = block, self._fleet.cohorts(block, self._sampled)
        counts: Counts = np.minimum(self._cohorts[round % BLOCK], self._fleet.devices)
        return counts

    def _attend(self, draw: int, sampled: Counts) -> Attendance:
        """Who of a draw reports, and who of them in time: the first `cohort.size`."""
        settings = self.scenario.device
        ids = draw_members(self._key, draw, sampled, self._fleet.devices)
        rng = self._randomness.stream("devices/attendance", draw)
        absent = rng.random(ids.size) < settings.dropout
        arrival = math.sqrt(1 - settings.pace**2) * _logistic(rng.random(ids.size))
        if settings.pace:
            own = self._randomness.of_devices("devices/pace", ids).random(ids.size)
            arrival += settings.pace * _logistic(own)
        arrival[absent] = np.inf
        late = np.zeros(ids.size, dtype=bool)
        late[np.argsort(arrival, kind="stable")[self.scenario.cohort.size :]] = True
        return Attendance(ids, absent, late & ~absent)

    def _send(
        self,
        round: int,
        draw: int,
        ids: Ids,
        acting: NDArray[np.bool_],
        model: Tensor,
        clip: float,
        grid: float,
    ) -> tuple[Residues, float]:
        """What devices send, shape (n, d), or its sum (1, d) where the server sees it anyway."""
        settings, secure = self.scenario.mechanisms, self.scenario.secure_aggregation
        elements, below = self._network.elements, 0
        sent = np.zeros((ids.size if secure else 1, elements), dtype=np.uint32)
        poison, slots = np.zeros((0, 0)), np.zeros(0, dtype=np.int64)
        if acting.any():
            poison = self._adversary.updates(model, round, clip)
            slots = self._adversary.slots(ids)
        noise = self._randomness.stream(noise_purpose(settings), draw)
        for start in range(0, ids.size, self._training.chunk):
            part = slice(start, start + self._training.chunk)
            inputs, labels = self._data.items(ids[part], round)
            features = self._network.features(torch.from_numpy(inputs))
            updates, norms = self._training.clipped(
                model, features, torch.from_numpy(labels).long(), clip
            )
            short = (norms <= clip).numpy()
            # What a controlled device sends instead is exactly as long as C.
            below += int((short | acting[part]).sum())
            mine = updates.numpy()
            if settings.noise == "local":
                scale = np.float32(settings.noise_multiplier * clip)
                mine += scale * noise.standard_normal(mine.shape, dtype=np.float32)
            # An attacker's device trains too, so that everybody else's numbers stay as they are
            # in the attack-free twin; then it sends something else, without noise.
            for at in np.flatnonzero(acting[part]):
                mine[at] = 0
                mine[at, self._adversary.elements] = poison[slots[part][at]]
            if secure:
                sent[part] = encode(mine, grid, summands=self._sampled)
            else:
                sent[0] += encoded_sum(mine, grid, summands=self._sampled)
        return sent, below / ids.size

    def _sum(self, draw: int, sent: Residues, attendance: Attendance) -> Residues:
        """The sum modulo 2^32, under masks where the scenario says so."""
        if not self.scenario.secure_aggregation:
            total: Residues = sent[0]
            return total
        counted = attendance.counted
        everybody = np.zeros((counted.size, sent.shape[1]), dtype=np.uint32)
        everybody[counted] = sent
        rng = self._randomness.stream("devices/secure-aggregation", draw)
        # Half of those who never report vanish before they share keys, half after it.
        early = attendance.absent & (rng.random(counted.size) < 0.5)
        fates = np.where(counted, Fate.STAYS, Fate.LOST_BEFORE_INPUT)
        fates[early] = Fate.NO_SHOW
        return secure_sum(everybody, fates=fates, entropy=rng, assumptions=self._assumptions).total


def _logistic(uniform: Floats) -> Floats:
    """Quantiles of the logistic distribution of variance 1."""
    floor = np.maximum(uniform, 2.0**-53)
    found: Floats = np.log(floor / (1 - uniform)) * (math.sqrt(3) / math.pi)
    return found
