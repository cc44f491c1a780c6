"""Mel-frequency cepstra in the manner of HTK and in that of Kaldi: 25 ms every 10 ms, not centred.

samples as 16-bit integers -> pre-emphasis 0.97 within the frame -> window -> power spectrum -> triangles in mel
-> log, of at least 1 -> DCT -> lifter 22

HTK's `MFCC_E_D_A` is what openSMILE's `MFCC12_E_D_A.conf` computes: Hamming window, 26 bands from 0 to 8 kHz, cepstra
1 to 12, log energy of the raw frame, and their deltas and accelerations over two frames on each side.

Kaldi's has the mean of a frame subtracted, Povey's window, as many bands as cepstra, and cepstrum 0. Kaldi adds random
noise of one unit to the samples, against the logarithm of 0; here a band of less than 1 counts as 1, as in HTK.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from scipy.fft import dct
from torch import Tensor
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas, resample

from local.core.errors import UserError
from local.features.base import FrontEnd
from local.features.noise import COPIES, SoundFiles, noisy_copies, reverberated
from local.features.voice_activity import is_speech, subtract_sliding_mean

RATE = 16_000  # Hz, of waveforms
FULL_SCALE = 32_768  # of 16-bit samples
SECONDS_PER_FRAME = 0.01
LIFTER = 22
HTK_BANDS, HTK_CEPSTRA, HTK_NUMBERS = 26, 12, 39
KALDI_CEPSTRA = 23
KALDI_BANDS = {16_000: (20.0, 7600.0), 8_000: (20.0, 3700.0)}  # Hz, by the sample rate


def htk_mfcc(wav: Tensor) -> Tensor:
    """MFCC_E_D_A of an utterance at 16 kHz: [N] -> [T, 39], T = 1 + (N - 400) // 160, in double precision.

    A row is 12 cepstra and the log energy, their deltas, their accelerations. An utterance of less than a frame is
    filled with zeros.
    """
    bands, energies = _bands(wav, RATE, HTK_BANDS, 0.0, RATE / 2, window_type="hamming", remove_dc_offset=False)
    static = torch.cat([_cepstra(bands, HTK_CEPSTRA + 1)[:, 1:], energies[:, None]], dim=1).T
    deltas = compute_deltas(static)
    return torch.cat([static, deltas, compute_deltas(deltas)]).T


def kaldi_mfcc(wav: Tensor, rate: int = RATE) -> tuple[Tensor, Tensor]:
    """Cepstra 0 to 22 and log energies of an utterance, [N] at a rate of `KALDI_BANDS` -> [T, 23], [T]; as above."""
    bands, energies = _bands(wav, rate, KALDI_CEPSTRA, *KALDI_BANDS[rate])
    return _cepstra(bands, KALDI_CEPSTRA), energies


class KaldiMfcc(FrontEnd):
    """Cepstra of the speech of an utterance, less their mean within 3 s around: [N] -> [T, 23].

    Parameters
    ----------
    sample_rate
        16000, or 8000, to which the waveform is resampled: that of telephones.
    voice_activity
        Whether frames without speech are dropped, after the mean was taken with them; not where all of them are.
    noise
        Whether a row has besides the cepstra of the recording those of `COPIES` noisy copies of it, [T, 23 * 7]. Their
        frames are those in which the recording itself has speech.
    noise_csv
        A CSV of noises for these copies, in place of white and pink noise; see `local.features.noise.SoundFiles`.
    reverb_csv
        The same of impulse responses of rooms, for one copy more.

    Attributes
    ----------
    copies
        In a row, besides the recording.
    """

    seconds_per_row = SECONDS_PER_FRAME

    def __init__(
        self,
        sample_rate: int = RATE,
        voice_activity: bool = True,
        noise: bool = False,
        noise_csv: str | None = None,
        reverb_csv: str | None = None,
    ) -> None:
        super().__init__()
        if sample_rate not in KALDI_BANDS:
            raise UserError(f"sample_rate is {sample_rate}", "set sample_rate to 16000 or 8000")
        self.sample_rate, self.voice_activity, self.noise = sample_rate, voice_activity, noise or bool(noise_csv)
        self.noises = SoundFiles(noise_csv, "noise_csv") if noise_csv else None
        self.rooms = SoundFiles(reverb_csv, "reverb_csv") if reverb_csv else None
        self.copies = COPIES * self.noise + (self.rooms is not None)
        self.width = KALDI_CEPSTRA * (1 + self.copies)

    def rows(self, wav: Tensor) -> Tensor:
        """[N] -> [T, 23 * (1 + copies)]: of the recording, its noisy copies, and the reverberated one."""
        wavs = [wav, *(noisy_copies(wav, self.noises) if self.noise else ())]
        wavs += [reverberated(wav, self.rooms)] if self.rooms else []
        if self.sample_rate != RATE:
            wavs = [resample(each, RATE, self.sample_rate) for each in wavs]
        cepstra, energies = zip(*(kaldi_mfcc(each, self.sample_rate) for each in wavs), strict=True)
        rows = subtract_sliding_mean(torch.cat(cepstra, dim=1))
        kept = is_speech(energies[0])
        return (rows[kept] if self.voice_activity and kept.any() else rows).float()

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor, of files their versions."""
        files = {"noise_csv": self.noises, "reverb_csv": self.rooms}
        settings = {"sample_rate": self.sample_rate, "voice_activity": self.voice_activity, "noise": self.noise}
        return settings | {key: given.version for key, given in files.items() if given}


def _bands(wav: Tensor, rate: int, count: int, low: float, high: float, **values: Any) -> tuple[Tensor, Tensor]:
    """[N] -> powers of `count` bands, [T, count], and log energies, [T], in double precision."""
    wav = F.pad(wav.double() * FULL_SCALE, (0, max(0, rate // 40 - len(wav))))
    values |= {"sample_frequency": rate, "num_mel_bins": count, "low_freq": low, "high_freq": high}
    bands = kaldi.fbank(wav[None], use_energy=True, use_log_fbank=False, **values)
    return bands[:, 1:], bands[:, 0]


def _cepstra(bands: Tensor, count: int) -> Tensor:
    """The first `count` cepstra, [T, bands] powers -> [T, count]."""
    cosines = dct(torch.eye(bands.shape[1], dtype=bands.dtype).numpy(), norm="ortho")[:, :count]
    lifter = 1 + LIFTER / 2 * torch.sin(math.pi * torch.arange(count, dtype=bands.dtype) / LIFTER)
    return bands.clamp(min=1.0).log() @ (torch.from_numpy(cosines) * lifter).to(bands.device)
