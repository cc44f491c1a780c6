"""Protocols: which utterances are tested together, which are for validation, which for training.

A protocol names the fold in which an utterance is tested, if any; a validation names, within a fold,
which of the others choose the epoch. Both depend on the table of utterances alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.corpora import lists, manifest
from local.corpora.faults import examples
from local.splits import checks, held_out, official, utterances
from local.splits.checks import LEFT_OUT, ORACLE
from local.splits.naming import CORPUS, DEFAULT, OFFICIAL, RANDOM, VALID_WORDS, WORDS

if TYPE_CHECKING:
    import pandas as pd

RecordingFold = Callable[[str], str]

RANDOM_FOLDS = utterances.NAMES  # of a corpus that is not tiny
TEXT_SHARES = 3  # a fold holds out one sentence of so many
COLUMN = {"speaker": "spk_id", "session": "session", "recording": "recording"}  # that a protocol divides by
COLUMN |= {OFFICIAL: lists.COLUMN, CORPUS: "corpus"}
MOST_RECORDING_FOLDS = 10


def default_protocol(table: pd.DataFrame) -> str:
    """The protocol unless the user names one.

    Of a table without any speaker, session or recording it is `official` or `corpus` where the table has their column,
    and otherwise `random`.
    """
    filled = [name for name, column in COLUMN.items() if (manifest.column(table, column) != "").any()]
    if not filled:
        return RANDOM
    return filled[0] if filled[0] in (OFFICIAL, CORPUS) else DEFAULT


def default_valid(protocol: str, table: pd.DataFrame) -> str:
    """The validation that a protocol has unless the user names one."""
    if protocol == "speaker":
        return "partner"
    if protocol == RANDOM:
        return "utterances" if utterances.can_validate(table) else "none"
    if protocol == OFFICIAL:
        if official.has(table, lists.VALID):
            return "list"
        table = table[official.column(table) == lists.TRAIN]
    if protocol in (OFFICIAL, CORPUS) and held_out.has_speakers(table):
        return "speakers"
    return "recordings" if (table["recording"] != "").all() else "none"


def used(table: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """The utterances that a protocol uses: all, but those that are in no list where it is `official`."""
    return table[official.column(table) != ""] if protocol == OFFICIAL else table


def may_share_validation(protocol: str, valid: str) -> bool:
    """Whether nobody here knows what validation and test sets share, as the corpus's owners made them."""
    return protocol == OFFICIAL and valid != ORACLE


def left_out(table: pd.DataFrame, protocol: str, valid: str) -> list[str]:
    """Say which utterances a protocol leaves out of its sets, a line each; see `local.splits.official`."""
    return official.left_out(table, valid) if protocol == OFFICIAL else []


def split_all(
    table: pd.DataFrame,
    protocol: str,
    valid: str,
    text_held: bool = False,
    recording_fold: RecordingFold | None = None,
    same_audio: pd.Series | None = None,
) -> dict[str, pd.Series]:
    """Name the set of every utterance, by fold; see `test_folds`, `split` and `hold_text`.

    `same_audio` is the column `audio` of `local.splits.audit.keys`: where single utterances are drawn, those with one
    key stay together. A `UserError` if the corpus does not serve the protocol or the validation, or would have too
    many folds.
    """
    folds = test_folds(table, protocol, recording_fold, same_audio)
    checks.assert_partition(table, folds, untested=protocol == OFFICIAL)
    checks.refuse_too_many(protocol, folds)
    names = sorted({*folds.unique()} - {""})
    splits = {fold: split(table, folds, fold, valid, same_audio, protocol == OFFICIAL) for fold in names}
    if text_held:
        splits = {fold: hold_text(table, sets, rank) for rank, (fold, sets) in enumerate(splits.items())}
    for fold, sets in splits.items():
        checks.assert_sets(fold, sets)
    return splits


def fold_names(table: pd.DataFrame, protocol: str, recording_fold: RecordingFold | None = None) -> list[str]:
    """The folds of a protocol, in order; parameters and errors as of `test_folds`."""
    refuse_unserved(table, protocol)
    if protocol == RANDOM:
        return utterances.fold_names(table)
    return sorted({*test_folds(table, protocol, recording_fold).unique()} - {""})


def test_folds(
    table: pd.DataFrame,
    protocol: str,
    recording_fold: RecordingFold | None = None,
    same_audio: pd.Series | None = None,
) -> pd.Series:
    """Name the fold that tests each utterance, empty where none does; a `UserError` as of `refuse_unserved`.

    `recording_fold` gives the fold of a recording, where the corpus says (see `local.corpora`); otherwise each
    recording is a fold, or more than ten of them are dealt in their order to ten. For `same_audio` see `split_all`.
    """
    refuse_unserved(table, protocol)
    if protocol == RANDOM:
        return utterances.deal(table, same_audio)
    if protocol == OFFICIAL:
        return official.folds(table)
    column = table[COLUMN[protocol]]
    if protocol != "recording":
        return column
    names = sorted(column.unique())
    if recording_fold is None:
        if len(names) <= MOST_RECORDING_FOLDS:
            return column
        recording_fold = {name: f"part{rank % MOST_RECORDING_FOLDS}" for rank, name in enumerate(names)}.__getitem__
    return column.map({name: recording_fold(name) for name in names})


