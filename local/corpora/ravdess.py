"""RAVDESS: acted emotional speech in North American English (Livingstone and Russo, PLoS ONE 2018), speech only.

It is at https://zenodo.org/records/1188976, under CC BY-NC-SA 4.0: take Audio_Speech_Actors_01-24.zip and unpack it.
Its folders `Actor_01` to `Actor_24` hold 1,440 files of 48 kHz and 16 bits, named by seven numbers as in
`03-01-06-01-02-01-12.wav`: modality (03 audio), channel (01 speech), emotion, intensity (01 normal, 02 strong),
sentence, repetition, actor.

- 24 actors speak two sentences, each twice, in each emotion and intensity: 60 files an actor. Odd actors are men,
  even ones women.
- Emotions: 01 neutral 96, 02 calm 192, 03 happiness 192, 04 sadness 192, 05 anger 192, 06 fear 192, 07 disgust 192,
  08 surprise 192. Neutral alone has no strong intensity, so that it is half as frequent.

Traps:
- Songs have the same names with channel 02. Sound taken from the videos has modality 01, and is of the same
  performances. Both are left out with a note.
- The copy at Kaggle holds every file twice, the second time in audio_speech_actors_01-24: left out with a note. Where
  somebody has worked on one of the two, the files that differ are faults: give that folder alone as --data.
- Five files have two channels (two of actor 01, one of 05, two of 20).
- 03-01-03-01-02-01-07 and 03-01-03-01-02-02-07 are the same recording, to the byte.
- Calm is near neutral, and few other corpora have it: a map of labels may merge or leave it out.
- All actors speak the same two sentences: a system with CTC sees the whole text of the test set in training.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row
from local.text.normalise import normalise

EMOTIONS = {
    **{"01": "neu", "02": "cal", "03": "hap", "04": "sad"},
    **{"05": "ang", "06": "fea", "07": "dis", "08": "sur"},
}
SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
INTENSITIES = REPETITIONS = ("01", "02")
ACTORS = [f"{actor:02}" for actor in range(1, 25)]
NEVER = ("01", "02")  # neutral and strong
NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
NAMES = frozenset(
    "-".join(("03", "01", *numbers))
    for numbers in product(EMOTIONS, INTENSITIES, SENTENCES, REPETITIONS, ACTORS)
    if numbers[:2] != NEVER
)
ABOUT = About(
    source="RAVDESS, acted emotional speech in English (Livingstone and Russo 2018, CC BY-NC-SA 4.0)",
    language="en",
    licence="cc-by-nc-sa-4.0",
    facts="24 actors in North American English; each speaks the same two sentences, in an emotion and with an "
    "intensity that were asked for.",
    terms="RAVDESS is under CC BY-NC-SA 4.0: name its authors, no commercial use without a licence of theirs, share "
    "under the same terms. Whether weights are an adaptation of recordings is not settled; here they are treated as "
    "one.",
    labels={
        **{"ang": "anger", "cal": "calm", "dis": "disgust", "fea": "fear"},
        **{"hap": "happiness", "neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def _describe(path: str) -> Row | str:
    name = Path(path).stem
    found = NAME.fullmatch(name)
    modality, channel, emotion, _, sentence, _, actor = found.groups() if found else [""] * 7
    if channel == "02":
        return "songs (channel 02)"
    if modality in ("01", "02"):
        return f"the sound of videos (modality {modality})"
    if name not in NAMES:
        raise ValueError("is not named like 03-01-06-01-02-01-12.wav, with the numbers that the release has")
    return {
        "spk_id": actor,
        "gender": "M" if int(actor) % 2 else "F",
        "emo": EMOTIONS[emotion],
        "wrd": normalise(SENTENCES[sentence]),
    }


RELEASE = Release("ravdess", ABOUT, _describe, "Actor_12/03-01-06-01-02-01-12.wav", names=NAMES)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine RAVDESS in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
