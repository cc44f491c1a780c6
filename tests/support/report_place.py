"""A workplace with scored experiments for reports: 24 utterances of four speakers, predictions made by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile
from hand_made_runs import EPOCHS, predict
from paths import REPOSITORY

from local.experiment.command_line import parse
from local.folds import make_folds
from local.prepare import prepare
from local.score import score

NASTY_ID = "u00 <b>&\"'"
NASTY_WORD = "<i>&\"'"
FOLDS = ("1A", "1B")
UNVALIDATED = "epoch,train_wa,valid_wa,valid_ua,valid_wer\n1,0.5,,,\n2,1,,,\n"  # epochs.csv without validation


def corpus(folder: Path) -> Path:
    """Write talk.csv: six utterances of each speaker, two of each emotion, two words each."""
    data = folder / "d&ta #1"
    data.mkdir(parents=True)
    with open(data / "talk.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ID", "wav", "emo", "wrd", "spk_id", "session", "recording"])
        for number in range(24):
            speaker = ("1A", "1B", "2A", "2B")[number // 6]
            soundfile.write(data / f"{number} 100%.wav", 0.1 * np.sin(np.arange(1600 + 400 * number) / 9), 16_000)
            name = f"u{number:02}" if number else NASTY_ID
            recording, emotion = f"{speaker[0]}{number % 6}", ("ang", "hap", "sad")[number % 3]
            rows.writerow([name, f"{number} 100%.wav", emotion, "well then", speaker, f"s{speaker[0]}", recording])
    return data / "talk.csv"


def words(table: Path, name: str, alpha: float, *asked: str) -> list[str]:
    """The options of an experiment."""
    given = ["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml", "--name", name, *asked]
    return [*given, "--", "--alpha", str(alpha), "--epochs", "2"]


def experiment(given: list[str], wrong: dict[str, int], lost: dict[str, int], seeds: tuple[int, ...] = (1,)) -> Path:
    """Make and score an experiment whose folds have so many wrong emotions and lost words; return its folder."""
    prepare(parse(given))
    make_folds(parse(given))
    for seed in seeds:
        for fold in wrong:
            predict(given, fold, seed, wrong[fold], lost[fold])
    score(parse(given))
    return parse(given).experiment_folder


def workplace(folder: Path) -> Path:
    """The place to work in."""
    place = folder / "place"
    shutil.copytree(REPOSITORY / "hparams", place / "hparams")
    return place


def family(table: Path) -> Path:
    """Make the experiment `n` and its siblings: `zero` is like it but for alpha, `half` lacks a fold, `last` was
    not validated, `broken` has lost its runs.
    """
    own = experiment(words(table, "n", 0.1), {"1A": 1, "1B": 3}, {"1A": 2, "1B": 0})
    experiment(words(table, "zero", 0), {"1A": 2, "1B": 5}, {"1A": 6, "1B": 6})
    experiment(words(table, "half", 1), {"1A": 0}, {"1A": 0})
    last = experiment(words(table, "last", 0.01, "--valid", "none"), {"1A": 1, "1B": 1}, {"1A": 0, "1B": 0})
    broken = experiment(words(table, "broken", 0.5), {"1A": 1}, {"1A": 0})
    shutil.rmtree(broken / "seed1")
    for fold in FOLDS:
        (last / "seed1" / fold / "epochs.csv").write_text(UNVALIDATED)
    better = EPOCHS.replace(",0.5,0.45,", ",0.7,0.45,").replace(",0.75,", ",0.85,")
    (own / "seed1" / "1B" / "epochs.csv").write_text(better)
    spoil(own / "seed1" / "1A" / "predictions.csv", "WELL", f"WELL {NASTY_WORD}")
    return own


def spoil(path: Path, old: str, new: str) -> None:
    """Change the transcript of the first utterance of a predictions.csv."""
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert lines[1][-1] == old
    lines[1][-1] = new
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
