"""Keys and masks: do both ends of a pair agree, and is a mask one thing on every machine?"""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from simulator.secure_aggregation.masks import BothEnds, agree, derive, expand


def key_pair(number: int) -> tuple[X25519PrivateKey, bytes]:
    private = X25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return private, private.public_key().public_bytes_raw()


@pytest.mark.parametrize("words", [0, 1, 5, 2_410])
def test_a_mask_is_the_key_stream_of_aes_in_counter_mode(words: int) -> None:
    seed = b"k" * 32
    # GCM keeps the counter's first value for its tag.
    counter = bytes(12) + (2).to_bytes(4, "big")
    cipher = Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor()
    expected = np.frombuffer(cipher.update(bytes(4 * words)), dtype="<u4")
    mask = expand(seed, words)
    assert mask.dtype == np.uint32
    np.testing.assert_array_equal(mask, expected)


def test_a_longer_mask_begins_like_a_shorter_one_and_another_seed_does_not() -> None:
    np.testing.assert_array_equal(expand(b"a" * 32, 100)[:40], expand(b"a" * 32, 40))
    assert not np.array_equal(expand(b"a" * 32, 40), expand(b"b" * 32, 40))


def test_every_byte_of_a_mask_is_uniform() -> None:
    mask = expand(b"u" * 32, 64_000)
    for byte in range(4):
        counts = np.bincount((mask >> (8 * byte)) & 0xFF, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-3, f"byte {byte}"


def test_both_ends_of_a_pair_agree_and_nobody_else_does() -> None:
    (one, one_public), (other, other_public), (_, third) = (key_pair(n) for n in (1, 2, 3))
    assert agree(one, one_public, other_public) == agree(other, other_public, one_public)
    assert agree(one, one_public, third) != agree(one, one_public, other_public)


def test_a_secret_computed_once_for_both_ends_is_the_one_that_each_would_compute() -> None:
    pairs = [key_pair(number) for number in range(1, 6)]
    both_ends = BothEnds()
    for private, public in pairs:
        for _, other in pairs:
            if other != public:
                assert both_ends(private, public, other) == agree(private, public, other)
    assert not both_ends._waiting


def test_purposes_keep_secrets_apart() -> None:
    secret = b"x" * 32
    derived = {derive(secret, purpose) for purpose in (b"mask", b"channel", b"mask key")}
    assert len(derived | {secret}) == 4
    assert derive(b"y" * 32, b"mask") not in derived
