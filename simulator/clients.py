"""What does an honest device send? The difference that some local steps on its own data make.

Many devices are trained at once, as batched products: in the first step all hold the same
weights, later each its own. Gradients of dense networks are written out, which is several times
faster than `torch.func`, and equal to autograd within float32 rounding (a test compares them).
"""

import torch
from torch import Tensor

from roundlog.models import DenseNetwork, Layer

Layers = tuple[Layer, ...]

# Elements of the updates that are trained at once (2 MB): weights, gradients and activations of a
# chunk stay near a core's second-level cache. Chunks have a fixed size, so that sums of floats over
# devices have one order.
CHUNK_ELEMENTS = 1 << 19
SMALLEST_CHUNK, LARGEST_CHUNK = 4, 128


class LocalTraining:
    """Local steps of plain gradient descent, for a chunk of devices at a time.

    Args:
        network: The model that is trained.
        lr: Learning rate of a local step.
        steps: Local steps.
        batch: Items a step; None for all. Devices go through their items in turn.
        chunks: How many times the usual chunk is trained at once.
    """

    def __init__(
        self,
        network: DenseNetwork,
        *,
        lr: float,
        steps: int = 1,
        batch: int | None = None,
        chunks: int = 1,
    ) -> None:
        self.network, self.lr, self.steps, self.batch = network, lr, steps, batch
        fitting = 1 << max(CHUNK_ELEMENTS // network.elements, 1).bit_length() - 1
        self.chunk = chunks * max(SMALLEST_CHUNK, min(LARGEST_CHUNK, fitting))
        """Devices trained at once."""
        self._updates = torch.empty(self.chunk, network.elements)
        # Tensor by tensor: batched products write into whole tensors several times faster than
        # into parts of a flat model.
        shapes = network.shapes.items()
        self._moved = {name: torch.empty(self.chunk, *shape) for name, shape in shapes}
        self._local = {name: torch.empty(self.chunk, *shape) for name, shape in shapes}

    def updates(self, model: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """What each of at most `chunk` devices would send, unclipped, in weight units.

        Args:
            model: Flat model that all of them received, shape (d,), float32.
            features: Shape (n, items, features), float32.
            labels: Shape (n, items), int64.

        Returns:
            W_local - W, shape (n, d): a buffer that the next call overwrites.
        """
        moved = self._train(model, features, labels)
        updates = self._updates[: len(labels)]
        for name, part in self.network.split(updates).items():
            part.copy_(moved[name])
        return updates

    def clipped(
        self, model: Tensor, features: Tensor, labels: Tensor, clip: float
    ) -> tuple[Tensor, Tensor]:
        """Updates, as `updates` makes them and `clip_` shortens them, and lengths as it gives them.

        A length is rounded otherwise than by `clip_`, in its last bit.
        """
        moved = self._train(model, features, labels)
        parts = [moved[name].flatten(1) for name in self.network.shapes]
        # Along rows, each of which is reduced alone: else a length's last bit might depend on
        # where among others a device stands.
        lengths = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)
        norms: Tensor = torch.linalg.vector_norm(lengths, dim=1)
        factors = _shortening(norms, clip)
        # One pass makes models flat and clips them: between two they would leave the cache.
        updates = self._updates[: len(labels)]
        flat = updates.split([part.shape[1] for part in parts], dim=1)
        for part, place in zip(parts, flat, strict=True):
            torch.mul(part, factors, out=place)
        return updates, norms

    def _train(self, model: Tensor, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What local steps moved, tensor by tensor, shapes (n, ...)."""
        number, items = labels.shape
        size = items if self.batch is None else self.batch
        received = self.network.split(model.unsqueeze(0))
        moved = {name: tensor[:number] for name, tensor in self._moved.items()}
        weights = received
        for step in range(self.steps):
            if step:
                weights = {
                    name: torch.add(moved[name], part, out=self._local[name][:number])
                    for name, part in received.items()
                }
            first = step * size % items
            batch = slice(first, first + size)
            self._step(weights, features[:, batch], labels[:, batch], moved, first=step == 0)
        return moved

    def _step(
        self,
        weights: dict[str, Tensor],
        features: Tensor,
        labels: Tensor,
        moved: dict[str, Tensor],
        *,
        first: bool,
    ) -> None:
        """One step on the mean cross-entropy of each device's items, added to what it moved."""
        layers = self.network.LAYERS
        inputs, logits = _forward(layers, weights, features)
        # Scaled at its source, so that products below are steps and not gradients.
        error = _error(logits, labels).mul_(-self.lr / labels.shape[1])
        before = 0.0 if first else 1.0
        for number in reversed(range(len(layers))):
            layer = layers[number]
            moved[layer.weight].baddbmm_(inputs[number].mT, error, beta=before)
            if layer.bias is not None:
                bias = moved[layer.bias]
                torch.sum(error, 1, out=bias) if first else bias.add_(error.sum(1))
            if number:
                error = _backward(layers, number, weights, inputs, error)


def first_layer_errors(
    network: DenseNetwork, model: Tensor, features: Tensor, labels: Tensor
) -> Tensor:
    """Gradient of each item's loss by the first layer's output.

    Args:
        model: Flat model, shape (d,).
        features: Shape (n, features).
        labels: Shape (n,).

    Returns:
        Shape (n, outputs of the first layer).
    """
    layers, weights = network.LAYERS, network.split(model.unsqueeze(0))
    inputs, logits = _forward(layers, weights, features.unsqueeze(0))
    error = _error(logits, labels.unsqueeze(0))
    for number in reversed(range(1, len(layers))):
        error = _backward(layers, number, weights, inputs, error)
    return error[0]


def clip_(updates: Tensor, clip: float) -> Tensor:
    """Shortens updates to length `clip` in place; their lengths before, shape (n,)."""
    norms: Tensor = torch.linalg.vector_norm(updates, dim=1)
    updates.mul_(_shortening(norms, clip))
    return norms


def _shortening(norms: Tensor, clip: float) -> Tensor:
    """What updates of these lengths are multiplied by, shape (n, 1)."""
    return (clip / norms).clamp_(max=1.0).unsqueeze(1)


def _forward(
    layers: Layers, weights: dict[str, Tensor], features: Tensor
) -> tuple[list[Tensor], Tensor]:
    """What each layer multiplies, and the logits."""
    inputs = [features]
    for layer in layers:
        reached = _product(inputs[-1], weights[layer.weight])
        if layer.bias is not None:
            reached += weights[layer.bias].unsqueeze(1)
        inputs.append(reached.relu_() if layer.relu else reached)
    return inputs, inputs.pop()


def _backward(
    layers: Layers, number: int, weights: dict[str, Tensor], inputs: list[Tensor], error: Tensor
) -> Tensor:
    """From the gradient by a layer's output to that by the output of the layer before."""
    before = _product(error, weights[layers[number].weight].mT)
    if not layers[number - 1].relu:
        return before
    # One pass; a product with a mask of bools takes three.
    masked: Tensor = torch.ops.aten.threshold_backward(before, inputs[number], 0)
    return masked


def _product(inputs: Tensor, weights: Tensor) -> Tensor:
    """Inputs (n, items, in) times weights of their own, (n, in, out), or shared, (1, in, out)."""
    if len(weights) == len(inputs):
        return torch.bmm(inputs, weights)
    return (inputs.reshape(-1, inputs.shape[2]) @ weights[0]).view(*inputs.shape[:2], -1)


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the cross-entropy by the logits: softmax less one at the label."""
    # Over few classes this is several times faster than torch's own softmax.
    error = logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    error /= error.sum(-1, keepdim=True)
    index = labels.unsqueeze(-1)
    error.scatter_add_(-1, index, torch.full((), -1.0).expand(index.shape))
    return error
