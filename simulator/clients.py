"""What does an honest device send? The difference that some local steps on its own data make.

Many devices are trained at once, as batched products: in the first step all hold the same
weights, later each its own. Gradients of dense networks are written out, which is several times
faster than `torch.func`, and equal to autograd within float32 rounding (a test compares them).
"""

import torch
from torch import Tensor

from roundlog.models import DenseNetwork

# Elements of the updates that are trained at once (2 MB): weights, gradients and activations of a
# chunk stay near a core's second-level cache. Chunks have a fixed size, so that what a device sends
# does not depend on how many others train.
CHUNK_ELEMENTS = 1 << 19
SMALLEST_CHUNK, LARGEST_CHUNK = 4, 128


class LocalTraining:
    """Local steps of plain gradient descent, for a chunk of devices at a time.

    Args:
        network: The model that is trained.
        lr: Learning rate of a local step.
        steps: Local steps.
        batch: Items a step; None for all. Devices go through their items in turn.
    """

    def __init__(
        self, network: DenseNetwork, *, lr: float, steps: int = 1, batch: int | None = None
    ) -> None:
        self.network, self.lr, self.steps, self.batch = network, lr, steps, batch
        fitting = CHUNK_ELEMENTS // network.elements
        self.chunk = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, 1 << max(fitting, 1).bit_length() - 1))
        """Devices trained at once."""
        self._updates = torch.empty(self.chunk, network.elements)
        self._local = torch.empty(self.chunk, network.elements)
        self._gradients = torch.empty(self.chunk, network.elements)

    def updates(self, model: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """What each of at most `chunk` devices would send, unclipped, in weight units.

        Args:
            model: Flat model that all of them received, shape (d,), float32.
            features: Shape (n, items, features), float32.
            labels: Shape (n, items), int64.

        Returns:
            W_local - W, shape (n, d): a buffer that the next call overwrites.
        """
        number, items = labels.shape
        size = items if self.batch is None else self.batch
        updates, local = self._updates[:number], self._local[:number]
        gradients = self._gradients[:number]
        for step in range(self.steps):
            first = step * size % items
            part = slice(first, first + size)
            if step == 0:
                self._descend(model.unsqueeze(0), features[:, part], labels[:, part], updates)
                updates.mul_(-self.lr)
                continue
            torch.add(updates, model, out=local)
            self._descend(local, features[:, part], labels[:, part], gradients)
            updates.add_(gradients, alpha=-self.lr)
        return updates

    def _descend(self, params: Tensor, features: Tensor, labels: Tensor, into: Tensor) -> None:
        """Gradients of the mean cross-entropy of each device's items, shape (n, d)."""
        parts, out = self.network.split(params), self.network.split(into)
        inputs = [features]
        for layer in self.network.LAYERS:
            reached = _product(inputs[-1], parts[layer.weight])
            if layer.bias is not None:
                reached += parts[layer.bias].unsqueeze(1)
            inputs.append(reached.relu_() if layer.relu else reached)
        error = _error(inputs.pop(), labels).div_(labels.shape[1])
        for number in reversed(range(len(inputs))):
            layer = self.network.LAYERS[number]
            out[layer.weight].copy_(torch.bmm(inputs[number].mT, error))
            if layer.bias is not None:
                out[layer.bias].copy_(error.sum(1))
            if number:
                error = _product(error, parts[layer.weight].mT)
                if self.network.LAYERS[number - 1].relu:
                    error.mul_(inputs[number] > 0)


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
    parts = network.split(model.unsqueeze(0))
    inputs = [features.unsqueeze(0)]
    for layer in network.LAYERS:
        reached = _product(inputs[-1], parts[layer.weight])
        if layer.bias is not None:
            reached += parts[layer.bias].unsqueeze(1)
        inputs.append(reached.relu_() if layer.relu else reached)
    error = _error(inputs.pop(), labels.unsqueeze(0))
    for number in reversed(range(1, len(inputs))):
        error = _product(error, parts[network.LAYERS[number].weight].mT)
        if network.LAYERS[number - 1].relu:
            error.mul_(inputs[number] > 0)
    return error[0]


def clip_(updates: Tensor, clip: float) -> Tensor:
    """Shortens updates to length `clip` in place; their lengths before, shape (n,)."""
    norms: Tensor = torch.linalg.vector_norm(updates, dim=1)
    updates.mul_((clip / norms).clamp_(max=1.0).unsqueeze(1))
    return norms


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
