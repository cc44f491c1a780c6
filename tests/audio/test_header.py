"""Headers of audio files: what is no audio, and rates of real recorders."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.audio.header import LABORATORY_RATES, examine, rate_ratio, read_header, refuse_rate

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "c6" * 32 + "\nsize 72862\n"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac"])
@pytest.mark.parametrize("read", [examine, read_header])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name, read):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(OSError, match=r"^is a Git LFS pointer, not the file itself: `git lfs pull`"):
        read(tmp_path / name)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, *LABORATORY_RATES])
def test_rates_of_recorders_are_read(rate):
    refuse_rate(rate)
    ratio = rate_ratio(rate)
    assert abs(ratio / Fraction(rate, 16_000) - 1) <= Fraction(1, 10**6)


@pytest.mark.parametrize("rate", [10, 44_101, 24_415, 2_000_000])
def test_rates_of_wrong_headers_are_refused(rate):
    with pytest.raises(OSError, match=f"its sample rate of {rate} Hz cannot be converted to 16000"):
        refuse_rate(rate)


def test_a_filler_before_the_samples(tmp_path: Path):
    """Apple's tools, with which RAVDESS was made, write a chunk FLLR that aligns the samples."""
    soundfile.write(tmp_path / "plain.wav", np.full(480, 0.25), 48_000, subtype="PCM_16")
    plain = (tmp_path / "plain.wav").read_bytes()
    body = plain[12:36] + b"FLLR" + struct.pack("<I", 4044) + bytes(4044) + plain[36:]
    (tmp_path / "apple.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    assert examine(tmp_path / "apple.wav").frames == 480
    (tmp_path / "cut.wav").write_bytes((tmp_path / "apple.wav").read_bytes()[:-100])
    with pytest.raises(OSError, match="cut short"):
        examine(tmp_path / "cut.wav")
