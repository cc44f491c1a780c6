"""The kernels for CPUs compute the same as PyTorch's own, in double precision."""

from __future__ import annotations

import copy
import math

import pytest
import tiny_models
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from transformers import AutoModel

from local.encoders.kernels import convolution, use_kernels
from local.encoders.kernels.attention import attention
from local.encoders.kernels.convolution import WINDOWS, _Grouped, convolve
from local.encoders.kernels.dropout import Dropout, draw
from local.encoders.kernels.fourier import grouped_convolution
from local.encoders.kernels.linear import linear


def gradients(out: Tensor, inputs: list[Tensor], weight: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((out * weight).sum(), inputs))


# ---------------------------------------------------------------- dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_elements_are_dropped_at_their_rate_and_each_for_itself(p):
    torch.manual_seed(1)
    keep, scale = draw(torch.empty(1000, 1003), p)
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    rate = 1 - 1 / scale
    assert min(abs(rate - level / 256) for level in (math.floor(p * 256), math.ceil(p * 256))) < 1e-9
    dropped = int((keep == 0).sum())
    assert stats.binomtest(dropped, keep.numel(), rate).pvalue > 1e-3
    flat = keep.flatten().double()
    for lag in (1, 2, 3, 4, 5, 7, 8, 9, 16, 1003):  # eight elements share a draw of 64 bits
        together = int(((flat[:-lag] == 0) & (flat[lag:] == 0)).sum())
        assert stats.binomtest(together, flat.numel() - lag, rate * rate).pvalue > 1e-4, lag


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_the_rate_is_the_probability_on_average(p):
    torch.manual_seed(1)
    rates = [1 - 1 / draw(torch.empty(1), p)[1] for _ in range(4000)]
    assert len({*rates}) == (1 if p == 0.5 else 2)
    upper = sum(rate > p for rate in rates)
    assert p == 0.5 or stats.binomtest(upper, len(rates), p * 256 % 1).pvalue > 1e-3
    assert rates == pytest.approx([p] * 4000, abs=1 / 256)


def test_draws_hang_on_torchs_seed_alone():
    torch.manual_seed(5)
    first, second = (draw(torch.empty(77), 0.5)[0] for _ in range(2))
    torch.manual_seed(5)
    again = [draw(torch.empty(77), 0.5)[0] for _ in range(2)]
    assert not torch.equal(first, second) and torch.equal(again[0], first) and torch.equal(again[1], second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask(dtype):
    torch.manual_seed(2)
    x = torch.ones(400, 500, dtype=dtype, requires_grad=True)
    y = Dropout(0.1)(x)
    assert y.dtype == dtype and float(y.detach().double().mean()) == pytest.approx(1, abs=0.005)
    (grad,) = gradients(y, [x], torch.full_like(y, 2.0))
    assert torch.equal(grad, 2 * y)


def test_dropout_is_nothing_in_evaluation_and_at_zero():
    x = torch.randn(5, 7)
    assert Dropout(0.3).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x) and torch.equal(Dropout(1.0)(x), torch.zeros(5, 7))


# ---------------------------------------------------------------- attention


def queries(t: int = 23) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(3, 2, t, 8, dtype=torch.float64).requires_grad_() for _ in range(3)]


def padding(t: int = 23) -> Tensor:
    return (torch.arange(t) < torch.tensor([23, 9, 1])[:, None])[:, None, None]


