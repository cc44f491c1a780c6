"""The most confident mistakes of a model, over all and of each confusion: where to listen first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from rapidfuzz.distance import Levenshtein

from local.corpora import manifest
from local.scoring.predictions import MISSING, POSTERIOR, labels, writes_text

MOST, OF_EACH = 50, 10  # mistakes over all, and at least of each pair of classes
Words = list[tuple[str, bool]]  # each word, and whether it differs from the other transcript


def most_confident(predictions: pd.DataFrame, data_root: Path) -> list[dict[str, Any]]:
    """List the `MOST` wrong hypotheses with the highest posteriors, by posterior, then ID and seed.

    After them come others, so that of each pair of reference and hypothesis there are the `OF_EACH` highest. Hypotheses
    without posteriors come last; an utterance without a hypothesis is left out.

    `predictions` are those of `local.scoring.scored.pooled_predictions`. Returns their columns, and `confidence` (the
    posterior of the hypothesis), `posteriors` (by label), `audio` (absolute `file://` URI), and of a system that writes
    text `spoken` and `recognised` (the reference and the greedy transcript, word by word).
    """
    names = labels(predictions)
    wrong = predictions[(predictions["emo"] != predictions["emo_hyp"]) & (predictions["emo_hyp"] != MISSING)]
    posteriors, place = wrong[[POSTERIOR + name for name in names]].to_numpy(float), pd.Index(names)
    confidence = posteriors[range(len(wrong)), place.get_indexer(wrong["emo_hyp"])]
    wrong = wrong.assign(confidence=confidence, path=manifest.resolve(wrong["wav"], data_root.absolute()))
    wrong = wrong.sort_values(["confidence", "ID", "seed"], ascending=[False, True, True], ignore_index=True)
    place = wrong.groupby(["emo", "emo_hyp"]).cumcount()
    mistakes = wrong[(wrong.index < MOST) | (place < OF_EACH)].to_dict("records")
    for row in mistakes:
        row["posteriors"] = {} if pd.isna(row["confidence"]) else {name: row[POSTERIOR + name] for name in names}
        if writes_text(predictions):
            row["spoken"], row["recognised"] = mark_differences(row["wrd"], row["wrd_hyp"])
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
