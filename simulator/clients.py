"""What does an honest device send? One gradient step on its own data, clipped.

All archetypes are trained at once. Gradients of the reference model are written out as batched
products, which is several times faster than `torch.func`, and equal to autograd within
float32 rounding (a test compares them).
"""

import torch
from torch import Tensor

from roundlog.models.assistant import AssistantBag
from simulator.population import Renewal


class LocalTraining:
    """Local data of all archetypes, and their clipped updates for any model.

    Args:
        architecture: The model that is trained.
        archetypes: How many kinds of device.
        queries: Training queries of each.
        lr: Learning rate of the one local step.
        clip: L2 bound on an update, in weight units.
    """

    def __init__(
        self, architecture: AssistantBag, archetypes: int, queries: int, *, lr: float, clip: float
    ) -> None:
        self.architecture, self.lr, self.clip = architecture, lr, clip
        self._tokens = torch.zeros(archetypes, queries, architecture.width, dtype=torch.int64)
        self._labels = torch.zeros(archetypes, queries, dtype=torch.int64)
        # How often each token stands in each query: the gradient of a sum of embeddings.
        self._occurrences = torch.zeros(archetypes, architecture.vocabulary, queries)
        self._updates = torch.empty(archetypes, architecture.elements)

    def replace(self, renewal: Renewal) -> None:
        """Gives some archetypes new data."""
        at = torch.from_numpy(renewal.indices)
        tokens = torch.from_numpy(renewal.tokens).long()
        self._tokens[at] = tokens
        self._labels[at] = torch.from_numpy(renewal.labels).long()
        counts = torch.zeros(len(at), self.architecture.vocabulary, tokens.shape[1])
        counts.scatter_add_(1, tokens.transpose(1, 2), torch.ones(()).expand(tokens.mT.shape))
        self._occurrences[at] = counts

    def updates(self, model: Tensor) -> Tensor:
        """Every archetype's clipped update, shape (archetypes, d), in weight units.

        Args:
            model: Flat model, shape (d,), float32.

        Returns:
            A buffer that the next call overwrites.
        """
        into = self._updates
        self._gradients(model, into)
        into.mul_(-self.lr)
        norms = torch.linalg.vector_norm(into, dim=1)
        into.mul_((self.clip / norms).clamp_(max=1.0).unsqueeze(1))
        return into

    def _gradients(self, model: Tensor, into: Tensor) -> None:
        net = self.architecture
        part = {name: tensor[0] for name, tensor in net.split(model.unsqueeze(0)).items()}
        out = net.split(into)
        kinds, queries, width = self._tokens.shape
        flat = self._tokens.view(-1, width)
        bag = net.scale * torch.nn.functional.embedding_bag(flat, part["embedding"], mode="sum")
        hidden = torch.addmm(part["hidden.bias"], bag, part["hidden.weight"]).relu_()
        logits = torch.addmm(part["output.bias"], hidden, part["output.weight"])
        error = logits.softmax(1)
        error.scatter_add_(1, self._labels.view(-1, 1), torch.full((len(flat), 1), -1.0))
        error /= queries
        back = (error @ part["output.weight"].T).mul_(hidden > 0)
        to_bag = (back @ part["hidden.weight"].T).mul_(net.scale)

        def per_kind(matrix: Tensor) -> Tensor:
            return matrix.view(kinds, queries, -1)

        out["embedding"].copy_(torch.bmm(self._occurrences, per_kind(to_bag)))
        out["hidden.weight"].copy_(torch.bmm(per_kind(bag).mT, per_kind(back)))
        out["hidden.bias"].copy_(per_kind(back).sum(1))
        out["output.weight"].copy_(torch.bmm(per_kind(hidden).mT, per_kind(error)))
        out["output.bias"].copy_(per_kind(error).sum(1))
