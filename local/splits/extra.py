"""Extra training (`--extra-training`): utterances without one of the corpus's emotions, which train what needs none.

They are in training sets alone, so that no figure is of them, and the folds are otherwise the same as without them. Of
a fold those train that its protocol and its validation would let train, had they an emotion: who speaks must be in the
training set, and nothing may be shared with what is tested or validates that an utterance of the training set may not
share. `local.splits.audit` then finds what the sets share, with these among them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from local.corpora import lists, manifest
from local.splits import naming, protocols
from local.splits.audit import NEVER, PROMISES
from local.splits.checks import LEFT_OUT, members

SIZE = "extra"  # in folds.json, beside the sizes of the sets of a fold
HELD_BY = {"partner": "speaker", "speakers": "speaker", "recordings": "recording"}  # what a validation holds out


def join(table: pd.DataFrame, extra: pd.DataFrame) -> pd.DataFrame:
    """The table of a corpus with further utterances, sorted by ID; those of the table keep their index."""
    return manifest.concat([table, extra]).sort_values("ID")


def split_all(
    whole: pd.DataFrame,
    splits: Mapping[str, pd.Series],
    keys: pd.DataFrame,
    protocol: str,
    valid: str,
    text_held: bool = False,
    recording_fold: protocols.RecordingFold | None = None,
) -> dict[str, pd.Series]:
    """Name the set of every utterance of `whole`, as from `join`, by fold: of the extra ones `train`, or `LEFT_OUT`.

    `splits` are those of the table alone, `keys` are as of `local.splits.audit.keys`, of `whole`; for the others see
    `local.splits.protocols.split_all`.
    """
    first = next(iter(splits.values()))
    is_extra = ~whole.index.isin(first.index)
    tested_in = manifest.column(whole, protocols.COLUMN.get(protocol, ""))  # empty where the protocol has no column
    if protocol == "recording" and recording_fold is not None:
        tested_in = tested_in.map(recording_fold)
    kinds = {kind: keys[kind].astype(str) for kind in keys}
    joined = {}
    for rank, (fold, sets) in enumerate(splits.items()):
        sets = sets.reindex(whole.index, fill_value=LEFT_OUT)
        may = is_extra & _may_train(kinds, sets, protocol, valid)
        if protocol == naming.OFFICIAL:
            may &= (tested_in == lists.TRAIN).to_numpy()
        else:
            may &= (tested_in != fold).to_numpy()
        if text_held:
            may &= ~whole["wrd"].isin(protocols.held_sentences(whole[~is_extra], rank)).to_numpy()
        joined[fold] = sets.mask(may, "train")
    return joined


def _may_train(kinds: Mapping[str, pd.Series], sets: pd.Series, protocol: str, valid: str) -> np.ndarray:
    """[n] whether utterances may train in a fold, by what they share with those of its sets."""
    inside = {name: members(sets, name, valid).to_numpy() for name in ("train", "valid", "test")}
    held = {"test": (*NEVER, *PROMISES[protocol]), "valid": (*NEVER, *filter(None, [HELD_BY.get(valid)]))}
    may = np.ones(len(sets), bool)
    for name, shared in held.items():
        for kind in shared:
            may &= ~kinds[kind].isin({*kinds[kind][inside[name]]} - {""}).to_numpy()
    if speakers := {*kinds["speaker"][inside["train"]]} - {""}:
        may &= kinds["speaker"].isin(speakers).to_numpy()
    return may


def count(splits: Mapping[str, pd.Series], table: pd.DataFrame) -> dict[str, int]:
    """How many utterances train in each fold that the corpus's own table has not."""
    return {fold: int(((sets == "train") & ~sets.index.isin(table.index)).sum()) for fold, sets in splits.items()}


def strangers(whole: pd.DataFrame, table: pd.DataFrame) -> int:
    """How many that `table` lacks train in no fold, as it has nothing of their speaker; 0 where it names none."""
    speakers = {*table["spk_id"]} - {""}
    others = whole["spk_id"][~whole.index.isin(table.index)]
    return int((~others.isin(speakers)).sum()) if speakers else 0


def describe(numbers: Mapping[str, int]) -> str:
    """Say how many utterances without an emotion train: `2,900 to 3,100 utterances without one of the emotions`.

    >>> describe({"01F": 2, "01M": 1}), describe({"01F": 2})
    ('1 to 2 utterances without one of the emotions', '2 utterances without one of the emotions')
    """
    least, most = min(numbers.values()), max(numbers.values())
    return f"{f'{least:,} to ' if least < most else ''}{most:,} utterances without one of the emotions"
