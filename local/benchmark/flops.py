"""Floating-point operations of a wav2vec 2.0, counted from its shape; a multiplication and an addition are two.

`torch.utils.flop_counter` counts the same (see its test), but takes half a second for each length of an utterance.
"""

from __future__ import annotations

from transformers import PretrainedConfig


def forward(config: PretrainedConfig, samples: int) -> tuple[int, int]:
    """Operations of the CNN, and of all that follows it, on a waveform of so many samples, forward.

    What follows: projection, positional convolution, and in each layer attention and feed-forward.
    """
    cnn, frames, inputs = 0, samples, 1
    for outputs, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        cnn += 2 * frames * inputs * outputs * kernel
        inputs = outputs
    width = config.hidden_size
    positions = width // config.num_conv_pos_embedding_groups * config.num_conv_pos_embeddings
    layer = 4 * width + 2 * frames + 2 * config.intermediate_size
    return cnn, 2 * frames * width * (inputs + positions + config.num_hidden_layers * layer)


def total(config: PretrainedConfig, samples: int, passes: tuple[int, int]) -> int:
    """Operations with so many passes of the CNN and of the rest; a backward pass counts as two.

    What gradient checkpointing computes again, and padding, does not count: no result needs it.
    """
    return sum(count * times for count, times in zip(forward(config, samples), passes, strict=True))
