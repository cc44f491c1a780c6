"""What is held out of a training set for validation: a speaker's partner, whole recordings or speakers, utterances.

What is drawn depends on names and sizes alone, not on the order of the table.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from local.core.errors import UserError
from local.corpora import manifest
from local.splits import utterances

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.1  # share of the training set


def draw(table: pd.DataFrame, sets: pd.Series, valid: str, same_audio: pd.Series | None, where: str) -> pd.Series:
    """Move what validation `recordings`, `speakers` or `utterances` draws from set `train` to `valid`.

    Other validations change nothing. `sets` has the set of each utterance, `where` seeds what is drawn; for
    `same_audio` see `local.splits.protocols.split_all`.
    """
    trained = table[sets == "train"]
    if valid == "recordings":
        drawn = recordings(trained.set_index("ID")["recording"], seed=f"recordings of {where}")
        return sets.mask(table["recording"].isin(drawn) & (sets == "train"), "valid")
    if valid == "speakers":
        return sets.mask(sets.index.isin(speakers(trained, seed=f"speakers of {where}")), "valid")
    if valid == "utterances":
        drawn = utterances.held_out(trained, same_audio, seed=f"utterances of {where}")
        return sets.mask(sets.index.isin(drawn), "valid")
    return sets


def partner(table: pd.DataFrame, tested: pd.Series) -> str:
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
        raise UserError(f"speaker {speaker} has no partner{where}", "take --valid recordings, utterances or none")
    return mates[(mates.index(speaker) + 1) % len(mates)]


def unknown_recordings(recordings: pd.Series) -> str:
    """Say which of the utterances, the index, have no recording."""
    without = recordings.index[recordings == ""]
    return f"{len(without)} of {len(recordings)} have none: {', '.join(without[:3])}{' ...' * (len(without) > 3)}"


def recordings(recordings: pd.Series, seed: str) -> set[str]:
    """Draw whole recordings until they hold `HELD_OUT` of the utterances, to the nearest recording."""
    if (recordings == "").any():
        raise UserError(
            f"validation 'recordings' needs a recording for every utterance; {unknown_recordings(recordings)}",
            "fill the column `recording`, or take --valid utterances or none",
        )
    sizes = recordings.value_counts()
    order = sorted(sizes.index)
    random.Random(seed).shuffle(order)
    wanted, held, drawn = HELD_OUT * len(recordings), 0, set()
    for name in order:
        if abs(held + sizes[name] - wanted) > abs(wanted - held):
            if drawn:
                break
            continue  # by itself too large; another may be small enough
        drawn.add(name)
        held += sizes[name]
    if not drawn or len(drawn) == len(order):
        raise UserError(
            f"no validation set can be held out of {len(order)} recordings", "take --valid none, or --valid partner"
        )
    return drawn


def speakers(table: pd.DataFrame, seed: str) -> list[int]:
    """The index of the utterances of a training set, `table`, whose speakers validate.

    Of each corpus, where there are several, whole speakers with about `HELD_OUT` of its utterances, and at least one.
    No corpus and no emotion leaves the training set. A `UserError` where that cannot be, or a speaker is unknown.
    """
    if (table["spk_id"] == "").any():
        raise UserError("validation 'speakers' needs a speaker for every training utterance", "take --valid utterances")
    drawn: list[int] = []
    left = Counter(table["emo"])
    for corpus, some in table.groupby(manifest.column(table, "corpus")):
        names = _draw(some, left, f"{seed}, {corpus}")
        if not names:
            of = f" of corpus {corpus}" if corpus else ""
            raise UserError(
                f"no speaker{of} can be held out for validation: every emotion, and one speaker, must train",
                "take --valid utterances, or --valid none",
            )
        drawn += some.index[some["spk_id"].isin(names)].tolist()
    return drawn


def _draw(table: pd.DataFrame, left: Counter[str], seed: str) -> list[str]:
    """Draw speakers of a corpus; `left` counts the emotions of all that trains, and loses those of who is drawn."""
    of_speaker = {name: Counter(emotions) for name, emotions in table["emo"].groupby(table["spk_id"])}
    order = sorted(of_speaker)
    random.Random(seed).shuffle(order)
    wanted, held, drawn = HELD_OUT * len(table), 0, []

    def can_leave(name: str) -> bool:
        return all(left[emotion] > count for emotion, count in of_speaker[name].items())

    for name in order:
        size = of_speaker[name].total()
        if abs(held + size - wanted) <= abs(wanted - held) and can_leave(name):
            drawn.append(name)
            held += size
            left -= of_speaker[name]
    if not drawn and len(order) > 1:  # all speak more than twice the share
        free = [name for name in order if can_leave(name)]
        drawn = sorted(free, key=lambda name: of_speaker[name].total())[:1]
        left -= of_speaker[drawn[0]] if drawn else Counter()
    return drawn


def has_speakers(table: pd.DataFrame) -> bool:
    """Whether every utterance of a training set has a speaker, and every corpus in it two of them or more."""
    if not len(table) or (table["spk_id"] == "").any():
        return False
    return bool((table["spk_id"].groupby(manifest.column(table, "corpus")).nunique() > 1).all())
