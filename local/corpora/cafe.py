"""CaFE: acted emotional speech in the French of Quebec (Gournay et al., ACM MMSys 2018), CC BY-NC-SA 4.0.

It is at https://zenodo.org/records/1478765, without registration, at two sample rates: `CaFE_48k` (WAV, 48 kHz) and, in
two parts, `CaFE_192k_1` and `CaFE_192k_2` (AIFF, 192 kHz, 24 bits). Give the folder of the first, or one that holds
both parts of the second. In them lie folders of emotions, and in these, but for neutral, folders of intensities:

    Colère/Faible/01-C-1-1.wav    Colère/Fort/01-C-2-1.wav    Neutre/01-N-1-1.wav, in other copies Neutre/01-N-1.aiff

A name says actor, emotion, intensity (1 faible, 2 fort; none in some names of neutral) and sentence. 936 files:

- Twelve actors, six men (odd numbers) and six women (even numbers), 78 utterances each.
- Six sentences, each by every actor in every emotion, written here as the Readme of the release lists them.
- Emotions: C (colère) anger, D (dégoût) disgust, J (joie) happiness, P (peur) fear, S (surprise) surprise, T
  (tristesse) sadness: 144 each, in two intensities; N (neutre) neutral: 72.

Traps: J is joy, P is fear, T is sadness, and S is surprise and not sadness. Every actor speaks every sentence, so
that folds by speaker share sentences. Unzip programs spell the accents of the folders in several ways: only the names
of the files count. Both sample rates in one folder are two files of each name: give the folder of one of them.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row
from local.text.normalise import normalise

EMOTIONS = {"C": "ang", "D": "dis", "P": "fea", "J": "hap", "N": "neu", "T": "sad", "S": "sur"}
SENTENCES = {
    "1": "Un cheval fou dans mon jardin",
    "2": "Deux ânes aigris au pelage brun",
    "3": "Trois cygnes aveugles au bord du lac",
    "4": "Quatre vieilles truies éléphantesques",
    "5": "Cinq pumas fiers et passionnés",
    "6": "Six ours aimants domestiqués",
}
ACTORS = [f"{number:02}" for number in range(1, 13)]
INTENSITIES = ("1", "2")
NAME = re.compile(r"(?P<actor>\d\d)-(?P<emotion>[A-Z])(?:-(?P<intensity>\d))?-(?P<sentence>\d)")
NAMES = {
    "-".join(parts)
    for parts in product(ACTORS, EMOTIONS, INTENSITIES, SENTENCES)
    if parts[1:3] != ("N", "2")  # neutral has one intensity
}
ABOUT = About(
    source="CaFE, acted emotional speech in Canadian French (Gournay et al. 2018, CC BY-NC-SA 4.0)",
    language="fr",
    licence="cc-by-nc-sa-4.0",
    facts="Twelve actors in the French of Quebec; each speaks the same six sentences, in an emotion that was asked "
    "for, at two intensities.",
    terms="CaFE is under CC BY-NC-SA 4.0: name its authors (Gournay, Lahaie and Lefebvre, A Canadian French emotional "
    "speech dataset, ACM MMSys 2018), no commercial use, share under the same terms. Whether weights are an "
    "adaptation of recordings is not settled; here they are treated as one.",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness"},
        **{"neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def _describe(path: str) -> Row:
    found = NAME.fullmatch(Path(path).stem)
    name = found[0] if found and found["intensity"] else re.sub("-N-", "-N-1-", Path(path).stem)
    if not found or name not in NAMES:
        raise ValueError("is not named like 01-C-1-1.wav: actor, emotion, intensity, sentence")
    return {
        "ID": name,
        "spk_id": found["actor"],
        "gender": "M" if int(found["actor"]) % 2 else "F",
        "emo": EMOTIONS[found["emotion"]],
        "wrd": normalise(SENTENCES[found["sentence"]]),
    }


COUNTS = {
    "emo": {label: 72 if label == "neu" else 144 for label in EMOTIONS.values()},
    "spk_id": dict.fromkeys(ACTORS, 78),
}
EXAMPLE = "Colère/Faible/01-C-1-1.wav"
RELEASE = Release("cafe", ABOUT, _describe, EXAMPLE, COUNTS, NAMES, (".wav", ".aiff", ".aif"))


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine CaFE in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
