"""Whom does each client share masks with, and how many must answer for it? Computed, not guessed.

Up to `COMPLETE_UP_TO` clients everybody is everybody's neighbour (Bonawitz et al. 2017). Above,
each client has k neighbours in a random regular graph (Bell et al. 2020): clients sit on a ring
in random order, each linked to the k/2 next on either side. k and the threshold t are the
smallest degree, and the largest threshold for it, at which three bad events stay improbable:

1. an honest client has t or more corrupt neighbours, who together could unmask it;
2. the honest clients that are left fall into two unlinked groups, whose two sums the server
   could then tell apart;
3. a client has fewer than t neighbours left, so that its masks cannot be taken out again.

The first two share a budget of 2^-security_bits, the third has 2^-correctness_bits, each over all
clients of a round together. Neighbours of one client are a random sample without replacement of
the others, so the exact tails are hypergeometric; the second is a union bound over the places
where a ring can break.

The largest threshold, because how many clients are corrupt is the assumption that we can check
least: what the server needs to unmask a client is as much as correctness allows.

References:
    Bell, Bonawitz, Gascón, Lepoint and Raykova, "Secure Single-Server Aggregation with
    (Poly)Logarithmic Overhead", CCS 2020, section 3.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simulator.secure_aggregation.errors import AggregationError, TooFewClientsError

COMPLETE_UP_TO = 128
"""Clients among whom everybody is everybody's neighbour."""

# A share of a whole number of clients, such as 0.1 of 30, is not rounded down by float error.
_SLACK = 1e-9


@dataclass(frozen=True)
class Assumptions:
    """What the protocol is set up to bear, and how sure it is to bear it."""

    corrupt_share: float = 0.05
    """Largest share of a round's clients who may tell the server all they know."""

    dropout_share: float = 0.2
    """Largest share of a round's clients who may leave after they advertised their keys."""

    security_bits: int = 40
    """A graph that lets the server see less than the whole sum is drawn once in 2^this rounds."""

    correctness_bits: int = 20
    """A round within the assumptions that cannot be unmasked happens once in 2^this rounds."""

    def __post_init__(self) -> None:
        corrupt, lost = self.corrupt_share, self.dropout_share
        if not (corrupt >= 0 and lost >= 0 and corrupt + lost < 1):
            raise AggregationError(
                f"corrupt and lost clients must be two shares that leave somebody over, and are "
                f"{corrupt} and {lost}; with these no threshold is both safe and sure. Lower one."
            )

    def corrupt(self, clients: int) -> int:
        """How many of so many clients may be corrupt."""
        return math.floor(self.corrupt_share * clients + _SLACK)

    def lost(self, clients: int) -> int:
        """How many of so many clients may leave; two always stay, or there is no sum."""
        return min(math.floor(self.dropout_share * clients + _SLACK), max(clients - 2, 0))


@dataclass(frozen=True)
class Plan:
    """The graph's shape for one number of clients."""

    clients: int
    degree: int
    """Neighbours of every client."""

    threshold: int
    """Neighbours whose shares recover a secret; one fewer know nothing about it."""

    least: int
    """Clients who must stay, of those who advertised keys."""


@lru_cache(maxsize=64)
def plan(clients: int, assumptions: Assumptions) -> Plan:
    """Degree and threshold for so many clients.

    Raises:
        TooFewClientsError: Fewer than 2 clients: the sum of one is that client's vector.
        AggregationError: So few clients cannot bear these assumptions.
    """
    if clients < 2:
        raise TooFewClientsError(phase="advertising keys", expected=2, found=clients)
    corrupt, lost = assumptions.corrupt(clients), assumptions.lost(clients)
    degree = clients - 1
    lowest, highest = corrupt + 1, degree - lost
    if clients > COMPLETE_UP_TO:
        for fewer in range(2, clients - 1, 2):
            found = thresholds(clients, fewer, assumptions)
            if found is not None:
                degree, (lowest, highest) = fewer, found
                break
    if lowest > highest:
        raise AggregationError(
            f"of {clients} clients {corrupt} may be corrupt and {lost} may leave: a threshold "
            f"would have to be at least {lowest} and at most {highest}. Lower a share in "
            f"`Assumptions`, or sample more clients."
        )
    return Plan(clients, degree, threshold=highest, least=clients - lost)


def thresholds(clients: int, degree: int, assumptions: Assumptions) -> tuple[int, int] | None:
    """The smallest and the largest threshold that will do with this many neighbours each.

    Args:
        degree: Even, at least 2, less than `clients` - 1.

    Returns:
        None where the graph may fall apart, or where no threshold is both safe and sure.
    """
    corrupt, lost = assumptions.corrupt(clients), assumptions.lost(clients)
    # Two events share the budget of security, and each may befall any client.
    insecure = -(assumptions.security_bits + 1) * math.log(2)
    unsure = -assumptions.correctness_bits * math.log(2)
    if log_split(clients, degree, corrupt + lost) > insecure:
        return None
    others = clients - 1
    per_client = math.log(clients)
    lowest, tail = degree + 1, 0.0
    while lowest > 1:
        tail += _chance(others, corrupt, degree, lowest - 1)
        if tail > 0 and math.log(tail) + per_client > insecure:
            break
        lowest -= 1
    highest, tail = 0, 0.0
    while highest < degree:
        # The client is one of those who stay, which leaves fewer of them as its neighbours.
        tail += _chance(others, others - lost, degree, highest)
        if tail > 0 and math.log(tail) + per_client > unsure:
            break
        highest += 1
    return (lowest, highest) if lowest <= highest else None


def log_split(clients: int, degree: int, removed: int) -> float:
    """Natural logarithm of a bound on the chance that the rest of a ring falls into parts.

    A ring on which everybody is linked to `degree` / 2 on either side falls apart only where two
    separate stretches of `degree` / 2 in a row are gone. The bound is the number of such pairs of
    stretches, n (n - k - 1) / 2, times the chance that all k clients in one pair are gone.
    """
    if degree > removed:
        return -math.inf
    pairs = math.log(clients) + math.log(clients - degree - 1) - math.log(2)
    gone = _log_choose(clients - degree, removed - degree) - _log_choose(clients, removed)
    return pairs + gone


def draw(clients: int, degree: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Who is whose neighbour: for each client the others' numbers, in increasing order.

    Args:
        degree: `clients` - 1 for everybody; otherwise even.
        rng: Gives the order on the ring. It is public: the protocol's secrets do not rest on it.
    """
    if degree == clients - 1:
        return [tuple(j for j in range(clients) if j != i) for i in range(clients)]
    if degree % 2 or not 0 < degree < clients - 1:
        raise AggregationError(
            f"a ring of {clients} clients has an even degree below {clients - 1}, and {degree} "
            f"was asked for; no graph was drawn. Take the degree from `plan`."
        )
    order = rng.permutation(clients)
    steps = np.concatenate([np.arange(-degree // 2, 0), np.arange(1, degree // 2 + 1)])
    seats = (np.arange(clients)[:, None] + steps) % clients
    beside = np.sort(order[seats], axis=1)
    graph: list[tuple[int, ...]] = [()] * clients
    for seat, client in enumerate(order.tolist()):
        graph[client] = tuple(beside[seat].tolist())
    return graph


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _chance(population: int, marked: int, drawn: int, found: int) -> float:
    """Chance that `found` of those drawn without replacement are marked."""
    if not max(0, drawn - (population - marked)) <= found <= min(marked, drawn):
        return 0.0
    return math.exp(
        _log_choose(marked, found)
        + _log_choose(population - marked, drawn - found)
        - _log_choose(population, drawn)
    )