@pytest.mark.parametrize("mask", [None, padding()])
@pytest.mark.parametrize("scaling", [None, 0.2])
def test_attention_is_torchs(mask, scaling):
    q, k, v = queries()
    ours = attention(nn.Identity(), q, k, v, mask, scaling=scaling)[0]
    theirs = F.scaled_dot_product_attention(q, k, v, mask, scale=scaling).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-12)
    weight = torch.randn_like(ours)
    for one, other in zip(gradients(ours, [q, k, v], weight), gradients(theirs, [q, k, v], weight), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("mask", [None, padding()])
@pytest.mark.parametrize("has_bias", [False, True])
def test_attention_with_dropout_is_the_formula(mask, has_bias):
    q, k, v = queries()
    bias = torch.randn(3, 2, 23, 23, dtype=torch.float64, requires_grad=True) if has_bias else None
    torch.manual_seed(4)
    ours = attention(nn.Identity(), q, k, v, mask, dropout=0.4, position_bias=bias)[0]
    torch.manual_seed(4)
    keep, scale = draw(torch.empty(3, 2, 23, 24, dtype=torch.float64), 0.4)  # a row is whole cache lines
    keep = keep[..., :23]
    scores = q @ k.transpose(2, 3) / 8**0.5 + (bias if has_bias else 0.0)
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    theirs = (scores.softmax(-1) * keep * scale @ v).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-12)
    weight, learned = torch.randn_like(ours), [q, k, v, *([bias] if has_bias else [])]
    for one, other in zip(gradients(ours, learned, weight), gradients(theirs, learned, weight), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_attention_of_packed_utterances_is_that_of_each():
    lengths, states = [9, 1, 13], [one.detach()[:1].requires_grad_() for one in queries()]
    torch.manual_seed(4)
    packed = attention(nn.Identity(), *states, torch.tensor(lengths), dropout=0.4)[0]
    torch.manual_seed(4)
    each = zip(*(one.split(lengths, 2) for one in states), strict=True)
    alone = torch.cat([attention(nn.Identity(), *one, None, dropout=0.4)[0] for one in each], 1)
    assert torch.equal(packed, alone) and packed.is_contiguous()
    for one, other in zip(*(gradients(y, states, torch.cos(alone.detach())) for y in (packed, alone)), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_attention_leaves_what_it_is_given_as_it_is():
    states = [one.detach()[:, :1].contiguous().requires_grad_() for one in queries(16)]  # in order, and rows are full
    before = [one.detach().clone() for one in states]
    y = attention(nn.Identity(), *states, None, dropout=0.4)[0]
    grad = torch.ones_like(y)
    y.backward(grad)
    assert all(torch.equal(one, other) for one, other in zip(states, before, strict=True))
    assert torch.equal(grad, torch.ones_like(y))


# ---------------------------------------------------------------- convolution


@pytest.mark.parametrize("kernel", [_Grouped.apply, grouped_convolution])
@pytest.mark.parametrize("frames", [1, 40, WINDOWS + 30])
@pytest.mark.parametrize(("taps", "padding"), [(8, 4), (7, 3), (1, 0), (5, 0)])
def test_convolution_is_torchs(kernel, frames, taps, padding):
    torch.manual_seed(5)
    frames = max(frames, taps - 2 * padding)
    x = torch.randn(2, 12, frames, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 3, taps, dtype=torch.float64, requires_grad=True)
    ours = kernel(x, weight, padding)
    theirs = F.conv1d(x, weight, padding=padding, groups=4)
    assert torch.allclose(ours, theirs, atol=1e-12)
    grad = torch.randn_like(ours)
    for one, other in zip(gradients(ours, [x, weight], grad), gradients(theirs, [x, weight], grad), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 128, "padding": 64, "groups": 4},
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 5, "padding": 2, "dilation": 2, "bias": False},
    ],
)
def test_convolution_in_bfloat16_is_as_near_as_torchs(settings):
    torch.manual_seed(6)
    conv = nn.Conv1d(64, 64, **settings)
    x = torch.randn(2, 64, 250, requires_grad=True)

    def result(function) -> list[Tensor]:
        y = function(x).float()
        return [y, *gradients(y, [x, conv.weight], torch.cos(torch.arange(y.numel()).view_as(y).float()))]

    exact = result(conv)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs, ours = result(conv), result(lambda x: convolve(conv, x, conv.weight, conv.bias))
        assert convolve(conv, x, conv.weight, conv.bias).dtype == torch.bfloat16
    for one, other, truth in zip(ours, theirs, exact, strict=True):
        assert one.shape == truth.shape
        assert (one - truth).abs().mean() < 1.2 * (other - truth).abs().mean()
    torch.testing.assert_close(convolve(conv, x, conv.weight, conv.bias), exact[0], rtol=1e-5, atol=1e-5)


