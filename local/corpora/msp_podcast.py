"""MSP-Podcast: spontaneous English from podcasts, labelled by five raters or more, in releases that grow.

By Lotfian and Busso (IEEE Transactions on Affective Computing 10, 2019) and Busso et al. (arXiv:2509.09791). Ask for it
at https://www.lab-msp.com/MSP/MSP-Podcast.html: the institution signs an academic licence, which allows research only
and forbids passing it on; there is a commercial one. The folder of a release has

- `Labels/labels_consensus.csv`, in early releases `labels_concensus.csv`: FileName, EmoClass, EmoAct, EmoVal, EmoDom,
  SpkrID, Gender, Split_Set for each speaking turn, further columns in later ones;
- `Labels/labels_detailed.csv`, a row for each rater's choice, or `labels.txt`, from which the votes are taken;
- `Audios/MSP-PODCAST_0001_0008.wav`, turns of about 3 to 11 s: podcast 0001, turn 0008;
- `Transcripts/MSP-PODCAST_0001_0008.txt`, of most turns. Without them there are no transcripts.

Emotions: A anger, C contempt, D disgust, F fear, H happiness, N neutral, S sadness, U surprise. Turns without agreement
(X) or of another emotion (O) are left out and counted; the audio of Test3, whose labels are not published, as well.
Arousal, valence and dominance are means from 1 to 7. `recording` is the podcast.

Official lists (`split`), from which a release is recognised:

======= ======= ======= ====== ======
release   train   valid  test1  test2
======= ======= ======= ====== ======
1.10     63,076  10,999 16,903 13,289
1.11     84,030  19,815 30,647 14,815
1.12    203,936 labelled turns in all
2.0     169,190  34,399 46,294 14,822
======= ======= ======= ====== ======

and that of the Odyssey 2024 challenge by 84,260 and 31,961.

The counts of releases 1.1 to 1.9 are not known here for certain: such a release is read, and said to be none that is
known. Traps: figures on different releases cannot be compared, name yours; some speakers of test1 are in test2, too;
speakers of the training set may be unknown, so that protocol `speaker` cannot be served: take the official lists.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.core.counted import counted
from local.core.errors import UserError
from local.corpora import About, Corpus, labels
from local.corpora.faults import Fault, examples, raise_faults, rejected_rows
from local.corpora.manifest import COLUMNS, FURTHER
from local.corpora.msp_ratings import LEFT_OUT, LETTERS, blocks, detailed, number, read_text
from local.corpora.rows import Row, gather, rows
from local.text.normalise import normalise

TABLES = ("labels_consensus.csv", "labels_concensus.csv")
REQUIRED = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
SPLITS = {"train": "train", "development": "valid", "validation": "valid", "test": "test"} | {
    f"test{n}": f"test{n}" for n in (1, 2, 3)
}
HIDDEN = "test3"
RELEASES: dict[str, Mapping[str, int]] = {
    "1.10": {"train": 63_076, "valid": 10_999, "test1": 16_903, "test2": 13_289},
    "1.11": {"train": 84_030, "valid": 19_815, "test1": 30_647, "test2": 14_815},
    "of the Odyssey 2024 challenge": {"train": 84_260, "valid": 31_961},
    "1.12": {"all": 203_936},
    "2.0": {"train": 169_190, "valid": 34_399, "test1": 46_294, "test2": 14_822},
}
GENDERS = {"female": "F", "male": "M", "unknown": "", "": ""}
UNKNOWN = ("", "unknown")  # speakers, in lower case
NAME = re.compile(r"MSP-PODCAST_(\d{4})_\w+\.wav")
REMEDY = "--data /path/to/the/release; ./run.sh --corpus msp-podcast --help says what it must look like"
DEFAULT_PROTOCOL = "official"
ABOUT = About(
    source="MSP-Podcast, spontaneous English from podcasts (Lotfian and Busso 2019)",
    language="en",
    licence="msp-podcast-academic-license",
    facts="Speaking turns from podcasts, chosen to be emotional; the label is the choice of most of five raters or "
    "more.",
    terms="MSP-Podcast is lent for research under an academic licence of the University of Texas at Dallas that "
    "forbids passing it on, or under a commercial one: ask its owners before you pass a model on.",
    labels={
        **{"ang": "anger", "con": "contempt", "dis": "disgust", "fea": "fear"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


@dataclass(frozen=True)
class _Release:
    """The folders of a release, and the votes by turn."""

    audios: str  # below the root
    transcripts: Path
    votes: Mapping[str, str]

    def utterance(self, root: Path, row: Row) -> tuple[Row, list[str]]:
        """The columns of `local.corpora.manifest` of a row, and what is wrong with it."""
        name, split = Path(row["FileName"]).stem, row["Split_Set"].lower()
        podcast = NAME.fullmatch(row["FileName"])
        wrong = [] if podcast else [f"FileName {row['FileName']!r} is not like MSP-PODCAST_0001_0008.wav"]
        if row["EmoClass"] not in LETTERS:
            wrong.append(f"EmoClass {row['EmoClass']!r} is none of {', '.join([*LETTERS, *LEFT_OUT])}")
        if split not in SPLITS:
            wrong.append(f"Split_Set {row['Split_Set']!r} is none of Train, Development, Test1, Test2")
        if row["Gender"].lower() not in GENDERS:
            wrong.append(f"Gender {row['Gender']!r} is none of Female, Male, Unknown")
        text = self.transcripts / f"{name}.txt"
        columns = {
            "ID": name,
            "wav": f"{self.audios}/{row['FileName']}" if podcast else "",
            "spk_id": "" if row["SpkrID"].lower() in UNKNOWN else row["SpkrID"],
            "gender": GENDERS.get(row["Gender"].lower(), ""),
            "session": "",
            "recording": podcast[1] if podcast else "",
            "style": "",
            "emo": LETTERS.get(row["EmoClass"], ""),
            "wrd": normalise(read_text(text)) if podcast and os.path.isfile(text) else "",
            "split": SPLITS.get(split, ""),
            "votes": self.votes.get(name, ""),
            "arousal": number(row["EmoAct"]),
            "valence": number(row["EmoVal"]),
            "dominance": number(row["EmoDom"]),
        }
        return columns, wrong


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine MSP-Podcast in the folder `data`; see `local.corpora`."""
    root, path = _locate(data)
    faults: list[Fault] = []
    broken: list[Row] = []
    records = rows(path, REQUIRED, faults, rejected=broken)
    chosen, left = _choose(records)
    audios = next((name for name in ("Audios", "Audio") if os.path.isdir(root / name)), "Audios")
    release = _Release(audios, root / "Transcripts", _votes(path.parent, faults))
    utterances = gather(root / path.name, chosen, release.utterance, faults)
    letters = [row["EmoClass"] for _, row in chosen] + labels.readable(broken, "EmoClass")
    emotions = [each["emo"] for each in utterances.values()]
    lost = labels.lost((LETTERS.get(each, "") for each in letters), emotions)
    raise_faults("msp-podcast", faults, partial, labels.remedy(lost, emotions))
    if not utterances:
        raise UserError(f"{path} lists no utterance that can be used", REMEDY)
    unlisted = sorted({each.name for each in os.scandir(root / audios)} - {row["FileName"] for _, row in records})
    left["not in the table: the labels of Test3 are not published"] += [
        name for name in unlisted if name.lower().endswith(".wav") and not name.startswith(".")
    ]
    from local.core.typed_csv import frame  # pandas takes half a second to load

    empty = dict.fromkeys(FURTHER, "")
    table = frame([empty | each for each in utterances.values()], [*COLUMNS, *FURTHER])
    notes = [_left(reason, names) for reason, names in left.items() if names]
    for column, what in (("wrd", "transcript"), ("votes", "votes"), ("spk_id", "known speaker")):
        without = int((table[column] == "").sum())
        notes += [f"{without} of {len(table)} utterances have no {what}"] if without else []
    name, warnings = _name_of(Counter(SPLITS.get(row["Split_Set"].lower(), "?") for _, row in records))
    source = f"{ABOUT.source}, {name}"
    rejected = rejected_rows([fault for fault in faults if fault.file == path.name])  # labels.txt costs votes alone
    faults = labels.lost_faults(path.name, lost) + faults
    return Corpus("msp-podcast", root, table, source, faults, rejected, warnings, notes=notes)


