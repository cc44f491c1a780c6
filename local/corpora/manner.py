"""How an emotion sounds when a synthesiser speaks it: rate, pitch, its range, loudness and brightness.

The directions are those in which acted speech differs (Juslin and Laukka 2003): anger fast, loud and bright; happiness
fast, high and lively; sadness slow, low, quiet, dull and monotone. The values are our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.corpora import espeak

PEAK = 0.95  # of full scale, at most
MARGIN = 0.05  # seconds of silence on either side of the speech
NEUTRAL = "neu"


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds."""

    rate: float  # words per minute
    pitch: float  # 0 to 100; 50 is the voice's own
    pitch_range: float  # 0 to 100; 50 is the voice's own
    level: float  # RMS of the speech, dB of full scale
    brightness: float  # -1 to 1, see `say`


MANNERS = {
    "ang": Manner(225, 52, 80, -21, 0.50),
    "hap": Manner(205, 70, 80, -23, 0.10),
    "exc": Manner(215, 75, 85, -22, 0.15),
    "neu": Manner(180, 46, 45, -26, -0.15),
    "sad": Manner(145, 35, 15, -32, -0.50),
    "fru": Manner(195, 48, 60, -24, 0.20),
    "sur": Manner(195, 80, 90, -23, 0.10),
    "fea": Manner(235, 75, 40, -27, -0.30),
    "dis": Manner(160, 40, 70, -25, 0.00),
    "oth": Manner(185, 50, 50, -26, 0.00),
    "xxx": Manner(190, 55, 60, -25, 0.00),  # the raters did not agree
}


def say(text: str, voice: str, manner: Manner) -> np.ndarray:
    """Speak a text in a manner: samples [frames], int16, 16 kHz; the same arguments give the same samples.

    A `UserError` for a text of which the voice says nothing, as of one in a script that its language has not.
    """
    from scipy.signal import resample_poly  # here, as its import takes longer than reading an existing corpus

    samples, rate = espeak.speak(
        text,
        voice,
        rate=round(manner.rate),
        pitch=round(min(max(manner.pitch, 0), 100)),
        pitch_range=round(min(max(manner.pitch_range, 0), 100)),
    )
    common = math.gcd(rate, SAMPLE_RATE)
    speech = resample_poly(samples / 32768, SAMPLE_RATE // common, rate // common)
    # y[n] = x[n] - brightness * x[n - 1] tilts the spectrum as vocal effort does: a loud voice has more of the high
    # frequencies. So loudness reaches an encoder that normalises the level of each utterance.
    speech = speech - manner.brightness * np.concatenate(([0.0], speech[:-1]))
    audible = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    if not audible.size:
        raise UserError(f"the voice {voice} says nothing of {text!r}", "--voice VOICE: one of the text's language")
    speech = speech[audible[0] : audible[-1] + 1]
    gain = 10 ** (manner.level / 20) / np.sqrt(np.mean(speech**2))
    speech *= min(gain, PEAK / np.abs(speech).max())
    return np.pad((speech * 32768).round().astype(np.int16), round(MARGIN * SAMPLE_RATE))
