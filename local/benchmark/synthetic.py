"""A corpus of noise shaped like IEMOCAP, and the predictions that a model might make on it.

7 h are 5,531 utterances of IEMOCAP's durations: 10 speakers in 5 sessions unless a `Shape` says otherwise, recordings
of 37 utterances in which two speakers take turns, 4 emotions, transcripts of 12.3 characters per second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from local.audio.header import SAMPLE_RATE
from local.core import logs  # noqa: F401 - before anything of SpeechBrain, whose message it leaves out
from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.job import Job
from local.experiment.options import Options
from local.scoring import predictions
from local.training.epoch_log import EPOCH_COLUMNS

LABELS = ["ang", "hap", "neu", "sad"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ' "
# Durations of IEMOCAP's utterances in seconds, by quantile; the second is chosen so that their mean is 4.55.
QUANTILES = (0, 0.1, 0.5, 0.9, 0.95, 0.99, 1)
DURATIONS = (0.58, 1.3, 3.58, 8.7, 11.1, 15.5, 34.1)
LONGEST = DURATIONS[-1]
CHARACTERS = 12.3  # of transcript per second: 56 in 4.55 s
UTTERANCES_PER_HOUR = 5531 / 7
FEWEST = 40  # utterances: every speaker says every emotion
RECORDING = 37  # utterances
WORDS = 3000  # in the speakers' vocabulary
LENGTHS = range(2, 9)  # of a word, in letters: 6 with the blank behind it, on average
EPOCHS = 100
WRONG_WORDS = 0.2
CERTAINTY = 1.5  # added to the logit of the true emotion; logits have unit variance


def iemocap_durations(n: int) -> np.ndarray:
    """[n] seconds, evenly spread over the quantiles of IEMOCAP's durations, shuffled."""
    durations = np.exp(np.interp((np.arange(n) + 0.5) / n, QUANTILES, np.log(DURATIONS)))
    return np.random.default_rng(1).permutation(durations)


def size(hours: float) -> int:
    """How many utterances so many hours have; too few for ten speakers with four emotions each are refused."""
    n = round(hours * UTTERANCES_PER_HOUR)
    if n < FEWEST:
        raise UserError(f"{hours:g} h are {n} utterances, too few for ten speakers", f"take {FEWEST} / 790 h or more")
    return n


@dataclass(frozen=True)
class Shape:
    """Who speaks in a corpus, and how its audio is written."""

    sessions: int = 5
    couples: int = 5  # of speakers who talk with each other, in one session
    rate: int = SAMPLE_RATE
    subtype: str = "PCM_16"  # format of a sample
    one_file: bool = False  # all utterances of a recording are hard links to one file


def corpus(folder: Path, n: int, shape: Shape = Shape()) -> Path:
    """Write n wav files below a folder and the table noise.csv there, for `--corpus csv`; return the table's path."""
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
        # Each file begins one sample later in the noise: no two are the same.
        soundfile.write(path, noise[number : number + lengths[number]], shape.rate, shape.subtype)
        written[file] = path
    letters = list(LETTERS[:26])
    vocabulary = ["".join(chance.choice(letters, chance.choice(LENGTHS))) for _ in range(WORDS)]
    counts = np.maximum(1, (CHARACTERS / 6 * lengths / shape.rate).round().astype(int))
    words = (vocabulary[index] for index in chance.integers(WORDS, size=counts.sum()))
    table["wrd"] = [" ".join(islice(words, count)) for count in counts]
    path = folder / "noise.csv"
    table.to_csv(path, index=False)
    return path


def _who(n: int, shape: Shape) -> pd.DataFrame:
    """Who says each utterance, and where: two speakers take turns, four utterances each, one of each emotion."""
    number = np.arange(n)
    couple = number * shape.couples // n
    index = number - -(-couple * n // shape.couples)  # among the utterances of the couple
    table = pd.DataFrame({"emo": np.array(LABELS)[number % len(LABELS)]})
    table["gender"] = np.array(["F", "M"])[number // len(LABELS) % 2]
    table["style"] = np.array(["impro", "script"])[index // RECORDING % 2]
    table["session"] = [f"Ses{session + 1:02}" for session in couple * shape.sessions // shape.couples]
    table["spk_id"] = [f"{who + 1:02}" for who in couple] + table["gender"]
    table["recording"] = [f"{who + 1:02}_{what:03}" for who, what in zip(couple, index // RECORDING, strict=True)]
    table["ID"] = table["recording"] + [f"_{at:05}" for at in index]
    table["wav"] = table["session"] + "/" + table["recording"] + "/" + table["ID"] + ".wav"
    return table


def write_runs(options: Options) -> None:
    """Write what stages 2 and 3 would, except checkpoints, into every run folder, after stages 0 and 1."""
    chance = np.random.default_rng(5)
    epochs = pd.DataFrame(dict.fromkeys(EPOCH_COLUMNS, np.linspace(1, 0.2, EPOCHS)))  # every figure falls
    epochs["epoch"], epochs["skipped_updates"] = range(1, EPOCHS + 1), 0
    for job in Job.all(options):
        job.folder.mkdir(parents=True)
        (job.folder / "hyperparams.yaml").write_text(job.yaml, encoding="utf-8")
        (job.folder / "env.json").write_text('{"commit": ""}', encoding="utf-8")
        epochs.to_csv(job.folder / "epochs.csv", index=False)
        job.training().write([job.folder / "epochs.csv"], config=options.hparams.name, epoch=EPOCHS)
        predictions.write(job.folder / "predictions.csv", _predictions(job, chance))
        job.decoding().write([job.folder / "predictions.csv"], epoch=EPOCHS)


def _predictions(job: Job, chance: np.random.Generator) -> pd.DataFrame:
    """Predictions for a fold's test set: three emotions of four right, and a fifth of the words wrong."""
    table = manifest.read(job.manifests / "test.csv")
    logits = chance.normal(size=(len(table), len(job.labels)))
    logits[range(len(table)), [job.labels.index(emotion) for emotion in table["emo"]]] += CERTAINTY
    posteriors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    hypotheses = []
    for words in table["wrd"].str.split():
        wrong = chance.random(len(words)) < WRONG_WORDS  # without their first letter
        hypotheses.append(" ".join(word[1:] if lost else word for word, lost in zip(words, wrong, strict=True)))
    rows = zip(table["ID"], table["emo"], *posteriors.T, table["wrd"], hypotheses, strict=True)
    return predictions.frame(list(rows), job.labels)
