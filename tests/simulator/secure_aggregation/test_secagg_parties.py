"""Client and server: what does each know, and what does each refuse?"""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy import stats

from simulator.secure_aggregation import (
    Assumptions,
    RefusedError,
    Residues,
    TooFewClientsError,
    encode,
    plain_sum,
    secure_sum,
)
from simulator.secure_aggregation.client import Client
from simulator.secure_aggregation.masks import Agree, BothEnds, agree
from simulator.secure_aggregation.messages import Answer, Question
from simulator.secure_aggregation.server import Server
from simulator.secure_aggregation.shamir import SHARE_SIZE, recover

CLIENTS = 8
ELEMENTS = 40
LOST = 5
"""The client that shares keys and sends no vector."""

BEARS = Assumptions(corrupt_share=0.1, dropout_share=0.4)


class Played:
    """One round of eight clients, stopped before unmasking; client 5 is lost by then."""

    def __init__(self, agree: Agree = agree) -> None:
        rng = np.random.default_rng(11)
        self.vectors = rng.integers(0, 50, size=(CLIENTS, ELEMENTS)).astype(np.uint32)
        self.clients = [Client(number, rng.bytes(32), agree) for number in range(CLIENTS)]
        self.server = Server(ELEMENTS, BEARS)
        keys = {client.number: client.advertise() for client in self.clients}
        self.introduced = self.server.introduce(keys, rng)
        self.threshold = self.server.plan.threshold
        self.parcels = {
            client.number: client.share_keys(self.introduced[client.number], self.threshold)
            for client in self.clients
        }
        self.forwarded = self.server.forward(self.parcels)
        self.masked = {
            client.number: client.mask(self.vectors[client.number], self.forwarded[client.number])
            for client in self.clients
            if client.number != LOST
        }
        self.questions = self.server.collect(self.masked)

    def answers(self) -> dict[int, Answer]:
        return {number: self.clients[number].answer(q) for number, q in self.questions.items()}

    def secrets(self) -> dict[str, bytes]:
        """Every secret of every client, by its name."""
        return {
            f"{name} of {client.number}": value
            for client in self.clients
            for name, value in (
                ("self-mask seed", client._self_seed),
                ("mask key", client._mask_secret),
                ("channel key", client._channel_key.private_bytes_raw()),
                ("polynomials", client._coefficients),
                ("vector", self.vectors[client.number].tobytes()),
            )
        }


def held(thing: object) -> Iterator[bytes]:
    """All bytes that can be reached from an object, private keys and arrays included."""
    if isinstance(thing, bytes):
        yield thing
    elif isinstance(thing, np.ndarray):
        yield thing.tobytes()
    elif isinstance(thing, X25519PrivateKey):
        yield thing.private_bytes_raw()
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from held(key)
            yield from held(value)
    elif isinstance(thing, list | tuple | set | frozenset):
        for item in thing:
            yield from held(item)
    elif hasattr(thing, "__dict__"):
        yield from held(vars(thing))


@pytest.fixture
def played() -> Played:
    return Played()


def test_the_server_holds_no_vector_and_no_secret_of_anybody(played: Played) -> None:
    secrets = played.secrets()
    everything = b"\0".join(held(played.server))
    assert played.masked[0].tobytes() in everything  # the search does find what is there
    assert [name for name, secret in secrets.items() if secret in everything] == []
    played.server.unmask(played.answers())
    everything = b"\0".join(held(played.server))
    assert [name for name, secret in secrets.items() if secret in everything] == []


def test_answers_open_one_secret_of_each_client_and_never_both(played: Played) -> None:
    total = played.server.unmask(played.answers())
    counted = np.arange(CLIENTS) != LOST
    np.testing.assert_array_equal(total, plain_sum(played.vectors, counted))
    expected = {n: "mask key" if n == LOST else "self-mask seed" for n in range(CLIENTS)}
    assert played.server._opened == expected


def test_no_message_differs_where_pairs_agree_once_for_both_ends(played: Played) -> None:
    other = Played(BothEnds())
    assert other.parcels == played.parcels
    assert other.answers() == played.answers()
    for number, vector in played.masked.items():
        np.testing.assert_array_equal(other.masked[number], vector)


