"""EMO-DB: acted emotional speech in German (Burkhardt et al., Interspeech 2005), free of charge.

It is at http://emodb.bilderbar.info (also Zenodo record 7447302): a folder `wav` with 535 files of 16 kHz,
one channel, 16 bits, named as in `03a01Fa.wav`: speaker 03, sentence a01, emotion F (Freude), version a.

- Ten actors, five women (08, 09, 13, 14, 16) and five men (03, 10, 11, 12, 15); ten sentences.
- Emotions: W (Wut) anger 127, L (Langeweile) boredom 81, E (Ekel) disgust 46, A (Angst) fear 69, F (Freude)
  happiness 71, T (Trauer) sadness 62, N neutral 79.
- Of some 800 recordings only those were kept that listeners recognised and found natural, so that the classes
  are of unequal size and all that is left is clear.

Traps: E is disgust and not excitement, A is fear and not anger; every actor speaks every sentence, so that folds
by speaker share sentences; copies at other sample rates are passed around, which are read as well.
"""

from __future__ import annotations

import re
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row
from local.text.normalise import normalise

EMOTIONS = {"W": "ang", "L": "bor", "E": "dis", "A": "fea", "F": "hap", "T": "sad", "N": "neu"}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
WOMEN = ("08", "09", "13", "14", "16")
SPEAKERS = {
    **{"03": 49, "08": 58, "09": 43, "10": 38, "11": 55},
    **{"12": 35, "13": 61, "14": 69, "15": 56, "16": 71},
}
COUNTS = {"ang": 127, "bor": 81, "dis": 46, "fea": 69, "hap": 71, "neu": 79, "sad": 62}
NAME = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])[a-z]")
ABOUT = About(
    source="EMO-DB, acted emotional speech in German (Burkhardt et al. 2005)",
    language="de",
    licence="emodb-free-of-charge",
    facts="Ten actors speak ten sentences in German in an emotion that was asked for; only recordings that listeners "
    "recognised and found natural were kept.",
    terms="EMO-DB is free of charge; its authors ask to be cited: Burkhardt et al., A database of German emotional "
    "speech, Interspeech 2005.",
    labels={
        **{"ang": "anger", "bor": "boredom", "dis": "disgust", "fea": "fear"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness"},
    },
)


def _describe(path: str) -> Row:
    found = NAME.fullmatch(Path(path).stem)
    if not found or found["emotion"] not in EMOTIONS or found["sentence"] not in SENTENCES:
        raise ValueError("is not named like 03a01Fa.wav: speaker, sentence, emotion, version")
    return {
        "spk_id": found["speaker"],
        "gender": "F" if found["speaker"] in WOMEN else "M",
        "emo": EMOTIONS[found["emotion"]],
        "wrd": normalise(SENTENCES[found["sentence"]]),
    }


RELEASE = Release("emodb", ABOUT, _describe, "wav/03a01Fa.wav", {"emo": COUNTS, "spk_id": SPEAKERS})


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine EMO-DB in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
