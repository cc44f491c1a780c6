"""Protocols: which utterances are tested together, which are for validation, which for training.

A protocol names the fold in which an utterance is tested; a validation names, within a fold, which
of the other utterances choose the epoch. Both depend on the table of utterances alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.splits import checks, utterances
from local.splits.checks import LEFT_OUT, ORACLE

if TYPE_CHECKING:
    import pandas as pd

RecordingFold = Callable[[str], str]

WORDS = {
    "recording": "each fold tests whole recordings",
    "speaker": "each fold tests all utterances of one speaker, who is not in the training or validation set",
    "session": "each fold tests a whole session",
    "random": "each fold tests a random share of the utterances of each emotion, whoever speaks",
}
VALID_WORDS = {
    "partner": "another speaker (of the same session, where there are sessions) chooses the epoch",
    "recordings": "whole recordings held out of the training set, about 10 % of it, choose the epoch",
    "utterances": "single utterances held out of the training set, about 10 % of each emotion, choose the epoch",
    "none": "nothing is held out: the last epoch is taken",
    "oracle": "the test set itself chooses the epoch",
}
DEFAULT, RANDOM = "speaker", "random"
RANDOM_FOLDS = utterances.NAMES  # of a corpus that is not tiny
OF_ORACLE = f"-valid_{ORACLE}"  # behind the name of a protocol, so that no folder holds runs with and without it
OPTIMISTIC = "-OPTIMISTIC"  # behind the name of protocol `random` and of any with oracle, in paths and on tables
OPTIMISTIC_WORDS = (
    "OPTIMISTIC: the speakers and recordings that are tested are probably in the training set as well; expect lower "
    "figures on other speakers"
)
ORACLE_WORDS = (
    "OPTIMISTIC: the epoch is the best of all on the test set itself; expect lower figures on utterances that did not "
    "choose it"
)
HOLD_TEXT = "-hold_text"  # behind the name of a protocol whose folds hold text out
HOLD_TEXT_WORDS = "only a third of the transcripts is tested, and these are in no other set"
TEXT_SHARES = 3  # a fold holds out one sentence of so many
COLUMN = {"speaker": "spk_id", "session": "session", "recording": "recording"}  # that a protocol divides by
HELD_OUT = 0.1  # share of the training set that `recordings` holds out
MOST_RECORDING_FOLDS = 10


def path_name(protocol: str, text_held: bool, valid: str = "") -> str:
    """The name of a protocol in paths and on tables; of the validations only oracle is in it.

    >>> path_name("speaker", False), path_name("random", True), path_name("speaker", True, "oracle")
    ('speaker', 'random-OPTIMISTIC-hold_text', 'speaker-valid_oracle-OPTIMISTIC-hold_text')
    """
    is_oracle = valid == ORACLE
    mark = OPTIMISTIC if is_oracle or protocol == RANDOM else ""
    return protocol + (OF_ORACLE if is_oracle else "") + mark + (HOLD_TEXT if text_held else "")


def without_oracle(name: str) -> str:
    """The name of the protocol whose folds test the same; `name` is as from `path_name`.

    >>> without_oracle("session-valid_oracle-OPTIMISTIC-hold_text"), without_oracle("random-valid_oracle-OPTIMISTIC")
    ('session-hold_text', 'random-OPTIMISTIC')
    """
    protocol, _, rest = name.partition("-")
    return path_name(protocol, f"-{rest}".endswith(HOLD_TEXT))


def is_optimistic(name: str) -> bool:
    """Whether figures under a protocol are optimistic; its name is as from `path_name`."""
    return OPTIMISTIC in name


def valid_name(valid: str) -> str:
    """The name of a validation on tables.

    >>> valid_name("partner"), valid_name("oracle")
    ('partner', 'oracle-OPTIMISTIC')
    """
    return valid + (OPTIMISTIC if valid == ORACLE else "")


def describe_valid(name: str) -> str:
    """Say what a validation, or its name as from `valid_name`, chooses the epoch by."""
    valid = name.removesuffix(OPTIMISTIC)
    return VALID_WORDS[valid] + ("" if valid == ORACLE else "; the test set plays no role in it")


def describe(name: str, speakers: str = "", overlap: float = float("nan")) -> str:
    """Say what a protocol's folds test; its name is as from `path_name`.

    `speakers` tells for how many utterances of the corpus the speaker is known (`30/48`, see `manifest.filled`), and
    `overlap` is the share of the tested ones whose speaker is in the training set (`local.splits.audit`). Without
    `speakers` nothing is said of them but what protocol `speaker` promises.
    """
    held = f"; {HOLD_TEXT_WORDS}" if name.endswith(HOLD_TEXT) else ""
    protocol = name.partition("-")[0]
    if protocol == RANDOM:
        words = f"{WORDS[protocol]}; {OPTIMISTIC_WORDS}"
    else:
        words = WORDS[protocol] + (_describe_speakers(protocol, speakers, overlap) if speakers else "")
    if OF_ORACLE in name:  # the validation set is the test set, with the tested speakers
        words = words.replace("training or validation set", "training set") + f"; {ORACLE_WORDS}"
        held = held.replace("in no other set", "not in the training set")
    return words + held


def _describe_speakers(protocol: str, speakers: str, overlap: float) -> str:
    known, of = speakers.split("/")
    if protocol == "speaker":  # it refuses a corpus that does not name them all
        return ""
    if known != of:
        what = f"known for {known} of {of} utterances only" if known != "0" else "unknown"
        return f"; who speaks is {what}, so the training set may have speakers of the test set"
    if overlap != overlap:  # nan: of a model that was not trained here
        return ""
    if protocol == "session":  # the audit refuses any that are shared
        return ", whose speakers are not in the training or validation set"
    if 0 < overlap < 1:
        return f"; the speakers of {100 * overlap:.0f} % of the tested utterances are also in the training set"
    return f", whose speakers are {'also' if overlap else 'not'} in the training set"


def default_protocol(table: pd.DataFrame) -> str:
    """The protocol unless the user names one: `random` for a table without any speaker, session or recording."""
    return DEFAULT if (table[[*COLUMN.values()]] != "").any(axis=None) else RANDOM


def default_valid(protocol: str, table: pd.DataFrame) -> str:
    """The validation that a protocol has unless the user names one."""
    if protocol == "speaker":
        return "partner"
    if protocol == RANDOM:
        return "utterances" if utterances.can_validate(table) else "none"
    return "recordings" if (table["recording"] != "").all() else "none"


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
    checks.assert_partition(table, folds)
    checks.refuse_too_many(protocol, folds)
    splits = {fold: split(table, folds, fold, valid, same_audio) for fold in sorted(folds.unique())}
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
    return sorted(test_folds(table, protocol, recording_fold).unique())


def test_folds(
    table: pd.DataFrame,
    protocol: str,
    recording_fold: RecordingFold | None = None,
    same_audio: pd.Series | None = None,
) -> pd.Series:
    """Name the fold that tests each utterance; a `UserError` if the corpus does not serve the protocol (of `WORDS`).

    `recording_fold` gives the fold of a recording, where the corpus says (see `local.corpora`); otherwise each
    recording is a fold, or more than ten of them are dealt in their order to ten. For `same_audio` see `split_all`.
    """
    refuse_unserved(table, protocol)
    if protocol == RANDOM:
        return utterances.deal(table, same_audio)
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
    """Raise a `UserError` if there is no such protocol, or the corpus does not serve it; it names those that it does.

    A protocol is served if every utterance has what it divides by, and there are two folds or more.
    """
    if protocol not in WORDS:
        raise UserError(f"unknown protocol '{protocol}'", f"take one of: {' '.join(WORDS)}")
    if _serves(table, protocol):
        return
    if protocol == RANDOM:
        raise UserError("this corpus cannot serve protocol 'random': no emotion has two utterances", "add more data")
    column = table[COLUMN[protocol]]
    lacking = int((column == "").sum())
    reason = f"{lacking} of its {len(column)} utterances have no {column.name}" if lacking else "there is only one"
    names, columns = " ".join(served(table)), ", ".join(f"{column} for {name}" for name, column in COLUMN.items())
    raise UserError(
        f"this corpus cannot serve protocol '{protocol}' (column {column.name}): {reason}",
        f"take one of: {names} (random is optimistic: it ignores who speaks), or fill a column: {columns}",
    )


def served(table: pd.DataFrame) -> list[str]:
    """The protocols that a corpus serves, in the order of `WORDS`: `random` is last."""
    return [protocol for protocol in WORDS if _serves(table, protocol)]


def _serves(table: pd.DataFrame, protocol: str) -> bool:
    if protocol == RANDOM:
        return len(utterances.fold_names(table)) > 1
    column = table[COLUMN[protocol]]
    return bool((column != "").all()) and column.nunique() > 1


def split(
    table: pd.DataFrame, folds: pd.Series, fold: str, valid: str, same_audio: pd.Series | None = None
) -> pd.Series:
    """Name the set (of `SETS`) of every utterance in one fold.

    `folds` are the utterances' test folds, as from `test_folds`, and `valid` is one of `VALID_WORDS`. For `same_audio`
    see `split_all`. With oracle no utterance is named `valid`: the test set is both, see `checks.members`.
    """
    if valid not in VALID_WORDS:
        raise UserError(f"unknown validation '{valid}'", f"take one of: {' '.join(VALID_WORDS)}")
    import pandas as pd  # takes half a second to load

    sets = pd.Series("train", index=table.index)
    sets[folds == fold] = "test"
    if valid == "partner":
        sets[table["spk_id"] == _partner(table, table["spk_id"][sets == "test"])] = "valid"
        if not (sets == "train").any():
            raise UserError(
                f"fold {fold}: two speakers leave nobody to train on beside the tested and the validating one",
                "take --valid none: the other speaker trains, and the last epoch is taken",
            )
    elif valid == "recordings":
        held_out = _recordings(table["recording"][sets == "train"], seed=f"recordings of fold {fold}")
        sets[table["recording"].isin(held_out) & (sets == "train")] = "valid"
    elif valid == "utterances":
        sets[utterances.held_out(table[sets == "train"], same_audio, seed=f"utterances of fold {fold}")] = "valid"
    return sets


def hold_text(table: pd.DataFrame, sets: pd.Series, rank: int) -> pd.Series:
    """Hold every third sentence out of training and validation, and test nothing else.

    Of the distinct transcripts in their order, the fold of `rank` tests those at positions
    `rank`, `rank` + 3, ... (modulo 3): three folds in a row test every sentence. Utterances
    without a transcript keep their set. `sets` are as from `split`, ranks count from 0.
    A `UserError` if there are too few sentences, or none of those held out is tested.
    """
    sentences = sorted(set(table["wrd"]) - {""})
    if len(sentences) < TEXT_SHARES:
        raise UserError(
            f"no text can be held out: the corpus has {len(sentences)} different transcripts", "leave out --hold-text"
        )
    held = set(sentences[rank % TEXT_SHARES :: TEXT_SHARES])
    keep = table["wrd"].isin(held) == (sets == "test")
    kept = sets.where(keep | (table["wrd"] == ""), LEFT_OUT)
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
    mates = sorted(set(table["spk_id"][table["session"] == session]) - {""})
    if len(mates) < 2:
        where = f" in session {session}" if session else ""
        raise UserError(f"speaker {speaker} has no partner{where}", "take --valid recordings, or --valid none")
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
            f"no validation set can be held out of {len(order)} recordings", "take --valid none, or --valid partner"
        )
    return drawn