def pooled(played: Played, of: int, by: list[int], *, key: bool) -> dict[int, bytes]:
    """Shares of one client's secret that some of its neighbours can read, by their points."""
    others = [number for number in range(CLIENTS) if number != of]
    texts = {others.index(n) + 1: played.clients[n]._open(of) for n in by}
    part = slice(SHARE_SIZE, None) if key else slice(SHARE_SIZE)
    return {point: text[part] for point, text in texts.items()}


@pytest.mark.parametrize("key", [False, True])
def test_t_neighbours_together_know_a_clients_secret_and_one_fewer_does_not(
    played: Played, key: bool
) -> None:
    # Client 0 and its neighbours; what each could read on its own is `_open`.
    for client in played.clients:
        client._parcels = dict(played.forwarded[client.number])
    secret = played.clients[0]._mask_secret if key else played.clients[0]._self_seed
    assert played.threshold == 4
    enough = pooled(played, 0, [2, 3, 5, 7], key=key)
    assert recover(enough, threshold=4) == secret
    too_few = pooled(played, 0, [2, 3, 7], key=key)
    with pytest.raises(RefusedError, match="they say nothing about it"):
        recover(too_few, threshold=4)
    # Three taken as if they were enough belong to another secret, or as here to none.
    with pytest.raises(RefusedError, match="belongs to no secret"):
        recover(too_few, threshold=3)


def test_the_server_recovers_at_exactly_the_threshold_and_not_below(played: Played) -> None:
    # A counted client needs 4 of the others, so with 5 answers all have them, with 4 not.
    answers = played.answers()
    five = {number: answers[number] for number in (0, 1, 2, 3, 4)}
    total = played.server.unmask(five)
    np.testing.assert_array_equal(total, plain_sum(played.vectors, np.arange(CLIENTS) != LOST))
    other = Played()
    four = {number: answers[number] for number in (0, 1, 2, 3)}
    with pytest.raises(TooFewClientsError, match="at least 4 clients are needed and 3 are left"):
        other.server.unmask(four)


def test_masked_vectors_look_uniform_and_plain_ones_do_not() -> None:
    # Chi-square on each byte, 256 bins; with 20 tests at 0.0005 each, one in a hundred seeds
    # would show a false alarm.
    updates = np.random.default_rng(1).normal(0, 0.01, size=(5, 20_000)).astype(np.float32)
    residues = encode(updates, 1e-5)
    server = secure_sum(residues, entropy=np.random.default_rng(2)).server
    for client in range(5):
        for byte in range(4):
            assert _uniform_p(server.received(client), byte) > 5e-4, f"client {client}, {byte}"
        # The three high bytes of a plain residue are far from uniform.
        assert all(_uniform_p(residues[client], byte) < 1e-100 for byte in (1, 2, 3))


def _uniform_p(residues: Residues, byte: int) -> float:
    counts = np.bincount((residues >> (8 * byte)) & 0xFF, minlength=256)
    return float(stats.chisquare(counts).pvalue)


def test_masked_vectors_say_nothing_about_how_plain_ones_are_alike() -> None:
    vector = np.full((6, 5_000), 3, dtype=np.uint32)
    server = secure_sum(vector, entropy=np.random.default_rng(3)).server
    seen = np.array([server.received(client) for client in range(6)]).astype(np.float64)
    off_diagonal = np.array(np.corrcoef(seen))[np.triu_indices(6, 1)]
    # 15 correlations of standard deviation 1/sqrt(5000).
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(5_000)


def test_even_one_equal_vector_twice_is_masked_in_two_ways() -> None:
    vectors = np.full((4, ELEMENTS), 7, dtype=np.uint32)
    servers = [secure_sum(vectors, entropy=np.random.default_rng(s)).server for s in (1, 2)]
    assert not np.array_equal(servers[0].received(0), servers[1].received(0))
    assert not np.array_equal(servers[0].received(0), servers[0].received(1))


def test_what_the_server_received_is_a_copy(played: Played) -> None:
    played.server.received(0)[:] = 0
    np.testing.assert_array_equal(played.server.received(0), played.masked[0])


