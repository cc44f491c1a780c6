"""What every system must pass, on small sounds that are made here: see `sounds`."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from local.data.feature_store import kind_of_store
from local.encoders.base import pad_batch
from local.features import FrontEnd
from local.systems import Outputs, System, Targets

RATE = 16_000


def sounds(*seconds: float, seed: int = 1) -> list[Tensor]:
    """One sound per length: harmonics of a pitch that rises and falls, louder and softer, with a little noise.

    The first is of class 0, the second of class 1 and so on, modulo 4: a class has a pitch and a tempo of its own.
    """
    chance, made = np.random.default_rng(seed), []
    for number, length in enumerate(seconds):
        emotion, times = number % 4, np.arange(round(length * RATE)) / RATE
        pitch = 110 * 1.4**emotion * (1 + 0.1 * np.sin(2 * np.pi * (1 + emotion) * times))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE + chance.uniform(0, 2 * np.pi)
        wav = sum(np.sin(k * phase) / k for k in range(1, 12)) * (1 + 0.8 * np.sin(2 * np.pi * (2 + emotion) * times))
        made.append(torch.from_numpy(0.05 * wav + 0.002 * chance.standard_normal(len(times))).float())
    return made


class StandIn(FrontEnd):
    """88 numbers of an utterance in the place of opensmile's: maxima of bands of its spectrum."""

    width = 88

    def rows(self, wav: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(wav, n=8192).abs().log1p()
        return spectrum[: 88 * 20].reshape(1, 88, 20).amax(2)


@torch.no_grad()
def inputs(system: System, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A batch as a training reads it: waveforms, or what is stored of the system's front end or frozen encoder."""
    source = system.front_end if system.front_end is not None else system.encoder
    if (kind := kind_of_store(system)) is not None:
        was_training = source.training
        source.eval()  # as the store has it
        wavs = [kind.compute(source, wav[None], torch.tensor([len(wav)])) for wav in wavs]
        source.train(was_training)
    return pad_batch(wavs), torch.tensor([len(each) for each in wavs])


def trained_parameters(system: nn.Module) -> int:
    """How many parameters are trained."""
    return sum(each.numel() for each in system.parameters() if each.requires_grad)


@torch.no_grad()
def assert_alone_as_in_a_batch(system: System, wavs: list[Tensor], tolerance: float = 1e-5) -> None:
    """In evaluation mode an utterance has the same logits alone, in a batch, and from its waveform as from its store.

    A statistic of a training set is given values that are not those of a new layer.
    """
    for name, buffer in system.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(0.5)
        elif name.endswith(("running_mean", "mean")):
            buffer.fill_(0.1)
    system.eval()
    together = system(*inputs(system, wavs)).emotion
    assert together.isfinite().all()
    heard = system(pad_batch(wavs), torch.tensor([len(wav) for wav in wavs])).emotion
    for row, (one, wav) in enumerate(zip(together, wavs, strict=True)):
        alone = system(*inputs(system, [wav])).emotion[0]
        torch.testing.assert_close(alone, one, rtol=0, atol=tolerance, msg=lambda text, row=row: f"{row}: {text}")
    torch.testing.assert_close(heard, together, rtol=0, atol=10 * tolerance)


def targets(emotions: Tensor) -> Targets:
    """The labels of a batch without transcripts."""
    nothing = torch.zeros(len(emotions), dtype=torch.long)
    return Targets(emotions, nothing[:, None], nothing)


def without_chance(system: System) -> System:
    """The system with all its dropout off."""
    for module in system.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.RNNBase):
            module.dropout = 0.0
    return system


@torch.no_grad()
def at_random(system: System) -> System:
    """Give random values to the statistics, scales and biases of a system, which in a new one are 0, 1 or small.

    For a comparison with its formulas: it is then in double precision and in evaluation mode, its front end returns the
    rows that it is given, and a dropout with the rate p multiplies by 1 + p, so that its place and its rate matter.
    """
    torch.manual_seed(1)
    system.double().eval()
    for name, buffer in system.named_buffers():
        if name.endswith(("running_var", "deviation")):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("mean"):
            buffer.normal_(std=0.3)
    for parameter in system.parameters():
        if parameter.ndim == 1:
            parameter.normal_(std=0.5)
    for module in system.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda dropout, _, values: (1 + dropout.p) * values)
    system.front_end.forward = lambda rows, n_rows: (rows, n_rows)
    return system


def learns_eight(system: System, seconds: float = 1.0, lr: float = 1e-3, steps: int = 400) -> int:
    """Train on eight utterances, two of each class, until all are right and the loss is below 0.1 of its start.

    Returns the number of steps; fails after `steps`.
    """
    torch.manual_seed(1)
    wavs = sounds(*(seconds * (1 + 0.07 * number) for number in range(8)))
    emotions, batch = torch.arange(8) % 4, inputs(system, wavs)
    with torch.no_grad():
        system.eval().measure([batch])
    without_chance(system).train()
    optimizer = torch.optim.Adam([each for each in system.parameters() if each.requires_grad], lr=lr)
    first = None
    for step in itertools.count(1):
        outputs: Outputs = system(*batch)
        loss = system.losses(outputs, targets(emotions)).total
        first = first or loss.item()
        if loss.item() < 0.1 * first and (outputs.emotion.argmax(1) == emotions).all():
            return step
        assert step < steps, f"after {steps} steps the loss is {loss.item():.4f}; it began at {first:.4f}"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError


def losses_of_steps(system: System, wavs: list[Tensor], steps: int = 5, seed: int = 1) -> list[float]:
    """The losses of some steps of training from a seed: equal to the last bit for equal weights and seeds."""
    torch.manual_seed(seed)
    batch, emotions = inputs(system, wavs), torch.arange(len(wavs)) % 4
    optimizer, losses = torch.optim.Adam([each for each in system.parameters() if each.requires_grad], lr=1e-3), []
    system.train()
    for _ in range(steps):
        loss = system.losses(system(*batch), targets(emotions)).total
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses
