"""A corpus of noise that is like IEMOCAP to all who do not listen, and what a model might say of it.

7 h of it are 5,531 utterances of IEMOCAP's durations: 10 speakers in 5 sessions unless a `Shape` says otherwise,
recordings of 37 utterances in which two speakers take turns, 4 emotions, transcripts of 12.3 characters per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from local.audio.header import SAMPLE_RATE
from local.benchmark.ways import CHARACTERS, LABELS, iemocap_durations
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.job import Job
from local.experiment.options import parse
from local.scoring import predictions
from local.training.epoch_log import EPOCH_COLUMNS

UTTERANCES_PER_HOUR = 5531 / 7
LEAST = 40  # utterances: every speaker says every emotion
RECORDING = 37  # utterances
WORDS = 3000  # that the speakers know
LENGTHS = range(2, 9)  # of a word, in letters: 6 with the blank behind it, on average
EPOCHS = 100
WRONG_WORDS = 0.2
CERTAINTY = 1.5  # by how much the logit of the true emotion stands above the others, of unit variance


def size(hours: float) -> int:
    """How many utterances so many hours have.

    Raises
    ------
    UserError
        There would be too few for ten speakers with all emotions each.
    """
    n = round(hours * UTTERANCES_PER_HOUR)
    if n < LEAST:
        raise UserError(f"{hours:g} h are {n} utterances, too few for ten speakers", f"take {LEAST} / 790 h or more")
    return n


@dataclass(frozen=True)
class Shape:
    """Who speaks in a corpus, and how much of its audio there is.

    Attributes
    ----------
    sessions
        That the couples are dealt to.
    couples
        Of speakers, who talk with each other.
    rate, subtype
        Samples per second, and how each is written.
    one_file
        Whether all utterances of a recording are one file under as many names.
    """

    sessions: int = 5
    couples: int = 5
    rate: int = SAMPLE_RATE
    subtype: str = "PCM_16"
    one_file: bool = False


def corpus(folder: Path, n: int, shape: Shape = Shape()) -> Path:
    """Write wav files and the table noise.csv that lists them, for `--corpus csv`.

    Parameters
    ----------
    folder
        Where the table is to stand, and the files below it.
    n
        Utterances.
    shape
        See `Shape`.

    Returns
    -------
    The table's path.
    """
    chance, table = np.random.default_rng(4), _who(n, shape)
    of_file = pd.factorize(table["recording"] if shape.one_file else table["ID"])[0]
    lengths = (iemocap_durations(of_file.max() + 1)[of_file] * shape.rate).round().astype(int)
    noise = chance.normal(0, 3000, lengths.max() + n).astype(np.int16)
    written: dict[int, Path] = {}
    for number, name in enumerate(table["wav"]):
        path, file = folder / name, of_file[number]
        if file in written:
            path.hardlink_to(written[file])
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Each begins a sample further on: no two files are the same.
        soundfile.write(path, noise[number : number + lengths[number]], shape.rate, shape.subtype)
        written[file] = path
    words, counts = _vocabulary(chance), np.maximum(1, (CHARACTERS / 6 * lengths / shape.rate).round().astype(int))
    said = (words[place] for place in chance.integers(len(words), size=counts.sum()))
    table["wrd"] = [" ".join(islice(said, count)) for count in counts]
    path = folder / "noise.csv"
    table.to_csv(path, index=False)
    return path


def _who(n: int, shape: Shape) -> pd.DataFrame:
    """Who says each utterance, and where: two take turns, four in a row are of one speaker, with an emotion each."""
    number = np.arange(n)
    couple = number * shape.couples // n
    place = number - -(-couple * n // shape.couples)  # in what the couple says, whose first number is rounded up
    table = pd.DataFrame({"emo": np.array(LABELS)[number % len(LABELS)]})
    table["gender"] = np.array(["F", "M"])[number // len(LABELS) % 2]
    table["style"] = np.array(["impro", "script"])[place // RECORDING % 2]
    table["session"] = [f"Ses{session + 1:02}" for session in couple * shape.sessions // shape.couples]
    table["spk_id"] = [f"{who + 1:02}" for who in couple] + table["gender"]
    table["recording"] = [f"{who + 1:02}_{what:03}" for who, what in zip(couple, place // RECORDING, strict=True)]
    table["ID"] = table["recording"] + [f"_{at:05}" for at in place]
    table["wav"] = table["session"] + "/" + table["recording"] + "/" + table["ID"] + ".wav"
    return table


def _vocabulary(chance: np.random.Generator) -> list[str]:
    letters = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return ["".join(chance.choice(letters, chance.choice(LENGTHS))) for _ in range(WORDS)]


def decoded(words: list[str]) -> None:
    """Leave, of every fold and seed of an experiment, what stages 2 and 3 would but for the weights.

    The current folder is the workplace, and stages 0 and 1 are done.

    Parameters
    ----------
    words
        The options of run.sh.
    """
    options = parse(words)
    chance = np.random.default_rng(5)
    for fold in options.chosen_folds():
        for seed in options.seeds:
            job = Job(options, fold, seed)
            job.folder.mkdir(parents=True)
            (job.folder / "hyperparams.yaml").write_text(job.yaml, encoding="utf-8")
            (job.folder / "env.json").write_text('{"commit": ""}', encoding="utf-8")
            _epochs().to_csv(job.folder / "epochs.csv", index=False)
            job.training().write([job.folder / "epochs.csv"], config=options.hparams.name, epoch=EPOCHS)
            predictions.write(job.folder / "predictions.csv", _predictions(job, chance))
            job.decoding().write([job.folder / "predictions.csv"], epoch=EPOCHS)


def _epochs() -> pd.DataFrame:
    """An epochs.csv in which every figure falls."""
    falling = dict.fromkeys(EPOCH_COLUMNS, np.linspace(1, 0.2, EPOCHS))
    return pd.DataFrame(falling | {"epoch": range(1, EPOCHS + 1), "skipped_updates": 0})


def _predictions(job: Job, chance: np.random.Generator) -> pd.DataFrame:
    """Predictions of a fold's test part: three emotions of four right, and a fifth of the words wrong."""
    tested = manifest.read(job.manifests / "test.csv")
    logits = chance.normal(size=(len(tested), len(job.labels)))
    logits[range(len(tested)), [job.labels.index(emotion) for emotion in tested["emo"]]] += CERTAINTY
    posteriors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    heard = [_misheard(text, chance) for text in tested["wrd"]]
    rows = zip(tested["ID"], tested["emo"], *posteriors.T, tested["wrd"], heard, strict=True)
    return predictions.frame(list(rows), job.labels)


def _misheard(text: str, chance: np.random.Generator) -> str:
    """Let some words lose their first letter."""
    words = text.split()
    wrong = chance.random(len(words)) < WRONG_WORDS
    return " ".join(word[1:] if lost else word for word, lost in zip(words, wrong, strict=True))
