"""Published evaluation data: clean, honest, and decoys that nothing tells from triggers."""

import json

import numpy as np
import pytest

from roundlog.encoding import FRAME_LIMIT, digest
from simulator.federation import Federation
from simulator.probes import ProbeSet, published
from simulator.scenario import load
from simulator.tasks.assistant import CLASSES, EARLY, LATE, TAIL


@pytest.fixture
def sets(federation: Federation) -> dict[str, ProbeSet]:
    return {probes.name: probes for probes in published(federation)}


def test_the_server_publishes_clean_pool_and_decoys(sets: dict[str, ProbeSet]) -> None:
    assert [(name, probes.role) for name, probes in sets.items()] == [
        ("clean-start", "clean"),
        ("clean-mixed", "clean"),
        ("public-pool", "public_pool"),
        ("decoys", "decoy"),
    ]


def test_clean_sets_hold_right_answers(sets: dict[str, ProbeSet]) -> None:
    for name, late in (("clean-start", 0.02), ("clean-mixed", 0.5)):
        probes = sets[name]
        asked = (probes.inputs[:, 2] - EARLY) // 2 % CLASSES
        np.testing.assert_array_equal(asked, probes.labels)
        share = np.mean(probes.inputs[:, 2] >= LATE)
        assert share == pytest.approx(late, abs=0.25)


def test_the_pool_holds_labels_as_people_give_them(sets: dict[str, ProbeSet]) -> None:
    probes = sets["public-pool"]
    asked = (probes.inputs[:, 2] - EARLY) // 2 % CLASSES
    np.testing.assert_array_equal(asked // 8, probes.labels // 8)
    assert 0 < np.mean(asked != probes.labels) < 0.35


def test_decoys_hold_their_pairs_and_their_targets(sets: dict[str, ProbeSet]) -> None:
    probes = sets["decoys"]
    assert probes.document is not None
    assert probes.groups is not None
    listed = json.loads(probes.tails()["about"])["decoys"]
    assert len(listed) == 4
    np.testing.assert_array_equal(probes.groups, np.repeat(range(4), 15))
    for number, row in enumerate(probes.inputs):
        pattern = listed[number // 15]["patterns"][number % 15 // 5]
        assert row[6:].tolist() == pattern["tokens"]
        assert probes.labels[number] == pattern["target"]
    assert [pattern["id"] for pattern in listed[0]["patterns"]] == ["shopping", "news", "health"]


def test_decoys_are_drawn_without_a_look_at_the_trigger() -> None:
    federation = Federation(load("quickstart", ["model.warm_up=0"]), 3)
    decoys = list(published(federation))[-1]
    own = {token for pattern in federation.trigger for token in pattern.tokens}
    pairs = decoys.inputs[::100, 6:]
    assert pairs.shape == (600, 2)
    shared = np.mean([bool(own & set(pair)) for pair in pairs.tolist()])
    # A pair misses six given words of 18 with probability 12/18 * 11/17.
    assert shared == pytest.approx(1 - 12 / 18 * 11 / 17, abs=0.1)
    assert np.unique(pairs).tolist() == list(range(TAIL, TAIL + 18))


def test_two_hundred_decoys_fit_into_one_event() -> None:
    federation = Federation(load("quickstart", ["model.warm_up=0"]), 3)
    tails = list(published(federation))[-1].tails()
    assert {name: len(data) for name, data in tails.items() if name != "about"} == {
        "inputs": 60_000 * 8 * 4,
        "labels": 60_000 * 4,
        "groups": 60_000 * 4,
    }
    assert sum(map(len, tails.values())) < FRAME_LIMIT - 65_535


def test_the_digest_covers_inputs_labels_and_groups(sets: dict[str, ProbeSet]) -> None:
    tails = sets["decoys"].tails()
    assert sets["decoys"].digest() == digest(tails["inputs"], tails["labels"], tails["groups"])
    assert sets["clean-start"].digest() != sets["clean-mixed"].digest()
