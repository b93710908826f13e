"""Are gradients what finite differences say, of each input alone and together?"""

import numpy as np
import pytest
from rising_run import BAG

from forensics.gradients import BLOCK, Gradients, trained_elements
from roundlog.errors import QuestionError, TriggerError
from roundlog.models import DigitsMlp
from roundlog.tensors import TensorSchema, TensorSpec


def _model(seed: int = 1) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).standard_normal(BAG.elements)


def _inputs(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.integers(0, 40, size=(n, BAG.width)), rng.integers(0, BAG.classes, size=n)


def _loss(weights: np.ndarray, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean cross-entropy, written down once more."""
    import torch

    logits = BAG.logits(torch.from_numpy(weights)[None], torch.from_numpy(inputs))[0].numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(targets)), targets]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))


def _all(gradients: Gradients, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    blocks = list(gradients.single(inputs, targets))
    assert [one.start for one, _ in blocks] == list(range(0, len(targets), BLOCK))
    assert all(len(block) == one.stop - one.start <= BLOCK for one, block in blocks)
    return np.concatenate([block for _, block in blocks])


def test_descent_is_minus_the_slope_of_the_loss() -> None:
    weights, (inputs, targets) = _model(), _inputs(40)
    descent = Gradients(BAG, BAG.schema(), weights).descent(inputs, targets)
    rng = np.random.default_rng(0)
    for _ in range(5):
        step = 1e-5 * rng.standard_normal(BAG.elements)
        up, down = _loss(weights + step, inputs, targets), _loss(weights - step, inputs, targets)
        assert (down - up) / 2 == pytest.approx(descent @ step, rel=1e-5, abs=1e-12)


def test_the_mean_of_single_gradients_is_the_gradient_of_the_mean() -> None:
    inputs, targets = _inputs(37)  # no whole number of blocks
    gradients = Gradients(BAG, BAG.schema(), _model())
    single = _all(gradients, inputs, targets)
    assert single.shape == (37, BAG.elements)
    np.testing.assert_allclose(single.mean(axis=0), gradients.descent(inputs, targets), atol=1e-14)
    np.testing.assert_allclose(single[5], gradients.descent(inputs[5:6], targets[5:6]), atol=1e-14)


def test_pictures_have_gradients_too() -> None:
    net = DigitsMlp(hidden=4)
    rng = np.random.default_rng(2)
    gradients = Gradients(net, net.schema(), 0.1 * rng.standard_normal(net.elements))
    pictures = rng.integers(0, 17, size=(20, net.width))
    single = _all(gradients, pictures, np.full(20, 3))
    np.testing.assert_allclose(
        single.mean(axis=0), gradients.descent(pictures, np.full(20, 3)), atol=1e-14
    )


def test_what_is_not_trained_has_no_gradient() -> None:
    *tensors, last = BAG.schema().tensors
    frozen = TensorSchema(tensors=(*tensors, last.model_copy(update={"role": "buffer"})))
    descent = Gradients(BAG, frozen, _model()).descent(*_inputs(20))
    assert not descent[-BAG.classes :].any()
    assert descent[: -BAG.classes].any()
    assert trained_elements(frozen).sum() == BAG.elements - BAG.classes


def test_a_mixed_schema_says_element_by_element_what_is_trained() -> None:
    schema = TensorSchema(
        tensors=(
            TensorSpec(name="a", dtype="float32", shape=(2, 2)),
            TensorSpec(name="seen", dtype="int64", shape=(1,), role="buffer"),
            TensorSpec(name="b", dtype="float32", shape=(3,)),
        )
    )
    assert trained_elements(schema).tolist() == [True] * 4 + [False] + [True] * 3


def test_a_model_that_is_not_finite_has_no_direction() -> None:
    weights = _model()
    weights[3] = np.nan
    with pytest.raises(QuestionError, match="not finite"):
        Gradients(BAG, BAG.schema(), weights)


def test_inputs_that_do_not_fit_are_refused() -> None:
    gradients = Gradients(BAG, BAG.schema(), _model())
    inputs, targets = _inputs(10)
    with pytest.raises(TriggerError, match="no input"):
        gradients.descent(inputs[:0], targets[:0])
    with pytest.raises(TriggerError, match="takes 4 tokens"):
        gradients.descent(inputs[:, :3], targets)
    with pytest.raises(TriggerError, match="target 8 where the model has 8 answers"):
        list(gradients.single(inputs, np.full(10, 8)))
