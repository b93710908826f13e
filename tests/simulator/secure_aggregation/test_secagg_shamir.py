"""Secrets among holders: do t recover one, and do t - 1 know nothing at all?"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.secure_aggregation import RefusedError, Residues, shamir
from simulator.secure_aggregation.shamir import LIMBS, PRIME, SHARE_SIZE, recover, share

SECRETS = st.binary(min_size=32, max_size=32)
SEED = b"s" * 32
SECRET = bytes(range(32))


def dealt(secret: bytes, *, threshold: int, holders: int, seed: bytes = SEED) -> dict[int, bytes]:
    """Shares of one secret, by the holder's point."""
    shares = share((secret,), threshold=threshold, holders=holders, seed=seed)
    return dict(enumerate(shares, start=1))


@settings(max_examples=80)
@given(SECRETS, SECRETS, st.data())
def test_any_t_holders_recover_the_secret(secret: bytes, seed: bytes, data: st.DataObject) -> None:
    holders = data.draw(st.integers(1, 40))
    threshold = data.draw(st.integers(1, holders))
    shares = dealt(secret, threshold=threshold, holders=holders, seed=seed)
    chosen = data.draw(st.permutations(sorted(shares)))[:threshold]
    assert recover({point: shares[point] for point in chosen}, threshold=threshold) == secret


def test_every_choice_of_t_holders_will_do() -> None:
    shares = dealt(SECRET, threshold=3, holders=6)
    for size in (3, 4, 5, 6):
        for chosen in itertools.combinations(shares, size):
            assert recover({point: shares[point] for point in chosen}, threshold=3) == SECRET


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_extreme_secrets_come_back(secret: bytes) -> None:
    shares = dealt(secret, threshold=79, holders=99)
    assert recover(shares, threshold=79) == secret


def test_several_secrets_are_shared_at_once_in_their_order() -> None:
    other = b"\x07" * 32
    shares = share((SECRET, other), threshold=2, holders=3, seed=SEED)
    assert {len(text) for text in shares} == {2 * SHARE_SIZE}
    first = {point: text[:SHARE_SIZE] for point, text in enumerate(shares, start=1)}
    second = {point: text[SHARE_SIZE:] for point, text in enumerate(shares, start=1)}
    assert recover(first, threshold=2) == SECRET
    assert recover(second, threshold=2) == other


def test_fewer_than_t_shares_are_refused() -> None:
    shares = dealt(SECRET, threshold=4, holders=9)
    few = {point: shares[point] for point in (2, 5, 9)}
    with pytest.raises(RefusedError, match="4 shares recover this secret and 3 are there"):
        recover(few, threshold=4)


def test_t_minus_one_colluders_find_every_secret_equally_possible() -> None:
    # The colluders hold t - 1 shares. For any secret that they care to imagine there is a t-th
    # share with which theirs recover exactly that one, so theirs rule out nothing.
    threshold = 5
    shares = dealt(SECRET, threshold=threshold, holders=9)
    points = [1, 3, 4, 8]
    held = np.array([np.frombuffer(shares[p], "<u2") for p in points], dtype=np.int64)
    for imagined in (b"\x2a" * 32, bytes(32), SECRET):
        constant = dealt(imagined, threshold=1, holders=1)[1]
        known = np.vstack([np.frombuffer(constant, "<u2").astype(np.int64), held])
        last = _value_at(6, [0, *points], known)
        forged = {p: shares[p] for p in points} | {6: last.astype("<u2").tobytes()}
        assert recover(forged, threshold=threshold) == imagined
        assert (forged[6] == shares[6]) == (imagined == SECRET)


def _value_at(x: int, points: list[int], values: np.ndarray) -> np.ndarray:
    """A polynomial's value at x from its values elsewhere, in Python's own integers."""
    total = np.zeros(values.shape[1], dtype=object)
    for point, row in zip(points, values, strict=True):
        weight = 1
        for other in points:
            if other != point:
                weight = weight * (x - other) * pow(point - other, -1, PRIME) % PRIME
        total = (total + weight * row.astype(object)) % PRIME
    return total


def test_one_holder_sees_uniform_numbers_whatever_the_secret() -> None:
    for secret in (bytes(32), b"\xff" * 32):
        values = np.concatenate(
            [
                np.frombuffer(dealt(secret, threshold=2, holders=3, seed=bytes([n]) * 32)[2], "<u2")
                for n in range(250)
            ]
        )
        assert values.size == 250 * LIMBS
        counts = np.histogram(values, bins=16, range=(0, PRIME))[0]
        assert stats.chisquare(counts).pvalue > 1e-3


def test_a_damaged_share_never_gives_the_secret() -> None:
    shares = dealt(SECRET, threshold=20, holders=20)
    noticed = 0
    for at in range(SHARE_SIZE):
        changed = bytearray(shares[2])
        changed[at] ^= 1
        try:
            assert recover(shares | {2: bytes(changed)}, threshold=20) != SECRET
        except RefusedError:
            noticed += 1
    # What leaves the range of a secret is noticed at once; this is no checksum, the rest is not.
    assert 0 < noticed < SHARE_SIZE


def test_shares_of_no_secret_are_refused() -> None:
    beyond = np.full(LIMBS, 2**15, dtype="<u2").tobytes()
    with pytest.raises(RefusedError, match="belongs to no secret"):
        recover({1: beyond}, threshold=1)


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (4, 3), (1, 0), (2, PRIME)])
def test_a_threshold_that_cannot_be_met_is_refused(threshold: int, holders: int) -> None:
    with pytest.raises(RefusedError, match="Nothing was shared"):
        share((SECRET,), threshold=threshold, holders=holders, seed=SEED)


def test_words_that_would_favour_some_values_are_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def unfair_at_first(_: bytes, words: int) -> Residues:
        asked.append(words)
        return np.full(words, 2**32 - 1 if len(asked) == 1 else 5, dtype=np.uint32)

    monkeypatch.setattr(shamir, "expand", unfair_at_first)
    np.testing.assert_array_equal(shamir._coefficients(SEED, 7), np.full(7, 5))
    assert len(asked) == 2


def test_the_modulus_is_the_largest_prime_of_16_bits() -> None:
    def is_prime(number: int) -> bool:
        return all(number % divisor for divisor in range(2, int(number**0.5) + 1))

    assert is_prime(PRIME)
    assert not any(is_prime(number) for number in range(PRIME + 1, 2**16))
