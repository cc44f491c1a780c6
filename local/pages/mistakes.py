"""The most confident mistakes of a model: where to listen first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from local.corpora import manifest
from local.scoring.predictions import POSTERIOR, labels

MOST = 50
Words = list[tuple[str, bool]]  # each word, and whether it differs from the other transcript


def most_confident(predictions: pd.DataFrame, data_root: Path, most: int = MOST) -> list[dict[str, Any]]:
    """List the `most` wrong hypotheses with the highest posteriors, by posterior, then ID and seed.

    `predictions` are those of `local.scoring.scored.pooled_predictions`. Returns their columns, and `confidence` (the
    posterior of the hypothesis), `posteriors` (by label), `spoken` and `recognised` (the reference and the greedy
    transcript, word by word), and `audio` (absolute `file://` URI).
    """
    names = labels(predictions)
    wrong = predictions[predictions["emo"] != predictions["emo_hyp"]]
    confidence = wrong[[POSTERIOR + name for name in names]].max(axis=1)
    wrong = wrong.assign(confidence=confidence, path=manifest.resolve(wrong["wav"], data_root.absolute()))
    wrong = wrong.sort_values(["confidence", "ID", "seed"], ascending=[False, True, True]).head(most)
    mistakes = wrong.to_dict("records")
    for row in mistakes:
        row["posteriors"] = {name: row[POSTERIOR + name] for name in names}
        row["spoken"], row["recognised"] = mark_differences(row["wrd"], row.get("wrd_hyp", ""))
        row["audio"] = Path(row["path"]).as_uri()
    return mistakes


def mark_differences(reference: str, hypothesis: str) -> tuple[Words, Words]:
    """Align two transcripts as the WER does, and mark the words that differ.

    >>> mark_differences("A B C", "A X C D")
    ([('A', False), ('B', True), ('C', False)], [('A', False), ('X', True), ('C', False), ('D', True)])
    """
    words, others = reference.split(), hypothesis.split()
    if not words:  # no reference, no error
        return [], [(word, False) for word in others]
    here, there = [True] * len(words), [True] * len(others)
    for block in Levenshtein.opcodes(words, others).as_matching_blocks():
        here[block.a : block.a + block.size] = there[block.b : block.b + block.size] = [False] * block.size
    return list(zip(words, here, strict=True)), list(zip(others, there, strict=True))
