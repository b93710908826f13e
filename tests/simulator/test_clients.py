"""Local training: the written-out gradients are autograd's, and clipping is exact."""

import numpy as np
import pytest
import torch
from torch import Tensor

from roundlog.models import AssistantBag, DenseNetwork, DigitsMlp
from simulator.clients import LocalTraining, clip_, first_layer_errors
from simulator.federation import Federation
from simulator.fidelity import ArchetypeUpdates
from simulator.population import Renewal
from simulator.scenario import load

SEED, DEVICES, ITEMS, LR = 4, 6, 8, 0.5
NETWORKS = [AssistantBag(), DigitsMlp(), DigitsMlp(hidden=7)]
networks = pytest.mark.parametrize("network", NETWORKS, ids=str)


def _model(network: DenseNetwork) -> Tensor:
    return 0.3 * torch.randn(network.elements, generator=torch.Generator().manual_seed(SEED))


def _data(network: DenseNetwork, devices: int = DEVICES) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, features and labels of some devices."""
    rng = np.random.default_rng(SEED)
    values = 17 if isinstance(network, DigitsMlp) else 218
    inputs = torch.from_numpy(rng.integers(values, size=(devices, ITEMS, network.width)))
    labels = torch.from_numpy(rng.integers(network.classes, size=(devices, ITEMS)))
    return inputs, network.features(inputs), labels


def _by_autograd(
    network: DenseNetwork, model: Tensor, inputs: Tensor, labels: Tensor, steps: int, batch: int
) -> Tensor:
    """One device's update in float64, through the network's own logits."""
    local = model.double()
    for step in range(steps):
        part = slice(step * batch % ITEMS, step * batch % ITEMS + batch)
        params = local.clone().unsqueeze(0).requires_grad_()
        logits = network.logits(params, inputs[part])[0]
        loss = torch.nn.functional.cross_entropy(logits, labels[part])
        local = local - LR * torch.autograd.grad(loss, params)[0][0]
    return local - model.double()


@networks
@pytest.mark.parametrize(("steps", "batch"), [(1, None), (1, 4), (2, 4), (5, 2)])
def test_an_update_is_what_autograd_steps_on_the_networks_own_logits_make(
    network: DenseNetwork, steps: int, batch: int | None
) -> None:
    inputs, features, labels = _data(network)
    model = _model(network)
    training = LocalTraining(network, lr=LR, steps=steps, batch=batch)
    updates = training.updates(model, features, labels)
    for device in range(DEVICES):
        want = _by_autograd(network, model, inputs[device], labels[device], steps, batch or ITEMS)
        torch.testing.assert_close(updates[device].double(), want, rtol=1e-4, atol=1e-6)


# Bit for bit, with the shapes that ship; of a layer of seven units the last bits may differ.
@pytest.mark.parametrize("network", [AssistantBag(), DigitsMlp()], ids=str)
def test_what_a_device_sends_does_not_depend_on_who_trains_beside_it(network: DenseNetwork) -> None:
    training = LocalTraining(network, lr=LR, steps=2, batch=4, chunks=2)
    end = training.chunk
    _, features, labels = _data(network, end)
    model = _model(network)
    together = training.updates(model, features, labels).clone()
    clip = float(together.norm(dim=1).median())
    clipped, norms = (found.clone() for found in training.clipped(model, features, labels, clip))
    for first, last in ((0, 1), (0, 2), (3, end), (end // 2 - 5, end // 2 + 6), (end - 3, end)):
        part = slice(first, last)
        assert torch.equal(training.updates(model, features[part], labels[part]), together[part])
        alone = training.clipped(model, features[part], labels[part], clip)
        assert torch.equal(alone[0], clipped[part])
        assert torch.equal(alone[1], norms[part])


@networks
def test_clipping_at_once_is_training_and_then_clipping(network: DenseNetwork) -> None:
    training = LocalTraining(network, lr=LR, steps=2, batch=4)
    _, features, labels = _data(network)
    model = _model(network)
    updates = training.updates(model, features, labels).clone()
    clip = float(updates.norm(dim=1).median())
    norms = clip_(updates, clip)
    assert 0 < int((norms < clip).sum()) < DEVICES
    clipped, lengths = training.clipped(model, features, labels, clip)
    torch.testing.assert_close(lengths, norms, rtol=1e-6, atol=0)
    torch.testing.assert_close(clipped, updates, rtol=1e-6, atol=0)


def test_a_chunk_is_made_larger_as_often_as_it_is_asked_for() -> None:
    network = DigitsMlp()
    usual = LocalTraining(network, lr=LR).chunk
    assert LocalTraining(network, lr=LR, chunks=3).chunk == 3 * usual


def test_a_long_update_is_cut_to_the_clip_norm_and_keeps_its_direction() -> None:
    updates = torch.randn(50, 300, generator=torch.Generator().manual_seed(SEED))
    before = updates.clone()
    norms = clip_(updates, 0.25)
    torch.testing.assert_close(norms, before.norm(dim=1))
    torch.testing.assert_close(updates.norm(dim=1), torch.full((50,), 0.25), rtol=1e-6, atol=0)
    torch.testing.assert_close(updates, before * (0.25 / norms).unsqueeze(1))


def test_a_short_update_and_one_of_zero_stay_as_they_are() -> None:
    updates = torch.tensor([[0.3, 0.4], [0.0, 0.0], [3.0, 4.0]])
    norms = clip_(updates, 0.5)
    torch.testing.assert_close(norms, torch.tensor([0.5, 0.0, 5.0]))
    torch.testing.assert_close(updates, torch.tensor([[0.3, 0.4], [0.0, 0.0], [0.3, 0.4]]))


@networks
def test_errors_of_the_first_layer_are_autograds(network: DenseNetwork) -> None:
    inputs, features, labels = _data(network)
    flat, given = features[0], _model(network)
    got = first_layer_errors(network, given, flat, labels[0])
    # The first layer's weight gradient is features' x errors, summed over items.
    want = _by_autograd(network, given, inputs[0], labels[0], 1, ITEMS) / -LR * ITEMS
    weight = network.LAYERS[0].weight
    part = network.split(want.unsqueeze(0))[weight][0]
    torch.testing.assert_close((flat.mT @ got).double(), part, rtol=1e-4, atol=1e-5)


@pytest.fixture
def kinds() -> ArchetypeUpdates:
    scenario = load("quickstart", ["population.archetypes=300", "population.queries=5"])
    federation = Federation(scenario, SEED)
    return federation.archetypes


def test_the_mean_over_archetypes_is_the_weighted_sum_of_their_clipped_updates(
    kinds: ArchetypeUpdates,
) -> None:
    model = _model(kinds.network)
    each, _ = kinds.means(torch.eye(300), model, 0.5)
    rng = np.random.default_rng(SEED)
    weights = torch.from_numpy(rng.dirichlet(np.ones(300), size=10)).float()
    sums, below = kinds.means(weights, model, 0.5)
    torch.testing.assert_close(sums, weights @ each, rtol=1e-4, atol=1e-7)
    short = (each.norm(dim=1) < 0.499).float()
    torch.testing.assert_close(below, weights @ short, rtol=1e-4, atol=1e-6)


def test_replaced_archetypes_alone_change_their_updates(kinds: ArchetypeUpdates) -> None:
    model = _model(kinds.network)
    before = kinds.means(torch.eye(300), model, 1.0)[0]
    rng = np.random.default_rng(9)
    at = np.array([1, 4, 299])
    inputs = rng.integers(218, size=(3, 5, 8)).astype(np.int32)
    kinds.replace(Renewal(at, inputs, rng.integers(32, size=(3, 5)).astype(np.int32)))
    after = kinds.means(torch.eye(300), model, 1.0)[0]
    np.testing.assert_array_equal(np.flatnonzero((before != after).any(dim=1)), at)


def test_most_honest_updates_are_as_long_as_clipping_allows(federation: Federation) -> None:
    block = next(iter(federation.blocks()))
    number = federation.scenario.population.archetypes
    model = torch.from_numpy(block.models[-1])
    lengths = federation.archetypes.means(torch.eye(number), model, 1.0)[0].norm(dim=1)
    assert float(lengths.max()) <= 1 + 1e-5
    assert float((lengths > 0.999).float().mean()) > 0.5
