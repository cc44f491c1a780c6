"""wav2vec 2.0 and HuBERT in use: the layers that transformers has, with its names, and without the seconds it takes.

`import transformers` with one of its models takes longer than PyTorch itself. A model folder of these two kinds is
read with the layers here instead; they compute the same, bit for bit, and are not for training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.base import Encoder
from local.encoders.kernels.attention import NAME, attention
from local.encoders.waveform import WaveformEncoder

USED = {  # the keys of transformers' configurations that matter here
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps"),
    *("feat_extract_norm", "feat_extract_activation", "conv_dim", "conv_stride", "conv_kernel", "conv_bias"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "do_stable_layer_norm"),
    *("mask_time_prob", "mask_feature_prob"),
}
WITHOUT_EFFECT = {  # those that do not: of training, of other heads, and of adapters that `takes` finds switched off
    *("vocab_size", "hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout"),
    *("layerdrop", "initializer_range", "apply_spec_augment", "mask_time_length", "mask_time_min_masks"),
    *("mask_feature_length", "mask_feature_min_masks", "ctc_loss_reduction", "ctc_zero_infinity"),
    *("use_weighted_layer_sum", "classifier_proj_size", "pad_token_id", "bos_token_id", "eos_token_id"),
}
OWN = {  # those that one kind alone has
    "wav2vec2": {
        *("feat_quantizer_dropout", "num_codevectors_per_group", "num_codevector_groups", "num_negatives"),
        *("contrastive_logits_temperature", "codevector_dim", "proj_codevector_dim", "diversity_loss_weight"),
        *("tdnn_dim", "tdnn_kernel", "tdnn_dilation", "xvector_output_dim", "add_adapter", "adapter_kernel_size"),
        *("adapter_stride", "num_adapter_layers", "output_hidden_size", "adapter_attn_dim"),
    },
    "hubert": {"feat_proj_layer_norm", "conv_pos_batch_norm"},
}
COUNTS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
COUNTS += ("num_conv_pos_embeddings", "num_conv_pos_embedding_groups")
NUMBERS = ("layer_norm_eps", "mask_time_prob", "mask_feature_prob")
OFF = ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


def takes(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> bool:
    """Whether `build` builds an encoder of this configuration, as `local.encoders.build_encoder` gets it.

    Not of a value of a wrong type, of which transformers says what is wrong.
    """
    kind = config.get("model_type")
    if kind not in [*OWN] or not USED <= config.keys() <= USED | WITHOUT_EFFECT | OWN[kind] | {"model_type"}:
        return False
    cnn = [config[key] for key in ("conv_dim", "conv_stride", "conv_kernel")]
    return (
        preprocessor.keys() == {"do_normalize"}
        and not any(config.get(key) for key in OFF)
        and all(str(config[key]) in ACTIVATIONS for key in ("hidden_act", "feat_extract_activation"))
        and all(type(config[key]) is int for key in COUNTS)
        and all(type(config[key]) in (int, float) for key in NUMBERS)
        and all(type(sizes) is list and {*map(type, sizes)} == {int} and len(sizes) == len(cnn[0]) for sizes in cnn)
    )


def build(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Encoder:
    """An encoder of a configuration that `takes` accepts; wrong values raise errors of any class."""
    model = Model(Config(**config, _attn_implementation=NAME))
    return WaveformEncoder(model, SimpleNamespace(**preprocessor)).eval()


class Config(SimpleNamespace):
    """The keys of a configuration, as attributes."""

    def to_dict(self) -> dict[str, Any]:
        """All of them."""
        return vars(self).copy()


class Model(nn.Module):
    """The whole encoder; `config` has the keys of `USED`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.mask_time_prob > 0 or config.mask_feature_prob > 0:
            self.masked_spec_embed = nn.Parameter(torch.empty(config.hidden_size))  # of training
        self.feature_extractor = nn.Module()
        layers = zip([1, *config.conv_dim[:-1]], config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        self.feature_extractor.conv_layers = nn.ModuleList(
            ConvLayer(config, *sizes, is_first=number == 0) for number, sizes in enumerate(layers)
        )
        self.feature_projection = Projection(config)
        self.encoder = Transformer(config)


class ConvLayer(nn.Module):
    """A layer of the CNN; `sizes`: channels in and out, kernel, stride. A group norm is left to `WaveformEncoder`."""

    def __init__(self, config: Config, *sizes: int, is_first: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(*sizes, bias=config.conv_bias)
        self.activation = ACTIVATIONS[config.feat_extract_activation]
        self.layer_norm: nn.Module | None = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(self.conv.out_channels)
        elif config.feat_extract_norm != "group":
            raise ValueError(f"feat_extract_norm is {config.feat_extract_norm}")
        elif is_first:
            self.layer_norm = nn.GroupNorm(self.conv.out_channels, self.conv.out_channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, c, T] -> [B, c', T']."""
        hidden = self.conv(hidden)
        if self.layer_norm is not None:
            hidden = self.layer_norm(hidden.transpose(-2, -1)).transpose(-2, -1)
        return self.activation(hidden)


class Projection(nn.Module):
    """From the CNN's channels to the transformer's."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if getattr(config, "feat_proj_layer_norm", True):
            self.layer_norm = nn.LayerNorm(config.conv_dim[-1], eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T, c] -> [B, T, d]."""
        return self.projection(self.layer_norm(hidden) if hasattr(self, "layer_norm") else hidden)


class Transformer(nn.Module):
    """Positions, and layers, which `WaveformEncoder` runs."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pos_conv_embed = Positions(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Identity()  # of training
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Positions(nn.Module):
    """A convolution over time, which tells positions apart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        kernel, size = config.num_conv_pos_embeddings, config.hidden_size
        self.conv = NormedConv(size, size, kernel, padding=kernel // 2, groups=config.num_conv_pos_embedding_groups)
        self.activation = ACTIVATIONS[config.feat_extract_activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T, d] -> [B, T, d]."""
        return self.activation(self.conv(hidden.transpose(1, 2))[:, :, : hidden.shape[1]]).transpose(1, 2)


class NormedConv(nn.Conv1d):
    """A convolution with weight norm over all but time, stored as PyTorch's parametrization is.

    That one would load the compiler, whose seconds are saved here, when it is made without memory.
    """

    def __init__(self, *sizes: int, **values: int) -> None:
        super().__init__(*sizes, **values)
        stored = nn.Module()
        stored.original0, stored.original1 = nn.Parameter(torch.empty(1, 1, *self.kernel_size)), self.weight
        del self.weight
        self.parametrizations = nn.ModuleDict({"weight": stored})

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, d, T] -> [B, d, T'], as `torch.nn.Conv1d` does."""
        stored = self.parametrizations["weight"]
        return self._conv_forward(hidden, torch._weight_norm(stored.original1, stored.original0, 2), self.bias)


class Layer(nn.Module):
    """Attention and a feed-forward net, with a norm before or after each."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = Attention(size, config.num_attention_heads)
        self.layer_norm = nn.LayerNorm(size, eps=eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(size, eps=eps)
        self.norm_first = config.do_stable_layer_norm

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """[B, T, d], and a mask of `padding_mask`, -> [B, T, d]."""
        if self.norm_first:
            hidden = hidden + self.attention(self.layer_norm(hidden), attention_mask)
            return hidden + self.feed_forward(self.final_layer_norm(hidden))
        hidden = self.layer_norm(hidden + self.attention(hidden, attention_mask))
        return self.final_layer_norm(hidden + self.feed_forward(hidden))


class Attention(nn.Module):
    """Attention with several heads."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        if size % heads:
            raise ValueError(f"hidden_size {size} is no multiple of num_attention_heads {heads}")
        self.k_proj, self.v_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.q_proj, self.out_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.head_size = size // heads

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """[B, T, d], and a mask of `padding_mask`, -> [B, T, d]."""
        shape = (*hidden.shape[:2], -1, self.head_size)
        q, k, v = (
            each(hidden).view(shape).transpose(1, 2) for each in (self.q_proj, self.k_proj, self.v_proj)
        )  # in this order: [B, h, T, d / h]
        attended, _ = attention(self, q, k, v, mask, scaling=self.head_size**-0.5)
        return self.out_proj(attended.reshape(hidden.shape))


class FeedForward(nn.Module):
    """Two linear layers, frame by frame."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, T, d] -> [B, T, d]."""
        return self.output_dense(self.activation(self.intermediate_dense(hidden)))
