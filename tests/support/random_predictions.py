"""Predictions drawn at random: so many speakers, so accurate."""

from __future__ import annotations

import numpy as np
import pandas as pd

LABELS = ["ang", "hap", "neu", "sad"]


def predicted(
    n_speakers: int, per_speaker: int, seed: int, accuracy: float | np.ndarray = 0.6, text: bool = True
) -> pd.DataFrame:
    """Predictions of turns by several speakers: random classes, so many of them right, words lost at random."""
    chance = np.random.default_rng(seed)
    n = n_speakers * per_speaker
    speaker = np.repeat(np.arange(n_speakers), per_speaker)
    emo = chance.integers(4, size=n)
    right = chance.random(n) < np.broadcast_to(accuracy, n_speakers)[speaker]
    hyp = np.where(right, emo, (emo + chance.integers(1, 4, size=n)) % 4)
    words = [["ONE", "TWO", "THREE", "FOUR"][: 1 + k % 4] if text else [] for k in range(n)]
    heard = [[word for word in each if chance.random() < 0.8] for each in words]
    table = pd.DataFrame({"ID": [f"u{i:05}" for i in range(n)], "spk_id": [f"s{i:02}" for i in speaker]})
    table["recording"] = ""
    table["emo"], table["emo_hyp"] = [LABELS[i] for i in emo], [LABELS[i] for i in hyp]
    for place, label in enumerate(LABELS):
        table[f"p_{label}"] = np.where(hyp == place, 0.7, 0.1)
    return table.assign(wrd=[" ".join(each) for each in words], wrd_hyp=[" ".join(each) for each in heard], seed=1)
