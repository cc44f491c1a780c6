"""Capsules: vectors whose length says whether something is there, and the routing of some to others by agreement.

After Sabour, Frosst, Hinton: Dynamic routing between capsules. NeurIPS 2017. For inputs i and outputs j:

    u_j|i = W_ij u_i                                    what input i predicts of output j
    s_j = sum_i c_ij u_j|i,  v_j = squash(s_j)          with b_ij = 0 at first
    b_ij += agreement of u_j|i and v_j                  before each further iteration

`standard`: the agreement is their product, and c_ij the softmax of b over the outputs of an input, sum_j c_ij = 1.
`cosine`: it is their cosine, and c_ij the softmax of b over the inputs of an output, sum_i c_ij = 1.
The gradient passes through all iterations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError

RULES = ("standard", "cosine")
MOST, LEAST, ABSENT = 0.9, 0.1, 0.5  # lengths that cost nothing; weight of the classes that are not there
SPREAD = 0.1  # standard deviation of the first weights


def squash(s: Tensor) -> Tensor:
    """[..., D] -> [..., D] of the same direction, and of the length |s|^2 / (1 + |s|^2), below 1."""
    square = s.square().sum(-1, keepdim=True)
    return square / (1 + square) * s * (square + 1e-8).rsqrt()


def route(
    predictions: Tensor, true: Tensor | None = None, iterations: int = 3, rule: str = "standard"
) -> tuple[Tensor, Tensor]:
    """Route I inputs to J outputs.

    Parameters
    ----------
    predictions
        [B, J, I, D], u_j|i.
    true
        [B, I] bool, inputs that are no padding, at least one of each B; None: all. Padding takes no part.
    iterations
        At least 1; with 1 all inputs count alike.
    rule
        One of `RULES`.

    Returns
    -------
    outputs
        [B, J, D], v_j.
    couplings
        [B, J, I], c_ij of the last iteration; meaningless for padding.
    """
    padding = None if true is None else ~true[:, None]
    if padding is not None:
        predictions = predictions.masked_fill(padding[..., None], 0.0)
    logits = predictions.new_zeros(predictions.shape[:3])
    for iteration in range(iterations):
        if rule == "standard":
            couplings = logits.softmax(1)
        else:
            couplings = (logits if padding is None else logits.masked_fill(padding, -torch.inf)).softmax(2)
        # Sums of products, and no products of matrices: those with a vector PyTorch computes slowly on a CPU.
        outputs = squash((couplings[..., None] * predictions).sum(2))
        if iteration < iterations - 1:
            direction = outputs if rule == "standard" else F.normalize(outputs, dim=-1)
            agreement = (predictions * direction[:, :, None]).sum(3)
            if rule == "cosine":
                agreement = agreement / torch.linalg.vector_norm(predictions, dim=-1).clamp(min=1e-8)
            logits = logits + agreement
    return outputs, couplings


class Capsules(nn.Module):
    """Output capsules of a layer, each with a matrix for each group of inputs: [B, G, P, d] -> [B, J, D].

    The P inputs of a group share its matrices: the positions of a map, or the steps of a sequence.
    """

    def __init__(
        self, groups: int, size: int, outputs: int, output_size: int, iterations: int = 3, rule: str = "standard"
    ) -> None:
        super().__init__()
        if iterations < 1 or rule not in RULES:
            raise UserError(
                f"routing is '{rule}', with {iterations} iterations", f"take {' or '.join(RULES)}, and at least 1"
            )
        self.iterations, self.rule = iterations, rule
        self.weight = nn.Parameter(SPREAD * torch.randn(groups, outputs, output_size, size))

    def predictions(self, inputs: Tensor) -> Tensor:
        """What each input predicts of each output: [B, G, P, d] -> [B, J, G P, D]."""
        groups, outputs, output_size, size = self.weight.shape
        batch, positions = len(inputs), inputs.shape[2]
        by_group = inputs.transpose(0, 1).reshape(groups, batch * positions, size)
        predicted = by_group @ self.weight.view(groups, outputs * output_size, size).transpose(1, 2)
        predicted = predicted.view(groups, batch, positions, outputs, output_size)
        return predicted.permute(1, 3, 0, 2, 4).flatten(2, 3)

    def route(self, predictions: Tensor, true: Tensor | None = None) -> Tensor:
        """[B, J, I, D], [B, I] bool -> [B, J, D], in single precision."""
        with torch.autocast(predictions.device.type, enabled=False):
            predictions = predictions if predictions.dtype == torch.double else predictions.float()
            return route(predictions, true, self.iterations, self.rule)[0]

    def forward(self, inputs: Tensor, true: Tensor | None = None) -> Tensor:
        """[B, G, P, d] inputs, and [B, G P] bool which of them are no padding -> [B, J, D]."""
        return self.route(self.predictions(inputs), true)


class PrimaryCapsules(nn.Module):
    """The first capsules, by a convolution: [B, channels, H, W] -> [B, types, positions, size]."""

    def __init__(
        self,
        channels: int,
        types: int,
        size: int,
        kernel: int = 3,
        stride: int | tuple[int, int] = 2,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.types = types
        self.convolution = nn.Conv2d(channels, types * size, kernel, stride, padding)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, types, positions, size]."""
        capsules = self.convolution(maps).flatten(2).unflatten(1, (self.types, -1)).transpose(2, 3)
        return squash(capsules if capsules.dtype == torch.double else capsules.float())


def margin_costs(lengths: Tensor) -> Tensor:
    """The margin loss of capsules' lengths, [..., C], for each class, were it the true one: [..., C].

    For class k: max(0, 0.9 - |v_k|)^2 + 0.5 sum_j max(0, |v_j| - 0.1)^2 over the other classes j.
    """
    present = (MOST - lengths).clamp(min=0).square()
    absent = ABSENT * (lengths - LEAST).clamp(min=0).square()
    return present + absent.sum(-1, keepdim=True) - absent


def cost_of_truth(costs: Tensor, emotions: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over utterances of what each costs by its own class: [B, C] costs, [B] class indices, [B] weights."""
    each = costs.gather(1, emotions[:, None])[:, 0]
    return (each if weights is None else weights * each).mean()


def emotion_vector(capsules: Tensor) -> Tensor:
    """The capsules one after another, then their lengths: [..., J, D] -> [..., J (D + 1)]."""
    return torch.cat([capsules.flatten(-2), torch.linalg.vector_norm(capsules, dim=-1)], dim=-1)
