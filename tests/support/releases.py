"""Releases that are made for a test: the files of a corpus, by name, with noise in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

LENGTHS = (800, 1200)  # samples of the files, in turns


def make_release(root: Path, files: Iterable[str], rate: int = 16_000, channels: int = 1) -> Path:
    """Make a tree of audio files with these paths below a folder; return the folder.

    The files are links to two of noise, of different lengths: a release of thousands takes a second.
    """
    root.mkdir(parents=True, exist_ok=True)
    sources = []
    for length in LENGTHS:
        sources.append(root.parent / f"{root.name}-{length}.wav")
        noise = np.random.default_rng(length).uniform(-0.1, 0.1, (length, channels))
        soundfile.write(sources[-1], noise, rate, subtype="PCM_16")
    for i, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(sources[i % len(sources)], path)
    return root
