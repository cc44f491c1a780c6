"""Protocols: which utterances are tested together, which validate, which train.

A protocol names every utterance's test fold; a validation names, within a fold, what is held out
of the rest to choose the epoch. Both are functions of the table of utterances alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pandas as pd

from local.core.errors import UserError

RecordingFold = Callable[[str], str]

WORDS = {
    "recording": "each fold tests whole recordings; the speakers heard in them also train",
    "speaker": "each fold tests all that one speaker says; that speaker is heard nowhere else",
    "session": "each fold tests a whole session; its speakers are heard nowhere else",
}
VALID_WORDS = {
    "partner": "another speaker (of the same session, where there are sessions) chooses the epoch",
    "recordings": "whole recordings held out of the training part, about 10 % of it, choose the epoch",
    "none": "nothing is held out: the last epoch is taken",
}
HOLD_TEXT = "-hold_text"  # behind the name of a protocol whose folds hold text out
HOLD_TEXT_WORDS = "of its turns a third is tested, by sentence; these sentences are heard nowhere else"
TEXT_SHARES = 3  # every how manyth sentence a fold holds out
LEFT_OUT = "left out"  # the part of an utterance that neither trains nor tests
COLUMN = {"recording": "recording", "speaker": "spk_id", "session": "session"}
HELD_OUT = 0.1  # share of the training part that `recordings` holds out
MOST_RECORDING_FOLDS = 10
MOST_LINES = 20  # of unfit folds


def describe(name: str) -> str:
    """Say what a protocol's folds test; its name is as in paths, with `HOLD_TEXT` behind it or not."""
    protocol = name.removesuffix(HOLD_TEXT)
    return WORDS[protocol] + (f"; {HOLD_TEXT_WORDS}" if name != protocol else "")


def default_valid(protocol: str, table: pd.DataFrame) -> str:
    """The validation that a protocol has unless the user names one."""
    if protocol == "speaker":
        return "partner"
    return "recordings" if (table["recording"] != "").all() else "none"


def test_folds(table: pd.DataFrame, protocol: str, recording_fold: RecordingFold | None = None) -> pd.Series:
    """Name the fold that tests each utterance.

    Parameters
    ----------
    table
        Table of utterances.
    protocol
        One of `WORDS`.
    recording_fold
        The fold of a recording, where the corpus says (see `local.corpora`); otherwise recordings
        are folds themselves, or are dealt in their order to ten.

    Raises
    ------
    UserError
        The corpus cannot serve the protocol.
    """
    if protocol not in WORDS:
        raise UserError(f"unknown protocol '{protocol}'", f"take one of: {' '.join(WORDS)}")
    column = table[COLUMN[protocol]]
    if not serves(table, protocol):
        lacking = int((column == "").sum())
        reason = f"{lacking} of its {len(column)} utterances have no {column.name}" if lacking else "there is only one"
        others = [name for name in WORDS if serves(table, name)]
        remedy = f"it can serve: {' '.join(others)}" if others else "add a column spk_id, session or recording to it"
        raise UserError(f"this corpus cannot serve protocol '{protocol}' (column {column.name}): {reason}", remedy)
    if protocol != "recording":
        return column
    names = sorted(column.unique())
    if recording_fold is None:
        recording_fold = {
            name: name if len(names) <= MOST_RECORDING_FOLDS else f"part{rank % MOST_RECORDING_FOLDS}"
            for rank, name in enumerate(names)
        }.__getitem__
    return column.map({name: recording_fold(name) for name in names})


def serves(table: pd.DataFrame, protocol: str) -> bool:
    """Tell whether the table says enough for a protocol."""
    column = table[COLUMN[protocol]]
    return bool((column != "").all()) and column.nunique() > 1


def split(table: pd.DataFrame, folds: pd.Series, fold: str, valid: str) -> pd.Series:
    """Name the part (`train`, `valid`, `test`) of every utterance in one fold.

    Parameters
    ----------
    table, folds
        The utterances and their test folds, as from `test_folds`.
    fold
        The fold whose parts are wanted.
    valid
        One of `VALID_WORDS`.
    """
    if valid not in VALID_WORDS:
        raise UserError(f"unknown validation '{valid}'", f"take one of: {' '.join(VALID_WORDS)}")
    part = pd.Series("train", index=table.index)
    part[folds == fold] = "test"
    if valid == "partner":
        part[table["spk_id"] == _partner(table, table["spk_id"][part == "test"])] = "valid"
    elif valid == "recordings":
        held_out = _recordings(table["recording"][part == "train"], seed=f"recordings of fold {fold}")
        part[table["recording"].isin(held_out) & (part == "train")] = "valid"
    return part


