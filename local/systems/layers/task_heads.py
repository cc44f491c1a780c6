"""The further heads of the multi-task system: what they compute, and their losses.

Each loss is one number an utterance, 0 where it has no label; the loss of a head is their mean over all utterances of
the update, as that of CTC is. So a label that is missing takes no part in the gradient, and gives none of its weight to
the others.

    classes (gender, speaker)   cross-entropy
    shares (votes)              KL(raters || model): how the raters' votes are distributed, against the posteriors
    numbers (valence, ...)      (p - y)^2 / D,  D = var(p) + var(y) + (mean(p) - mean(y))^2

of numbers with means and variances over the n labelled utterances of the whole update. As

    CCC = 2 cov(p, y) / D                   (Lin 1989: Biometrics 45, 255-268)
    1 - CCC = mean((p - y)^2) / D           as mean((p - y)^2) = D - 2 cov(p, y)

their sum is n (1 - CCC), and the loss of N utterances, all with a label, is 1 - CCC. It is no sum over utterances: D
has all of them. Its gradient is still one, once six sums over the update are known, its `moments`:

    d n CCC / d p_i = 2 / D ((y_i - mean(y)) - CCC (p_i - mean(y)))

With them each micro-batch adds exactly its share of the gradient, however the update is cut and divided among
processes. Of a single labelled utterance the loss is 1 and its gradient 0, as CCC is not defined there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError
from local.core.tasks import CLASSES, NUMBER, TASKS

MISSING = -100  # a class that is none: PyTorch's cross-entropy leaves it out
LEAST_SPREAD = 1e-12  # of D: where all predictions and labels are one number


class NumberHead(nn.Module):
    """A linear layer to one number: [B, d] -> [B], on the scale of the corpus.

    Its rows are of mean 0 and deviation 1, which is what a new layer can learn; `mean` and `deviation`, those of the
    training set's labels, bring them to the scale, and are kept with the weights.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, d] -> [B], in single precision."""
        return self.mean + self.deviation * self.linear(vectors)[:, 0].float()

    @torch.no_grad()
    def scale_to(self, labels: Tensor) -> None:
        """Take mean and deviation of the labels [n] of a training set, nan where there is none."""
        known = labels[labels.isfinite()].double()
        if len(known) > 1 and known.std(correction=0) > 0:
            self.mean.copy_(known.mean())
            self.deviation.copy_(known.std(correction=0))


def build(name: str, size: int, classes: Sequence[str]) -> nn.Module:
    """The head of a task, [B, size] -> [B, C] logits of classes or shares, [B] of a number.

    A `UserError` where classes are missing: the pipeline sets them, see `local.experiment.task_classes`.
    """
    if TASKS[name].kind == NUMBER:
        return NumberHead(size)
    if len(classes) < 2:
        raise UserError(
            f"heads: {name} has no classes: the YAML lacks the key head_classes, which is set for each fold",
            "write head_classes: {} into it, and head_classes: !ref <head_classes> below system",
        )
    return nn.Linear(size, len(classes))


def has_label(name: str, labels: Tensor) -> Tensor:
    """[n] bool: which of the labels of a task, as of `local.data.task_targets`, are there."""
    kind = TASKS[name].kind
    return labels.isfinite() if kind == NUMBER else labels >= 0 if kind == CLASSES else labels.sum(-1) > 0


def losses(name: str, outputs: Tensor, labels: Tensor, moments: Tensor | None = None) -> Tensor:
    """The loss of each utterance, [B], of a task; see the module.

    `outputs` and `labels` are those of the batch. `moments` are the sums of a number over the update of which the batch
    is a part, [6]; None: it is all of it.
    """
    outputs, kind = outputs.float(), TASKS[name].kind
    if kind == NUMBER:
        return _of_numbers(outputs, labels, sums(outputs, labels) if moments is None else moments)
    if kind == CLASSES:
        return F.cross_entropy(outputs, labels, ignore_index=MISSING, reduction="none")
    return (torch.special.xlogy(labels, labels) - labels * outputs.log_softmax(-1)).sum(-1)


@torch.no_grad()
def sums(predicted: Tensor, labels: Tensor) -> Tensor:
    """The moments of numbers, [6] in double precision: [B] predictions and [B] labels, nan where there is none."""
    known = labels.isfinite()
    p, y = predicted.detach().double().where(known, 0.0), labels.double().where(known, 0.0)
    return torch.stack([known.double().sum(), p.sum(), y.sum(), (p * p).sum(), (y * y).sum(), (p * y).sum()])


def _of_numbers(predicted: Tensor, labels: Tensor, moments: Tensor) -> Tensor:
    """The terms of 1 - CCC, [B]; their gradient is that of its sum over the update."""
    known = labels.isfinite()
    y, p = labels.double().where(known, 0.0), predicted.detach().double()
    n, *totals = moments.unbind()
    mean_p, mean_y, of_pp, of_yy, of_py = (total / n.clamp(min=1) for total in totals)
    spread = of_pp - mean_p**2 + of_yy - mean_y**2 + (mean_p - mean_y) ** 2
    spread = spread.clamp(min=LEAST_SPREAD)
    ccc = 2 * (of_py - mean_p * mean_y) / spread
    slope = 2 / spread * (ccc * (p - mean_y) - (y - mean_y))
    terms = (p - y) ** 2 / spread + slope * (predicted - predicted.detach())
    return terms.where(known, 0.0).float()


def no_label(name: str, n: int, classes: int, device: torch.device) -> Tensor:
    """The labels of n utterances without any, as where a table has no such column."""
    kind = TASKS[name].kind
    if kind == CLASSES:
        return torch.full((n,), MISSING, device=device)
    return torch.full((n,), math.nan, device=device) if kind == NUMBER else torch.zeros(n, classes, device=device)
