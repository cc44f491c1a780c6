"""Mean of every hidden state of a frozen encoder over an utterance's true frames: one row per state.

The states are the input of each block and the output of the encoder, as s3prl takes them: 13 for 12 blocks. The last is
after the final layer norm of those encoders that have one (of transformers' `hidden_states` it is before it). They are
had of every family of `local.encoders`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from local.encoders import Encoder, description, length_mask
from local.features import FrontEnd


class HiddenStates(FrontEnd):
    """Waveform -> [L + 1, d], for an encoder of L blocks and frames of size d.

    The encoder is in evaluation mode and is not registered here: it is a part of the system, which holds its weights.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._held = (encoder,)
        self.width = encoder.dim
        self.rows_each = len(self._blocks()) + 1
        self.max_samples = encoder.max_samples

    @property
    def encoder(self) -> Encoder:
        """Whose states they are."""
        return self._held[0]

    def _blocks(self) -> nn.ModuleList:
        model = self.encoder.model
        return getattr(model, "encoder", model).layers  # Whisper's model is its encoder

    def batch(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N] waveforms, [B] samples -> [B, L + 1, d] means, and [B], L + 1 of each."""
        states: list[Tensor] = []
        hooks = [
            block.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0])) for block in self._blocks()
        ]
        try:
            frames, n_frames = self.encoder(wavs, lengths)
        finally:
            for hook in hooks:
                hook.remove()
        beyond = ~length_mask(n_frames, frames.shape[1], frames.device)[:, :, None]
        sums = [state.float().masked_fill(beyond, 0.0).sum(1) for state in (*states, frames)]
        return torch.stack(sums, 1) / (~beyond).sum(1)[:, None], torch.full((wavs.shape[0],), self.rows_each)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the encoder as well."""
        self.encoder.to(*args, **kwargs)
        return super().to(*args, **kwargs)

    def settings(self) -> dict[str, Any]:
        """The encoder's shape and preprocessor."""
        config, preprocessor = description(self.encoder)
        return {"encoder": config, "preprocessor": preprocessor}

    def weights(self) -> Iterable[Tensor]:
        """The encoder's weights."""
        return self.encoder.weights()
