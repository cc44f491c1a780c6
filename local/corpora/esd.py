"""ESD, English part: the Emotional Speech Database (Zhou et al., Speech Communication 2022), for research only.

Ask for it with the licence form at https://github.com/HLTSingapore/Emotional-Speech-Data, which has the link. Its
folder holds one of each speaker, 0001 to 0020; `esd` reads the English ones, 0011 to 0020, and `esd-all` all of them:

    0011/0011.txt    0011/Angry/0011_000351.wav    or, in other copies, 0011/Angry/evaluation/0011_000351.wav

- Ten speakers, five men (0011 to 0014, 0020) and five women (0015 to 0019), 1,750 utterances each: 17,500.
- 350 sentences in each of five emotions, 3,500 utterances each: neutral (numbers 1 to 350 of a speaker), anger (351 to
  700), happiness (701 to 1050), sadness (1051 to 1400), surprise (1401 to 1750). Sentence n of an emotion is sentence
  n of all others.
- The official split, by sentence, is in the column `split`: of each emotion of each speaker, sentences 1 to 20
  (folder `evaluation`) are valid, 21 to 50 (`test`) test, 51 to 350 (`train`) train. Where these folders are, they
  decide; otherwise the numbers do.
- Transcripts are in `0011.txt`: ID, text and emotion, separated by tabs, in some lines by blanks, which is read, too.

Traps: the transcripts come in several encodings. A file with a byte order mark or zero bytes is UTF-16; another is
UTF-8 if it can be, otherwise GB 18030 (GB 2312), or Windows-1252 where that would put Chinese letters into an English
text. An utterance whose line is missing has no transcript, and a warning says how many; texts are not corrected (in
that of 0015, users found seventeen that differ from what is said). All speakers speak all sentences, so that folds by
speaker share sentences, and the official split shares speakers.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from local.core.counted import counted
from local.corpora import About, Corpus
from local.corpora.faults import Fault, examples
from local.corpora.release import Release, Row, audio_files
from local.text.normalise import normalise

EMOTIONS = {"Neutral": "neu", "Angry": "ang", "Happy": "hap", "Sad": "sad", "Surprise": "sur"}  # in order of numbers
MANDARIN_WORDS = dict(zip(EMOTIONS, ("中立", "生气", "快乐", "伤心", "惊喜"), strict=True))
SENTENCES = 350
SPLITS = {"train": "train", "evaluation": "valid", "test": "test"}
ENGLISH = [f"{number:04}" for number in range(11, 21)]
MANDARIN = [f"{number:04}" for number in range(1, 11)]
MEN = ("0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020")
NAME = re.compile(r"(?P<speaker>00[01]\d|0020)_(?P<number>00[01]\d{3})")
LINE = re.compile(r"\s*(?P<ID>\d{4}_\d{6})\s+(?P<rest>\S.*)")
IDEOGRAPH = re.compile("[\u3400-\u9fff]")
ABOUT = About(
    source="ESD, English part of the Emotional Speech Database (Zhou et al. 2022)",
    language="en",
    licence="esd-research-only",
    facts="Ten speakers of English, five women and five men, in a studio; each speaks the same 350 sentences in each "
    "of five emotions that were asked for.",
    terms="ESD may be used for research only, under a licence that its owners ask to be signed "
    "(https://github.com/HLTSingapore/Emotional-Speech-Data). These weights are derived from it: use them and pass "
    "them on only as your own licence allows.",
    labels={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness", "sur": "surprise"},
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine the English part of ESD in the folder `data`; see `local.corpora`."""
    return read_speakers("esd", ABOUT, ENGLISH, data, partial)


