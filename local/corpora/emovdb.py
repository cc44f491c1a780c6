"""EmoV-DB: acted emotional speech in English (Adigwe et al., arXiv 1806.09514), for non-commercial purposes.

It is at https://openslr.org/115 in 18 archives, one of each speaker and emotion (`bea_Amused.tar.gz`), without
registration. The names of the files do not say who speaks, so unpack each into a folder of its own; cmuarctic.data,
which has the sentences, is at http://www.festvox.org/cmu_arctic/cmuarctic.data and belongs beside them:

    for a in *.tar.gz; do mkdir -p "${a%.tar.gz}" && tar -xf "$a" -C "${a%.tar.gz}"; done

    cmuarctic.data    bea_Angry/anger_1-28_0011.wav    or, in other copies, bea/Angry/anger_1-28_0011.wav

- Four speakers: two women, bea and jenie, and two men, josh and sam; five emotions: amusement, anger, disgust, neutral
  and sleepiness, in which josh has neither anger nor disgust. Folders and files call these by several words (Angry,
  anger; Sleepy, sleepiness), which are all read; where folder and file contradict each other, it is a fault.
- A name says emotion, a range of sentences and the sentence, `arctic_a0011` of cmuarctic.data.
- Its page counts 7,000 files; lists of real copies have some 6,890, since files were removed whose words were others.
  So the number is not checked, but whether each speaker has each emotion.
- Sentences: a number outside the range of its own name that lost its first digits (neutral_113-140_0014) is read with
  them (0114), and noted; other such numbers are taken as they are, with a warning.

Traps: utterances have laughter, yawns and breath besides their words. All speakers read the same sentences, so that
folds by speaker share sentences. The paper also tells of a man who speaks French: his recordings are in none of these
archives, and are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.faults import Fault, examples
from local.corpora.release import Release, Row, audio_files
from local.text.normalise import normalise

EMOTIONS = {
    **{"amused": "amu", "amusement": "amu", "angry": "ang", "anger": "ang", "disgusted": "dis", "disgust": "dis"},
    **{"neutral": "neu", "sleepy": "sle", "sleepiness": "sle"},
}
SPEAKERS = {"bea": "F", "jenie": "F", "josh": "M", "sam": "M"}
ABSENT = {("josh", "ang"), ("josh", "dis")}
NAME = re.compile(r"(?:(?P<speaker>[a-z]+)_)?(?P<emotion>[a-z]+)_(?P<low>\d+)[-_](?P<high>\d+)_(?P<sentence>\d+)")
SENTENCE = re.compile(r"\(\s*arctic_a(\d+)\s+\"(.*)\"\s*\)")
TEXTS = "cmuarctic.data"
FESTVOX = f"http://www.festvox.org/cmu_arctic/{TEXTS}"
UNPACK = "unpack each archive into a folder of its own: mkdir bea_Angry && tar -xf bea_Angry.tar.gz -C bea_Angry"
ABOUT = About(
    source="EmoV-DB, acted emotional speech in English (Adigwe et al. 2018)",
    language="en",
    licence="emov-db-non-commercial",
    facts="Two women and two men read sentences of CMU Arctic in English, amused, angry, disgusted, neutral and "
    "sleepy, with the laughter and the yawns that go with it.",
    terms="EmoV-DB is for non-commercial purposes only: research, teaching, publication, personal experiments "
    "(https://github.com/numediart/EmoV-DB). Ask its owners before these weights are used otherwise.",
    labels={
        **{"amu": "amusement", "ang": "anger", "dis": "disgust"},
        **{"neu": "neutral", "sle": "sleepiness"},
    },
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine EmoV-DB in the folder `data`; see `local.corpora`."""
    root = RELEASE.root(data)
    texts, faults = _read_texts(root)
    numbers: dict[str, tuple[int, int]] = {}  # by ID: as the file has it, as it is read

    def describe(path: str) -> Row:
        row = _describe(path)
        numbers[row["ID"]] = _sentence(Path(path).stem.casefold())
        return row | {"wrd": texts.get(numbers[row["ID"]][1], "")}

    faults += _absent(root)
    corpus = replace(RELEASE, describe=describe).read(data, partial, faults)
    return _tell(corpus, {name: numbers[name] for name in corpus.table["ID"]}, texts)


