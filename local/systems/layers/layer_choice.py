"""Which hidden states of an encoder the heads read: `emotion_layers` and `ctc_layer` of the YAML.

`last` is the encoder's output. A number N is the output of block N of its transformer, 0 the input of block 1: what
transformers has as `hidden_states[N]`, see `Encoder.states`. `weighted`, of the emotions alone, is their mean with
learned weights, in which w begins at 0:

x = sum_l softmax(w)_l h_l      l = 0 .. L      [B, T, d]

S. Yang et al.: SUPERB: Speech processing Universal PERformance Benchmark. Interspeech 2021. transformers computes the
same in its classifiers where `use_weighted_layer_sum` is set.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import Encoder
from local.encoders.base import LAST

OUTPUT, WEIGHTED = "last", "weighted"
DEFAULTS = {"emotion_layers": OUTPUT, "ctc_layer": OUTPUT}


class LayerChoice(nn.Module):
    """Runs an encoder for two heads.

    `emotion` and `ctc` are the YAML's values; a `UserError` for those that the encoder has not. The encoder is told
    which of its hidden states are taken: what none of them needs is neither computed nor trained.
    """

    def __init__(self, encoder: Encoder, emotion: str | int = OUTPUT, ctc: str | int = OUTPUT) -> None:
        super().__init__()
        self.emotion = _number("emotion_layers", emotion, encoder, (OUTPUT, WEIGHTED))
        self.ctc = _number("ctc_layer", ctc, encoder, (OUTPUT,))
        self.weights: nn.Parameter | None = None
        if self.emotion == self.ctc == OUTPUT:
            return
        every = range(len(encoder.layers()) + 1)
        if self.emotion == WEIGHTED:
            self.weights = nn.Parameter(torch.zeros(len(every)))
        of_emotion = every if self.emotion == WEIGHTED else [_of_encoder(self.emotion)]
        encoder.take([*of_emotion, _of_encoder(self.ctc)])

    def forward(self, encoder: Encoder, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the emotion and the CTC head read, [B, T, d] each, and [B] true frames; inputs as of the encoder."""
        if not encoder.taken:
            frames, n_frames = encoder(wavs, lengths)
            return frames, frames, n_frames
        states, n_frames = encoder.states(wavs, lengths)
        of_tokens = states[_of_encoder(self.ctc)]
        if self.weights is None:
            return states[_of_encoder(self.emotion)], of_tokens, n_frames
        shares = self.weights.softmax(0)
        mixed = sum(share * states[number].float() for number, share in enumerate(shares))
        return mixed, of_tokens, n_frames

    def settings(self) -> dict[str, str | int]:
        """The YAML's values that are not their defaults."""
        values = {"emotion_layers": self.emotion, "ctc_layer": self.ctc}
        return {key: value for key, value in values.items() if value != DEFAULTS[key]}

    def shares(self) -> list[float]:
        """softmax(w): the share of each hidden state, from 0; none where the weights are not learned."""
        return [] if self.weights is None else self.weights.detach().double().softmax(0).tolist()


def _of_encoder(layer: str | int) -> int:
    """The number of `Encoder.take`."""
    return LAST if layer == OUTPUT else int(layer)


def _number(key: str, value: str | int, encoder: Encoder, words: Sequence[str]) -> str | int:
    """The value of a key: one of some words, or the number of a hidden state that the encoder has."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if value == OUTPUT:
        return value
    if not encoder.has_layers:
        kind = encoder.model.config.model_type
        raise UserError(
            f"{key} is {value!r}: the layers of a {kind} pass on more than frames", f"set {key} to {OUTPUT}"
        )
    top = len(encoder.layers())
    if value not in words and (type(number) is not int or not 0 <= number <= top):
        raise UserError(
            f"{key} is {value!r}, and the encoder has {top} blocks",
            f"set {key} to {' or '.join(words)}, or to a number from 0 (the input of block 1) to {top}",
        )
    return number
