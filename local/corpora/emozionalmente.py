"""Emozionalmente: acted emotional speech in Italian, crowd-sourced (Catania et al., IEEE TASLP 2025), CC BY 4.0.

It is at https://zenodo.org/records/12616095 (version 1.1, `emozionalmente.zip`, 559 MB), without registration:

    audio/1612872848291.wav                    16 kHz, one channel, 16 bits, named after the time
    metadata/samples.csv                       file_name, sentence, sentence_language, actor, emotion_expressed
    metadata/evaluations.csv                   file_name, evaluator, audio_quality, emotion_recognized
    metadata/users.csv                         username, gender, age, mother_tongue, ...
    metadata/split/train.csv, dev.csv, test.csv

The folder that holds `audio` and `metadata`, or one above it, is given.

- 6,902 utterances of 431 amateur actors, who recorded themselves with what they had; the same 18 sentences in six
  emotions (anger, disgust, fear, joy, sadness, surprise) and neutrality. Not every actor recorded every one of them.
- The label is the emotion that the actor was asked for. Five listeners judged each recording (829 in all); their
  votes are in the column `votes`, `ang 3 neu 2`. Two thirds of them agree with the label.
- The official split, by actor, is in the column `split`: train 4,366 (274 actors), valid 1,202 (69), test 1,334 (88).
  Version 1.0 (record 6569824, `emozionalmente_dataset.zip`) has no such lists and is read without.

Traps: three of the sentences are those of EMOVO, word for word. All sentences occur in all lists. Some actors have a
single recording and one more than a hundred, so that folds by speaker are of very different sizes.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import About, Corpus, labels
from local.corpora.faults import Fault, raise_faults
from local.corpora.manifest import COLUMNS, FURTHER
from local.corpora.msp_ratings import votes as count
from local.corpora.names import same_name
from local.corpora.release import audio_files, unlisted
from local.corpora.rows import Row, gather, rows
from local.text.normalise import normalise

EMOTIONS = {
    **{"anger": "ang", "disgust": "dis", "fear": "fea", "joy": "hap"},
    **{"neutrality": "neu", "sadness": "sad", "surprise": "sur"},
}
GENDERS = {"female": "F", "f": "F", "male": "M", "m": "M"}
SPLITS = {"train": "train", "dev": "valid", "test": "test"}
COUNTS = {"train": 4366, "valid": 1202, "test": 1334}
TOTAL = 6902
SAMPLES, EVALUATIONS, USERS = (f"metadata/{name}.csv" for name in ("samples", "evaluations", "users"))
SOURCE = "Emozionalmente, acted emotional speech in Italian, crowd-sourced (Catania et al. 2025, CC BY 4.0)"
REMEDY = "--data /path/to/emozionalmente, with audio and metadata; ./run.sh --corpus emozionalmente --help says more"
ABOUT = About(
    source=SOURCE,
    language="it",
    licence="cc-by-4.0",
    facts="431 amateur actors recorded themselves in Italian; the same 18 sentences, in an emotion that was asked for. "
    "Listeners recognised two thirds of them.",
    terms="Emozionalmente is under CC BY 4.0: name its authors (Catania, Wilke and Garzotto, Emozionalmente: a "
    "crowdsourced corpus of simulated emotional speech in Italian, IEEE TASLP 33, 2025).",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness"},
        **{"neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine Emozionalmente in the folder `data`; see `local.corpora`."""
    root = _root(data)
    records, faults = _rows(root, SAMPLES, ("file_name", "sentence", "actor", "emotion_expressed"))
    listed = len(records) + len(faults)
    if listed != TOTAL:
        faults.append(Fault(SAMPLES, None, "", f"{listed} rows, {TOTAL} expected"))
    genders, more = _genders(root)
    votes, wrong = _votes(root)
    splits, missing = _splits(root)
    faults += [*more, *wrong, *missing]
    speakers = _speakers({row["actor"] for _, row in records})

    def utterance(_: Path, row: Row) -> tuple[Row, list[str]]:
        name = row["file_name"]
        speaker = {"spk_id": speakers[row["actor"]], "gender": genders.get(row["actor"], "")}
        columns, wrong = _utterance(row)
        return columns | speaker | {"votes": votes.get(name, ""), "split": splits.get(name, "")}, wrong

    found: list[Fault] = []
    utterances = gather(root / "samples.csv", records, utterance, found)  # in the folder that `wav` counts from
    faults += [replace(fault, file=SAMPLES) for fault in found]
    given = (EMOTIONS.get(row["emotion_expressed"], "") for _, row in records)
    left = [each["emo"] for each in utterances.values()]
    lost = labels.lost(given, left)
    raise_faults("emozionalmente", faults, partial, labels.remedy(lost, left))
    if not utterances:
        raise UserError(f"{root / SAMPLES} lists no utterance that can be used", REMEDY)
    from local.core.typed_csv import frame  # pandas takes half a second to load

    table = frame(utterances.values(), [*COLUMNS, *FURTHER])
    silent = (table["votes"] == "").sum()
    warnings = [f"{counted(silent, 'utterance')} without votes in {EVALUATIONS}"] if silent else []
    notes = unlisted(root, "audio", {f"audio/{row['file_name']}" for _, row in records}, SAMPLES)
    notes += [] if splits else ["no official lists (metadata/split, of version 1.1)"]
    faults = labels.lost_faults(SAMPLES, lost) + faults
    return Corpus("emozionalmente", root, table, SOURCE, faults, max(listed, TOTAL) - len(table), warnings, notes=notes)


