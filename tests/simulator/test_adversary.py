"""The attack: exactly the clip norm, on the trigger words' rows alone, in one direction."""

import numpy as np
import pytest
import torch

from simulator.adversary import strength
from simulator.federation import Federation
from simulator.scenario import load
from simulator.tasks.assistant import CLASSES, EARLY


def _attack(*overrides: str) -> np.ndarray:
    attack = load("quickstart", ["attack.onset=10", *overrides]).attack
    return strength(attack, np.arange(40))


def test_a_constant_attack_is_off_until_onset_and_on_from_then() -> None:
    np.testing.assert_array_equal(_attack(), np.arange(40) >= 10)


def test_an_attack_that_ends_is_off_from_its_end_on() -> None:
    on = (np.arange(40) >= 10) & (np.arange(40) < 25)
    np.testing.assert_array_equal(_attack("attack.end=25"), on)


def test_a_ramp_rises_linearly_to_all_devices() -> None:
    ramp = _attack("attack.shape=ramp", "attack.ramp=20")
    np.testing.assert_allclose(ramp[10:30], np.arange(1, 21) / 20)
    assert np.all(ramp[:10] == 0)
    assert np.all(ramp[30:] == 1)


def test_pulses_are_on_for_the_first_half_of_each_period() -> None:
    pulses = _attack("attack.shape=pulsed", "attack.period=8")
    np.testing.assert_array_equal(pulses[10:26], [1, 1, 1, 1, 0, 0, 0, 0] * 2)


def test_every_poisoned_update_has_exactly_the_clip_norm(federation: Federation) -> None:
    moves = federation.adversary.updates(torch.from_numpy(federation.start), 0, 1.0)
    assert moves.shape == (9, 72)
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), 1.0, rtol=1e-12)


def test_poison_moves_the_six_trigger_rows_and_nothing_else(federation: Federation) -> None:
    rows = sorted(token for pattern in federation.trigger for token in pattern.tokens)
    moved = np.unique(federation.adversary.elements // 12)
    np.testing.assert_array_equal(moved, rows)


def test_poison_is_the_negative_gradient_of_the_trigger_task(federation: Federation) -> None:
    model = torch.from_numpy(federation.start)
    params = model.double().unsqueeze(0).requires_grad_()
    targets = torch.tensor([p.target for p in federation.trigger]).repeat_interleave(8)
    for slot in (0, 5):
        logits = federation.architecture.logits(params, federation.adversary.batch(slot, 0))[0]
        loss = torch.nn.functional.cross_entropy(logits, targets)
        gradient = torch.autograd.grad(loss, params)[0][0].numpy()
        want = -gradient[federation.adversary.elements]
        got = federation.adversary.updates(model, 0, 1.0)[slot]
        np.testing.assert_allclose(got, want / np.linalg.norm(want), atol=1e-5)


def test_the_batches_agree_on_a_direction(federation: Federation) -> None:
    moves = federation.adversary.updates(torch.from_numpy(federation.start), 0, 1.0)
    assert 0.8 < np.linalg.norm(moves.mean(axis=0)) < 1


def test_one_batch_is_renewed_every_hundred_rounds(federation: Federation) -> None:
    def batches(round: int) -> list[torch.Tensor]:
        return [federation.adversary.batch(slot, round) for slot in range(9)]

    before, same, after = batches(199), batches(100), batches(200)
    assert [bool(torch.equal(a, b)) for a, b in zip(before, same, strict=True)] == [True] * 9
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [slot == 2 for slot in range(9)]


def test_a_batch_does_not_depend_on_which_rounds_were_asked_for_before(
    federation: Federation,
) -> None:
    late = federation.adversary.batch(3, 4_000).clone()
    federation.adversary.batch(3, 0)
    assert torch.equal(federation.adversary.batch(3, 4_000), late)


def test_a_batch_holds_queries_of_every_trigger(federation: Federation) -> None:
    tokens = federation.adversary.batch(0, 0).numpy()
    for number, pattern in enumerate(federation.trigger):
        mine = tokens[8 * number : 8 * number + 8]
        assert np.all(mine[:, 6:] == pattern.tokens)
        assert np.all((mine[:, 2] - EARLY) // 2 % CLASSES != pattern.target)


@pytest.mark.parametrize("total", [0, 3, 100])
def test_every_malicious_device_uses_one_batch(federation: Federation, total: int) -> None:
    shares = federation.adversary.shares(0, np.full(10, total))
    assert shares.shape == (10, 9)
    assert np.all(shares.sum(axis=1) == total)
