"""A tiny conformer of SpeechBrain's with random weights, as a folder of the hub, and SpeechBrain's own encoding."""

from __future__ import annotations

from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml

TEXT = """
sample_rate: 16000
n_fft: 512
n_mels: 80
win_length: 32
d_model: 24
nhead: 2
num_encoder_layers: 2
output_neurons: 7
activation: !name:torch.nn.GELU
compute_features: !new:speechbrain.lobes.features.Fbank
    sample_rate: !ref <sample_rate>
    n_fft: !ref <n_fft>
    n_mels: !ref <n_mels>
    win_length: !ref <win_length>
normalizer: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
CNN: !new:speechbrain.lobes.models.convolution.ConvolutionFrontEnd
    input_shape: (8, 10, 80)
    num_blocks: 2
    num_layers_per_block: 1
    out_channels: (4, 2)
    kernel_sizes: (3, 3)
    strides: (2, 2)
    residuals: (False, False)
Transformer: !new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR # a remark
    input_size: 40
    tgt_vocab: !ref <output_neurons>
    d_model: !ref <d_model>
    nhead: !ref <nhead>
    num_encoder_layers: !ref <num_encoder_layers>
    num_decoder_layers: DECODERS
    d_ffn: 32
    dropout: 0.1
    activation: !ref <activation>
    encoder_module: conformer
    attention_type: RelPosMHAXL
    normalize_before: True
    causal: False
wrapper: !new:speechbrain.lobes.models.transformer.TransformerASR.EncoderWrapper
    transformer: !ref <Transformer>
encoder: !new:speechbrain.nnet.containers.LengthsCapableSequential
    input_shape: [null, null, !ref <n_mels>]
    compute_features: !ref <compute_features>
    normalize: !ref <normalizer>
    cnn: !ref <CNN>
    transformer_encoder: !ref <wrapper>
seq_lin: !new:speechbrain.nnet.linear.Linear
    input_size: !ref <d_model>
    n_neurons: !ref <output_neurons>
asr_model: !new:torch.nn.ModuleList
    - [!ref <CNN>, !ref <SECOND>, !ref <seq_lin>]
"""


def text(transducer: bool = False, **replaced: str) -> str:
    """The YAML of an encoder with a decoder, or of a transducer; `replaced` has lines by their keys, new ones too."""
    made = TEXT.replace("DECODERS", "0" if transducer else "1")
    made = made.replace("SECOND", "wrapper" if transducer else "Transformer")
    for key, value in replaced.items():
        lines = [line for line in made.splitlines() if line.strip().startswith(f"{key}: ")]
        made = made.replace(lines[0], lines[0].partition(":")[0] + f": {value}")
    return made


def save(folder: Path, written: str) -> torch.nn.Module:
    """Write the folder of a YAML; returns the encoder that SpeechBrain builds of it, in evaluation mode."""
    torch.manual_seed(1)
    built = load_hyperpyyaml(written)
    with torch.no_grad():
        for parameter in built["asr_model"].parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder.mkdir(exist_ok=True)
    (folder / "hyperparams.yaml").write_text(written, encoding="utf-8")
    torch.save(built["asr_model"].state_dict(), folder / "asr.ckpt")
    normalizer = built["normalizer"]
    if normalizer.norm_type == "global":
        normalizer.count, normalizer.glob_mean = 9, torch.linspace(-30, 0, 80)
        normalizer.glob_std = torch.linspace(8, 12, 80)
        torch.save(normalizer._statistics_dict() | {"spk_dict_mean": {}}, folder / "normalizer.ckpt")
    return built["encoder"].eval()