def _locate(data: Path | None) -> tuple[Path, Path]:
    """The folder of the release, and its table of consensus labels."""
    if data is None:
        raise UserError("corpus msp-podcast needs its folder", REMEDY)
    root = Path(data).resolve()
    for folder in (root / "Labels", root):
        for name in TABLES:
            if os.path.isfile(folder / name):
                return root, folder / name
    raise UserError(f"{data} is not MSP-Podcast: it has no file Labels/{TABLES[0]}", REMEDY)


def _choose(records: list[tuple[int, Row]]) -> tuple[list[tuple[int, Row]], dict[str, list[str]]]:
    """The rows of turns with a label, and the names of the others, by reason."""
    chosen, left = [], defaultdict(list)
    for line, row in records:
        if row["EmoClass"] in LEFT_OUT:
            left[LEFT_OUT[row["EmoClass"]]].append(row["FileName"])
        elif row["Split_Set"].lower() == HIDDEN and row["EmoClass"] not in LETTERS:
            left["of Test3, whose labels are not published"].append(row["FileName"])
        else:
            chosen.append((line, row))
    return chosen, left


def _votes(folder: Path, faults: list[Fault]) -> Mapping[str, str]:
    """The votes of each turn, from the table of all ratings or the text file of older releases; empty without any."""
    if os.path.isfile(folder / "labels_detailed.csv"):
        return detailed(folder / "labels_detailed.csv")
    for name in ("labels.txt", "Labels.txt"):
        if os.path.isfile(folder / name):
            return {turn: ratings.votes for turn, ratings in blocks(folder / name, faults).items()}
    return {}


def _left(reason: str, names: list[str]) -> str:
    """The note on turns that are left out."""
    return f"left out, {reason}: {counted(len(names), 'turn')}: {examples(names)}"


def _name_of(counts: Counter[str]) -> tuple[str, list[str]]:
    """Which release has these counts of labelled turns by split, and a warning where none that is known has."""
    found = {split: n for split, n in sorted(counts.items()) if split != HIDDEN}
    for release, known in RELEASES.items():
        if known in (found, {"all": sum(found.values())}):
            return f"release {release}", []
    has = ", ".join(f"{split} {n}" for split, n in found.items())
    return "no release that is known", [f"the counts ({has}) are those of no release of MSP-Podcast that is known here"]
