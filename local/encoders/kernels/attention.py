"""Attention with dropout on a CPU.

PyTorch has no fused kernel for it there, and computes it step by step in single precision. This one keeps the
precision of its input; in bfloat16 it takes a third of the time, without dropout two thirds.
Without a gradient in single precision, and on other devices, PyTorch's own is used; on a GPU not cuDNN's, which
prepares a plan for every new length: of a base model's update on an H100 that took 0.1 s, half of all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.kernels.dropout import draw

NAME = "ser_mtl"  # of `attention`, for transformers


class _Attention(torch.autograd.Function):
    """softmax(q k^T + bias), dropout, times v, with q scaled already: [B, h, T, d] each."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float) -> Tensor:
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        scores = q @ k.transpose(2, 3)
        weights = (scores if bias is None else scores.add_(bias)).softmax(-1)
        keep, ctx.scale = draw(weights, p) if p else (None, 1.0)
        ctx.save_for_backward(q, k, v, weights, keep)
        return (_times(weights, keep) @ v).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep = ctx.saved_tensors
        grad = grad.contiguous() * ctx.scale
        grad_v = _times(weights, keep).transpose(2, 3) @ grad
        grad_weights = _times(grad @ v.transpose(2, 3), keep)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        return grad_scores @ k, grad_scores.transpose(2, 3) @ q, grad_v, None, None


def _times(values: Tensor, keep: Tensor | None) -> Tensor:
    return values if keep is None else values * keep


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
    `scaling` is of the products, 1 / sqrt(d) if it is None. With `position_bias`, [B, h, T, T] float, perhaps trained,
    transformers' own function is called; `module` and `kwargs` are for that. Returns [B, T, h, d], and None for the
    weights.
    """
    if attention_mask is not None and attention_mask.ndim == 1:
        parts = zip(*(states.split(attention_mask.tolist(), 2) for states in (query, key, value)), strict=True)
        attended = [attention(module, *part, None, dropout, scaling)[0] for part in parts]
        return torch.cat(attended, 1), None
    faster = query.requires_grad or query.dtype == torch.bfloat16
    if position_bias is not None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward  # takes seconds to load

        settings = kwargs | {"is_causal": False, "position_bias": position_bias}
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **settings)
    if query.device.type != "cpu" or not faster:
        attended = F.scaled_dot_product_attention(query, key, value, attention_mask, dropout, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    bias = None
    if attention_mask is not None:
        bias = torch.zeros_like(attention_mask, dtype=query.dtype).masked_fill_(~attention_mask, -torch.inf)
    return _Attention.apply(query * scale, key, value, bias, dropout).transpose(1, 2).contiguous(), None


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
