"""Attention with dropout on a CPU; and WavLM's, which in transformers is not made of an attention function.

PyTorch has no fused kernel for it there, and computes it step by step in single precision. This one keeps the
precision of its input; in bfloat16 it takes a third of the time, without dropout two thirds.
Without a gradient in single precision, and on other devices, PyTorch's own is used; on a GPU not cuDNN's, which
prepares a plan for every new length: of a base model's update on an H100 that took 0.1 s, half of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.kernels.dropout import draw

if TYPE_CHECKING:
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

NAME = "ser_mtl"  # of `attention`, for transformers
LINE = 64  # bytes of a cache line


class _Attention(torch.autograd.Function):
    """softmax(scale q k^T + bias), dropout, times v: [B, h, T, d] each -> [B, T, h, d].

    Utterances of such `lengths` lie one behind the other, and each attends to itself alone; with a bias there is one.
    Rows of scores are filled up to whole cache lines: softmax took up to twice as long over others.
    """

    @staticmethod
    def forward(
        ctx, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float, p: float, lengths: list[int]
    ) -> Tensor:
        out = query.new_empty(query.transpose(1, 2).shape)
        ctx.scale, ctx.lengths, ctx.gains, kept_of_all = scale, lengths, [], []
        for q, k, v, o in _each(lengths, query, key, value, out.transpose(1, 2)):
            size = k.shape[2]
            filling = (0, 0, 0, -size % (LINE // k.element_size()))
            q, k, v = _times(q, scale), F.pad(k, filling), F.pad(v, filling)
            scores = q @ k.mT
            if bias is not None:
                scores[..., :size] += bias
            scores[..., size:] = -torch.inf
            weights = scores.softmax(-1)
            keep, gain = draw(weights, p) if p else (None, 1.0)
            dropped = weights if keep is None else weights * keep
            torch.mul(dropped @ v, gain, out=o)
            ctx.gains.append(gain)
            kept_of_all += (q, k, v, weights, dropped)
        ctx.save_for_backward(out, *kept_of_all)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, *kept_of_all = ctx.saved_tensors
        # The softmax's own gradient is its output times what comes, less the row's sum of that; and this sum is also
        # that of out x grad (T. Dao et al.: FlashAttention. NeurIPS 2022), so that the mask itself is not needed.
        sums = (out * grad).sum(-1, keepdim=True)
        grads, grad_bias = [grad.new_empty(grad.shape) for _ in range(3)], None
        utterances = _each(ctx.lengths, *(each.transpose(1, 2) for each in (grad, sums, *grads)))
        saved = zip(*[iter(kept_of_all)] * 5, strict=True)
        for (g, row_sums, *into), (q, k, v, weights, dropped), gain in zip(utterances, saved, ctx.gains, strict=True):
            g, size, (grad_q, grad_k, grad_v) = _times(g, gain), g.shape[2], into
            grad_scores = torch.addcmul(g @ v.mT * dropped, weights, row_sums, value=-1)  # bfloat16 is slow in place
            torch.mul(grad_scores @ k, ctx.scale, out=grad_q)
            grad_k.copy_((grad_scores.mT @ q)[:, :, :size])
            grad_v.copy_((dropped.mT @ g)[:, :, :size])
            if ctx.needs_input_grad[3]:
                grad_bias = grad_scores[..., :size]  # what learns has a value for each score
        return *(each.transpose(1, 2) for each in grads), grad_bias, None, None, None


def _each(lengths: list[int], *states: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Utterances one behind the other: several [B, h, T, d] -> views [B, h, t, d] of each for every utterance."""
    return zip(*(each.split(lengths, 2) for each in states), strict=True)


