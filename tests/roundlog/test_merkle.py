"""Does our tree hash agree with everybody else's?"""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundlog.ledger.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, node_hash

# Inputs and roots of the Certificate Transparency reference implementation (merkletree tests).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    tree = MerkleTree(LEAVES[:size])
    assert (tree.size, tree.root()) == (size, ROOTS[size])


def test_an_empty_tree_hashes_nothing() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT
    assert MerkleTree().root() == EMPTY_ROOT.hex()


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_growing_tree_equals_the_definition_at_every_size(leaves: list[bytes]) -> None:
    tree = MerkleTree()
    for size, leaf in enumerate(leaves):
        assert tree.root() == naive_root(leaves[:size]).hex()
        tree.append(leaf)
    assert tree.root() == naive_root(leaves).hex()


def test_asking_for_the_root_does_not_change_the_tree() -> None:
    tree = MerkleTree(LEAVES[:5])
    assert tree.root() == tree.root() == ROOTS[5]


def test_a_node_does_not_pass_for_a_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_order_and_every_bit_count() -> None:
    assert MerkleTree([b"a", b"b"]).root() != MerkleTree([b"b", b"a"]).root()
    assert MerkleTree([b"a", b"b"]).root() != MerkleTree([b"a", b"c"]).root()
