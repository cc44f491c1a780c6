"""The rows of Table 3 on small sounds, through the pipeline's stages in this process: corpora, overrides, what is left.

The sizes are the systems' own; only the audio, the batches and the pretrained encoder are tiny. Where opensmile is not
installed, the row that needs it has `StandIn` for its front end.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tiny_models
import torch
from paths import REPOSITORY
from stages import run_stages
from system_checks import RATE, StandIn, sounds

from local.config.hparams import read_values
from local.pages.table3 import OURS
from local.training.checkpoints import RunCheckpointer

BESIDE = REPOSITORY / "hparams" / "table3"
YAMLS = {OURS: REPOSITORY / "hparams" / f"{OURS}.yaml"} | {path.stem: path for path in sorted(BESIDE.glob("*.yaml"))}
SMALL = {"batch_size": 4, "micro_batch_size": 4, "device": "cpu", "precision": "fp32"}
EMOTIONS = ("ang", "hap", "neu", "sad")
FEW_CONVOLUTIONS = {"conv_dim": (16, 16), "conv_kernel": (20, 20), "conv_stride": (16, 20)}  # its export is faster
CORPUS = "small"  # its name in every path
TESTED = "A"  # the speaker, and the fold
EXPERIMENTS = Path("results", CORPUS, "speaker")
MANIFESTS = Path("manifests", CORPUS, "speaker", TESTED)


def write_corpus(data: Path, counts: dict[str, int], least: float = 0.5, odd: bool = True) -> Path:
    """Write `small.csv` and its sounds of `least` seconds and more into a folder; `counts` are utterances by speaker.

    The emotions take turns. If `odd`, of the speaker who is tested the second file has 8 kHz, the third two channels,
    and the fourth, as one of each other speaker, a tenth of a second.
    """
    data.mkdir(parents=True, exist_ok=True)
    speakers = [(speaker, number) for speaker, count in counts.items() for number in range(count)]
    short = {number for number, (_, of_speaker) in enumerate(speakers) if odd and of_speaker == 3}
    lengths = (0.1 if number in short else least + 0.02 * (number % 7) for number in range(len(speakers)))
    rows = []
    for number, (wav, (speaker, of_speaker)) in enumerate(zip(sounds(*lengths), speakers, strict=True)):
        name, samples, rate = f"u{number:03}", wav.numpy(), RATE
        if odd and speaker == TESTED and of_speaker == 1:
            samples, rate = samples[::2], RATE // 2  # the highest harmonic has 1.7 kHz
        if odd and speaker == TESTED and of_speaker == 2:
            samples = np.stack([samples, 0.5 * np.roll(samples, 80)], axis=1)
        soundfile.write(data / f"{name}.wav", samples, rate)
        emotion = EMOTIONS[number % len(EMOTIONS)]
        rows.append({"ID": name, "wav": f"{name}.wav", "emo": emotion, "spk_id": speaker, "wrd": "SO"})
    pd.DataFrame(rows).to_csv(data / f"{CORPUS}.csv", index=False)
    return data / f"{CORPUS}.csv"


@contextmanager
def workplace(place: Path, table: Path) -> Iterator[list[str]]:
    """The options of a corpus in a folder, which is the current one, where stages 0 and 1 are done."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("opensmile") is None:
            patch.setattr("local.systems.egemaps_svm.Functionals", StandIn)
        patch.chdir(place)
        shutil.copytree(REPOSITORY / "hparams", "hparams")
        tiny_models.save(Path("encoder"), "wav2vec2-group", **FEW_CONVOLUTIONS)
        given = ["--corpus", "csv", "--data", str(table), "--folds", TESTED]
        run_stages([*given, "--hparams", "hparams/statistics.yaml"], "prepare", "folds")
        yield given


def run(words: list[str], row: str, *stages: str, name: str = "", epochs: int = 1, **overrides: object) -> Path:
    """Take a row through stages, with so many epochs unless it is only solved; return its run folder."""
    values, name = read_values(YAMLS[row]), name or row
    overrides = SMALL | {"epochs": min(epochs, values["epochs"])} | overrides
    encoder = "upstream" if "upstream" in values else "encoder" if row == OURS else ""
    overrides |= {encoder: str(Path("encoder").resolve())} if encoder else {}
    pairs = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    run_stages([*words, "--hparams", str(YAMLS[row]), "--name", name, "--", *pairs], *stages)
    return EXPERIMENTS / name / "seed1" / TESTED


def chosen(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the checkpoint that was chosen of a run, the optimizer's too, by where they are in it."""
    files = RunCheckpointer(run / "save").chosen().paramfiles.values()
    states = {path.stem: torch.load(path) for path in files if zipfile.is_zipfile(path)}  # the others hold JSON
    return dict(tensors("", states))


def tensors(place: str, value: object) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors within mappings and lists."""
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list | tuple):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors(f"{place}/{key}", each)
