"""What does the server see? Public keys, parcels it cannot read, masked vectors, and their sum.

This class never holds a vector, a seed or a private key of a client, but for the secrets that the
protocol opens at the end: the self-mask seed of who is in the sum, and the mask key of who was
lost after sharing keys. It refuses to open both of one client: their vector would lie open.
"""

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from simulator.secure_aggregation.errors import RefusedError, TooFewClientsError
from simulator.secure_aggregation.graph import Assumptions, Plan, draw, plan
from simulator.secure_aggregation.masks import MASK, agree, derive, expand
from simulator.secure_aggregation.messages import Advertisement, Answer, Question
from simulator.secure_aggregation.ring import Residues
from simulator.secure_aggregation.shamir import recover

SELF_SEED = "self-mask seed"
MASK_KEY = "mask key"


class Server:
    """The server in one round.

    Args:
        elements: Length d of every vector.
        assumptions: What the round must bear; they fix the graph's degree and the threshold.
    """

    def __init__(self, elements: int, assumptions: Assumptions) -> None:
        self.elements = elements
        self.assumptions = assumptions
        self._plan: Plan | None = None
        self._keys: dict[int, Advertisement] = {}
        self._neighbours: dict[int, tuple[int, ...]] = {}
        self._sharers: frozenset[int] = frozenset()
        self._masked: dict[int, Residues] = {}
        self._questions: dict[int, Question] = {}
        # Which secret of a client was opened: one of them, once.
        self._opened: dict[int, str] = {}

    @property
    def plan(self) -> Plan:
        """The graph's degree and threshold, known once keys were advertised."""
        if self._plan is None:
            raise RefusedError(
                "no keys were advertised yet, so there is no graph. Call `introduce` first."
            )
        return self._plan

    def introduce(
        self, keys: Mapping[int, Advertisement], rng: np.random.Generator
    ) -> dict[int, dict[int, Advertisement]]:
        """Round 0: draws the graph, and tells every client its neighbours' keys.

        Raises:
            TooFewClientsError: Fewer than two clients advertised keys.
            AggregationError: So few clients cannot bear the assumptions.
        """
        self._plan = plan(len(keys), self.assumptions)
        self._keys = dict(sorted(keys.items()))
        numbers = list(self._keys)
        for number, beside in zip(numbers, draw(len(numbers), self._plan.degree, rng), strict=True):
            self._neighbours[number] = tuple(numbers[at] for at in beside)
        return {
            number: {other: self._keys[other] for other in beside}
            for number, beside in self._neighbours.items()
        }

    def forward(self, parcels: Mapping[int, Mapping[int, bytes]]) -> dict[int, dict[int, bytes]]:
        """Round 1: hands each client's encrypted shares to those they are for.

        Args:
            parcels: By sender, then by receiver; a client who is lost sends nothing.

        Returns:
            By receiver, then by sender, for clients who sent theirs.

        Raises:
            TooFewClientsError: More clients were lost than the assumptions bear, or more of one
                client's neighbours than the threshold bears.
        """
        self._require("sharing keys", self.plan.least, len(parcels))
        self._require_neighbours(parcels)
        self._sharers = frozenset(parcels)
        return {
            receiver: {
                sender: parcels[sender][receiver]
                for sender in self._neighbours[receiver]
                if sender in parcels
            }
            for receiver in parcels
        }

    def collect(self, masked: Mapping[int, Residues]) -> dict[int, Question]:
        """Round 2: takes the masked vectors, and asks for what will unmask their sum.

        Args:
            masked: By client, each of shape (d,).

        Returns:
            One question for each client whose vector arrived.

        Raises:
            TooFewClientsError: More clients were lost than the assumptions bear, or more of one
                client's neighbours than the threshold bears.
            RefusedError: A vector of another length, or from somebody who shared no keys.
        """
        self._require("masked input", self.plan.least, len(masked))
        for number, vector in masked.items():
            if number not in self._sharers or vector.shape != (self.elements,):
                raise RefusedError(
                    f"client {number} sent a vector of shape {vector.shape}; one of shape "
                    f"({self.elements},) was expected, from a client who shared keys. No sum was "
                    f"taken. Fail the round."
                )
        lost = self._sharers - set(masked)
        self._require_neighbours(masked)
        self._masked = dict(masked)
        self._questions = {
            number: Question(
                counted=frozenset(n for n in self._neighbours[number] if n in masked),
                lost=frozenset(n for n in self._neighbours[number] if n in lost),
            )
            for number in masked
        }
        return dict(self._questions)

    def unmask(self, answers: Mapping[int, Answer]) -> Residues:
        """Round 3: the sum of the vectors that arrived, and of nothing else.

        Args:
            answers: By client; who is lost by now is in the sum all the same.

        Returns:
            Shape (d,): the sum modulo 2^32.

        Raises:
            TooFewClientsError: A secret has fewer shares than the threshold.
            RefusedError: An answer tells what was not asked, or shares do not fit the keys.
        """
        seeds, keys = self._sort(answers)
        total = np.zeros(self.elements, dtype=np.uint32)
        for vector in self._masked.values():
            total += vector
        for number in self._masked:
            total -= expand(self._open(number, SELF_SEED, seeds), self.elements)
        for number in sorted(self._sharers - set(self._masked)):
            self._take_out_lost(number, self._open(number, MASK_KEY, keys), total)
        return total

    def received(self, client: int) -> Residues:
        """What arrived from one client: its masked vector, shape (d,).

        Raises:
            RefusedError: Nothing arrived from it.
        """
        if client not in self._masked:
            raise RefusedError(
                f"no masked vector arrived from client {client}, so there is nothing to look at. "
                f"Ask about a client who is counted."
            )
        return self._masked[client].copy()

    def _sort(
        self, answers: Mapping[int, Answer]
    ) -> tuple[dict[int, dict[int, bytes]], dict[int, dict[int, bytes]]]:
        """Shares of seeds and of keys, by owner and then by the holder's point."""
        seeds: dict[int, dict[int, bytes]] = {n: {} for n in self._masked}
        keys: dict[int, dict[int, bytes]] = {n: {} for n in self._sharers if n not in self._masked}
        # A holder's point is its place among the owner's neighbours, in increasing order.
        points = {
            owner: {holder: at for at, holder in enumerate(self._neighbours[owner], start=1)}
            for owner in self._sharers
        }
        for holder, answer in answers.items():
            question = self._questions.get(holder, Question(frozenset(), frozenset()))
            if not (
                answer.self_seeds.keys() <= question.counted
                and answer.mask_keys.keys() <= question.lost
            ):
                raise RefusedError(
                    f"client {holder} told shares that it was not asked for; nothing of its "
                    f"answer was used, since both secrets of one client must never be known. "
                    f"Fail the round."
                )
            for owner, text in answer.self_seeds.items():
                seeds[owner][points[owner][holder]] = text
            for owner, text in answer.mask_keys.items():
                keys[owner][points[owner][holder]] = text
        return seeds, keys

    def _open(self, owner: int, what: str, shares: Mapping[int, dict[int, bytes]]) -> bytes:
        """Recover one secret of one client, once."""
        if owner in self._opened:
            raise RefusedError(
                f"the {self._opened[owner]} of client {owner} is open already; its {what} must "
                f"stay closed, or its vector could be read. Start a new round."
            )
        found = len(shares[owner])
        self._require(f"shares of the {what} of client {owner}", self.plan.threshold, found)
        secret = recover(shares[owner], threshold=self.plan.threshold)
        self._opened[owner] = what
        return secret

    def _take_out_lost(self, lost: int, secret: bytes, total: Residues) -> None:
        """Cancel what neighbours masked against a client who then sent no vector."""
        private = X25519PrivateKey.from_private_bytes(secret)
        public = private.public_key().public_bytes_raw()
        if public != self._keys[lost].mask_key:
            raise RefusedError(
                f"the mask key recovered for client {lost} is not the one that it advertised; "
                f"its masks cannot be taken out. Some shares were wrong: fail the round."
            )
        for number in self._neighbours[lost]:
            if number in self._masked:
                secret_of_pair = agree(private, public, self._keys[number].mask_key)
                mask = expand(derive(secret_of_pair, MASK), self.elements)
                # What `Client.mask` did with the sign of `number`, undone.
                if number < lost:
                    total -= mask
                else:
                    total += mask

    def _require_neighbours(self, left: Mapping[int, object]) -> None:
        """Every client that may have to be unmasked must keep neighbours enough for it."""
        for number in sorted(self._sharers or left):
            beside = sum(other in left for other in self._neighbours[number])
            self._require(f"neighbours of client {number}", self.plan.threshold, beside)

    @staticmethod
    def _require(phase: str, expected: int, found: int) -> None:
        if found < expected:
            raise TooFewClientsError(phase=phase, expected=expected, found=found)