def read_speakers(name: str, about: About, speakers: Sequence[str], data: Path | None, partial: bool) -> Corpus:
    """Examine some speakers of ESD, which are a corpus of that name."""
    words: dict[str, str] = {}
    counts = {"emo": dict.fromkeys(EMOTIONS.values(), SENTENCES * len(speakers))}
    names = {f"{speaker}_{i + 1:06}" for speaker in speakers for i in range(SENTENCES * len(EMOTIONS))}

    def describe(path: str) -> Row | str:
        row = _describe(path)
        return row | {"wrd": words.get(Path(path).stem, "")} if row["spk_id"] in speakers else "of another language"

    release = Release(name, about, describe, f"{speakers[0]}/Angry/{speakers[0]}_000351.wav", counts, names)
    faults = _read_words(release.root(data), speakers, words)
    corpus = release.read(data, partial, faults)
    silent = sorted(corpus.table.loc[corpus.table["wrd"] == "", "ID"])
    if not silent:
        return corpus
    n = counted(len(silent), "utterance")
    what = f"{n} without a transcript in the text file of their speaker: {examples(silent)}"
    return replace(corpus, warnings=[*corpus.warnings, what])


def _describe(path: str) -> Row:
    """The columns of an utterance but its words."""
    found = NAME.fullmatch(Path(path).stem)
    place = int(found["number"]) - 1 if found else -1
    if not found or found["speaker"] == "0000" or not 0 <= place < SENTENCES * len(EMOTIONS):
        raise ValueError("is not named like 0011_000351.wav: speaker, number from 1 to 1750")
    emotion = list(EMOTIONS)[place // SENTENCES]
    folders = [part.casefold() for part in Path(path).parts[:-1]]
    other = [word for word in EMOTIONS if word.casefold() in folders and word != emotion]
    if other:
        raise ValueError(f"its folder says {other[0]}, but its number is one of {emotion}")
    splits = [SPLITS[part] for part in folders if part in SPLITS]
    return {
        "spk_id": found["speaker"],
        "gender": "M" if found["speaker"] in MEN else "F",
        "emo": EMOTIONS[emotion],
        "split": splits[-1] if splits else _split(place % SENTENCES + 1),
    }


def _split(sentence: int) -> str:
    """The official list that a sentence, from 1, of an emotion is in."""
    return "valid" if sentence <= 20 else "test" if sentence <= 50 else "train"


def _read_words(root: Path, speakers: Sequence[str], words: dict[str, str]) -> list[Fault]:
    """Read the transcripts of some speakers into `words`, by ID; return what is wrong with their files."""
    faults = []
    for file in audio_files(root, tuple(f"{speaker}.txt" for speaker in speakers)):
        try:
            text = decode((root / file).read_bytes(), Path(file).stem in ENGLISH)
        except OSError as error:
            faults.append(Fault(file, None, "", error.strerror or str(error)))
        except UnicodeDecodeError:
            faults.append(Fault(file, None, "", "is text neither in UTF-8, UTF-16, GB 18030 nor Windows-1252"))
        else:
            for found in filter(None, map(LINE.fullmatch, text.splitlines())):
                words[found["ID"]] = normalise(_sentence(found["ID"], found["rest"]))
    return faults


def _sentence(name: str, rest: str) -> str:
    """The sentence in what follows the ID of a line: without the emotion at its end, behind a tab or blanks."""
    fields = rest.split("\t")
    if len(fields) > 1:
        return fields[0]
    emotion = list(EMOTIONS)[min((int(name[5:]) - 1) // SENTENCES, len(EMOTIONS) - 1)]
    return re.sub(rf"\s+({emotion}|{MANDARIN_WORDS[emotion]})\s*$", "", rest, flags=re.IGNORECASE)


def decode(raw: bytes, english: bool) -> str:
    """The text of a file of transcripts, whose encoding it does not say; `UnicodeDecodeError` where it has none.

    >>> decode("don’t".encode("gb18030"), True) == decode("don’t".encode("cp1252"), True) == "don’t"
    True
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16")
    if b"\0" in raw[:2]:
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        text = raw.decode("gb18030")
        if not english or not IDEOGRAPH.search(text):
            return text
    except UnicodeDecodeError:
        if not english:
            raise
    return raw.decode("cp1252")
