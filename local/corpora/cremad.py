"""CREMA-D: acted emotional speech in English, 91 actors (Cao et al., IEEE Trans. Affective Computing 2014).

It is at https://github.com/CheyneyComputerScience/CREMA-D (mirror: https://gitlab.com/cs-cooper-lab/crema-d-mirror),
under the Open Database License 1.0, its contents under the Database Contents License 1.0: clone it with Git LFS.
`AudioWAV` holds 7,442 files of 16 kHz, one channel and 16 bits, named as in `1001_DFA_ANG_XX.wav`: actor, sentence,
emotion, level (LO, MD, HI, or XX where none was asked for). Other folders (AudioMP3, VideoFlash) are not needed.

- 48 men and 43 women of 20 to 74 years; twelve sentences, eleven of them once in each emotion and one (IEO) at three
  levels, neutral at one: 82 files an actor. 1002 and 1076 lack one, 1008, 1009 and 1019 six.
- Emotions that were asked for: anger, disgust, fear, happiness, sadness 1,271 each, neutral 1,087.
- `cremad` takes these; `cremad-voted` what most raters heard in the audio alone. The two agree for 42 % of the files.
- Raters' votes on the audio alone are in the column `votes`, if `processedResults/tabulatedVotes.csv` is there.

Traps:
- Without Git LFS, and in the ZIP of GitHub, every wav is a pointer of 130 bytes: each is named as such.
- 1076_MTI_SAD_XX has no speech, as its README says: left out with a note, so 7,441 files are used.
- The raters were played other files, silent or of a minute, in place of 1076_MTI_NEU_XX, 1064_TIE_SAD_XX and
  1064_IEO_DIS_MD: their votes are not used.
- Copies made before 2022 call 1040_ITH_SAD_XX.wav 1040_ITH_SAD_X.wav: read as the former.
- Three pairs are one recording under two emotions: 1006_TIE_HAP and NEU, 1013_WSI_DIS and SAD, 1017_IWW_ANG and FEA.
  They are kept as the release has them; some copies lack one of each.
- Protocol `speaker` has 91 folds here: name some with --folds, or give `csv` a table with ten groups as `session`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial as bound
from itertools import product
from pathlib import Path

from local.core.errors import UserError
from local.corpora import About, Corpus
from local.corpora.faults import Fault
from local.corpora.release import Release, Row
from local.corpora.rows import rows
from local.text.normalise import normalise

EMOTIONS = {"ANG": "ang", "DIS": "dis", "FEA": "fea", "HAP": "hap", "NEU": "neu", "SAD": "sad"}
RATED = {letters[0]: emotion for letters, emotion in EMOTIONS.items()}  # by column of the table of votes
SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
WOMEN_LIST = """
    1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037 1043 1046 1047
    1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078 1079 1082 1084 1089 1091