def test_convolution_by_transforms_is_about_as_near_to_double_precision_as_torchs():
    torch.manual_seed(7)
    conv, x = nn.Conv1d(96, 96, 128, padding=64, groups=2), torch.randn(2, 96, 300, dtype=torch.float64)
    errors = []
    for function in (conv, lambda x: convolve(conv, x, conv.weight, conv.bias)):
        found = []
        for kind in (torch.float64, torch.float32):
            conv.to(kind)
            given = x.to(kind).requires_grad_()
            y = function(given) if kind == torch.float32 else conv(given)
            grad = torch.cos(torch.arange(y.numel(), dtype=torch.float64).view_as(y)).to(kind)
            found.append([y, *gradients(y, [given, conv.weight], grad)])
        errors.append([float((one - other).detach().square().mean()) for one, other in zip(*found, strict=True)])
    theirs, ours = errors
    assert max(ours) > 0 and all(one < 4 * other for one, other in zip(ours, theirs, strict=True))  # of squares


def test_few_frames_are_convolved_in_the_same_precision_as_many():
    torch.manual_seed(8)
    conv = nn.Conv1d(32, 32, 128, padding=64, groups=2)
    x = torch.randn(1, 32, 500)
    few = x[..., :200]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = [grouped_convolution(each.bfloat16(), conv.weight, 64) for each in (x, few)]
    theirs = F.conv1d(x.bfloat16().float(), conv.weight, padding=64, groups=2)
    assert [each.dtype for each in ours] == [torch.float32] * 2
    torch.testing.assert_close(ours[0], theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1][..., :136], theirs[..., :136], rtol=1e-5, atol=1e-5)  # of taps within both


@torch.no_grad()
@pytest.mark.parametrize("has_avx2", [True, False])
def test_convolution_in_single_precision_without_gradient_is_torchs(has_avx2, monkeypatch):
    monkeypatch.setattr(convolution, "HAS_AVX2", has_avx2)
    torch.manual_seed(5)
    conv, x = nn.Conv1d(16, 24, 3, stride=2), torch.randn(3, 16, 41)
    result = convolve(conv, x, conv.weight, conv.bias)
    torch.testing.assert_close(result, conv(x), rtol=1e-5, atol=1e-5)
    assert result.is_contiguous() != has_avx2  # with it the other layout is taken


@pytest.mark.parametrize(("taps", "stride"), [(3, 2), (2, 2), (10, 5), (3, 1), (2, 3)])
@pytest.mark.parametrize("frames", [10, 31, 32])
def test_strided_convolution_is_torchs(taps, stride, frames):
    torch.manual_seed(5)
    x = torch.randn(4, frames, 6, dtype=torch.float64, requires_grad=True)[1:]  # does not begin its memory
    weight = torch.randn(4, 6, taps, dtype=torch.float64, requires_grad=True)
    ours = convolution._Strided.apply(x, weight, stride)
    theirs = F.conv1d(x.transpose(1, 2), weight, stride=stride).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=1e-12)
    grad = torch.randn_like(ours)
    for one, other in zip(gradients(ours, [x, weight], grad), gradients(theirs, [x, weight], grad), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 16])
def test_convolution_in_single_precision_with_a_gradient_is_torchs_in_the_other_layout(channels):
    torch.manual_seed(5)
    conv, x = nn.Conv1d(channels, 24, 10, stride=5), torch.randn(3, channels, 57)
    ours, theirs = convolve(conv, x, conv.weight, conv.bias), conv(x)
    assert ours.stride(1) == 1
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    (one,), (other,) = (gradients(y, [conv.weight], torch.cos(theirs.detach())) for y in (ours, theirs))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("has_amx", [True, False])
def test_in_bfloat16_two_strides_of_taps_are_a_product_where_there_is_amx(has_amx, monkeypatch):
    monkeypatch.setattr(convolution, "HAS_AMX", has_amx)
    convs = [nn.Conv1d(8, 8, taps, stride) for taps, stride in ((8, 4), (4, 2), (3, 2), (2, 2), (3, 1))]
    product, other = convolution._strided, convolution._channels_last
    assert [convolution._fastest(conv, "cpu", torch.bfloat16) for conv in convs] == [
        *[product if has_amx else other] * 2,
        *[other] * 3,
    ]
    with torch.no_grad():
        assert convolution._fastest(convs[0], "cpu", torch.bfloat16) == other