def _times(values: Tensor, scale: float) -> Tensor:
    """Multiply, and lay out what may be a view in order."""
    return torch.mul(values, scale, out=values.new_empty(values.shape))


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: Tensor | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Attend to all frames but padding; an attention function of transformers.

    `query`, `key` and `value` are [B, h, T, d]; `attention_mask` is [B, 1, 1, T] bool, false for padding, or None; or,
    where B is 1, the lengths of utterances that are packed (`local.encoders.packing`): each attends to itself alone;
    `scaling` is of the products, 1 / sqrt(d) if it is None; `position_bias`, [B, h, T, T], perhaps trained, is added to
    them. Nothing depends on `module` and `kwargs`. Returns [B, T, h, d], and None for the weights.
    """
    is_packed = attention_mask is not None and attention_mask.ndim == 1
    bias = None if position_bias is None else position_bias.to(query.dtype)
    if bias is not None and attention_mask is not None:
        bias = bias.masked_fill(~attention_mask, -torch.inf)
    faster = query.requires_grad or query.dtype == torch.bfloat16
    if query.device.type != "cpu" or not faster:
        if is_packed:
            utterances = _each(attention_mask.tolist(), query, key, value)
            return torch.cat([attention(module, *each, None, dropout, scaling)[0] for each in utterances], 1), None
        mask = attention_mask if bias is None else bias
        attended = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    lengths = attention_mask.tolist() if is_packed else [query.shape[2]]
    if bias is None and attention_mask is not None and not is_packed:
        bias = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill_(~attention_mask, -torch.inf)
    return _Attention.apply(query, key, value, bias, scale, dropout, lengths), None


def gated_attention(
    layer: WavLMAttention,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None, Tensor]:
    """WavLM's, as `forward` of transformers' module: with a bias of positions, which every query scales for itself.

    S. Chen et al.: WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing. IEEE JSTSP 2022.

    transformers' own keeps the weights of attention in single precision, and an average of them that nothing reads.
    Parameters are [B, T, d], [B, T] bool, false for padding, or the lengths of packed utterances as of `attention`, and
    [1, h, T', T'] where T' is the longest length, or None. Returns [B, T, d], None, and the bias.
    """
    heads = hidden_states.unflatten(2, (layer.num_heads, -1)).transpose(1, 2)  # [B, h, T, d / h]
    towards, away = torch.sigmoid(layer.gru_rel_pos_linear(heads).unflatten(3, (2, 4)).sum(4)).split(1, 3)
    gate = towards * (away * layer.gru_rel_pos_const - 1.0) + 2.0  # [B, h, T, 1]
    projections = (layer.q_proj, layer.k_proj, layer.v_proj)
    states = [each(hidden_states).view(heads.transpose(1, 2).shape).transpose(1, 2) for each in projections]
    if position_bias is None:
        position_bias = layer.compute_bias(hidden_states.shape[1], hidden_states.shape[1])[None]
    dropout = layer.dropout if layer.training else 0.0

    def attend(q: Tensor, k: Tensor, v: Tensor, gate: Tensor, mask: Tensor | None) -> Tensor:
        bias = gate * position_bias[:, :, : q.shape[2], : q.shape[2]]
        return attention(layer, q, k, v, mask, dropout, layer.scaling, bias)[0]

    if attention_mask is not None and attention_mask.ndim == 1:
        utterances = _each(attention_mask.tolist(), *states, gate)
        attended = torch.cat([attend(*each, None) for each in utterances], 1)
    else:
        attended = attend(*states, gate, padding_mask(attention_mask=attention_mask))
    return layer.out_proj(attended.flatten(2)), None, position_bias


def padding_mask(*_: object, attention_mask: Tensor | None, **__: object) -> Tensor | None:
    """Mask keys that are padding, the same for every query: [B, T] bool -> [B, 1, 1, T], or None without padding."""
    if attention_mask is None:
        return None
    # An exported graph cannot branch on the values of a mask.
    if attention_mask.device.type == "cpu" and not torch.compiler.is_exporting() and bool(attention_mask.all()):
        return None
    return attention_mask[:, None, None, :].bool()


def register() -> str:
    """Make `attention` known to transformers, and return its name there."""
    from transformers import AttentionInterface, AttentionMaskInterface  # with its models, which take seconds to load

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, padding_mask)
    return NAME


torch.backends.cuda.enable_cudnn_sdp(False)
