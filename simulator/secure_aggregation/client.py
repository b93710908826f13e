"""What does one device do so that nobody sees its vector? Four answers to four requests.

It advertises two public keys; shares the seed of its self-mask and its private mask key among its
neighbours, encrypted for each; sends its vector under its self-mask and one mask a neighbour; and
at the end gives its shares of either secret of each neighbour, never of both: with both, that
neighbour's vector would lie open.
"""

from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from simulator.secure_aggregation.errors import RefusedError
from simulator.secure_aggregation.masks import CHANNEL, MASK, Agree, agree, derive, expand
from simulator.secure_aggregation.messages import Advertisement, Answer, Question
from simulator.secure_aggregation.ring import Residues
from simulator.secure_aggregation.shamir import SHARE_SIZE, share


class Client:
    """One device in one round.

    Args:
        number: Which client of the round, from 0; public.
        entropy: 32 bytes. All the client's secrets derive from them, in this round only.
        agree: How a pair's secret is agreed; `BothEnds` where one process plays all clients.
    """

    def __init__(self, number: int, entropy: bytes, agree: Agree = agree) -> None:
        self.number = number
        self._agree = agree
        self._self_seed = derive(entropy, b"self-mask")
        self._mask_secret = derive(entropy, b"mask key")
        self._coefficients = derive(entropy, b"polynomials")
        self._mask_key = X25519PrivateKey.from_private_bytes(self._mask_secret)
        self._channel_key = X25519PrivateKey.from_private_bytes(derive(entropy, b"channel key"))
        self._advertisement = Advertisement(
            mask_key=self._mask_key.public_key().public_bytes_raw(),
            channel_key=self._channel_key.public_key().public_bytes_raw(),
        )
        self._threshold = 0
        self._neighbours: dict[int, Advertisement] = {}
        self._channels: dict[int, AESGCM] = {}
        self._parcels: dict[int, bytes] = {}
        # Of which neighbour a share was given already, and whether it was the mask key's.
        self._told: dict[int, bool] = {}

    def advertise(self) -> Advertisement:
        """Round 0: the public keys."""
        return self._advertisement

    def share_keys(
        self, neighbours: Mapping[int, Advertisement], threshold: int
    ) -> dict[int, bytes]:
        """Round 1: for each neighbour its share of both secrets, which only it can read.

        Raises:
            RefusedError: The threshold is more than the neighbours there are.
        """
        self._neighbours = dict(sorted(neighbours.items()))
        self._threshold = threshold
        shares = share(
            (self._self_seed, self._mask_secret),
            threshold=threshold,
            holders=len(self._neighbours),
            seed=self._coefficients,
        )
        own = self._advertisement.channel_key
        parcels = {}
        for (number, keys), text in zip(self._neighbours.items(), shares, strict=True):
            secret = self._agree(self._channel_key, own, keys.channel_key)
            channel = self._channels[number] = AESGCM(derive(secret, CHANNEL))
            nonce, route = _route(self.number, number)
            parcels[number] = channel.encrypt(nonce, text, route)
        return parcels

    def mask(self, vector: Residues, parcels: Mapping[int, bytes]) -> Residues:
        """Round 2: the vector under its masks.

        Args:
            vector: Residues, shape (d,).
            parcels: What neighbours sent in round 1; who sent nothing is not masked against.

        Returns:
            Shape (d,): uniform to whoever lacks one of the masks.

        Raises:
            RefusedError: A parcel comes from nobody's neighbour, or so few neighbours are left
                that the masks could not be taken out again.
        """
        strangers = sorted(set(parcels) - set(self._neighbours))
        if strangers or len(parcels) < self._threshold:
            raise RefusedError(
                f"client {self.number} got shares from {len(parcels)} clients, of whom "
                f"{strangers or 'none'} are not its neighbours, and needs those of at least "
                f"{self._threshold} neighbours; it sent no vector. Fail the round."
            )
        self._parcels = dict(parcels)
        own = self._advertisement.mask_key
        masked = vector + expand(self._self_seed, vector.size)
        for number in self._parcels:
            secret = self._agree(self._mask_key, own, self._neighbours[number].mask_key)
            mask = expand(derive(secret, MASK), vector.size)
            # The lower number adds and the higher one takes away: the pair cancels in the sum.
            if self.number < number:
                masked += mask
            else:
                masked -= mask
        return masked

    def answer(self, question: Question) -> Answer:
        """Round 3: shares of the seeds of the counted, and of the mask keys of the lost.

        Raises:
            RefusedError: The question asks for both secrets of a neighbour, now or together with
                an earlier one; names somebody whose shares this client does not hold; counts too
                few; or a parcel was changed on its way.
        """
        self._check(question)
        answer = Answer(
            self_seeds={n: self._open(n)[:SHARE_SIZE] for n in sorted(question.counted)},
            mask_keys={n: self._open(n)[SHARE_SIZE:] for n in sorted(question.lost)},
        )
        self._told.update(dict.fromkeys(question.counted, False))
        self._told.update(dict.fromkeys(question.lost, True))
        return answer

    def _check(self, question: Question) -> None:
        told_keys = {number for number, of_key in self._told.items() if of_key}
        told_seeds = set(self._told) - told_keys
        both = (question.counted | told_seeds) & (question.lost | told_keys)
        if both:
            raise RefusedError(
                f"client {self.number} was asked for both secrets of {sorted(both)}: with them "
                f"their vectors could be read. It gave neither; take no part with this server."
            )
        unknown = (question.counted | question.lost) - set(self._parcels)
        if unknown:
            raise RefusedError(
                f"client {self.number} was asked for shares of {sorted(unknown)} and holds none; "
                f"it gave no answer. Ask each client about its own neighbours only."
            )
        if len(question.counted) < self._threshold:
            raise RefusedError(
                f"client {self.number} was asked to unmask {len(question.counted)} neighbours "
                f"and the threshold is {self._threshold}: so small a sum hides too little. It "
                f"gave no answer; fail the round."
            )

    def _open(self, sender: int) -> bytes:
        nonce, route = _route(sender, self.number)
        try:
            return self._channels[sender].decrypt(nonce, self._parcels[sender], route)
        except InvalidTag as error:
            raise RefusedError(
                f"the shares that client {self.number} got from {sender} were changed on their "
                f"way, so it gave no answer. Fail the round, and look at who forwards parcels."
            ) from error


def _route(sender: int, receiver: int) -> tuple[bytes, bytes]:
    """Nonce and authenticated data of a parcel.

    Both directions of a pair use one key that lives for one round, and the sender's number keeps
    their nonces apart.
    """
    return sender.to_bytes(12, "big"), b"%d to %d" % (sender, receiver)
