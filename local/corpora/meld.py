"""MELD: lines of the television series Friends (Poria et al., ACL 2019), with official lists and transcripts.

The tables are at https://github.com/declare-lab/MELD in `data/MELD` (GPL-3.0), the clips (10.9 GB) at
http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz, which holds train.tar.gz, dev.tar.gz and test.tar.gz:

    train_sent_emo.csv    dev_sent_emo.csv    test_sent_emo.csv
    train_splits/dia0_utt0.mp4    dev_splits_complete/dia0_utt0.mp4    output_repeated_splits_test/dia0_utt0.mp4

The clips are videos, which are not read. In the folder of the release, write their sound beside them:

    find . -name '*.mp4' ! -name '._*' -exec ffmpeg -nostdin -v error -i {} -ac 1 -ar 16000 {}.wav ';'

Tables and WAV or FLAC files named dia0_utt0.mp4.wav or dia0_utt0.wav are found at any depth; the last folder above
whose name has train, dev or valid, or test in it says which list a clip is of.

- 13,708 utterances in 1,432 dialogues: train 9,989, dev 1,109 (`valid` in the column `split`), test 2,610.
- Emotions, a vote of three: anger 1,607, disgust 361, fear 358, joy (`hap`) 2,308, neutral 6,436, sadness 1,002,
  surprise 1,636. Speakers are named as in the tables, with `_` for all but letters and digits.
- Dialogues are numbered from 0 in each list: utterances and recordings have the list in their names (`dev_dia0_utt1`).

Traps: train dia125_utt3 is a broken file and dev dia110_utt7 is in no copy, so that 13,706 are left; audio for them
from elsewhere is used. Test dia38_utt4 (305 s), dia220_utt0 (235 s) and train dia309_utt0 (41 s) are cut far too long,
some others last less than 0.1 s, and the text of more does not fit the sound: they are used, with a warning. Beside
some test clips lies one named final_videos_test...: users report that it, not the plain one, has the words of the
table. The plain one is read, as in most papers; where it is taken away, the other. `._` files are a Mac's. Clips
without a row are left out, with a note. Speakers are shared by train and test; the protocol is `official` by default,
as `speaker` has 303 folds. A name such as Nurse or Man may be several people, and a few speakers are two at once.
Laughter of the audience is in the sound. Texts are UTF-8 or, in older copies, partly Windows-1252.
"""

from __future__ import annotations

import codecs
import filecmp
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import About, Corpus
from local.corpora.faults import Fault, examples
from local.corpora.release import Release, Row, audio_files
from local.corpora.rows import rows
from local.text.normalise import normalise

DEFAULT_PROTOCOL = "official"  # some three hundred people speak, most of them a line or two
EMOTIONS = {
    **{"anger": "ang", "disgust": "dis", "fear": "fea", "joy": "hap"},
    **{"neutral": "neu", "sadness": "sad", "surprise": "sur"},
}
COUNTS = {  # of the rows of each table, by emotion in the order of EMOTIONS
    "train": (1109, 271, 268, 1743, 4710, 683, 1205),
    "dev": (153, 22, 40, 163, 470, 111, 150),
    "test": (345, 68, 50, 402, 1256, 208, 281),
}
SPLITS = {"train": "train", "dev": "valid", "test": "test"}
FOLDERS = {"train": "train", "dev": "dev|valid|^val", "test": "test"}  # what is in the names of folders
REQUIRED = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
NAME = re.compile(r"(?P<second>final_videos_test)?dia(?P<dialogue>\d+)_utt(?P<utterance>\d+)(?:\.mp4)?")
SECOND = "a second cut (users report that it fits the text better; to use it, take the first one away)"
BROKEN = ("train_dia125_utt3", "dev_dia110_utt7")  # in every copy of the release
AUDIO = (".wav", ".flac")
LONG, SHORT = 30, 0.1  # seconds of a clip that was probably cut wrongly
CONTROLS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}  # read as Latin-1
EXTRACT = "find . -name '*.mp4' ! -name '._*' -exec ffmpeg -nostdin -v error -i {} -ac 1 -ar 16000 {}.wav ';'"
ABOUT = About(
    source="MELD, lines of the television series Friends in English (Poria et al. 2019)",
    language="en",
    licence="meld-gpl-3.0-annotations",
    facts="Actors of the television series Friends, in English, before an audience that laughs; labels are a vote of "
    "three people who saw the clips.",
    terms="The annotations of MELD are under GPL-3.0; the clips are cut from a television series, and nothing says "
    "that its owners agree. Whether weights trained on them may be passed on is not settled: use them for research.",
    labels={label: "happiness" if word == "joy" else word for word, label in EMOTIONS.items()},
)

