"""What stage 7 does to the audio of the test set: conditions, each at several strengths.

A condition at one strength is a case. `CLEAN` is the audio as it is; at its `clean` strength every condition is that.
`local.audio.distortions` does what is said here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

VERSION = 1  # of the distortions: what was predicted under others is predicted again


class Case(NamedTuple):
    """A condition at one strength, in the unit of the condition."""

    condition: str
    strength: float

    @property
    def label(self) -> str:
        """Its name in files.

        >>> Case("white", 20).label, CLEAN.label
        ('white_20', 'clean')
        """
        return self.condition if self == CLEAN else f"{self.condition}_{self.strength:g}"

    @property
    def title(self) -> str:
        """Its name on pages."""
        if self == CLEAN:
            return "clean"
        known = CONDITIONS[self.condition]
        return f"{known.title}, {self.strength:g} {known.unit}"

    @property
    def is_clean(self) -> bool:
        """Whether it leaves the audio as it is."""
        return self == CLEAN or self.strength == CONDITIONS[self.condition].clean

    def lasting(self, seconds: float) -> float:
        """How long audio of so many seconds lasts afterwards."""
        if self.condition == "speed":
            return seconds / self.strength
        return seconds + self.strength if self.condition == "silence" else seconds


CLEAN = Case("clean", 0.0)


@dataclass(frozen=True)
class Condition:
    """One kind of distortion.

    Attributes
    ----------
    title
        Its name on pages.
    strengths
        Those of its curve, in the order in which they are drawn.
    unit
        Theirs.
    clean
        The strength at which nothing is done.
    what
        What is done, in a sentence's words.
    """

    title: str
    strengths: tuple[float, ...]
    unit: str
    clean: float
    what: str

    @property
    def axis(self) -> list[float]:
        """The strengths of its curve with that of clean audio, which is between them or first.

        >>> CONDITIONS["speed"].axis, CONDITIONS["silence"].axis
        ([0.8, 0.9, 1, 1.1, 1.2], [0, 0.25, 0.5, 1, 2])
        """
        if self.strengths and min(self.strengths) < self.clean < max(self.strengths):
            return sorted([*self.strengths, self.clean])
        return [self.clean, *self.strengths]


_SNR = (20, 15, 10, 5, 0)
CONDITIONS = {
    "white": Condition("white noise", _SNR, "dB SNR", math.inf, "Gaussian noise with a flat spectrum"),
    "pink": Condition("pink noise", _SNR, "dB SNR", math.inf, "noise whose power falls by 3 dB per octave"),
    "babble": Condition(
        "babble", _SNR, "dB SNR", math.inf, "five utterances of other speakers, of the fold's training set, at once"
    ),
    "reverb": Condition(
        *("reverberation", (0.2, 0.4, 0.8, 1.2), "s", 0),
        "a room whose echo falls by 60 dB within so many seconds (RT60): noise with an exponential decay that has as "
        "much energy as the direct sound",
    ),
    "telephone": Condition("telephone", (8,), "kHz", 16, "300 to 3400 Hz, sampled at 8 kHz with 8-bit mu-law"),
    "mp3": Condition("MP3", (64, 32, 16, 8), "kbit/s", math.inf, "MP3 at a constant bit rate, and back"),
    "clipping": Condition("clipping", (1, 5, 10, 25), "%", 0, "so many per cent of the samples, the loudest, are cut"),
    "gain": Condition("gain", (-20, -10, 10, 20), "dB", 0, "louder or quieter, nothing is cut at full scale"),
    "tilt": Condition(
        *("spectral tilt", (-6, -3, 3, 6), "dB per octave", 0), "the spectrum is tilted about 1 kHz, at the same level"
    ),
    "speed": Condition("speed", (0.8, 0.9, 1.1, 1.2), "times", 1, "faster or slower by resampling, so higher or lower"),
    "silence": Condition("leading silence", (0.25, 0.5, 1, 2), "s", 0, "zeros before the utterance"),
    "rate": Condition("resampling", (), "kHz", 16, "resampled to so many kHz, and back"),
}
INAUDIBLE = (Case("gain", -1), Case("white", 60), Case("silence", 0.01), Case("rate", 44.1))
WORDS = (*(name for name, condition in CONDITIONS.items() if condition.strengths), "inaudible")  # of --stress


def cases(words: Sequence[str] = ()) -> list[Case]:
    """The cases of some of `WORDS`, or of all for none, in one order; `CLEAN` comes first.

    >>> [case.label for case in cases(["mp3"])]
    ['clean', 'mp3_64', 'mp3_32', 'mp3_16', 'mp3_8']
    """
    wanted = words or WORDS
    curves = [Case(name, at) for name, known in CONDITIONS.items() if name in wanted for at in known.strengths]
    return [CLEAN, *curves, *(INAUDIBLE if "inaudible" in wanted else ())]


def in_order(some: Iterable[Case]) -> list[Case]:
    """These cases in the order of `cases`."""
    wanted = set(some)
    return [case for case in cases() if case in wanted]
