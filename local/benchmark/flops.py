"""Floating-point operations of a wav2vec 2.0, counted from its shape; a multiplication and an addition are two."""

from __future__ import annotations

from transformers import PretrainedConfig


def frames(config: PretrainedConfig, samples: int) -> list[int]:
    """Frames that each layer of the CNN puts out for a waveform."""
    counts = []
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
        counts.append(samples)
    return counts


def cnn(config: PretrainedConfig, samples: int) -> int:
    """Operations of the CNN on a waveform, forward."""
    channels = [1, *config.conv_dim]
    sizes = zip(frames(config, samples), channels[:-1], channels[1:], config.conv_kernel, strict=True)
    return sum(2 * count * inside * outside * kernel for count, inside, outside, kernel in sizes)


def transformer(config: PretrainedConfig, samples: int) -> int:
    """Operations behind the CNN on a waveform, forward: projection, positional convolution, attention, feed-forward."""
    t, d = frames(config, samples)[-1], config.hidden_size
    projection = 2 * t * config.conv_dim[-1] * d
    positions = 2 * t * d * (d // config.num_conv_pos_embedding_groups) * config.num_conv_pos_embeddings
    attention = 4 * 2 * t * d * d + 2 * 2 * t * t * d
    feed_forward = 2 * 2 * t * d * config.intermediate_size
    return projection + positions + config.num_hidden_layers * (attention + feed_forward)


def update(config: PretrainedConfig, samples: int, cnn_passes: int) -> int:
    """Operations that training on a waveform asks for: forward, and twice as many backward.

    Parameters
    ----------
    config
        The shape.
    samples
        Of the waveform.
    cnn_passes
        3 where the CNN learns, 1 where it is frozen, 0 where its output is cached.

    What gradient checkpointing computes again, and what padding costs, does not count: it is no part of
    what is asked for.
    """
    return cnn_passes * cnn(config, samples) + 3 * transformer(config, samples)
