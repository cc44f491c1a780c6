"""The columns of a user's own data: what they are called, there and elsewhere, and what their cells may say."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from local.core import tasks
from local.corpora import labels, lists
from local.corpora.jsonl import Nested, unusable
from local.corpora.manifest import NUMBERS
from local.corpora.names import is_name
from local.corpora.rows import Row
from local.text.normalise import normalise

REQUIRED = ("wav", "emo")
NO_EMOTION = "emo is empty"  # a fault, unless `--extra-training` is to have such rows
VOTES = "votes"
OPTIONAL = ("ID", "wrd", "spk_id", "session", "recording", "gender", "style", lists.COLUMN, *NUMBERS, VOTES)
GENDERS = {"": "", "f": "F", "female": "F", "m": "M", "male": "M"}
STYLES = ("", "impro", "script")
FOLDERS = ("spk_id", "session", "recording")  # columns after which folders are named
# What the columns are called elsewhere, by what they are called here.
CALLED = {
    "wav": "path file filename file_name filepath file_path wav_file wav_path "
    "audio audio_file audio_path audio_filepath audio_filename",
    "emo": "emotion emotions label class category",
    "ID": "utterance_id utt_id utt",
    "wrd": "text transcript transcription sentence words raw_text",
    "spk_id": "speaker speaker_id spk actor actor_id client_id subject",
    "session": "session_id ses",
    "recording": "recording_id dialogue dialog dialogue_id dialog_id",
    "gender": "sex",
    "style": "",
    "split": "partition subset split_set data_split",
    **{"valence": "emoval", "arousal": "activation emoact", "dominance": "emodom", "votes": ""},
}
NAMED = {name: here for here, names in CALLED.items() for name in (here.lower(), *names.split())}
LONGEST = 63  # in UTF-8 a letter may take four bytes, and a folder's name has 255 at most
NAMES = f"give up to {LONGEST} letters, digits, _ . and -, of which . and - do not come first"
TAKEN = ("folds.json", "leaks.csv")  # files beside the folders of folds
SEPARATORS = ",;\t|"
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def utterance(required: Sequence[str], root: Path, row: Row) -> tuple[Row, list[str]]:
    """The columns of `local.corpora.manifest` of a row, and what is wrong with it."""
    row = dict.fromkeys(OPTIONAL, "") | row
    nested = {column: column for column in OPTIONAL if isinstance(row[column], Nested)}
    wrong = unusable(row, nested, ())
    row |= dict.fromkeys(nested, "")
    row |= {column: nfc(row[column]) for column in ("ID", *FOLDERS)}
    wav = row["wav"]
    if "\\" in wav and not os.path.lexists(root / wav):
        wav = wav.replace("\\", "/")
    wav = os.path.relpath(root / wav, root) if wav else ""
    name = nfc(os.path.splitext(wav)[0])
    name = "-".join(part for part in name.split("/") if part != "..")
    wrong += [f"{column} is empty" for column in required if not row[column]]
    wrong += [
        f"{column} {row[column]!r} has a control character" for column in ("ID", "wav") if CONTROL.search(row[column])
    ]
    if row["emo"] and not is_name(row["emo"], labels.SIGNS):
        wrong.append(f"emo {row['emo']!r} has characters other than letters, digits, _ and -")
    for column in FOLDERS:
        if row[column] and (not can_be_folder(row[column]) or row[column].lower() in TAKEN):
            wrong.append(f"{column} {row[column]!r} cannot name a folder: {NAMES}")
    if row["gender"].lower() not in GENDERS:
        wrong.append(f"gender {row['gender']!r} is none of f, female, m, male")
    if row["style"] not in STYLES:
        wrong.append(f"style {row['style']!r} is neither impro nor script")
    if (word := row[lists.COLUMN]) and not lists.is_list(word):
        wrong.append(f"{lists.COLUMN} {word!r} is none of {lists.KNOWN}{lists.suggestion(word)}")
    wrong += [_no_number(column, row[column]) for column in NUMBERS if not _is_number(row[column])]
    try:
        tasks.votes(row[VOTES])
    except ValueError as error:
        wrong.append(f"{VOTES}: {error}")
    columns = row | {
        "ID": row["ID"] or name,
        "wav": wav,
        "gender": GENDERS.get(row["gender"].lower(), ""),
        "wrd": normalise(row["wrd"]),
    }
    return columns, wrong


def can_be_folder(name: str) -> bool:
    """Whether a folder can have this name on any disk."""
    return is_name(name, "_.-") and name[0] not in ".-" and len(name) <= LONGEST


def nfc(text: str) -> str:
    """Text in composed Unicode form, in which two spellings that look alike are equal."""
    return unicodedata.normalize("NFC", text)


def _no_number(column: str, cell: str) -> str:
    comma = ": write it with a point" if _is_number(cell.replace(",", ".")) else ""
    return f"{column} {cell!r} is no number{comma}"


def _is_number(cell: str) -> bool:
    """Whether a cell is empty or a finite number; Python alone takes `1_0` for one."""
    try:
        return not cell or ("_" not in cell and math.isfinite(float(cell)))
    except ValueError:
        return False