# Which files are read, and as what, only `read` can say, which knows the tables.
RELEASE = Release("meld", ABOUT, lambda path: path, "train_splits/dia0_utt0.wav", suffixes=AUDIO)
Named = tuple[str, bool]  # the utterance of a file, `dev_dia0_utt1`, and whether the file is its second cut


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine MELD in the folder `data`; see `local.corpora`."""
    root = RELEASE.root(data)
    table, faults = _read_tables(root)
    files = {file: _named(file) for file in audio_files(root, AUDIO)}
    if not files:
        has_videos = any(audio_files(root, (".mp4",)))
        what = "the videos of MELD, but not their sound" if has_videos else f"no file like {RELEASE.example}"
        raise UserError(f"{root} has {what}", f"in that folder: {EXTRACT}" if has_videos else RELEASE.remedy)
    first = {named[0] for named in files.values() if named and not named[1]}
    present = first | {named[0] for named in files.values() if named}

    def describe(path: str) -> Row | str:
        if not (named := files[path]):
            raise ValueError("is not named like dia0_utt0, or no folder above it has train, dev or test in its name")
        name, is_second = named
        if name not in table:
            return "of no row of the tables"
        return SECOND if is_second and name in first else table[name]

    how = f"no WAV or FLAC file of it; ./run.sh --corpus {RELEASE.name} --help says how to make one"
    absent = [name for name in table if name not in present]
    faults += [Fault(name, None, name, how) for name in absent if name not in BROKEN]
    corpus = replace(RELEASE, describe=describe).read(data, partial, faults)
    broken = [name for name in absent if name in BROKEN]
    notes = [f"left out, without sound in every copy of the release: {', '.join(broken)}"] if broken else []
    rejected = max(len(table), sum(map(sum, COUNTS.values()))) - len(corpus.table)
    return replace(corpus, rejected=rejected, warnings=corpus.warnings + _lengths(corpus), notes=notes + corpus.notes)


def _named(file: str) -> Named | None:
    """What an audio file is of; None where its name or its folders do not tell."""
    found = NAME.fullmatch(Path(file).stem)
    for folder in reversed(Path(file).parts[:-1]):
        lists = [name for name, words in FOLDERS.items() if re.search(words, folder, re.IGNORECASE)]
        if found and len(lists) == 1:
            return f"{lists[0]}_dia{int(found['dialogue'])}_utt{int(found['utterance'])}", bool(found["second"])
    return None


def _windows(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8 as Windows-1252: a handler of errors for Python's codecs."""
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("windows-1252", _windows)


def _read_tables(root: Path) -> tuple[dict[str, Row], list[Fault]]:
    """The columns of each utterance by ID, and what is wrong with the tables."""
    table: dict[str, Row] = {}
    faults: list[Fault] = []
    for name in SPLITS:
        wanted = f"{name}_sent_emo.csv"
        found = [file for file in audio_files(root, (wanted,)) if Path(file).name.casefold() == wanted]
        others = [file for file in found[1:] if not filecmp.cmp(root / found[0], root / file, shallow=False)]
        faults += [Fault(file, None, "", f"differs from '{found[0]}', which is read") for file in others]
        if found:
            faults += _read_table(root, found[0], name, table)
        else:
            faults.append(Fault(wanted, None, "", "no table of this name"))
    if not table:
        raise UserError(f"{root} is not MELD: it has no table like train_sent_emo.csv", RELEASE.remedy)
    return table, faults


def _read_table(root: Path, file: str, name: str, table: dict[str, Row]) -> list[Fault]:
    """Read the table of the list `name` into `table`; return what is wrong with it."""
    faults: list[Fault] = []
    records = rows(root / file, REQUIRED, faults, errors="windows-1252")
    faults = [replace(fault, file=file) for fault in faults]
    for line, row in records:
        columns, wrong = _utterance(name, row)
        if not wrong and columns["ID"] in table:
            wrong.append(f"dialogue {row['Dialogue_ID']}, utterance {row['Utterance_ID']} is in an earlier row already")
        faults += [Fault(file, line, columns["ID"], each) for each in wrong]
        if not wrong:
            table[columns["ID"]] = columns
    counts = Counter(row["Emotion"].casefold() for _, row in records)
    return faults + [
        Fault(file, None, "", f"emotion {word}: {counted(counts[word], 'row')}, {expected} expected")
        for word, expected in zip(EMOTIONS, COUNTS[name], strict=True)
        if counts[word] != expected
    ]


def _utterance(name: str, row: Row) -> tuple[Row, list[str]]:
    """The columns of a row of the list `name`, and what is wrong with it."""
    wrong = [f"{column} {row[column]!r} is not a number" for column in REQUIRED[3:] if not row[column].isdecimal()]
    if row["Emotion"].casefold() not in EMOTIONS:
        wrong.append(f"Emotion {row['Emotion']!r} is none of {', '.join(EMOTIONS)}")
    speaker = row["Speaker"].translate(CONTROLS).replace("\u2019", "").replace("'", "")
    dialogue, utterance = (int(row[column]) if row[column].isdecimal() else 0 for column in REQUIRED[3:])
    columns = {
        "ID": f"{name}_dia{dialogue}_utt{utterance}",
        "spk_id": "_".join(re.findall(r"\w+", speaker)),
        "recording": f"{name}_dia{dialogue}",
        "emo": EMOTIONS.get(row["Emotion"].casefold(), ""),
        "wrd": normalise(row["Utterance"].translate(CONTROLS)),
        "split": SPLITS[name],
    }
    return columns, wrong


def _lengths(corpus: Corpus) -> list[str]:
    """Warnings of clips that are so long or so short that they were probably cut wrongly."""
    table, warnings = corpus.table.sort_values("duration", ascending=False), []
    for words, some in (
        (f"longer than {LONG} s", table[table["duration"] > LONG]),
        (f"shorter than {SHORT} s", table[table["duration"] < SHORT].iloc[::-1]),
    ):
        if len(some):
            clips = [f"{row.ID} {row.duration:.2f} s" for row in some.itertuples()]
            warnings.append(f"{len(some)} clips {words}, probably cut wrongly: {examples(clips)}")
    return warnings
