"""Attention with dropout on a CPU; and WavLM's, which in transformers is not made of an attention function.

PyTorch has no fused kernel for it there, and computes it step by step in single precision. This one keeps the
precision of its input; in bfloat16 it takes a third of the time, without dropout two thirds.
Without a gradient in single precision, and on other devices, PyTorch's own is used; on a GPU not cuDNN's, which
prepares a plan for every new length: of a base model's update on an H100 that took 0.1 s, half of all.
"""

from __future__ import annotations

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
    """softmax(q k^T + bias), dropout, times v, with q scaled already: [B, h, T, d] each.

    Rows of scores are filled up to whole cache lines: softmax took twice as long over others.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float) -> Tensor:
        ctx.size = k.shape[2]
        filling = (0, 0, 0, -ctx.size % (LINE // k.element_size()))
        q, k, v = q.contiguous(), F.pad(k, filling), F.pad(v, filling)
        scores = q @ k.mT
        if bias is not None:
            scores[..., : ctx.size] += bias
        scores[..., ctx.size :] = -torch.inf
        weights = scores.softmax(-1)
        keep, ctx.scale = draw(weights, p) if p else (None, 1.0)
        kept = weights if keep is None else weights * keep
        out = (kept @ v).mul_(ctx.scale)
        ctx.save_for_backward(q, k, v, weights, kept, out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept, out = ctx.saved_tensors
        grad = grad.contiguous()
        # The softmax's own gradient is its output times what comes, less the row's sum of that; and this sum is also
        # that of out x grad (T. Dao et al.: FlashAttention. NeurIPS 2022), so that the mask itself is not needed.
        sums = (out * grad).sum(-1, keepdim=True)
        grad = grad * ctx.scale
        grad_scores = torch.addcmul(grad @ v.mT * kept, weights, sums, value=-1)  # in place bfloat16 takes longer
        grad_k, grad_v = ((each.mT @ other)[:, :, : ctx.size] for each, other in ((grad_scores, q), (kept, grad)))
        # What learns has a value for each score.
        grad_bias = grad_scores[..., : ctx.size] if ctx.needs_input_grad[3] else None
        return grad_scores @ k, grad_k, grad_v, grad_bias, None


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
    if attention_mask is not None and attention_mask.ndim == 1:
        parts = zip(*(states.split(attention_mask.tolist(), 2) for states in (query, key, value)), strict=True)
        attended = [attention(module, *part, None, dropout, scaling)[0] for part in parts]
        return torch.cat(attended, 1), None
    bias = None if position_bias is None else position_bias.to(query.dtype)
    if bias is not None and attention_mask is not None:
        bias = bias.masked_fill(~attention_mask, -torch.inf)
    faster = query.requires_grad or query.dtype == torch.bfloat16
    if query.device.type != "cpu" or not faster:
        mask = attention_mask if bias is None else bias
        attended = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if bias is None and attention_mask is not None:
        bias = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill_(~attention_mask, -torch.inf)
    return _Attention.apply(query * scale, key, value, bias, dropout).transpose(1, 2).contiguous(), None


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
        parts = zip(*(each.split(attention_mask.tolist(), 2) for each in (*states, gate)), strict=True)
        attended = torch.cat([attend(*part, None) for part in parts], 1)
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
