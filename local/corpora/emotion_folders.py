"""A folder for each emotion, as data sets on Kaggle are: `--corpus folder --data ROOT`, with `ROOT/<emotion>/*.wav`.

- The emotion of a file is the name of the folder of the root that it is in, at any depth: `ROOT/angry/set 2/a.wav` is
  `angry`. A blank in it becomes `_`; labels that differ in case and blanks only are one, and one with very few files
  and almost the name of another is a fault, as in a table (see `./run.sh --corpus csv --help`).
- Where the folders of the root are splits (train, valid or validation, test), the emotions are the folders in them,
  and the splits are the official lists.
- Files: WAV, FLAC, OGG, MP3, AIFF and whatever else libsndfile reads, of any rate and number of channels. Others are
  not read; how many there are is said.
- The corpus has the name of the root in all paths.

Traps: nobody knows who speaks, so that the protocol is `random`, which is OPTIMISTIC: the speakers that are tested are
in the training set as well. Where names of files say who speaks, a table with `spk_id` is worth its time
(`--corpus csv`). Several copies of a corpus on Kaggle are cut, resampled or doubled: what `--corpus`
knows by name is better read so.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import Corpus, lists
from local.corpora.aliases import code_of
from local.corpora.csv_table import ABOUT, examined, refuse_name
from local.corpora.faults import Fault, examples
from local.corpora.own import Listed
from local.corpora.release import NOT_OURS, files_below

__all__ = ["ABOUT", "read"]

READ = (
    "wav",
    "wave",
    "flac",
    "ogg",
    "oga",
    "opus",
    "mp3",
    "aif",
    "aiff",
    "aifc",
    "au",
    "snd",
    "caf",
    "w64",
    "sph",
    "voc",
)
UNREAD = ("m4a", "m4b", "mp4", "aac", "wma", "amr", "webm", "mka", "3gp", "ac3")  # of which each file is a fault
SUFFIXES = frozenset(f".{name}" for name in READ + UNREAD)
REMEDY = "--data ROOT with ROOT/<emotion>/*.wav; ./run.sh --corpus folder --help"


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine the tree of emotions at `data`; see `local.corpora`."""
    if data is None:
        raise UserError("corpus folder needs the folder that has a folder for each emotion", REMEDY)
    if not os.path.isdir(data):
        raise UserError(
            f"{data} is not a folder", "a table of your own is --corpus csv" if os.path.exists(data) else REMEDY
        )
    root = Path(data).resolve()
    path = root.parent / Path(os.path.abspath(data)).name  # which has the name, where the folder is a link
    refuse_name(path)
    files, others = _files(root)
    splits = _splits(files)
    emotions = _emotions(root, files, splits)
    faults = [Fault(folder, None, "", "the folder has no audio file") for folder, n in emotions.items() if not n]
    listed = Listed(root / root.name, [])
    for file in files:
        number = len(listed.places) + 1
        listed.places[number] = (file, None)
        above = file.split("/")
        row = {"wav": file, "emo": above[1] if splits else above[0]}
        listed.records.append((number, row | ({lists.COLUMN: above[0]} if splits else {})))
    if others:
        kinds = ", ".join(f"{kind or 'without suffix'} {n}" for kind, n in sorted(others.items()))
        n = sum(others.values())
        listed.notes.append(f"left out, no audio that is read: {counted(n, 'file')} ({kinds})")
    corpus = examined(path, listed, faults, [], partial, {})
    return replace(corpus, warnings=[*corpus.warnings, *_emotions_in_names(sorted(corpus.table["emo"].unique()))])


def _emotions_in_names(labels: list[str]) -> list[str]:
    """Say that labels are emotions behind something else, as OAF_angry and YAF_angry, which are two labels."""
    pairs = [label.split("_", 1) for label in labels]
    if not all(len(pair) == 2 and code_of(pair[1]) for pair in pairs):
        return []
    alike = Counter(code_of(emotion) for _, emotion in pairs)
    code, n = alike.most_common(1)[0]
    if n < 2:
        return []
    named = " and ".join("_".join(pair) for pair in pairs if code_of(pair[1]) == code)
    tess = "; of TESS take --corpus tess" if {before for before, _ in pairs} == {"OAF", "YAF"} else ""
    return [
        f"{named} are {n} labels, though their emotion is one: a map makes one of them (--labels FILE), and a table "
        f"can name the speakers (--corpus csv){tess}"
    ]


def _files(root: Path) -> tuple[list[str], Counter[str]]:
    """The audio files below a folder, by relative path in order, and how many other files have which suffix."""
    found, others = [], Counter()
    for file in files_below(root):
        suffix = os.path.splitext(file)[1].lower()
        if suffix in SUFFIXES:
            found.append(file)
        else:
            others[suffix] += 1
    if top := [file for file in found if "/" not in file]:
        what = f"{root} is no tree of emotions: {len(top)} audio files are in it itself ({examples(top)})"
        raise UserError(what, f"{REMEDY}; or list them in a table: --corpus csv --data table.csv")
    if not found:
        raise UserError(f"{root} has no audio file that is read", f"{REMEDY}; a dataset is --corpus csv")
    return found, others


def _splits(files: list[str]) -> list[str]:
    """The folders of the root, if all are official lists and have folders of emotions in them."""
    folders = sorted({file.split("/")[0] for file in files})
    return folders if all(map(lists.find, folders)) and all(file.count("/") > 1 for file in files) else []


def _emotions(root: Path, files: list[str], splits: list[str]) -> dict[str, int]:
    """How many audio files each folder of an emotion has; a `UserError` if there is one such folder only."""
    above = [Path(split) for split in splits] or [Path()]
    folders = [
        str(split / name)
        for split in above
        for name in sorted(os.listdir(root / split))
        if os.path.isdir(root / split / name) and name not in NOT_OURS and not name.startswith(".")
    ]
    counts = Counter("/".join(file.split("/")[: 2 if splits else 1]) for file in files)
    full = {Path(folder).name for folder in folders if counts[folder]}
    if len(full) < 2:
        inner = sorted({file.split("/")[1] for file in files if file.count("/") > 1})
        meant = f"; did you mean --data {root / next(iter(counts))}?" if len(inner) > 1 and not splits else ""
        raise UserError(f"{root} has only one folder with audio, {next(iter(full))!r}: no two emotions", REMEDY + meant)
    return {folder: counts[folder] for folder in folders}