def refuse_bad_folds(table: pd.DataFrame, parts: Mapping[str, pd.Series]) -> None:
    """Refuse folds that cannot teach or choose: all of them, by name.

    A test part may lack emotions, or be one utterance: its UA is over the emotions that it has.

    Parameters
    ----------
    table
        The utterances.
    parts
        By fold, the part of each utterance.

    Raises
    ------
    UserError
        A training part lacks an emotion that the corpus has; or a validation part has a single
        one, of which a model that knows nothing else has a UA of 1.
    """
    labels, wrong = sorted(table["emo"].unique()), []
    for fold, part in parts.items():
        absent = set(labels) - set(table["emo"][part == "train"].unique())
        wrong += [f"fold {fold}: no {label} in the training part" for label in labels if label in absent]
        chosen_by = table["emo"][part == "valid"].unique()
        wrong += [f"fold {fold}: nothing but {chosen_by[0]} in the validation part"] if len(chosen_by) == 1 else []
    if wrong:
        more = [f"... and {len(wrong) - MOST_LINES} more"] if len(wrong) > MOST_LINES else []
        raise UserError("\n  ".join([*wrong[:MOST_LINES], *more]), "take another --protocol or --valid, or more data")


def hold_text(table: pd.DataFrame, part: pd.Series, rank: int) -> pd.Series:
    """Hold every third sentence out of training and validation, and test nothing else.

    Of the distinct transcripts in their order, the fold of `rank` tests those at positions
    `rank`, `rank` + 3, ... (modulo 3): three folds in a row test every sentence. Utterances
    without a transcript keep their part.

    Parameters
    ----------
    table
        The utterances.
    part
        Their parts, as from `split`.
    rank
        The place of the fold among the protocol's, from 0.

    Raises
    ------
    UserError
        There are too few sentences, or none of those held out is tested.
    """
    sentences = sorted(set(table["wrd"]) - {""})
    if len(sentences) < TEXT_SHARES:
        raise UserError(
            f"no text can be held out: the corpus has {len(sentences)} different transcripts", "leave out --hold-text"
        )
    held = set(sentences[rank % TEXT_SHARES :: TEXT_SHARES])
    keep = table["wrd"].isin(held) == (part == "test")
    kept = part.where(keep | (table["wrd"] == ""), LEFT_OUT)
    if not (kept == "test").any():
        raise UserError("a fold tests none of the sentences that it holds out", "leave out --hold-text")
    return kept


def _partner(table: pd.DataFrame, tested: pd.Series) -> str:
    """The speaker after the tested one, in the order of names, within the session if there are sessions."""
    speakers = tested.unique()
    if len(speakers) != 1 or speakers[0] == "":
        raise UserError(
            "validation 'partner' needs folds of one speaker each", "take --protocol speaker, or --valid recordings"
        )
    speaker = speakers[0]
    session = table["session"][table["spk_id"] == speaker].iloc[0]
    mates = sorted(table["spk_id"][table["session"] == session].unique())
    if len(mates) < 2:
        raise UserError(
            f"speaker {speaker} has no partner in session {session}", "take --valid recordings, or --valid none"
        )
    return mates[(mates.index(speaker) + 1) % len(mates)]


def _recordings(recordings: pd.Series, seed: str) -> set[str]:
    """Draw whole recordings until they hold `HELD_OUT` of the utterances, to the nearest recording."""
    if (recordings == "").any():
        raise UserError("validation 'recordings' needs a recording for every utterance", "take --valid none")
    sizes = recordings.value_counts()
    order = sorted(sizes.index)
    random.Random(seed).shuffle(order)
    wanted, held, drawn = HELD_OUT * len(recordings), 0, set()
    for name in order:
        if abs(held + sizes[name] - wanted) > abs(wanted - held):
            break
        drawn.add(name)
        held += sizes[name]
    if not drawn or len(drawn) == len(order):
        raise UserError(
            f"no validation part can be held out of {len(order)} recordings", "take --valid none, or --valid partner"
        )
    return drawn
