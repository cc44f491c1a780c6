"""SAVEE: acted emotional speech in British English, four men (Haq and Jackson, University of Surrey, 2009-2010).

Register at http://kahlan.eps.surrey.ac.uk/savee/ to get it, free of charge for research. The folder `AudioData` holds
one folder for each speaker, with 120 files of 44.1 kHz: `AudioData/DC/a01.wav` is speaker DC, emotion a, sentence 01.
Copies with all files in one folder are read as well: `ALL/DC_a01.wav`.

- Four speakers, DC, JE, JK and KL, all men of 27 to 31 years: 480 utterances.
- Emotions: a anger 60, d disgust 60, f fear 60, h happiness 60, n neutral 120, sa sadness 60, su surprise 60.
- 15 sentences an emotion, of TIMIT: three common to all, two of the emotion, ten others. Neutral has 30: the common
  ones, and those two of each emotion.

Traps:
- `sa` and `su` are two emotions, which reading one letter merges.
- There are no women, and only four speakers, so that folds by speaker vary much.
- There are no transcripts: the names have the number of a sentence, and no list was found that says for every number
  which sentence it is. So there is no CTC and no WER here.
- Text tells the emotion: ten of fifteen sentences are spoken in one emotion only. Here no fold holds text out.
- Copies with files in both layouts hold every utterance twice: the second is left out with a note.
"""

from __future__ import annotations

import re
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row

EMOTIONS = {
    **{"a": "ang", "d": "dis", "f": "fea", "h": "hap"},
    **{"n": "neu", "sa": "sad", "su": "sur"},
}
SPEAKERS = ("DC", "JE", "JK", "KL")
SENTENCES = dict.fromkeys(EMOTIONS, 15) | {"n": 30}
NAME = re.compile(r"(?:([A-Z]{2})_?)?([a-z]{1,2})(\d\d)")
NAMES = frozenset(
    f"{speaker}_{letters}{number:02}"
    for speaker in SPEAKERS
    for letters, count in SENTENCES.items()
    for number in range(1, count + 1)
)
ABOUT = About(
    source="SAVEE, acted emotional speech in British English (Haq and Jackson 2010)",
    language="en",
    licence="savee-research-only",
    facts="Four men, of 27 to 31 years, speak sentences of TIMIT in an emotion that was asked for.",
    terms="SAVEE is free of charge for research, after registration, and may not be passed on; its authors ask to be "
    "cited: Haq and Jackson, Multimodal emotion recognition, in: Machine Audition, IGI Global, 2010.",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness"},
        **{"neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def _describe(path: str) -> Row:
    file = Path(path)
    found = NAME.fullmatch(file.stem)
    speaker, letters, number = found.groups() if found else ("", "", "")
    speaker = speaker or file.parent.name
    name = f"{speaker}_{letters}{number}"
    if name not in NAMES:
        raise ValueError("is not named like DC/a01.wav or DC_a01.wav: speaker, emotion, sentence")
    return {"ID": name, "spk_id": speaker, "gender": "M", "emo": EMOTIONS[letters]}


RELEASE = Release("savee", ABOUT, _describe, "AudioData/DC/a01.wav", names=NAMES)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine SAVEE in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
