"""What is the sum of these clients' vectors, by a server that sees none of them?

`secure_sum` plays one whole round: every client, the server, and the network between them, which
loses clients where their fate says so. The randomness hides vectors and leaves no trace in the
sum: it is the plain sum modulo 2^32 of the counted clients, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from simulator.secure_aggregation.client import Client
from simulator.secure_aggregation.errors import AggregationError
from simulator.secure_aggregation.graph import Assumptions
from simulator.secure_aggregation.masks import SEED_SIZE, BothEnds
from simulator.secure_aggregation.messages import ELEMENT_SIZE, NUMBER_SIZE, parcels_size
from simulator.secure_aggregation.ring import Residues
from simulator.secure_aggregation.server import Server

ASSUMPTIONS = Assumptions()


class Fate(IntEnum):
    """When a client is lost. The graph is drawn among those who are not `NO_SHOW`."""

    STAYS = 0
    """Takes part to the end."""

    NO_SHOW = 1
    """Never advertises keys: the round is as if it had not been sampled."""

    LOST_BEFORE_SHARING = 2
    """Advertises keys and shares none: nobody masks against it, and nothing is to be undone."""

    LOST_BEFORE_INPUT = 3
    """Shares keys and sends no vector: its neighbours' masks against it must be taken out."""

    LOST_BEFORE_UNMASKING = 4
    """Sends its masked vector and then falls silent: it is in the sum."""


@dataclass(frozen=True)
class SecureSum:
    """One round's sum, and what it took."""

    total: Residues
    """Sum modulo 2^32 of the counted clients' vectors, shape (d,)."""

    counted: NDArray[np.bool_]
    """Who is in the sum, shape (n,)."""

    degree: int
    """Neighbours of every client."""

    threshold: int
    """Shares that recover a secret."""

    recovered: int
    """Clients lost after sharing keys, whose mask keys the server had to recover."""

    bytes_up: NDArray[np.int64]
    """Bytes that each client sent, shape (n,); the vector itself is 4 d of them."""

    bytes_down: NDArray[np.int64]
    """Bytes that each client received, shape (n,); the next model is not among them."""

    server: Server
    """What the server holds at the end; `server.received(client)` is what it saw of a client."""


def secure_sum(
    residues: Residues,
    *,
    fates: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int] | None = None,
    entropy: np.random.Generator,
    assumptions: Assumptions = ASSUMPTIONS,
) -> SecureSum:
    """Play one round of secure aggregation.

    Args:
        residues: One vector a client, shape (n, d), from `ring.encode`. Vectors of clients who
            are lost before input are never read.
        fates: A `Fate` for each client, shape (n,). A boolean array reads as "absent": True is
            `NO_SHOW`. Everybody stays where it is not given.
        entropy: Gives every secret of the round, and the graph. Each client draws 32 bytes,
            whatever its fate, so one client's fate changes no other client's keys.
        assumptions: What the round must bear.

    Raises:
        TooFewClientsError: More clients are lost than the assumptions bear. Nothing was summed.
        AggregationError: The arrays do not fit together, or so few clients cannot bear the
            assumptions.

    References:
        Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal and Seth, "Practical
        Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, figure 4.
    """
    fate = _fates(residues, fates)
    clients, elements = residues.shape
    up = np.zeros(clients, dtype=np.int64)
    down = np.zeros(clients, dtype=np.int64)
    server = Server(elements, assumptions)
    seeds = [entropy.bytes(SEED_SIZE) for _ in range(clients)]
    # All clients live in this process, so what both ends of a pair would compute is computed once.
    both_ends = BothEnds()

    # 0: advertise keys.
    present = {
        number: Client(number, seeds[number], both_ends)
        for number in range(clients)
        if fate[number] != Fate.NO_SHOW
    }
    keys = {number: client.advertise() for number, client in present.items()}
    introduced = server.introduce(keys, entropy)
    for number in present:
        up[number] += keys[number].size
        down[number] += sum(NUMBER_SIZE + other.size for other in introduced[number].values())

    # 1: share keys.
    sent = {
        number: client.share_keys(introduced[number], server.plan.threshold)
        for number, client in present.items()
        if fate[number] != Fate.LOST_BEFORE_SHARING
    }
    forwarded = server.forward(sent)
    for number, parcels in sent.items():
        up[number] += parcels_size(parcels)
        down[number] += parcels_size(forwarded[number])

    # 2: masked input.
    masked = {
        number: present[number].mask(residues[number], forwarded[number])
        for number in sent
        if fate[number] != Fate.LOST_BEFORE_INPUT
    }
    questions = server.collect(masked)
    for number in masked:
        up[number] += ELEMENT_SIZE * elements
        down[number] += questions[number].size

    # 3: unmask.
    answers = {
        number: present[number].answer(question)
        for number, question in questions.items()
        if fate[number] != Fate.LOST_BEFORE_UNMASKING
    }
    for number, answer in answers.items():
        up[number] += answer.size
    counted = np.zeros(clients, dtype=np.bool_)
    counted[list(masked)] = True
    return SecureSum(
        total=server.unmask(answers),
        counted=counted,
        degree=server.plan.degree,
        threshold=server.plan.threshold,
        recovered=len(sent) - len(masked),
        bytes_up=up,
        bytes_down=down,
        server=server,
    )


def _fates(
    residues: Residues, fates: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int] | None
) -> NDArray[np.int64]:
    if residues.ndim != 2 or residues.dtype != np.uint32:
        raise AggregationError(
            f"residues must be uint32 of shape (clients, elements), and are {residues.dtype} of "
            f"shape {residues.shape}; no sum was taken. Make them with `ring.encode`."
        )
    clients = len(residues)
    fate = np.zeros(clients, np.int64) if fates is None else np.asarray(fates).astype(np.int64)
    known = [int(value) for value in Fate]
    if fate.shape != (clients,) or not np.isin(fate, known).all():
        raise AggregationError(
            f"one fate of {known[0]} to {known[-1]} is needed for each of {clients} clients, and "
            f"an array of shape {fate.shape} with {np.unique(fate).tolist()} was given; no sum "
            f"was taken. Take them from `Fate`."
        )
    return fate
