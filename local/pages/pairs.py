"""A comparison of experiments, pair by pair, as Markdown."""

from __future__ import annotations

import pandas as pd

from local.pages.tables import comparison_table, interval_source
from local.splits import naming

OF_TEXT = ", the matched-pairs test for WER"


def render_pairs(pairs: pd.DataFrame) -> str:
    """Show a comparison: the table, and what must be known to read it."""
    first = pairs.sort_values("speaker_overlap", kind="stable").iloc[0]  # of a model not trained here it is not known
    valid = sorted({*pairs["valid_a"], *pairs["valid_b"]})
    protocol = naming.describe(first["protocol"], first["speakers_known"], first["speaker_overlap"])
    notes = [
        f"Corpus {first['corpus']}, validation {' against '.join(valid)}. In per cent; difference: B - A.",
        f"Protocol `{first['protocol']}`: {protocol}.",
        f"Interval and p: paired bootstrap, {interval_source(first)}.",
        f"Second p: McNemar's test for WA (one seed only){OF_TEXT if pairs['wer_a'].notna().any() else ''}.",
    ]
    if len(pairs) > 1:
        notes.append("All p after Holm's correction over the pairs that have the score.")
    return "\n".join([*comparison_table(pairs).markdown(), "", " ".join(notes)]) + "\n"
