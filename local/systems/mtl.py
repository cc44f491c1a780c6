"""The multi-task model of Cai et al., Interspeech 2021: one encoder, a CTC head and an emotion head.

z = encoder(x)                          [B, T, d]   by default for both heads, see `local.systems.layers.layer_choice`
tokens  = W_t z + b_t                   [B, T, V]   per frame, CTC
emotion = W_e pool(z) + b_e             [B, C]      pool over the true frames, see `local.systems.layers.pooling`
L = CE(emotion) + alpha * CTC(tokens)               paper, equation 3
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import Encoder, length_mask
from local.systems import Losses, Outputs, System, Targets, cross_entropy
from local.systems.layers.layer_choice import OUTPUT, LayerChoice
from local.systems.layers.pooling import Pooling
from local.text.tokenizer import BLANK


class MultiTaskSystem(System):
    """Shared encoder, one linear layer per task.

    `n_labels` is C, `n_tokens` V (token 0 is the blank), `alpha` the weight of the CTC task; `pooling` over the true
    frames is `mean` (the paper's code), `sum` (the paper's text), or a module (see `local.systems.layers.pooling`),
    which is trained as a head is. `dropout` is that of the inputs of both heads, `label_smoothing` of the emotions.
    `emotion_layers` and `ctc_layer` say which hidden states the heads read; learned weights of these train as heads do.
    """

    writes_text = True

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
    ) -> None:
        super().__init__(encoder)
        if alpha < 0:
            raise UserError(f"alpha is {alpha}", "set alpha to 0 or above")
        for name, value in (("dropout", dropout), ("label_smoothing", label_smoothing)):
            if not 0 <= value < 1:
                raise UserError(f"{name} is {value}", f"set {name} to at least 0 and less than 1")
        self.layers = LayerChoice(encoder, emotion_layers, ctc_layer)
        self.pooling = Pooling(pooling, encoder.dim)
        self.token_head = nn.Linear(encoder.dim, n_tokens)
        self.emotion_head = nn.Linear(self.pooling.size, n_labels)
        self.dropout = nn.Dropout(dropout)
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples -> logits of both tasks."""
        of_emotion, of_tokens, n_frames = self.layers(self.encoder, wavs, lengths)
        pooled = self.pooling(of_emotion, n_frames)
        return Outputs(self.emotion_head(self.dropout(pooled)), self.token_head(self.dropout(of_tokens)), n_frames)

    def losses(self, outputs: Outputs, targets: Targets) -> Losses:
        """L = CE + alpha * CTC, and its parts, in single precision."""
        ce = cross_entropy(outputs, targets, self.label_smoothing)
        # With alpha = 0 no gradient may reach the CTC head, not even zeros: AdamW would still decay its weights.
        # Its loss is computed for the log only.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.alpha > 0):
            ctc, left_out = ctc_batchmean(outputs, targets)
        total = ce + self.alpha * ctc if self.alpha > 0 else ce
        return Losses(total, ce.detach(), ctc.detach(), left_out)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor that matter to a model in use; a `UserError` if they are no plain values."""
        return {"alpha": self.alpha, "pooling": self.pooling.description()} | self.layers.settings()

    def learned(self) -> dict[str, list[float]]:
        """The shares of the hidden states in what the emotion head reads, where they are learned."""
        shares = self.layers.shares()
        return {"layer_shares": shares} if shares else {}

    def heads(self) -> list[nn.Module]:
        """The modules that are trained at `head_lr`."""
        return [self.token_head, self.emotion_head, self.pooling, self.layers]


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
