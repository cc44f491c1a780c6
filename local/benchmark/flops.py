"""Floating-point operations of a wav2vec 2.0, counted from its shape; a multiplication and an addition are two.

`torch.utils.flop_counter` counts the same of transformers' model (see its test), but takes half a second for each
length of an utterance. The positional convolution, of a base model with its CNN frozen a twentieth of all, counts as
such, though a CPU has it from transforms with about a quarter of the operations.
"""

from __future__ import annotations

from transformers import PretrainedConfig


def total(config: PretrainedConfig, samples: int, passes: tuple[float, float]) -> float:
    """Operations on a waveform, with so many passes of the CNN and of all behind it; a backward pass is two.

    What gradient checkpointing computes again, and padding, does not count: no result needs it.
    """
    cnn, frames, inputs = 0, samples, 1
    for outputs, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        cnn += 2 * frames * inputs * outputs * kernel
        inputs = outputs
    width = config.hidden_size
    positions = width // config.num_conv_pos_embedding_groups * config.num_conv_pos_embeddings
    layer = 4 * width + 2 * frames + 2 * config.intermediate_size
    rest = 2 * frames * width * (inputs + positions + config.num_hidden_layers * layer)
    return passes[0] * cnn + passes[1] * rest