def refuse_unserved(table: pd.DataFrame, protocol: str) -> None:
    """Raise a `UserError` if there is no such protocol, or the corpus does not serve it; it names those it does."""
    if protocol not in WORDS:
        raise UserError(f"unknown protocol '{protocol}'", f"take one of: {' '.join(WORDS)}")
    reason = _fault(table, protocol)
    if not reason:
        return
    if protocol == RANDOM:
        raise UserError(f"this corpus cannot serve protocol 'random': {reason}", "add more data")
    columns = ", ".join(f"{column} for {name}" for name, column in COLUMN.items() if name != CORPUS)
    raise UserError(
        f"this corpus cannot serve protocol '{protocol}' (column {COLUMN[protocol]}): {reason}",
        f"take one of: {' '.join(served(table))} (random is optimistic: it ignores who speaks), "
        f"or fill a column: {columns}",
    )


def served(table: pd.DataFrame) -> list[str]:
    """The protocols that a corpus serves, in the order of `WORDS`: `random` is last."""
    return [protocol for protocol in WORDS if not _fault(table, protocol)]


def _fault(table: pd.DataFrame, protocol: str) -> str:
    """Why a corpus does not serve a protocol, or empty: every utterance has what it divides by, into two or more."""
    if protocol == RANDOM:
        return "" if len(utterances.fold_names(table)) > 1 else "no emotion has two utterances"
    if protocol == OFFICIAL:
        return official.fault(table)
    column = manifest.column(table, COLUMN[protocol])
    if lacking := int((column == "").sum()):
        if protocol == CORPUS and lacking == len(column):
            return "it is one corpus"
        which = examples(table["ID"][column == ""].tolist())
        what = f"{lacking} of its {len(column)} utterances {'has' if lacking == 1 else 'have'} no {column.name}"
        return what + f": {which}" * (lacking < len(column))
    return "" if column.nunique() > 1 else "there is only one"


def split(
    table: pd.DataFrame,
    folds: pd.Series,
    fold: str,
    valid: str,
    same_audio: pd.Series | None = None,
    of_lists: bool = False,
) -> pd.Series:
    """Name the set (of `SETS`, or `LEFT_OUT`) of every utterance in one fold.

    `folds` are the utterances' test folds, as from `test_folds`, and `valid` is one of `VALID_WORDS`. For `same_audio`
    see `split_all`. With oracle no utterance is named `valid`: the test set is both, see `checks.members`. `of_lists`
    is for protocol `official`, all of whose folds have one training set, and hold the same out of it.
    """
    if valid not in VALID_WORDS:
        raise UserError(f"unknown validation '{valid}'", f"take one of: {' '.join(VALID_WORDS)}")
    import pandas as pd  # takes half a second to load

    if of_lists:
        return official.sets(table, fold, valid, same_audio)
    sets = pd.Series("train", index=table.index)
    sets[folds == fold] = "test"
    if valid == "list":
        raise UserError("validation 'list' is of protocol official alone", "leave out --valid, or take another")
    if valid == "partner":
        sets[table["spk_id"] == held_out.partner(table, table["spk_id"][sets == "test"])] = "valid"
        if not (sets == "train").any():
            raise UserError(
                f"fold {fold}: two speakers leave nobody to train on beside the tested and the validating one",
                "take --valid none: the other speaker trains, and the last epoch is taken",
            )
        return sets
    return held_out.draw(table, sets, valid, same_audio, f"fold {fold}")


def hold_text(table: pd.DataFrame, sets: pd.Series, rank: int) -> pd.Series:
    """Hold every third sentence out of training and validation, and test nothing else.

    Of the distinct transcripts in their order, the fold of `rank` tests those at positions
    `rank`, `rank` + 3, ... (modulo 3): three folds in a row test every sentence. Utterances
    without a transcript keep their set. `sets` are as from `split`, ranks count from 0.
    A `UserError` if there are too few sentences, or none of those held out is tested.
    """
    keep = table["wrd"].isin(held_sentences(table, rank)) == (sets == "test")
    kept = sets.where(keep | (table["wrd"] == ""), LEFT_OUT)
    if not (kept == "test").any():
        raise UserError("a fold tests none of the sentences that it holds out", "leave out --hold-text")
    return kept


def held_sentences(table: pd.DataFrame, rank: int) -> set[str]:
    """The transcripts that the fold of `rank` holds out; see `hold_text`."""
    sentences = sorted(set(table["wrd"]) - {""})
    if len(sentences) < TEXT_SHARES:
        raise UserError(
            f"no text can be held out: the corpus has {len(sentences)} different transcripts", "leave out --hold-text"
        )
    return set(sentences[rank % TEXT_SHARES :: TEXT_SHARES])
