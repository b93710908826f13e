"""The reference assistant: its layout, and that many models at once are each model alone."""

import numpy as np
import pytest
import torch

from roundlog.errors import RoundlogError
from roundlog.models import AssistantBag


@pytest.fixture
def bag() -> AssistantBag:
    return AssistantBag()


def _some(bag: AssistantBag, models: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    params = torch.randn(models, bag.elements, generator=generator, dtype=torch.float64)
    tokens = torch.randint(bag.vocabulary, (inputs, bag.width), generator=generator)
    return params, tokens


def test_the_reference_model_has_3728_elements_in_five_tensors(bag: AssistantBag) -> None:
    schema = bag.schema()
    assert schema.elements == bag.elements == 3_728
    assert [spec.name for spec in schema.tensors] == [
        "embedding",
        "hidden.weight",
        "hidden.bias",
        "output.weight",
        "output.bias",
    ]


def test_the_config_makes_the_same_architecture_again(bag: AssistantBag) -> None:
    assert AssistantBag.from_config(bag.config()) == bag


def test_logits_equal_the_formula_written_out_in_numpy(bag: AssistantBag) -> None:
    params, tokens = _some(bag, 2, 7)
    got = bag.logits(params, tokens).numpy()
    for model in range(2):
        part = bag.schema().unflatten(params[model].float().numpy())
        wide = {name: array.astype(np.float64) for name, array in part.items()}
        x = 0.35 * wide["embedding"][tokens.numpy()].sum(axis=1)
        hidden = np.maximum(x @ wide["hidden.weight"] + wide["hidden.bias"], 0)
        want = hidden @ wide["output.weight"] + wide["output.bias"]
        np.testing.assert_allclose(got[model], want, rtol=1e-4, atol=1e-4)


def test_many_models_and_inputs_at_once_answer_as_one_at_a_time(bag: AssistantBag) -> None:
    params, tokens = _some(bag, 5, 40)
    together = bag.logits(params, tokens)
    for model in range(5):
        for query in range(0, 40, 7):
            alone = bag.logits(params[model : model + 1], tokens[query : query + 1])[0, 0]
            torch.testing.assert_close(together[model, query], alone, rtol=1e-12, atol=1e-12)
            assert together[model, query].argmax() == alone.argmax()


def test_the_order_of_tokens_does_not_matter(bag: AssistantBag) -> None:
    params, tokens = _some(bag, 1, 6)
    torch.testing.assert_close(bag.logits(params, tokens), bag.logits(params, tokens.flip(1)))


def test_the_dtype_of_the_models_decides_the_arithmetic(bag: AssistantBag) -> None:
    params, tokens = _some(bag, 1, 2)
    assert bag.logits(params, tokens).dtype == torch.float64
    assert bag.logits(params.float(), tokens).dtype == torch.float32


def test_no_input_gives_no_logits(bag: AssistantBag) -> None:
    params, tokens = _some(bag, 2, 0)
    assert bag.logits(params, tokens).shape == (2, 0, 32)


def test_split_gives_views_in_the_order_of_the_schema(bag: AssistantBag) -> None:
    params, _ = _some(bag, 1, 1)
    part = bag.split(params)
    part["output.bias"][0, -1] = 42.0
    assert params[0, -1] == 42.0
    assert [tuple(t.shape[1:]) for t in part.values()] == [s.shape for s in bag.schema().tensors]


@pytest.mark.parametrize(
    ("params", "inputs", "message"),
    [
        (torch.zeros(1, 3_727), torch.zeros(1, 8, dtype=torch.int64), r"takes \(m, 3728\)"),
        (torch.zeros(3_728), torch.zeros(1, 8, dtype=torch.int64), r"takes \(m, 3728\)"),
        (torch.zeros(1, 3_728), torch.zeros(1, 7, dtype=torch.int64), r"takes \(n, 8\)"),
        (torch.zeros(1, 3_728), torch.full((1, 8), 218), "outside 0..217"),
        (torch.zeros(1, 3_728), torch.full((1, 8), -1), "outside 0..217"),
    ],
)
def test_shapes_and_tokens_that_do_not_fit_are_refused(
    bag: AssistantBag, params: torch.Tensor, inputs: torch.Tensor, message: str
) -> None:
    with pytest.raises(RoundlogError, match=message):
        bag.logits(params, inputs)
