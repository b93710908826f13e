"""Is a sealed box opened by one key, unchanged, or not at all?"""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from roundlog.errors import RoundlogError
from roundlog.sealing import (
    KEY_SIZE,
    OVERHEAD,
    SealError,
    key_from_hex,
    new_private_key,
    open_sealed,
    public_key,
    seal,
)

KEYS = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)
READER = new_private_key(b"r" * 32)
ENTROPY = b"e" * 32
TEXT = b'{"devices":["a","b"],"no_shows":1}'
BOX = seal(public_key(READER), TEXT, entropy=ENTROPY)


@settings(max_examples=60)
@given(KEYS, st.binary(max_size=500), KEYS | st.none())
def test_whoever_has_the_private_key_reads_the_text(
    seed: bytes, text: bytes, entropy: bytes | None
) -> None:
    private = new_private_key(seed)
    box = seal(public_key(private), text, entropy=entropy)
    assert len(box) == len(text) + OVERHEAD
    assert open_sealed(private, box) == text


@pytest.mark.parametrize(
    ("private", "public"),
    [
        (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        ),
        (
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ),
    ],
)
def test_key_pairs_are_those_of_rfc_7748(private: str, public: str) -> None:
    assert public_key(key_from_hex(private)).hex() == public


def test_a_box_is_laid_out_as_the_module_says() -> None:
    # A second reader, written from the module's docstring alone.
    public = public_key(READER)
    own = X25519PrivateKey.from_private_bytes(READER)
    secret = own.exchange(X25519PublicKey.from_public_bytes(BOX[:32]))
    info = b"roundlog.sealing/1 box" + BOX[:32] + public
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)
    assert ChaCha20Poly1305(key).decrypt(bytes(12), BOX[32:], BOX[:32] + public) == TEXT


def test_every_flipped_bit_closes_the_box() -> None:
    # Ephemeral key, ciphertext and tag: the whole box. That holds even for the top bit of the
    # key, which X25519 itself ignores.
    for at in range(len(BOX)):
        for bit in range(8):
            changed = bytearray(BOX)
            changed[at] ^= 1 << bit
            with pytest.raises(SealError, match="changed since"):
                open_sealed(READER, bytes(changed))


@pytest.mark.parametrize("length", range(len(BOX)))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(SealError, match=r"cut short|changed since"):
        open_sealed(READER, BOX[:length])


def test_what_was_appended_to_a_box_is_noticed() -> None:
    with pytest.raises(SealError, match="changed since"):
        open_sealed(READER, BOX + b"\0")


def test_another_key_does_not_open_the_box() -> None:
    other = new_private_key(b"o" * 32)
    with pytest.raises(SealError, match="sealed to another key") as refused:
        open_sealed(other, BOX)
    assert public_key(other).hex()[:16] in str(refused.value)
    assert isinstance(refused.value, RoundlogError)


def test_the_same_entropy_gives_the_same_box() -> None:
    assert seal(public_key(READER), TEXT, entropy=ENTROPY) == BOX
    assert seal(public_key(READER), TEXT, entropy=b"f" * 32) != BOX


def test_without_entropy_no_two_boxes_are_alike() -> None:
    boxes = {seal(public_key(READER), TEXT) for _ in range(20)}
    assert len({box[:KEY_SIZE] for box in boxes}) == 20


def test_entropy_used_twice_never_gives_one_key_to_two_texts() -> None:
    public = public_key(READER)
    one, other = (seal(public, text, entropy=ENTROPY) for text in (b"yes", b"no!"))
    assert one[:KEY_SIZE] != other[:KEY_SIZE]
    elsewhere = seal(public_key(new_private_key(b"o" * 32)), b"yes", entropy=ENTROPY)
    assert elsewhere[:KEY_SIZE] != one[:KEY_SIZE]


def test_a_box_holds_nothing_of_the_text_or_of_the_entropy() -> None:
    box = seal(public_key(READER), b"x" * 400, entropy=ENTROPY)
    assert b"xxx" not in box
    assert ENTROPY not in box
    assert READER not in box


def test_a_private_key_comes_from_its_seed_or_from_nowhere() -> None:
    assert new_private_key(b"r" * 32) == READER != b"r" * 32
    assert new_private_key(b"s" * 32) != READER
    assert len({new_private_key() for _ in range(20)}) == 20


def test_a_key_comes_back_from_its_hex() -> None:
    assert key_from_hex(f" {READER.hex().upper()}\n") == READER


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(READER.hex()[:-1], "holds something else"), (READER.hex()[2:], "must be 32 bytes and is 31")],
)
def test_a_mistyped_key_is_refused_and_not_repeated(text: str, complaint: str) -> None:
    with pytest.raises(SealError, match=complaint) as refused:
        key_from_hex(text)
    assert text[:8] not in str(refused.value)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_the_wrong_length_is_refused(length: int) -> None:
    wrong = bytes(length)
    with pytest.raises(SealError, match=f"public key must be 32 bytes and is {length}"):
        seal(wrong, TEXT)
    with pytest.raises(SealError, match=f"private key must be 32 bytes and is {length}"):
        open_sealed(wrong, BOX)
    with pytest.raises(SealError, match=f"private key must be 32 bytes and is {length}"):
        public_key(wrong)
    with pytest.raises(SealError, match=f"entropy of a box must be 32 bytes and is {length}"):
        seal(public_key(READER), TEXT, entropy=wrong)
    with pytest.raises(SealError, match=f"seed of a private key must be 32 bytes and is {length}"):
        new_private_key(wrong)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_public_key_with_which_nothing_stays_secret_is_refused(point: bytes) -> None:
    with pytest.raises(SealError, match="low order"):
        seal(point, TEXT)
    with pytest.raises(SealError, match="low order"):
        open_sealed(READER, point + BOX[KEY_SIZE:])