"""
WOMEN = WOMEN_LIST.split()
NEVER = [f"{start}_{emotion}_XX" for start in ("1008_WSI", "1009_MTI", "1019_ITH") for emotion in EMOTIONS]
SPOKEN = [
    *(f"{sentence}_{emotion}_XX" for sentence in SENTENCES if sentence != "IEO" for emotion in EMOTIONS),
    *(f"IEO_{emotion}_{level}" for emotion in EMOTIONS if emotion != "NEU" for level in ("LO", "MD", "HI")),
    "IEO_NEU_XX",
]
NAMES = {f"{actor}_{spoken}" for actor, spoken in product(range(1001, 1092), SPOKEN)}
NAMES -= {"1002_TIE_NEU_XX", "1076_ITS_NEU_XX", *NEVER}
SILENT = "1076_MTI_SAD_XX"
MISHEARD = {"1076_MTI_NEU_XX", "1064_TIE_SAD_XX", "1064_IEO_DIS_MD"}  # for the raters
SHORT = re.compile("_X$")
VOTES = "processedResults/tabulatedVotes.csv"
ON_AUDIO = re.compile(r"1\d{5}")  # the table's number of a row: 1, 2 and 3 are sound, face and both
ABOUT = About(
    source="CREMA-D, acted emotional speech in English (Cao et al. 2014, ODbL 1.0)",
    language="en",
    licence="odbl",
    facts="91 actors speak twelve sentences in English, in an emotion that was asked for, which is the label.",
    terms="CREMA-D is under the Open Database License 1.0, and its contents under the Database Contents License 1.0: "
    "name it, and share adaptations of the database under the same terms.",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness"},
    },
)
Votes = Mapping[str, Mapping[str, int]]  # by file, how many raters chose each emotion


@dataclass(frozen=True)
class Labels:
    """CREMA-D under one of its labels: a corpus of its own."""

    name: str
    about: About
    voted: bool = False

    def read(self, data: Path | None, partial: bool = False) -> Corpus:
        """Examine CREMA-D in the folder `data`; see `local.corpora`."""
        release = Release(self.name, self.about, _describe, "AudioWAV/1001_DFA_ANG_XX.wav")
        root, faults = release.root(data), []
        path = next((path for path in (root / VOTES, root.parent / VOTES) if path.is_file()), None)
        if self.voted and not path:
            what = f"{data} has no {VOTES}, whose votes are the labels"
            raise UserError(what, "take it from the release; or --corpus cremad, for the emotions that were asked for")
        votes = read_votes(path, faults) if path else {}
        names = NAMES - {SILENT}
        if self.voted:
            names -= MISHEARD | {name for name, counts in votes.items() if len(most(counts)) > 1}
        described = bound(_describe, votes=votes, voted=self.voted)
        corpus = replace(release, describe=described, names=names).read(data, partial, faults)
        return corpus if path else replace(corpus, notes=[*corpus.notes, f"no votes of the raters: no {VOTES}"])


def read_votes(path: Path, faults: list[Fault]) -> Votes:
    """Read the raters' votes on the audio alone; `faults` receives what is wrong with the table.

    A `UserError` if it cannot be read, or has no votes on the audio.
    """
    votes = {}
    for line, row in rows(path, ("fileName", *RATED), faults):
        name = row["fileName"]
        if not ON_AUDIO.fullmatch(row.get("", "")) or name in MISHEARD | {SILENT}:
            continue
        if all(row[letter].isdecimal() for letter in RATED):
            votes[name] = {emotion: int(row[letter]) for letter, emotion in RATED.items()}
        else:
            faults.append(Fault(path.name, line, name, "a number of votes is none"))
    if not votes and not faults:
        what = f"{path} has no votes on the audio alone: rows whose number, in the first column, is 1 and five digits"
        raise UserError(what, "take the table of the release as it is")
    return votes


def most(counts: Mapping[str, int]) -> list[str]:
    """The emotions that most raters chose: several of a tie.

    >>> most({"ang": 3, "neu": 4, "sad": 4})
    ['neu', 'sad']
    """
    return [emotion for emotion, count in counts.items() if count == max(counts.values())]


def _describe(path: str, votes: Votes | None = None, voted: bool = False) -> Row | str:
    name = SHORT.sub("_XX", Path(path).stem)
    if name not in NAMES:
        raise ValueError("is not named like 1001_DFA_ANG_XX.wav: actor, sentence, emotion, level")
    if name == SILENT:
        return "no speech in the release itself"
    actor, sentence, emotion, _ = name.split("_")
    counts = (votes or {}).get(name, {})
    row = {
        "ID": name,
        "spk_id": actor,
        "gender": "F" if actor in WOMEN else "M",
        "emo": EMOTIONS[emotion],
        "wrd": normalise(SENTENCES[sentence]),
        "votes": " ".join(f"{label} {count}" for label, count in counts.items() if count),
    }
    if not voted:
        return row
    if name in MISHEARD:
        return "another file was played to the raters"
    if not counts:
        raise ValueError(f"has no votes on the audio in {Path(VOTES).name}")
    winners = most(counts)
    return row | {"emo": winners[0]} if len(winners) == 1 else "a tie of the raters"


ORIGINAL = Labels("cremad", ABOUT)
read = ORIGINAL.read
