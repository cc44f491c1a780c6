"""Tiny encoders with random weights, as folders such as the Hugging Face hub holds."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers import (
    AutoModel,
    Data2VecAudioConfig,
    HubertConfig,
    PretrainedConfig,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
)

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

WAVEFORM = {
    "wav2vec2-group": (Wav2Vec2Config, "group"),
    "wav2vec2-layer": (Wav2Vec2Config, "layer"),
    "hubert-group": (HubertConfig, "group"),
    "hubert-layer": (HubertConfig, "layer"),
    "wavlm-group": (WavLMConfig, "group"),
    "wavlm-layer": (WavLMConfig, "layer"),
    "data2vec-audio": (Data2VecAudioConfig, None),  # layer norm always, 3 positional convolutions
}
FAMILIES = (*WAVEFORM, "w2v-bert", "whisper")
WHISPER_SECONDS = 3  # what the tiny Whisper reads at most; a real one reads 30

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# Neither dropout nor SpecAugment: training mode computes what evaluation mode does.
STEADY = {
    name: 0.0
    for name in ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop")
} | {"mask_time_prob": 0.0}


def config(family: str, **changes) -> PretrainedConfig:
    """Configure an encoder of a family: d = 32, 2 layers, under 100 000 parameters."""
    if family == "w2v-bert":
        changes = {"conformer_conv_dropout": 0.0} | changes if "layerdrop" in changes else changes
        return Wav2Vec2BertConfig(**SIZE, feature_projection_input_dim=160, **changes)
    if family == "whisper":
        sizes = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
        decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 10}
        tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
        length = {"max_source_positions": WHISPER_SECONDS * 50, "max_target_positions": 4}
        return WhisperConfig(**sizes, **decoder, **tokens, **length, **changes)
    kind, norm = WAVEFORM[family]
    convolutions = {"conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 4}
    if norm is None:
        return kind(**SIZE, **convolutions, num_conv_pos_embeddings=3, conv_pos_kernel_size=7, **changes)
    norms = {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    return kind(**SIZE | convolutions | norms | {"num_conv_pos_embeddings": 16} | changes)


def model(family: str, seed: int = 1, **changes) -> transformers.PreTrainedModel:
    """Make an encoder whose every parameter matters: transformers leaves gains at 1, biases at 0 and attention flat."""
    torch.manual_seed(seed)
    made = AutoModel.from_config(config(family, **changes))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def extractor(family: str, do_normalize: bool = True):
    """The family's feature extractor."""
    if family == "w2v-bert":
        return SeamlessM4TFeatureExtractor()
    if family == "whisper":
        return WhisperFeatureExtractor(chunk_length=WHISPER_SECONDS)
    return Wav2Vec2FeatureExtractor(do_normalize=do_normalize, return_attention_mask=True)


def save(folder: Path, family: str, do_normalize: bool = True, seed: int = 1, **changes) -> str:
    """Write config, weights and preprocessor of an encoder into a folder; return its path as text."""
    model(family, seed, **changes).save_pretrained(folder)
    extractor(family, do_normalize).save_pretrained(folder)
    return str(folder)


def waves(*samples: int, seed: int = 1) -> list[torch.Tensor]:
    """Noise with an offset, of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [0.05 + 0.1 * torch.randn(length, generator=generator) for length in samples]


def padded(wavs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """[B, N] waveforms, zero beyond their ends, and [B] samples."""
    return torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), torch.tensor([len(wav) for wav in wavs])
