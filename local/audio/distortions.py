"""What `local.core.conditions` names, done to a waveform: noise, rooms, channels, codecs.

What is random is drawn from a seed of the utterance's ID and the case (`seed_of`): it depends on no batch, order or
job. Noise is added by torchaudio, so that the power of the *active* frames is so many dB above that of the noise: of
frames of 20 ms, those within `BELOW_LOUDEST` dB of the loudest are active, so that pauses do not count. SpeechBrain's
own mixer counts them, and scales the speech.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from local.audio.header import SAMPLE_RATE
from local.core.conditions import Case
from local.core.errors import UserError

FRAME = 320  # samples
BELOW_LOUDEST = 40.0  # dB
BAND, TELEPHONE_RATE, LEVELS = (300, 3400), 8000, 256  # Hz, Hz, of mu-law
PIVOT, LOWEST = 1000.0, 62.5  # Hz: where tilt changes nothing, and below which it goes no further
MP3_RATES = (8, 160)  # kbit/s at 16 kHz, by libsndfile
MP3_DELAY = 576 + 529  # samples, of LAME's encoder and of any decoder
MARGIN = 2048  # zeros behind a waveform that is filtered as a circle
LEAST = 1024  # samples of noise that SpeechBrain can colour


def distort(wav: Tensor, case: Case, seed: int = 0, talkers: Sequence[Tensor] = ()) -> Tensor:
    """Distort [N] float samples at 16 kHz.

    `talkers` are the [M] samples of each of those who speak in babble. Returns [N] samples, of `speed` and `silence`
    another number; what is clean is returned as it is. Full scale is passed where the sum is louder.
    """
    if case.is_clean or not wav.any():
        return wav
    generator = torch.Generator().manual_seed(seed)
    return DISTORTIONS[case.condition](wav, case.strength, generator, talkers)


def seed_of(name: str, case: Case) -> int:
    """The seed of an utterance in a case.

    >>> from local.core.conditions import CLEAN
    >>> seed_of("a", CLEAN) == seed_of("b", CLEAN)
    False
    """
    return int.from_bytes(hashlib.sha256(f"{name}\t{case.label}".encode()).digest()[:7], "big")


def active_power(wav: Tensor) -> Tensor:
    """The mean square of the samples in active frames, see the module; of a last frame that is shorter, its own."""
    n = len(wav)
    squares = F.pad(wav.double().square(), (0, -n % FRAME)).view(-1, FRAME).sum(1)
    sizes = torch.full_like(squares, FRAME)
    sizes[-1] = n - FRAME * (len(squares) - 1)
    powers = squares / sizes
    active = powers >= powers.max() * 10 ** (-BELOW_LOUDEST / 10)
    return squares[active].sum() / sizes[active].sum()


def writes_mp3() -> bool:
    """Whether libsndfile can write MP3 here."""
    import soundfile

    return "MP3" in soundfile.available_formats()


# Noise


def _mixed(wav: Tensor, noise: Tensor, snr: float) -> Tensor:
    """Add noise; torchaudio's ratio is over all samples, so what pauses make of it is added."""
    from torchaudio.functional import add_noise

    of_all = float(10 * torch.log10(active_power(wav) / wav.double().square().mean()))
    return add_noise(wav[None], noise[None], torch.tensor([snr - of_all]))[0]


