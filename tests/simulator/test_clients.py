"""Local training: the written-out gradients are autograd's, and clipping is exact."""

import numpy as np
import pytest
import torch

from roundlog.models import AssistantBag
from simulator.clients import LocalTraining
from simulator.federation import Federation
from simulator.population import Renewal

KINDS, QUERIES, LR = 6, 5, 8.0


@pytest.fixture
def renewal() -> Renewal:
    rng = np.random.default_rng(4)
    return Renewal(
        indices=np.arange(KINDS),
        tokens=rng.integers(218, size=(KINDS, QUERIES, 8)).astype(np.int32),
        labels=rng.integers(32, size=(KINDS, QUERIES)).astype(np.int32),
    )


@pytest.fixture
def model(federation: Federation) -> torch.Tensor:
    return torch.from_numpy(federation.start)


def _training(renewal: Renewal, clip: float) -> LocalTraining:
    training = LocalTraining(AssistantBag(), KINDS, QUERIES, lr=LR, clip=clip)
    training.replace(renewal)
    return training


def _autograd(model: torch.Tensor, renewal: Renewal, kind: int) -> torch.Tensor:
    params = model.double().unsqueeze(0).requires_grad_()
    logits = AssistantBag().logits(params, torch.from_numpy(renewal.tokens[kind]).long())[0]
    labels = torch.from_numpy(renewal.labels[kind]).long()
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return torch.autograd.grad(loss, params)[0][0]


def test_an_unclipped_update_is_autograds_gradient_step(
    model: torch.Tensor, renewal: Renewal
) -> None:
    updates = _training(renewal, clip=1e9).updates(model)
    for kind in range(KINDS):
        want = -LR * _autograd(model, renewal, kind)
        torch.testing.assert_close(updates[kind].double(), want, rtol=1e-4, atol=1e-6)


def test_a_long_update_is_cut_to_the_clip_norm_and_keeps_its_direction(
    model: torch.Tensor, renewal: Renewal
) -> None:
    free = _training(renewal, clip=1e9).updates(model).double()
    clipped = _training(renewal, clip=0.25).updates(model).double()
    assert torch.all(free.norm(dim=1) > 0.25)
    torch.testing.assert_close(
        clipped.norm(dim=1), torch.full((KINDS,), 0.25).double(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(clipped, free * (0.25 / free.norm(dim=1, keepdim=True)))


def test_a_short_update_stays_as_it_is(model: torch.Tensor, renewal: Renewal) -> None:
    free = _training(renewal, clip=1e9).updates(model).clone()
    longest = float(free.norm(dim=1).max())
    torch.testing.assert_close(_training(renewal, clip=2 * longest).updates(model), free)


def test_replaced_archetypes_alone_change_their_updates(
    model: torch.Tensor, renewal: Renewal
) -> None:
    training = _training(renewal, clip=1.0)
    before = training.updates(model).clone()
    rng = np.random.default_rng(9)
    new = Renewal(
        indices=np.array([1, 4]),
        tokens=rng.integers(218, size=(2, QUERIES, 8)).astype(np.int32),
        labels=rng.integers(32, size=(2, QUERIES)).astype(np.int32),
    )
    training.replace(new)
    after = training.updates(model)
    changed = (before != after).any(dim=1).tolist()
    assert changed == [False, True, False, False, True, False]


def test_most_honest_updates_are_as_long_as_clipping_allows(federation: Federation) -> None:
    block = next(iter(federation.blocks()))
    updates = federation.training.updates(torch.from_numpy(block.models[-1]))
    lengths = updates.norm(dim=1)
    assert float(lengths.max()) <= 1 + 1e-5
    assert float((lengths > 0.999).float().mean()) > 0.5
