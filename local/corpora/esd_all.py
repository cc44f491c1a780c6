"""ESD in both of its languages: the Emotional Speech Database (Zhou et al., Speech Communication 2022).

A corpus of its own, `esd-all`, in every path and table: the ten speakers of Mandarin (0001 to 0010) besides the ten of
English (0011 to 0020) that `esd` has. It is one release, for research only; ask for it with the licence form at
https://github.com/HLTSingapore/Emotional-Speech-Data. Its folder holds one of each speaker:

    0001/0001.txt    0001/Angry/0001_000351.wav    or, in other copies, 0001/Angry/evaluation/0001_000351.wav

- 35,000 utterances, 1,750 of each speaker, 7,000 in each of anger, happiness, neutral, sadness and surprise. Of the
  Mandarin speakers, 0001, 0002, 0003, 0007 and 0009 are women.
- The official split (train 30,000, valid 2,000, test 3,000) and all else is as `./run.sh --corpus esd --help` says.

Traps: those of `esd`. The Mandarin texts have no blanks between words, so that their word error rate is that of whole
clauses (see the character error rate), and their alphabet has thousands of letters.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from local.corpora import Corpus, esd

ABOUT = replace(
    esd.ABOUT,
    source="ESD, the Emotional Speech Database in Mandarin and English (Zhou et al. 2022)",
    language=None,  # two
    facts="Ten speakers of Mandarin and ten of English, ten women and ten men, in a studio; each speaks the same 350 "
    "sentences of the language in each of five emotions that were asked for.",
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine both parts of ESD in the folder `data`; see `local.corpora`."""
    return esd.read_speakers("esd-all", ABOUT, [*esd.MANDARIN, *esd.ENGLISH], data, partial)