def _white(wav: Tensor, snr: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    return _mixed(wav, torch.randn(len(wav), generator=generator), snr)


def _pink(wav: Tensor, snr: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    """SpeechBrain divides the amplitudes by f^alpha: 0.5 is pink, and its default of 1 is brown."""
    from speechbrain.augment.time_domain import pink_noise_like

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        noise = pink_noise_like(torch.empty(1, max(len(wav), LEAST)), 0.5, 0.5, SAMPLE_RATE)[0, : len(wav)]
    return _mixed(wav, noise, snr)


def _babble(wav: Tensor, snr: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    """Utterances that begin anywhere and are repeated, each at the same active power; a silent one adds nothing."""
    noise = torch.zeros(len(wav))
    for talker in talkers:
        start = int(torch.randint(len(talker), (), generator=generator))
        repeated = talker.roll(-start).repeat(-(-len(wav) // len(talker)))
        noise += repeated[: len(wav)] / (float(active_power(talker).sqrt()) or 1.0)
    return _mixed(wav, noise, snr) if noise.any() else wav


# Rooms and channels


def impulse_response(rt60: float, generator: torch.Generator) -> Tensor:
    """[M] direct sound, then a tail of noise that falls by 60 dB within `rt60` seconds and has its energy, 1."""
    times = torch.arange(1, round(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = torch.randn(len(times), generator=generator) * 10 ** (-3 * times / rt60)
    return torch.cat([torch.ones(1), tail / tail.norm()])


def _reverb(wav: Tensor, rt60: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    """Convolve with a room, as long as the utterance: SpeechBrain's convolution is a circle."""
    from torchaudio.functional import fftconvolve

    return _at_level_of(wav, fftconvolve(wav, impulse_response(rt60, generator))[: len(wav)])


def _telephone(wav: Tensor, _: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    from scipy.signal import butter, sosfilt
    from torchaudio.functional import mu_law_decoding, mu_law_encoding, resample

    low = resample(wav, SAMPLE_RATE, TELEPHONE_RATE)
    band = sosfilt(butter(6, BAND, "bandpass", fs=TELEPHONE_RATE, output="sos"), low.double().numpy())
    line = torch.from_numpy(band.astype(np.float32)).clamp(-1, 1)
    decoded = mu_law_decoding(mu_law_encoding(line, LEVELS), LEVELS)
    return _fitted(resample(decoded, TELEPHONE_RATE, SAMPLE_RATE), len(wav))


def _mp3(wav: Tensor, rate: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    import soundfile
    from torchaudio.functional import resample

    if not writes_mp3():
        raise UserError("libsndfile writes no MP3 here", "leave mp3 out: --stress; or install a newer soundfile")
    file = io.BytesIO()
    soundfile.write(
        *(file, wav.numpy(), SAMPLE_RATE),
        format="MP3",
        compression_level=_compression(rate),
        bitrate_mode="CONSTANT",
    )
    file.seek(0)
    samples, found = soundfile.read(file, dtype="float32")
    heard = resample(torch.from_numpy(samples), found, SAMPLE_RATE)
    # Frames of low rates have no room for the tag by which a decoder leaves out the delay.
    return _fitted(heard[MP3_DELAY if len(heard) >= len(wav) + MP3_DELAY else 0 :], len(wav))


def _compression(rate: float) -> float:
    """The compression by which libsndfile takes a bit rate in kbit/s: 0 is the highest, and it cuts off digits."""
    lowest, highest = MP3_RATES
    return max(0.0, 1 - (rate + 0.1 - lowest) / (highest - lowest))


def _clipping(wav: Tensor, share: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    """The level of the cut is that which so many per cent of the samples reach; SpeechBrain's is one of the peak."""
    level = float(np.quantile(wav.abs().numpy(), 1 - share / 100))
    return wav.clamp(-level, level) if level else wav


def _gain(wav: Tensor, decibels: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    return wav * 10 ** (decibels / 20)


def _tilt(wav: Tensor, slope: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    size = 2 ** math.ceil(math.log2(len(wav) + MARGIN))
    octaves = (torch.fft.rfftfreq(size, 1 / SAMPLE_RATE).clamp(min=LOWEST) / PIVOT).log2()
    tilted = torch.fft.irfft(torch.fft.rfft(wav, size) * 10 ** (slope * octaves / 20), size)
    return _at_level_of(wav, tilted[: len(wav)])


# Time


def _speed(wav: Tensor, factor: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    from torchaudio.functional import speed

    return speed(wav, SAMPLE_RATE, factor)[0]


def _silence(wav: Tensor, seconds: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    return F.pad(wav, (round(seconds * SAMPLE_RATE), 0))


def _rate(wav: Tensor, kilohertz: float, generator: torch.Generator, talkers: Sequence[Tensor]) -> Tensor:
    from torchaudio.functional import resample

    rate = round(1000 * kilohertz)
    return _fitted(resample(resample(wav, SAMPLE_RATE, rate), rate, SAMPLE_RATE), len(wav))


def _at_level_of(wav: Tensor, changed: Tensor) -> Tensor:
    """What was changed, at the active power that it had."""
    power = active_power(changed)
    return changed * float((active_power(wav) / power).sqrt()) if power else changed


def _fitted(wav: Tensor, n: int) -> Tensor:
    """Cut to [n], or with zeros behind."""
    return F.pad(wav, (0, n - len(wav)))


DISTORTIONS: dict[str, Callable[[Tensor, float, torch.Generator, Sequence[Tensor]], Tensor]] = {
    "white": _white,
    "pink": _pink,
    "babble": _babble,
    "reverb": _reverb,
    "telephone": _telephone,
    "mp3": _mp3,
    "clipping": _clipping,
    "gain": _gain,
    "tilt": _tilt,
    "speed": _speed,
    "silence": _silence,
    "rate": _rate,
}