def _describe(path: str) -> Row:
    """The columns of an utterance but its words."""
    name = NAME.fullmatch(Path(path).stem.casefold())
    if not name or name["emotion"] not in EMOTIONS:
        raise ValueError("is not named like anger_1-28_0011.wav: emotion, range of sentences, sentence")
    words = [word for folder in Path(path).parts[:-1] for word in re.split("[^a-z]+", folder.casefold())]
    speakers = [word for word in (*words, name["speaker"]) if word in SPEAKERS]
    if not speakers:
        raise ValueError(f"no folder above it says who speaks ({', '.join(SPEAKERS)}); {UNPACK}")
    emotion, speaker = EMOTIONS[name["emotion"]], speakers[-1]
    others = [word for word in words if word in EMOTIONS and EMOTIONS[word] != emotion]
    if others:
        raise ValueError(f"its folder says {others[-1]}, its name {name['emotion']}")
    return {
        "ID": f"{speaker}_{name[0].removeprefix(f'{speaker}_')}",
        "spk_id": speaker,
        "gender": SPEAKERS[speaker],
        "emo": emotion,
    }


RELEASE = Release("emovdb", ABOUT, _describe, "bea_Angry/anger_1-28_0011.wav")


def _sentence(stem: str) -> tuple[int, int]:
    """The number of the sentence in a file's name, and as it was probably meant; alike where no other fits."""
    found = NAME.fullmatch(stem)
    low, high, number = int(found["low"]), int(found["high"]), int(found["sentence"])
    if low <= number <= high or number >= 100:
        return number, number
    meant = [other for other in range(low, high + 1) if other % 100 == number]
    return number, meant[0] if len(meant) == 1 else number


def _read_texts(root: Path) -> tuple[dict[int, str], list[Fault]]:
    """The sentences by number, and what is wrong with their file; nothing where there is none."""
    texts: dict[int, str] = {}
    for file in audio_files(root, (TEXTS,)):
        try:
            lines = (root / file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            return {}, [Fault(file, None, "", f"cannot be read ({error}); get it from {FESTVOX}")]
        texts |= {int(found[1]): normalise(found[2]) for found in filter(None, map(SENTENCE.search, lines))}
        if not texts:
            return {}, [Fault(file, None, "", f"has no line like '( arctic_a0001 \"...\" )'; get it from {FESTVOX}")]
    return texts, []


def _absent(root: Path) -> list[Fault]:
    """A fault for each speaker and emotion, an archive of the release, of which there is no file."""
    seen = set()
    for file in audio_files(root, RELEASE.suffixes):
        try:
            row = _describe(file)
        except ValueError:
            continue
        seen.add((row["spk_id"], row["emo"]))
    if not seen:
        return []
    words = {"amu": "Amused", "ang": "Angry", "dis": "Disgusted", "neu": "Neutral", "sle": "Sleepy"}
    return [
        Fault("", None, "", f"no file of {speaker}, {ABOUT.labels[emotion]}: archive {speaker}_{word}.tar.gz")
        for speaker in SPEAKERS
        for emotion, word in words.items()
        if (speaker, emotion) not in seen | ABSENT
    ]


def _tell(corpus: Corpus, numbers: Mapping[str, tuple[int, int]], texts: Mapping[int, str]) -> Corpus:
    """Add what to know of the transcripts: none, some missing, numbers that were changed or are doubtful."""
    changed = [f"{name} as {meant:04}" for name, (number, meant) in sorted(numbers.items()) if number != meant]
    doubtful = [name for name, (number, meant) in sorted(numbers.items()) if number == meant and not _fits(name)]
    missing = [name for name, (_, meant) in sorted(numbers.items()) if meant not in texts]
    notes, warnings = [*corpus.notes], [*corpus.warnings]
    if not texts:
        return replace(corpus, warnings=[*warnings, f"no transcripts: put {TEXTS} into the folder, from {FESTVOX}"])
    if changed:
        notes.append(f"sentences outside the range in their own name, read with the digits lost: {_some(changed)}")
    if doubtful:
        warnings.append(f"sentences outside the range in their own name, taken as they are: {_some(doubtful)}")
    if missing:
        warnings.append(f"no transcript in {TEXTS}: {_some(missing)}")
    return replace(corpus, notes=notes, warnings=warnings)


def _fits(name: str) -> bool:
    found = NAME.fullmatch(name)
    return int(found["low"]) <= int(found["sentence"]) <= int(found["high"])


def _some(names: list[str]) -> str:
    """How many there are, and the first of them."""
    return f"{len(names)} ({examples(names)})"
