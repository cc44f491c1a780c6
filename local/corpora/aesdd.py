"""AESDD, the Acted Emotional Speech Dynamic Database: Greek (Vryzas et al., J. Audio Eng. Soc. 2018), for research.

Aristotle University of Thessaloniki offers it at
http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/ for scientific research, not for commerce. Copies
elsewhere carry other licences (CC BY 4.0, MIT), which that page does not give. Five folders named after the emotions
hold files of 44.1 kHz, named as in `anger/a03 (4).wav`: emotion a, utterance 03, speaker 4. A letter behind them is
another take: `fear/f18 (5)b.wav`.

- Professional actors speak 19 utterances, and one of their own, in each of five emotions: a anger,
  d disgust, f fear, h happiness, s sadness. There is no neutral speech.
- Version 1.0 of 2017 has five actors, three women and two men, and some 500 utterances; it is dynamic, which means
  that it grows. The copies that are passed around have six speakers and some 600 files. No count by emotion or
  speaker, and no list of names, was found to compare a copy with: what is there is examined, and a file that is
  missing is not noticed.

Traps:
- `s05 (3).wav` is broken in the release itself (it has no data chunk): it is left out with a note.
- Blanks and brackets are in the names; here the ID of the take above is 5_f18b, that of the first 4_a03.
- Takes of one utterance by one speaker are nearly the same: folds by speaker keep them together.
- There are no transcripts and no genders: no list of the sentences was found, nor of which speakers are women. So
  there is no CTC and no WER here.
"""

from __future__ import annotations

import re
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row

EMOTIONS = {"a": "ang", "d": "dis", "f": "fea", "h": "hap", "s": "sad"}
NAME = re.compile(r"([adfhs])(\d\d)[ _]?\((\d+)\)([a-z]?)")
BROKEN = "3_s05"
ABOUT = About(
    source="AESDD, acted emotional speech in Greek (Vryzas et al. 2018)",
    language="el",
    licence="aesdd-research-only",
    facts="Professional actors speak the same 19 utterances in Greek, and one of their own, in an emotion that was "
    "asked for. There is no neutral speech.",
    terms="AESDD is offered for scientific research, not for commerce; its authors ask to be cited: Vryzas et al., "
    "Speech emotion recognition for performance interaction, J. Audio Eng. Soc. 66(6), 2018.",
    labels={"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness", "sad": "sadness"},
)


def _describe(path: str) -> Row | str:
    found = NAME.fullmatch(Path(path).stem)
    if not found:
        raise ValueError("is not named like 'a03 (4).wav': emotion, utterance, speaker")
    letter, utterance, speaker, take = found.groups()
    name = f"{speaker}_{letter}{utterance}{take}"
    if name == BROKEN:
        return "broken in the release itself"
    return {"ID": name, "spk_id": speaker, "emo": EMOTIONS[letter]}


RELEASE = Release("aesdd", ABOUT, _describe, "anger/a03 (4).wav")


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine AESDD in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