def test_on_a_gpu_every_convolution_that_can_be_is_a_product():
    convs = [nn.Conv1d(1, 8, 10, stride=5), nn.Conv1d(8, 8, 3, stride=2), nn.Conv1d(8, 8, 4, padding=2, groups=2)]
    convs.append(nn.Conv1d(8, 8, 3, padding=1))
    found = [convolution._fastest(conv, "cuda", torch.bfloat16) for conv in convs]
    assert found == [convolution._strided, convolution._strided, convolution._grouped, None]


# ---------------------------------------------------------------- linear layers


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7)])
def test_linear_without_gradient_is_the_formula(shape, bias):
    torch.manual_seed(6)
    layer, x = nn.Linear(7, 4, bias=bias), torch.randn(shape)
    exact = x.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    with torch.no_grad():
        torch.testing.assert_close(linear(layer, x).double(), exact, rtol=1e-5, atol=1e-6)
        strided = torch.randn(*shape, 2)[..., 0].copy_(x)
        torch.testing.assert_close(linear(layer, strided).double(), exact, rtol=1e-5, atol=1e-6)


def test_linear_with_a_gradient_or_in_another_precision_is_torchs():
    torch.manual_seed(6)
    layer, x = nn.Linear(7, 4), torch.randn(5, 7)
    assert torch.equal(linear(layer, x), F.linear(x, layer.weight, layer.bias))
    (gradient,) = torch.autograd.grad(linear(layer, x).sum(), layer.weight)
    torch.testing.assert_close(gradient, x.sum(0).expand(4, 7))
    with torch.no_grad():
        assert linear(layer.double(), x.double()).dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert linear(layer.float(), x).dtype == torch.bfloat16


# ---------------------------------------------------------------- whole models


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_quickened_model_computes_and_learns_the_same(family):
    torch.manual_seed(7)
    plain = AutoModel.from_config(tiny_models.config(family, **tiny_models.STEADY)).train()
    plain = (plain.encoder if family == "whisper" else plain).double()
    quick = copy.deepcopy(plain)
    use_kernels(quick)
    assert list(quick.state_dict()) == list(plain.state_dict())
    shapes = {"whisper": (1, 80, 2 * tiny_models.WHISPER_SECONDS * 50), "w2v-bert": (1, 50, 160)}
    inputs = torch.randn(shapes.get(family, (1, 9000)), dtype=torch.float64)
    outputs = [model(inputs).last_hidden_state for model in (plain, quick)]
    assert torch.allclose(*outputs, atol=1e-9)
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    grads = [{name: p.grad for name, p in model.named_parameters() if p.grad is not None} for model in (plain, quick)]
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        assert torch.allclose(grads[1][name], grad, atol=1e-9 * (1 + float(grad.abs().max()))), name


@pytest.mark.parametrize("family", ["wav2vec2-group", "whisper"])
def test_dropout_and_attention_are_taken(family):
    model = AutoModel.from_config(tiny_models.config(family))
    use_kernels(model)
    kinds = {type(module) for module in model.modules()}
    assert nn.Dropout not in kinds and model.config._attn_implementation == "ser_mtl"
    assert family == "whisper" or Dropout in kinds


def test_a_model_in_evaluation_mode_stays_so():
    model = AutoModel.from_config(tiny_models.config("wav2vec2-group")).eval()  # as transformers loads one
    use_kernels(model)
    assert not any(module.training for module in model.modules())
