"""One whole round: is the sum the plain sum of the counted, bit for bit, or else refused?"""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roundlog.errors import RoundlogError
from simulator.secure_aggregation import (
    AggregationError,
    Assumptions,
    Fate,
    RefusedError,
    Residues,
    TooFewClientsError,
    decode,
    encode,
    plain_sum,
    secure_sum,
)

ELEMENTS = 7
IN_THE_SUM = (Fate.STAYS, Fate.LOST_BEFORE_UNMASKING)


def drawn(clients: int, seed: int, elements: int = ELEMENTS) -> Residues:
    """Residues from all over the ring, shape (clients, elements)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**32, size=(clients, elements), dtype=np.uint32)


def entropy(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def counted(fates: list[Fate]) -> NDArray[np.bool_]:
    return np.isin(fates, IN_THE_SUM)


def is_borne(fates: list[Fate], assumptions: Assumptions) -> bool:
    """Among few clients, who are all neighbours: are enough left in every phase?

    As many may be lost as was assumed, whenever they are; and two must be in the sum.
    """
    present = sum(fate != Fate.NO_SHOW for fate in fates)
    lost = present - fates.count(Fate.STAYS)
    return present >= 2 and lost <= assumptions.lost(present) and counted(fates).sum() >= 2


# Half of all stay and half may be lost: about as many random rounds are borne as are not.
FATES = st.lists(st.sampled_from([*[Fate.STAYS] * 4, *list(Fate)[1:]]), min_size=2, max_size=40)
HALF = Assumptions(corrupt_share=0.05, dropout_share=0.5)


@settings(max_examples=120, deadline=None)
@example([Fate.STAYS, Fate.STAYS], 0, 0)
@example([Fate.STAYS, Fate.STAYS, Fate.LOST_BEFORE_UNMASKING, Fate.LOST_BEFORE_INPUT], 0, 0)
@example([Fate.NO_SHOW, Fate.STAYS], 0, 0)
@given(FATES, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_borne_round_gives_the_plain_sum_and_any_other_gives_none(
    fates: list[Fate], seed: int, chance: int
) -> None:
    residues = drawn(len(fates), seed)
    if is_borne(fates, HALF):
        found = secure_sum(residues, fates=fates, entropy=entropy(chance), assumptions=HALF)
        np.testing.assert_array_equal(found.counted, counted(fates))
        np.testing.assert_array_equal(found.total, plain_sum(residues, counted(fates)))
        assert found.recovered == fates.count(Fate.LOST_BEFORE_INPUT)
    else:
        with pytest.raises(TooFewClientsError, match="are needed"):
            secure_sum(residues, fates=fates, entropy=entropy(chance), assumptions=HALF)


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 2**32 - 1))
def test_the_order_of_clients_changes_nothing(order: list[int], seed: int) -> None:
    residues = drawn(12, seed)
    fates = np.array([0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, 0])
    one = secure_sum(residues, fates=fates, entropy=entropy(), assumptions=HALF)
    other = secure_sum(residues[order], fates=fates[order], entropy=entropy(), assumptions=HALF)
    np.testing.assert_array_equal(one.total, other.total)
    np.testing.assert_array_equal(one.counted[order], other.counted)


def test_two_hundred_clients_on_a_sparse_graph_are_lost_in_every_phase() -> None:
    residues = drawn(200, 3, elements=50)
    fates = np.zeros(200, dtype=np.int64)
    fates[:40] = np.repeat([1, 2, 3, 4], 10)
    fates = np.random.default_rng(4).permutation(fates)
    found = secure_sum(residues, fates=fates, entropy=entropy())
    assert found.degree < 40
    assert found.recovered == 10
    assert found.counted.sum() == 170
    np.testing.assert_array_equal(found.counted, np.isin(fates, IN_THE_SUM))
    np.testing.assert_array_equal(found.total, plain_sum(residues, found.counted))


@pytest.mark.parametrize("clients", [9, 140])
def test_the_seed_gives_the_messages_and_leaves_no_trace_in_the_sum(clients: int) -> None:
    residues = drawn(clients, 5)
    one, again, other = (secure_sum(residues, entropy=entropy(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.server.received(3), again.server.received(3))
    assert not np.array_equal(one.server.received(3), other.server.received(3))
    np.testing.assert_array_equal(one.total, other.total)


def test_the_fate_of_one_client_changes_no_other_clients_keys() -> None:
    residues = drawn(6, 6)
    everybody = secure_sum(residues, entropy=entropy(), assumptions=HALF)
    without = secure_sum(residues, fates=[0, 0, 0, 1, 0, 0], entropy=entropy(), assumptions=HALF)
    for client in (0, 1, 2, 4, 5):
        assert everybody.server._keys[client] == without.server._keys[client]


def test_updates_come_back_as_their_sum_on_the_grid() -> None:
    updates = np.random.default_rng(7).normal(0, 0.1, size=(30, 64)).astype(np.float32)
    absent = np.arange(30) % 5 == 0
    found = secure_sum(encode(updates, 2.0**-16), fates=absent, entropy=entropy())
    np.testing.assert_array_equal(found.counted, ~absent)
    exact = updates[~absent].astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(decode(found.total) * 2.0**-16, exact, atol=24 * 2.0**-17)


def test_vectors_of_clients_who_sent_none_are_never_read() -> None:
    residues = drawn(10, 8)
    fates = [0, 1, 2, 3, 0, 0, 0, 0, 0, 0]
    one = secure_sum(residues, fates=fates, entropy=entropy(), assumptions=HALF)
    residues[1:4] = 0
    other = secure_sum(residues, fates=fates, entropy=entropy(), assumptions=HALF)
    np.testing.assert_array_equal(one.total, other.total)


@pytest.mark.parametrize(
    ("fate", "phase"),
    [
        (Fate.LOST_BEFORE_SHARING, "sharing keys"),
        (Fate.LOST_BEFORE_INPUT, "masked input"),
        (Fate.LOST_BEFORE_UNMASKING, "shares of the self-mask seed of client"),
    ],
)
def test_one_client_too_many_lost_is_an_error_that_says_when(fate: Fate, phase: str) -> None:
    residues = drawn(20, 9)
    borne = [fate] * 4 + [Fate.STAYS] * 16
    found = secure_sum(residues, fates=borne, entropy=entropy())
    np.testing.assert_array_equal(found.total, plain_sum(residues, counted(borne)))
    one_more = [fate] * 5 + [Fate.STAYS] * 15
    with pytest.raises(TooFewClientsError, match=f"^{phase}") as refused:
        secure_sum(residues, fates=one_more, entropy=entropy())
    assert refused.value.expected == refused.value.found + 1
    assert isinstance(refused.value, RoundlogError)
    assert "sample again" in str(refused.value)


@pytest.mark.parametrize(
    ("fate", "phase"),
    [
        (Fate.LOST_BEFORE_SHARING, "neighbours of client"),
        (Fate.LOST_BEFORE_INPUT, "neighbours of client"),
        (Fate.LOST_BEFORE_UNMASKING, "shares of the self-mask seed of client"),
    ],
)
def test_losses_that_all_strike_one_neighbourhood_are_refused(fate: Fate, phase: str) -> None:
    # 40 of 200 clients may be lost, but not 20 of the 30 neighbours of one of them.
    residues = drawn(200, 13, elements=2)
    whole = secure_sum(residues, entropy=entropy())
    assert (whole.degree, whole.threshold) == (30, 11)
    fates = np.zeros(200, dtype=np.int64)
    fates[list(whole.server._neighbours[0][:20])] = fate
    with pytest.raises(TooFewClientsError, match=f"^{phase} 0: at least 11 .* and 10 are left"):
        secure_sum(residues, fates=fates, entropy=entropy())


def test_clients_who_never_show_up_are_no_loss_to_the_round() -> None:
    residues = drawn(20, 10)
    absent = np.arange(20) >= 3
    found = secure_sum(residues, fates=absent, entropy=entropy())
    assert found.degree == 2
    np.testing.assert_array_equal(found.total, plain_sum(residues, ~absent))
    with pytest.raises(TooFewClientsError, match="advertising keys: at least 2 clients"):
        secure_sum(residues, fates=np.arange(20) >= 1, entropy=entropy())


def test_bytes_are_those_of_the_messages() -> None:
    n, d = 10, 100
    found = secure_sum(drawn(n, 11, elements=d), entropy=entropy(), assumptions=HALF)
    # Keys; two shares of 36 bytes under a tag of 16 for each of 9 others, with its number; the
    # vector; one share of each of 9 others, with its number.
    assert set(found.bytes_up) == {64 + 9 * (4 + 72 + 16) + 4 * d + 9 * (4 + 36)}
    assert set(found.bytes_down) == {9 * (4 + 64) + 9 * (4 + 72 + 16) + 9 * 4}


def test_bytes_stop_where_a_client_is_lost() -> None:
    fates = [
        Fate.NO_SHOW,
        Fate.LOST_BEFORE_SHARING,
        Fate.LOST_BEFORE_INPUT,
        Fate(4),
        *[Fate(0)] * 6,
    ]
    found = secure_sum(drawn(10, 12), fates=fates, entropy=entropy(), assumptions=HALF)
    assert found.bytes_up[0] == found.bytes_down[0] == 0
    assert found.bytes_up[1] == 64
    # Each phase that a client lives to see costs it more; those who stay all pay alike.
    assert (np.diff(found.bytes_up[:5]) > 0).all()
    assert len(set(found.bytes_up[4:])) == 1


@pytest.mark.parametrize(
    "residues", [np.zeros((3, 2), np.int32), np.zeros(3, np.uint32), np.zeros((3, 2), np.float32)]
)
def test_residues_of_another_shape_or_type_are_refused(residues: NDArray) -> None:
    with pytest.raises(AggregationError, match=r"Make them with `ring\.encode`"):
        secure_sum(residues, entropy=entropy())


@pytest.mark.parametrize("fates", [[0, 0], [0, 0, 5], [0, 0, -1], [[0, 0, 0]]])
def test_fates_that_do_not_fit_are_refused(fates: list[int]) -> None:
    with pytest.raises(AggregationError, match=r"one fate of 0 to 4 is needed for each of 3"):
        secure_sum(drawn(3, 1), fates=fates, entropy=entropy())


def test_nothing_was_received_from_who_sent_nothing() -> None:
    found = secure_sum(drawn(4, 1), fates=[0, 0, 0, 1], entropy=entropy())
    with pytest.raises(RefusedError, match="no masked vector arrived from client 3"):
        found.server.received(3)
