"""Items analyzed in batches of like lengths, in their order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import numpy as np

from local.data.batches import Limits, cut
from local.data.device import overhead
from local.inference.items import Item
from local.inference.recognizer import Analysis, EmotionRecognizer

GATHERED = 4  # batches that are gathered, so that each holds like lengths
Answer = tuple[Item, "Analysis | None"]


def analyze_items(
    items: Iterable[Item], recognizer: EmotionRecognizer, seconds: float, words: bool
) -> Iterator[Answer]:
    """Analyze items in batches of like lengths, of at most so many padded seconds; they come back in their order."""
    limits = Limits(sys.maxsize, seconds, overhead(recognizer.device, recognizer.mods["system"]))
    gathered: list[Item] = []
    total = 0.0
    for item in items:
        gathered.append(item)
        total += item.recording.duration if item.recording else 0.0
        if total >= GATHERED * seconds or len(gathered) == 1000:
            yield from _analyze_gathered(gathered, recognizer, limits, words)
            gathered, total = [], 0.0
    yield from _analyze_gathered(gathered, recognizer, limits, words)


def _analyze_gathered(gathered: list[Item], recognizer: EmotionRecognizer, limits: Limits, words: bool) -> list[Answer]:
    durations = {at: item.recording.duration for at, item in enumerate(gathered) if item.recording}
    order = sorted(durations, key=durations.get)
    analyses: dict[int, Analysis] = {}
    for part in cut(np.array([durations[at] for at in order]), limits):
        batch = [gathered[at].recording for at in order[part]]
        analyses |= zip(order[part], recognizer.analyze_batch(batch, words), strict=True)
    return [(item, analyses.get(at)) for at, item in enumerate(gathered)]
