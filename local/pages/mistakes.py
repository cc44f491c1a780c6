"""The utterances that a model got wrong although it was sure: where to listen first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rapidfuzz.distance import Levenshtein

from local.corpora import manifest
from local.scoring.predictions import POSTERIOR, labels

MOST = 50
Words = list[tuple[str, bool]]  # each word, and whether it differs from the other transcript


@dataclass(frozen=True)
class Mistake:
    """One utterance whose emotion was taken for another.

    Attributes
    ----------
    confidence
        The posterior of the hypothesis.
    posteriors
        The posterior of each label.
    said, heard
        The reference and the greedy transcript, word by word.
    audio
        Absolute `file://` URI of the utterance on the machine that has the corpus.
    """

    id: str
    speaker: str
    seed: int
    fold: str
    reference: str
    hypothesis: str
    confidence: float
    posteriors: dict[str, float]
    said: Words
    heard: Words
    audio: str


def most_confident(predictions: pd.DataFrame, data_root: Path, most: int = MOST) -> list[Mistake]:
    """List the wrong hypotheses of the highest posteriors, the surest first, equals by ID and seed.

    Parameters
    ----------
    predictions
        With the columns that `local.scoring.scored.pooled_predictions` adds.
    data_root
        What `$data_root` stands for.
    most
        How many to list.
    """
    names = labels(predictions)
    wrong = predictions[predictions["emo"] != predictions["emo_hyp"]]
    confidence = wrong[[POSTERIOR + name for name in names]].max(axis=1)
    wrong = wrong.assign(confidence=confidence, path=manifest.resolve(wrong["wav"], data_root.absolute()))
    wrong = wrong.sort_values(["confidence", "ID", "seed"], ascending=[False, True, True]).head(most)
    return [_mistake(row, names) for _, row in wrong.iterrows()]


def _mistake(row: pd.Series, names: list[str]) -> Mistake:
    said, heard = mark_differences(row["wrd"], row["wrd_hyp"])
    return Mistake(
        id=row["ID"],
        speaker=row["spk_id"],
        seed=row["seed"],
        fold=row["fold"],
        reference=row["emo"],
        hypothesis=row["emo_hyp"],
        confidence=row["confidence"],
        posteriors={name: row[POSTERIOR + name] for name in names},
        said=said,
        heard=heard,
        audio=Path(row["path"]).as_uri(),
    )


def mark_differences(reference: str, hypothesis: str) -> tuple[Words, Words]:
    """Align two transcripts as the WER does, and mark the words of either that the other does not have there.

    >>> mark_differences("A B C", "A X C D")
    ([('A', False), ('B', True), ('C', False)], [('A', False), ('X', True), ('C', False), ('D', True)])
    """
    said, heard = reference.split(), hypothesis.split()
    if not said:  # there is no reference to differ from
        return [], [(word, False) for word in heard]
    ours, theirs = [True] * len(said), [True] * len(heard)
    for block in Levenshtein.opcodes(said, heard).as_matching_blocks():
        ours[block.a : block.a + block.size] = [False] * block.size
        theirs[block.b : block.b + block.size] = [False] * block.size
    return list(zip(said, ours, strict=True)), list(zip(heard, theirs, strict=True))
