"""Plain fine-tuning, V-FT: a pretrained encoder, a ReLU, a mean, one linear layer; no second task.

L.-W. Chen and A. Rudnicky: Exploring wav2vec 2.0 fine-tuning for improved speech emotion recognition. ICASSP 2023.

| layer | output | trained |
|---|---|---|
| the encoder's CNN and projection, on the first 10 s | T x d, 50 per second | no |
| masks in training: spans of 15 frames and of 64 features | T x d | no |
| its transformer | T x d | yes |
| ReLU of each frame, mean over the true frames | d | |
| linear | C | yes |

With facebook/wav2vec2-base d = 768, T = 149 for 3.00 s, and 89,778,564 parameters are trained: 85,054,464 of the twelve
blocks, 4,721,024 of the positional convolution and the layer norm before them, and 3,076 of the linear layer.

Known, from the authors' code: all of the layers; the masks, 0.08 of the frames in 2 spans at least, and 0.05 of the
features in 1 span; cross-entropy with weights inverse to the classes' shares, Adam at 1e-4, 64 utterances an update,
15 epochs of which the last counts, half precision, sessions as folds. Published UA 69.9, the mean of five runs. Chosen:
the precision is that of the YAML, on a GPU bfloat16 where it has it; clipping at 5; the folds are those of all rows;
what takes a masked frame's place is not trained either; the projection's dropout stays that of the checkpoint. For an
encoder whose d is not 768 the features that are masked are in proportion. Whisper, whose two convolutions are its CNN
here, has no projection; of it spectra are masked, 10 ms apart, in spans twice as long, and no features.
"""

from __future__ import annotations

from torch import Tensor, nn

from local.encoders import Encoder
from local.systems import Outputs, System
from local.systems.layers.pooling import Pooling
from local.systems.layers.upstream import pretraining

MOST = 160_000  # samples of an utterance that are read: 10 s
FROZEN = ("feature_extractor", "feature_projection", "masked_spec_embed", "conv1", "conv2")
MASKS = {  # of transformers' SpecAugment
    "apply_spec_augment": True,
    "mask_time_prob": 0.08,
    "mask_time_length": 15,
    "mask_time_min_masks": 2,
    "mask_feature_prob": 0.05,
    "mask_feature_length": 64,
    "mask_feature_min_masks": 1,
}


class FineTuning(System):
    """The classifier of `n_labels` emotions on an encoder, which it freezes up to the transformer, masks and cuts."""

    title = "Chen and Rudnicky 2023: V-FT"
    certainty = "known"

    def __init__(self, encoder: Encoder, n_labels: int) -> None:
        super().__init__(encoder)
        self.weights = pretraining(encoder)
        self.max_samples = None  # a longer utterance is cut
        encoder.most_samples = MOST
        encoder.freeze_cnn = True  # the encoder of a model folder comes unfrozen
        for name in FROZEN:
            if (frozen := getattr(encoder.model, name, None)) is not None:
                frozen.requires_grad_(False)
        encoder.model.config.update(_masks(encoder))
        self.pooling = Pooling("mean", encoder.dim)
        self.emotion_head = nn.Linear(encoder.dim, n_labels)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, T, c] of the CNN -> logits of the emotions."""
        frames, n_frames = self.encoder(wavs, lengths)
        return Outputs(self.emotion_head(self.pooling(frames.relu(), n_frames)))

    def heads(self) -> list[nn.Module]:
        """The linear layer."""
        return [self.emotion_head]


def _masks(encoder: Encoder) -> dict[str, float]:
    """`MASKS` for an encoder."""
    if encoder.model.config.model_type == "whisper":
        return MASKS | {"mask_time_length": 2 * MASKS["mask_time_length"], "mask_feature_prob": 0.0}
    return MASKS | {"mask_feature_length": max(1, round(MASKS["mask_feature_length"] * encoder.dim / 768))}


SYSTEM = FineTuning