def test_a_client_never_tells_both_secrets_of_a_neighbour(played: Played) -> None:
    client, question = played.clients[0], played.questions[0]
    both = Question(question.counted | {LOST}, question.lost)
    with pytest.raises(RefusedError, match=r"asked for both secrets of \[5\]"):
        client.answer(both)
    client.answer(question)
    assert client.answer(question).mask_keys.keys() == {LOST}  # the same again tells nothing new
    swapped = Question(question.counted - {1} | {LOST}, frozenset({1}))
    with pytest.raises(RefusedError, match=r"asked for both secrets of \[1, 5\]"):
        client.answer(swapped)


def test_a_client_answers_only_about_shares_that_it_holds(played: Played) -> None:
    question = played.questions[0]
    with pytest.raises(RefusedError, match=r"asked for shares of \[99\] and holds none"):
        played.clients[0].answer(Question(question.counted | {99}, question.lost))


def test_a_client_unmasks_no_sum_of_too_few(played: Played) -> None:
    with pytest.raises(RefusedError, match="asked to unmask 3 neighbours and the threshold is 4"):
        played.clients[0].answer(Question(frozenset({1, 2, 3}), frozenset({LOST})))


def test_a_client_sends_no_vector_where_too_few_neighbours_shared(played: Played) -> None:
    few = {number: played.forwarded[0][number] for number in (1, 2, 3)}
    with pytest.raises(RefusedError, match="shares from 3 clients"):
        played.clients[0].mask(played.vectors[0], few)
    with pytest.raises(RefusedError, match=r"of whom \[42\] are not its neighbours"):
        played.clients[0].mask(played.vectors[0], played.forwarded[0] | {42: b""})


def test_a_parcel_that_was_changed_or_swapped_on_its_way_is_noticed(played: Played) -> None:
    client = played.clients[0]
    whole = dict(played.forwarded[0])
    changed = whole | {3: bytes([whole[3][0] ^ 1]) + whole[3][1:]}
    reflected = whole | {3: played.parcels[0][3]}
    for parcels in (changed, reflected, whole | {3: whole[4]}, whole | {3: b""}):
        client.mask(played.vectors[0], parcels)
        with pytest.raises(RefusedError, match="from 3 were changed on their way"):
            client.answer(played.questions[0])


def test_only_the_receiver_reads_a_parcel(played: Played) -> None:
    assert len({parcel for sent in played.parcels.values() for parcel in sent.values()}) == 56
    neighbour = played.clients[2]
    neighbour._parcels = dict(played.forwarded[1])  # what client 1 was sent
    with pytest.raises(RefusedError, match="changed on their way"):
        neighbour._open(0)


def test_the_server_uses_no_answer_to_what_it_did_not_ask(played: Played) -> None:
    answers = played.answers()
    told = Answer({LOST: answers[0].mask_keys[LOST]}, answers[0].mask_keys)
    with pytest.raises(RefusedError, match="client 0 told shares that it was not asked for"):
        played.server.unmask(answers | {0: told})
    with pytest.raises(RefusedError, match="client 5 told shares"):
        played.server.unmask(answers | {LOST: answers[0]})


def test_the_server_opens_no_second_secret_of_a_client(played: Played) -> None:
    answers = played.answers()
    played.server.unmask(answers)
    with pytest.raises(RefusedError, match="self-mask seed of client 0 is open already"):
        played.server.unmask(answers)


def test_a_recovered_key_is_held_against_the_one_that_was_advertised(played: Played) -> None:
    answers = played.answers()
    # All tell their shares of the lost client's other secret: a secret, but not the right one.
    wrong = {
        number: Answer(answer.self_seeds, {LOST: played.clients[number]._open(LOST)[:SHARE_SIZE]})
        for number, answer in answers.items()
    }
    with pytest.raises(RefusedError, match=r"client 5 is not the one that it advertised"):
        played.server.unmask(wrong)


def test_the_server_takes_vectors_of_sharers_and_of_one_length_only() -> None:
    played = Played()
    short = played.masked | {2: played.masked[2][:-1]}
    with pytest.raises(RefusedError, match=r"client 2 sent a vector of shape \(39,\)"):
        played.server.collect(short)
    with pytest.raises(RefusedError, match="client 31 sent a vector"):
        played.server.collect(played.masked | {31: played.masked[2]})


def test_before_keys_are_advertised_there_is_no_plan() -> None:
    with pytest.raises(RefusedError, match="Call `introduce` first"):
        _ = Server(ELEMENTS, BEARS).plan
