"""The multi-task model of Cai et al., Interspeech 2021: one encoder, a CTC head and an emotion head.

z = encoder(x)                          [B, T, d]   by default for both heads, see `local.systems.layers.layer_choice`
tokens  = W_t z + b_t                   [B, T, V]   per frame, CTC
emotion = W_e pool(z) + b_e             [B, C]      pool over the true frames, see `local.systems.layers.pooling`
L = CE(emotion) + alpha * CTC(tokens)               paper, equation 3

Not the paper's: L = emotion_weight * CE + alpha * CTC + the sum of weight * loss over further heads. Each of these is a
linear layer on what the emotion head is given (see `local.systems.layers.task_heads`). Every loss is a mean over all
utterances of the update; one that lacks a label, or a transcript, adds 0 to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core import tasks
from local.core.errors import UserError
from local.encoders import Encoder, length_mask
from local.systems import Losses, Outputs, System, Targets, cross_entropy
from local.systems.layers import merging, task_heads
from local.systems.layers.layer_choice import OUTPUT, LayerChoice
from local.systems.layers.pooling import Pooling
from local.systems.layers.task_heads import NumberHead
from local.text.tokenizer import BLANK


class MultiTaskSystem(System):
    """Shared encoder, one linear layer per task.

    `n_labels` is C, `n_tokens` V (token 0 is the blank), `alpha` the weight of the CTC task; `pooling` over the true
    frames is `mean` (the paper's code), `sum` (the paper's text), or a module (see `local.systems.layers.pooling`),
    which is trained as a head is. `dropout` is that of the inputs of all heads, `label_smoothing` and `focal_gamma`
    (see `local.systems.cross_entropy`) are of the emotions. `emotion_layers` and `ctc_layer` say which hidden states
    the heads read; learned weights of these train as heads do. `heads` are the weights of further tasks
    (`local.core.tasks`), `head_classes` their classes by name, none of a number; they read what the emotion head does.
    What has a weight of 0 gets no gradient. `merged` has the arguments of `local.systems.layers.merging.begin`.
    """

    writes_text = True
    takes_unlabelled = True

    def __init__(
        self,
        encoder: Encoder,
        n_labels: int,
        n_tokens: int,
        alpha: float,
        pooling: str | dict[str, Any] | nn.Module = "mean",
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        emotion_layers: str | int = OUTPUT,
        ctc_layer: str | int = OUTPUT,
        emotion_weight: float = 1.0,
        focal_gamma: float = 0.0,
        heads: Mapping[str, float] | None = None,
        head_classes: Mapping[str, Sequence[str]] | None = None,
        merged: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(encoder)
        for name, value in (("alpha", alpha), ("emotion_weight", emotion_weight), ("focal_gamma", focal_gamma)):
            if value < 0:
                raise UserError(f"{name} is {value}", f"set {name} to 0 or above")
        for name, value in (("dropout", dropout), ("label_smoothing", label_smoothing)):
            if not 0 <= value < 1:
                raise UserError(f"{name} is {value}", f"set {name} to at least 0 and less than 1")
        self.layers = LayerChoice(encoder, emotion_layers, ctc_layer)
        self.task_weights = tasks.weights(heads or {})
        if not any((alpha, emotion_weight, *self.task_weights.values())):
            raise UserError("alpha, emotion_weight and all weights of heads are 0", "give one of them a weight")
        self.pooling = Pooling(pooling, encoder.dim)
        self.token_head = nn.Linear(encoder.dim, n_tokens)
        self.emotion_head = nn.Linear(self.pooling.size, n_labels)
        self.dropout = nn.Dropout(dropout)
        self.alpha, self.emotion_weight = alpha, emotion_weight
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        self.tasks = {name: list((head_classes or {}).get(name, ())) for name in self.task_weights}
        # Last: what else is random is then the same with them and without.
        built = {name: task_heads.build(name, self.pooling.size, classes) for name, classes in self.tasks.items()}
        self.further_heads = nn.ModuleDict(built)
        if merged:
            merging.begin(self, **merged)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples -> logits of all tasks, and the numbers of those that are numbers."""
        of_emotion, of_tokens, n_frames = self.layers(self.encoder, wavs, lengths)
        pooled = self.dropout(self.pooling(of_emotion, n_frames))
        emotion, tokens = self.emotion_head(pooled), self.token_head(self.dropout(of_tokens))
        return Outputs(emotion, tokens, n_frames, tuple(head(pooled) for head in self.further_heads.values()))

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """L and its parts, in single precision: see the module."""
        # With a weight of 0 no gradient may reach a head, not even zeros: AdamW would still decay its weights.
        # Its loss is computed for the log only.
        with _gradient_if(self.emotion_weight):
            ce = cross_entropy(outputs, targets, self.label_smoothing, self.focal_gamma)
        with _gradient_if(self.alpha):
            ctc, left_out = ctc_batchmean(outputs, targets)
        further, counts = self._further_losses(outputs, targets)
        weights = [self.emotion_weight, self.alpha, *self.task_weights.values()]
        total = sum(weight * loss for weight, loss in zip(weights, [ce, ctc, *further], strict=True) if weight > 0)
        of_tasks = torch.stack([torch.stack(further).detach().float(), torch.stack(counts)], 1) if further else None
        return Losses(total, ce.detach(), ctc.detach(), left_out, of_tasks)

    def _further_losses(self, outputs: Outputs, targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
        """The loss of each further task, and how many utterances have no label of it; scalars."""
        further, counts, numbers = [], [], iter(() if targets.moments is None else targets.moments)
        for (name, weight), output, labels in zip(
            self.task_weights.items(), outputs.further, self._labels(outputs, targets), strict=True
        ):
            moments = next(numbers, None) if self._is_number(name) else None
            with _gradient_if(weight):
                further.append(task_heads.losses(name, output, labels, moments).mean())
            counts.append((~task_heads.has_label(name, labels)).float().sum())
        return further, counts

    def _labels(self, outputs: Outputs, targets: Targets) -> list[Tensor]:
        if targets.tasks is not None:
            return [targets.tasks[name] for name in self.tasks]
        n, device = len(outputs.emotion), outputs.emotion.device
        return [task_heads.no_label(name, n, len(classes), device) for name, classes in self.tasks.items()]

    def _is_number(self, name: str) -> bool:
        return isinstance(self.further_heads[name], NumberHead)

    @property
    def depends_on_update(self) -> bool:
        """Whether a number is trained: its CCC is a statistic of the update."""
        return any(weight > 0 and self._is_number(name) for name, weight in self.task_weights.items())

    def moments(self, outputs: Outputs, targets: Targets) -> Tensor:
        """[numbers, 6] of each task that is a number; see `task_heads.sums`."""
        pairs = zip(self.tasks, zip(outputs.further, self._labels(outputs, targets), strict=True), strict=True)
        return torch.stack([task_heads.sums(*pair) for name, pair in pairs if self._is_number(name)])

    def learn_labels(self, labels: Mapping[str, Tensor]) -> None:
        """Take mean and deviation of each number from the training set."""
        for name, head in self.further_heads.items():
            if isinstance(head, NumberHead):
                head.scale_to(labels[name])

    def leave_out(self, names: Collection[str]) -> None:
        """Remove further heads, as of a model that is exported."""
        for name in [name for name in self.tasks if name in names]:
            del self.further_heads[name], self.tasks[name], self.task_weights[name]

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor that matter to a model in use; a `UserError` if they are no plain values."""
        further = {} if self.emotion_weight == 1 else {"emotion_weight": self.emotion_weight}
        if self.tasks:
            classes = {name: classes for name, classes in self.tasks.items() if classes}
            further |= {"heads": dict(self.task_weights), "head_classes": classes}
        own = {"alpha": self.alpha, "pooling": self.pooling.description()}
        return own | self.layers.settings() | further

    def learned(self) -> dict[str, Any]:
        """The shares of the hidden states in what the emotion head reads, and the coefficients of task vectors."""
        shares, vectors = self.layers.shares(), self.encoder.task_vectors
        return ({"layer_shares": shares} if shares else {}) | ({"coefficients": vectors.table()} if vectors else {})

    def heads(self) -> list[nn.Module]:
        """The modules that are trained at `head_lr`."""
        merged = [] if self.encoder.task_vectors is None else [self.encoder.task_vectors]
        return [self.token_head, self.emotion_head, self.pooling, self.layers, *self.further_heads.values(), *merged]


def _gradient_if(weight: float) -> torch.set_grad_enabled:
    """A context without gradients where a weight is 0."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and weight > 0)


def ctc_batchmean(outputs: Outputs, targets: Targets) -> tuple[Tensor, Tensor]:
    """CTC loss, summed over each transcript, mean over the batch's utterances.

    An utterance without a transcript, or whose transcript needs more frames than it has (one per token and one
    more between two equal ones), is left out: it adds 0. Returns the loss, a scalar, and the number of utterances
    that are left out, a scalar int on the CPU.
    """
    tokens, n_tokens, n_frames = targets.tokens, targets.n_tokens, outputs.n_frames
    pair = length_mask(n_tokens - 1, tokens.shape[1] - 1) if tokens.shape[1] > 1 else tokens[:, :0].bool()
    repeats = ((tokens[:, 1:] == tokens[:, :-1]) & pair).sum(1)
    fits = (n_tokens > 0) & (n_tokens + repeats <= n_frames)
    # Those that do not fit get an empty transcript and then loss 0: selecting the others would wait for the GPU.
    log_probs = outputs.tokens.float().log_softmax(-1).transpose(0, 1)
    tokens = tokens.to(log_probs.device, non_blocking=True)
    losses = F.ctc_loss(log_probs, tokens, n_frames, n_tokens.where(fits, 0), blank=BLANK, reduction="none")
    return losses.where(fits.to(losses.device, non_blocking=True), 0.0).sum() / len(fits), (~fits).sum()


SYSTEM = MultiTaskSystem