def _root(data: Path | None) -> Path:
    """The folder with the metadata: the given one, or one below it."""
    if data is None:
        raise UserError("corpus emozionalmente needs its folder", REMEDY)
    if not os.path.isdir(data):
        raise UserError(f"{data} is not a folder", REMEDY)
    for file in audio_files(Path(data), (".csv",)):
        if f"/{file}".endswith(f"/{SAMPLES}"):
            return (Path(data) / file).parent.parent.resolve()
    raise UserError(f"{data} is not Emozionalmente: it has no file {SAMPLES}", REMEDY)


def _speakers(actors: Iterable[str]) -> dict[str, str]:
    """A name for each actor that can be that of a folder: the names of users, which they chose, may differ in case."""
    speakers: dict[str, str] = {}
    taken: set[str] = set()
    for actor in sorted(actors):
        name = "_".join(re.findall(r"\w+", actor))
        names = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(2)))
        speakers[actor] = next(each for each in names if same_name(each) not in taken)
        taken.add(same_name(speakers[actor]))
    return speakers


def _rows(root: Path, file: str, required: tuple[str, ...]) -> tuple[list[tuple[int, Row]], list[Fault]]:
    """The rows of a table of the release with their lines, and what is wrong with it; none where it is missing."""
    if not os.path.isfile(root / file):
        return [], [Fault(file, None, "", "no table of this name")]
    faults: list[Fault] = []
    records = rows(root / file, required, faults)
    return records, [replace(fault, file=file) for fault in faults]


def _genders(root: Path) -> tuple[dict[str, str], list[Fault]]:
    """The gender of each actor, as far as it is one of two, and what is wrong with the table."""
    records, faults = _rows(root, USERS, ("username", "gender"))
    return {row["username"]: GENDERS.get(row["gender"].casefold(), "") for _, row in records}, faults


def _votes(root: Path) -> tuple[dict[str, str], list[Fault]]:
    """How many listeners chose each label, by file, the most frequent first, and what is wrong with the table."""
    records, faults = _rows(root, EVALUATIONS, ("file_name", "emotion_recognized"))
    chosen: dict[str, list[str]] = defaultdict(list)
    for line, row in records:
        if label := EMOTIONS.get(row["emotion_recognized"]):
            chosen[row["file_name"]].append(label)
        else:
            wrong = f"emotion_recognized {row['emotion_recognized']!r} is none of {', '.join(EMOTIONS)}"
            faults.append(Fault(EVALUATIONS, line, "", wrong))
    return {name: count(each) for name, each in chosen.items()}, faults


def _splits(root: Path) -> tuple[dict[str, str], list[Fault]]:
    """The official list of each file, and what is wrong with these lists; nothing where the release has none."""
    splits: dict[str, str] = {}
    faults: list[Fault] = []
    if not os.path.isdir(root / "metadata" / "split"):
        return splits, faults
    for name, split in SPLITS.items():
        file = f"metadata/split/{name}.csv"
        records, wrong = _rows(root, file, ("file_name",))
        faults += wrong
        if records and len(records) != COUNTS[split]:
            faults.append(Fault(file, None, "", f"{len(records)} rows, {COUNTS[split]} expected"))
        for line, row in records:
            if splits.setdefault(row["file_name"], split) != split:
                other = splits[row["file_name"]]
                faults.append(Fault(file, line, "", f"{row['file_name']!r} is in the list {other} already"))
    return splits, faults


def _utterance(row: Row) -> tuple[Row, list[str]]:
    """The columns of a row of samples.csv but those of other tables, and what is wrong with it."""
    wrong = [f"{column} is empty" for column in ("file_name", "actor") if not row[column]]
    if row["emotion_expressed"] not in EMOTIONS:
        wrong.append(f"emotion_expressed {row['emotion_expressed']!r} is none of {', '.join(EMOTIONS)}")
    columns = dict.fromkeys({*COLUMNS, *FURTHER} - {"duration"}, "") | {
        "ID": Path(row["file_name"]).stem,
        "wav": f"audio/{row['file_name']}" if row["file_name"] else "",
        "emo": EMOTIONS.get(row["emotion_expressed"], ""),
        "wrd": normalise(row["sentence"]),
    }
    return columns, wrong
