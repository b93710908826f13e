"""How is something kept with the evidence that only the holder of one key may read? Sealed to it.

A record may have to hold who took part in a round without showing it to whoever reads the record.
`seal` needs the reader's public key alone; `open_sealed` needs the private key, which never lies
beside what it opens. A sealed box is

    ephemeral public key (32 bytes) ‖ ciphertext (as long as the text) ‖ tag (16 bytes)

X25519 between the ephemeral key and the reader's gives a secret, HKDF-SHA256 turns it and both
public keys into one ChaCha20-Poly1305 key that is used once, and both public keys are
authenticated with the text: a box cannot be passed off as one for somebody else.

What this does not promise. A box says nothing about who made it: anybody can seal to a public
key, so what vouches for it is the event that carries it. Its length shows the length of the text.
Whoever gets the private key later opens everything that was ever sealed to it.

References:
    RFC 7748 (X25519), RFC 5869 (HKDF), RFC 8439 (ChaCha20-Poly1305). The shape is that of the base
    mode of RFC 9180 (HPKE) and of NaCl's `crypto_box_seal`; the bytes are compatible with neither.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from roundlog.errors import RoundlogError

KEY_SIZE = 32
"""Bytes of a private key, of a public key, and of the entropy that makes a box reproducible."""

OVERHEAD = KEY_SIZE + 16
"""Bytes by which a sealed box is longer than its text."""

_BOX = b"roundlog.sealing/1 box"
_KEY = b"roundlog.sealing/1 private key"
_EPHEMERAL = b"roundlog.sealing/1 ephemeral key"

# The key of a box is never used for a second text, so its nonce need not differ from any other.
_NONCE = bytes(12)


class SealError(RoundlogError):
    """A key that is not one, or a box that this key does not open or that was changed."""


def new_private_key(seed: bytes | None = None) -> bytes:
    """A private key, 32 bytes.

    Args:
        seed: 32 bytes that the key is derived from, always the same one. For simulations: whoever
            knows the seed has the key. None asks the operating system.

    Raises:
        SealError: The seed is not 32 bytes long.
    """
    if seed is None:
        return os.urandom(KEY_SIZE)
    return _derive(_exactly(seed, "seed of a private key"), _KEY)


def public_key(private: bytes) -> bytes:
    """The public key that belongs to a private one, 32 bytes.

    Raises:
        SealError: The private key is not 32 bytes long.
    """
    return _private(private).public_key().public_bytes_raw()


def key_from_hex(text: str) -> bytes:
    """A key of 32 bytes from its 64 hex digits, as `key.hex()` wrote it.

    Raises:
        SealError: The text is anything else.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        # The text itself is not repeated: it may be a mistyped private key.
        raise SealError(
            f"a key is {2 * KEY_SIZE} hex digits, and this text of {len(text)} characters holds "
            f"something else. Copy the key again, whole."
        ) from error
    return _exactly(key, "key")


def seal(public: bytes, plaintext: bytes, *, entropy: bytes | None = None) -> bytes:
    """Close a text in a box that only the holder of one private key can open.

    Args:
        public: The reader's public key, 32 bytes.
        plaintext: Any bytes, the empty text included.
        entropy: 32 bytes that make the box reproducible, as a simulation needs: the same entropy,
            key and text give the same box. None asks the operating system.

    Returns:
        `OVERHEAD` bytes more than the text.

    Raises:
        SealError: A key or the entropy has the wrong length, or the public key is one of the few
            points of low order, with which no secret can be agreed.
    """
    reader = _public(public)
    if entropy is None:
        entropy = os.urandom(KEY_SIZE)
    # Text and reader go into the ephemeral key as well: entropy that is used twice by mistake
    # then gives two unrelated keys, instead of two texts under one key and nonce.
    seed = hmac.digest(_exactly(entropy, "entropy of a box"), public + plaintext, "sha256")
    ephemeral = X25519PrivateKey.from_private_bytes(_derive(seed, _EPHEMERAL))
    both = ephemeral.public_key().public_bytes_raw() + public
    key = _box_key(ephemeral, reader, both)
    return both[:KEY_SIZE] + ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, both)


def open_sealed(private: bytes, sealed: bytes) -> bytes:
    """The text in a box.

    Args:
        private: The reader's private key, 32 bytes.
        sealed: What `seal` returned.

    Raises:
        SealError: The box was sealed to another key, or changed, or cut short.
    """
    if len(sealed) < OVERHEAD:
        raise SealError(
            f"a sealed box has at least {OVERHEAD} bytes and this one has {len(sealed)}: it was "
            f"cut short, and cannot be opened. Take it again from where it was recorded."
        )
    reader = _private(private)
    both = sealed[:KEY_SIZE] + reader.public_key().public_bytes_raw()
    key = _box_key(reader, _public(sealed[:KEY_SIZE]), both)
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed[KEY_SIZE:], both)
    except InvalidTag as error:
        raise SealError(
            f"the private key of {both[KEY_SIZE:].hex()[:16]}… does not open this box: it was "
            f"sealed to another key, or changed since. Compare the public key that stands in "
            f"`run.opened`; if it is this one, run `roundlog verify`."
        ) from error


def _box_key(own: X25519PrivateKey, other: X25519PublicKey, both: bytes) -> bytes:
    try:
        secret = own.exchange(other)
    except ValueError as error:
        raise SealError(
            "this public key is a point of low order: every private key agrees on the same, known "
            "secret with it, so nothing would be sealed. Make a new key pair."
        ) from error
    return _derive(secret, _BOX + both)


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_SIZE, salt=None, info=info).derive(secret)


def _private(key: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(_exactly(key, "private key"))


def _public(key: bytes) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(_exactly(key, "public key"))


def _exactly(value: bytes, what: str) -> bytes:
    if len(value) != KEY_SIZE:
        raise SealError(
            f"the {what} must be {KEY_SIZE} bytes and is {len(value)}. Give the raw bytes; a key "
            f"in hex is read by `roundlog.sealing.key_from_hex`."
        )
    return value
