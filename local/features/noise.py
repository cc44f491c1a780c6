"""Noisy and reverberated copies of an utterance, by a fixed rule: for front ends, whose rows are stored once.

Their random numbers are drawn from the checksum of its samples: an utterance always has the same copies, in every fold,
seed and epoch, and another utterance others. SpeechBrain's `AddNoise` and `AddReverb`, whose CSV is read here, draw
anew at each call, and their order of the files is that of the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.functional import fftconvolve

from local.audio import recordings
from local.core.errors import UserError
from local.core.files import digest
from local.core.typed_csv import read_csv

RATIOS = (10.0, 5.0, 0.0)  # dB, signal to noise
COPIES = 2 * len(RATIOS)


class SoundFiles:
    """The audio files that a CSV lists in its column `wav`, relative to its folder, as SpeechBrain's `AddNoise` has it.

    Attributes
    ----------
    version
        A digest of the CSV, and of the sizes and times of the files.
    """

    def __init__(self, csv: str, key: str) -> None:
        try:
            table = read_csv(Path(csv))
            self.paths = [Path(csv).parent / wav for wav in table["wav"]]
            states = [(file.st_size, file.st_mtime_ns) for file in map(Path.stat, self.paths)]
        except (OSError, ValueError, KeyError) as error:  # the last of a table without the column
            raise UserError(f"{key} {csv}: {' '.join(str(error).split())}", "list files in a column wav") from None
        if not self.paths:
            raise UserError(f"{key} {csv} lists no file", "list files in a column wav")
        self.version = digest(Path(csv), repr(states))

    def draw(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """The samples of `count` files, [M] each, no file twice unless there are fewer."""
        order = torch.randperm(len(self.paths), generator=generator).tolist()
        return [recordings.read(self.paths[order[number % len(order)]]).wav for number in range(count)]


def generator_of(wav: Tensor) -> torch.Generator:
    """Random numbers of an utterance, [N] samples."""
    return torch.Generator().manual_seed(zlib.crc32(wav.cpu().numpy().tobytes()))


def noisy_copies(wav: Tensor, files: SoundFiles | None = None) -> list[Tensor]:
    """[N] -> 6 x [N]: with each of two noises at 10, 5 and 0 dB.

    They are a random stretch of each of two files, which are repeated where they are shorter; without files white
    noise, and pink noise, whose power falls as 1/f.
    """
    generator = generator_of(wav)
    if files is None:
        noises: Sequence[Tensor] = _white_and_pink(wav, generator)
    else:
        noises = [_stretch(noise, len(wav), generator).to(wav.device) for noise in files.draw(2, generator)]
    return [_mixed(wav, noise, ratio) for noise in noises for ratio in RATIOS]


def reverberated(wav: Tensor, rooms: SoundFiles) -> Tensor:
    """[N] -> [N]: as in the room of one of these impulse responses, in place and as loud as it was.

    What the convolution adds before the direct sound, the highest sample of the response, is cut off, so that each
    sound stays at its time.
    """
    (response,) = rooms.draw(1, generator_of(wav))
    heard = fftconvolve(wav.double(), response.double().to(wav.device))
    heard = heard[int(response.abs().argmax()) :][: len(wav)]
    loudness = wav.double().square().mean() / heard.square().mean().clamp(min=1e-20)
    return (heard * loudness.sqrt()).to(wav.dtype)


def _white_and_pink(wav: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    white = torch.randn(len(wav), generator=generator, dtype=torch.double).to(wav.device)
    spectrum = torch.fft.rfft(white)
    pink = torch.fft.irfft(spectrum / torch.arange(len(spectrum), device=wav.device).clamp(min=1).sqrt(), n=len(wav))
    return white, pink


def _stretch(noise: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` samples of a noise, [M], from a random place, in double precision."""
    start = int(torch.randint(max(1, len(noise) - size + 1), (1,), generator=generator))
    return noise[(start + torch.arange(size)) % len(noise)].double()


def _mixed(wav: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """A waveform with a noise at a signal-to-noise ratio in dB, over the whole of it."""
    power = wav.double().square().mean() / noise.square().mean().clamp(min=1e-20)
    return (wav + noise * (power * 10 ** (-ratio / 10)).sqrt()).to(wav.dtype)
