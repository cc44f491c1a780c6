"""Mean of every hidden state of a frozen encoder over an utterance's true frames: one row per state.

The states are the input of each block and the output of the encoder, as s3prl takes them: 13 for 12 blocks. The last is
after the final layer norm of those encoders that have one (of transformers' `hidden_states` it is before it). They are
had of every family of transformers that `local.encoders` has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.encoders import Encoder, length_mask
from local.features.of_encoder import EncoderFrontEnd


class HiddenStates(EncoderFrontEnd):
    """Waveform -> [L + 1, d], for an encoder of L blocks and frames of size d."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.width = encoder.dim
        self.rows_each = len(self._blocks()) + 1

    def _blocks(self) -> nn.ModuleList:
        model = self.encoder.model
        blocks = getattr(getattr(model, "encoder", model), "layers", None)  # Whisper's model is its encoder
        if blocks is None:
            raise UserError(f"the hidden states of a {model.config.model_type} cannot be used", "take another upstream")
        return blocks

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
