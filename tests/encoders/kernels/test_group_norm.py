"""The first layer with its group norm, against PyTorch's convolution and group norm of each utterance alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from local.encoders.kernels.group_norm import normed_convolution

N_FRAMES = torch.tensor([300, 57, 1])
TAPS, STRIDE = 10, 5


def layer(bias: bool = False) -> tuple[nn.Conv1d, nn.GroupNorm]:
    torch.manual_seed(3)
    conv, norm = nn.Conv1d(1, 6, TAPS, STRIDE, bias=bias), nn.GroupNorm(6, 6)
    for weight in norm.parameters():
        nn.init.normal_(weight)
    return conv, norm


def waves() -> Tensor:
    """Of low frequencies, as speech is, not about zero, and much beyond the end of the shorter ones."""
    return torch.randn(3, 1, 1505, generator=torch.Generator().manual_seed(4)).cumsum(2) / 20


def apart(conv: nn.Conv1d, norm: nn.GroupNorm, wavs: Tensor) -> Tensor:
    """Utterance by utterance, in double precision."""
    weights = [None if each is None else each.double() for each in (conv.weight, conv.bias, norm.weight, norm.bias)]
    normed = [
        torch.group_norm(F.conv1d(wav[None].double(), *weights[:2], STRIDE)[:, :, :length], 6, *weights[2:], norm.eps)
        for wav, length in zip(wavs, N_FRAMES.tolist(), strict=True)
    ]
    return torch.cat(normed, 2)


def together(conv: nn.Conv1d, norm: nn.GroupNorm, wavs: Tensor) -> Tensor:
    normed = normed_convolution(conv, norm, wavs, N_FRAMES)
    assert normed.shape == (3, 6, 300)
    return torch.cat([each[None, :, :length] for each, length in zip(normed, N_FRAMES.tolist(), strict=True)], 2)


@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_norm(bias):
    conv, norm = layer(bias)
    toward = torch.randn(1, 6, int(N_FRAMES.sum()), generator=torch.Generator().manual_seed(5))
    results = []
    for way in (together, apart):
        out = way(conv, norm, waves())
        weights = [conv.weight, norm.weight, norm.bias, *([conv.bias] if bias else [])]
        results.append([out, *torch.autograd.grad((out * toward).sum(), weights)])
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found.double(), right.double(), rtol=1e-4, atol=1e-4)


def test_a_filter_that_takes_differences_loses_no_accuracy():
    """Of a slow wave it leaves a hundred-thousandth: in single precision its variance would be wrong by a third."""
    conv, norm = layer()
    norm.eps = 0.0
    conv.weight.data[0, 0] = torch.tensor([1.0, -2.0, 1.0, *[0.0] * (TAPS - 3)])
    slow = torch.sin(torch.arange(1505) / 200.0).expand(3, 1, -1).float()
    found, right = together(conv, norm, slow)[0, 0, :300], apart(conv, norm, slow)[0, 0, :300]
    assert (found.std() / right.std() - 1).abs() < 1e-3


def test_in_bfloat16_it_is_as_near_as_torchs():
    conv, norm = layer()
    right = apart(conv, norm, waves())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = together(conv, norm, waves())
        torchs = torch.group_norm(F.conv1d(waves()[:1], conv.weight, None, STRIDE), 6, norm.weight, norm.bias)
    assert found.dtype == torch.bfloat16
    error = (found[:, :, :300] - right[:, :, :300]).std()
    assert error < 1.2 * (torchs - right[:, :, :300]).std()


def test_silence_is_finite_and_has_a_gradient():
    conv, norm = layer()
    out = together(conv, norm, torch.zeros(3, 1, 1505))
    torch.testing.assert_close(out, norm.bias[:, None].expand(1, -1, int(N_FRAMES.sum())))
    out.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in (conv.weight, norm.weight, norm.bias))
