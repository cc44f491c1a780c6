"""ESD with both of its languages: ten speakers of Mandarin (0001 to 0010) and ten of English, 35,000 utterances.

A corpus of its own, `esd-all`, in every path and table; layout, split and traps are those of `--corpus esd`. Of the
Mandarin speakers 0001, 0002, 0003, 0007 and 0009 are women. Mandarin transcripts have no blanks between words: their
error rate is that of characters, and tokens of words make no sense of them.
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
