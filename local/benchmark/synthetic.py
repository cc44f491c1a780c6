"""A corpus of noise that is like IEMOCAP to all who do not listen, and what a model might say of it.

7 h of it are 5,531 utterances of IEMOCAP's durations: 10 speakers in 5 sessions, recordings of 37 utterances
in which both speakers of the session take turns, 4 emotions, transcripts of 12.3 characters per second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from local import manifest, predictions
from local.audio import SAMPLE_RATE
from local.benchmark.ways import CHARACTERS, LABELS, iemocap_durations
from local.brain import EPOCH_COLUMNS
from local.errors import UserError
from local.job import Job
from local.options import parse

UTTERANCES_PER_HOUR = 5531 / 7
LEAST = 40  # utterances: every speaker says every emotion
SESSIONS = 5
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


def corpus(folder: Path, hours: float) -> Path:
    """Write wav files (16 bits, 16 kHz) and the table noise.csv that lists them, for `--corpus csv`.

    Returns
    -------
    The table's path.
    """
    n, chance = size(hours), np.random.default_rng(4)
    durations = iemocap_durations(n)
    samples = (durations * SAMPLE_RATE).round().astype(int)
    noise = chance.normal(0, 3000, samples.max() + n).astype(np.int16)
    (folder / "wav").mkdir(parents=True)
    rows, words = [], _vocabulary(chance)
    for number, length in enumerate(samples):
        row = _who(number, n) | {"emo": LABELS[number % len(LABELS)]}
        row["wav"] = f"wav/{row['ID']}.wav"
        row["wrd"] = " ".join(chance.choice(words, max(1, round(CHARACTERS * length / SAMPLE_RATE / 6))))
        # Each begins a sample further on: no two files are the same.
        soundfile.write(folder / row["wav"], noise[number : number + length], SAMPLE_RATE)
        rows.append(row)
    path = folder / "noise.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _who(number: int, n: int) -> dict[str, str]:
    """Who says the utterance of this number, and where: four in a row are one speaker's, with an emotion each."""
    session = number * SESSIONS // n
    place = number - -(-session * n // SESSIONS)  # in the session, whose first number is rounded up
    gender = "FM"[number // len(LABELS) % 2]
    recording = f"Ses{session + 1:02}_{place // RECORDING:03}"
    return {
        "ID": f"{recording}_{gender}{place:05}",
        "spk_id": f"{session + 1:02}{gender}",
        "session": f"Ses{session + 1:02}",
        "recording": recording,
        "gender": gender,
        "style": ("impro", "script")[place // RECORDING % 2],
    }


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
