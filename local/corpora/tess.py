"""TESS, the Toronto emotional speech set: two women in English (Pichora-Fuller and Dupuis, University of Toronto).

It is at https://doi.org/10.5683/SP2/E8H2MF (Borealis), and was at https://tspace.library.utoronto.ca/handle/1807/24487,
under CC BY-NC-ND 4.0: 2,800 files of 24,414 Hz, one channel and 16 bits, named as in `OAF_back_angry.wav`: speaker,
word, emotion. Folders are not looked at: copies call them OAF_Fear or YAF_fear, OAF_Pleasant_surprise or
YAF_pleasant_surprised.

- Two actresses, OAF of 64 and YAF of 26 years, say "Say the word ..." with each of 200 words in each emotion.
- Emotions, 400 files each: angry, disgust, fear, happy, neutral, ps (pleasant surprise), sad.

Traps:
- There are two speakers only. Protocol `speaker` has two folds, with nobody left for validation, so that it takes
  --valid none; and a speaker's figure rests on the other one's voice alone. Every word is spoken by both.
- One file is misnamed, OA_bite_neutral.wav for OAF_bite_neutral.wav: it is read as the latter.
- OAF_food_fear.wav has 96 kHz; YAF_germ_angry.wav and YAF_neat_fear.wav are AIFF in spite of their name. All are
  read. 24,414 Hz is the rate of a laboratory's converter, for which many programs have no filter.
- The copy at Kaggle holds every file twice: the second is left out with a note.
- Surprise is a pleasant one only.
- No derivatives may be shared: whether a model is one is not settled, so ask before you publish one.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row
from local.text.normalise import normalise

EMOTIONS = {
    **{"angry": "ang", "disgust": "dis", "fear": "fea", "happy": "hap"},
    **{"neutral": "neu", "ps": "sur", "sad": "sad"},
}
WORD_LIST = """
    back bar base bath bean beg bite boat bone book bought burn cab calm came cause chain chair chalk chat check
    cheek chief choice cool dab date dead death deep dime dip ditch dodge dog doll door fail fall far fat fit five
    food gap gas gaze germ get gin goal good goose gun half hall hash hate have haze hire hit hole home hurl hush
    jail jar join judge jug juice keen keep keg kick kill king kite knock late laud lean learn lease lid life limb
    live loaf long lore lose lot love luck make match merge mess met mill mob mode mood moon mop mouse nag name near
    neat nice note numb pad page pain pass pearl peg perch phone pick pike pole pool puff rag raid rain raise rat
    reach read red ring ripe road room rose rot rough rush said sail search seize sell shack shall shawl sheep shirt
    should shout size soap soup sour south sub such sure take talk tape team tell thin third thought thumb time tip
    tire ton tool tough turn vine voice void vote wag walk wash week wheat when which whip white wife wire witch
    yearn yes young youth
"""
WORDS = WORD_LIST.split()
SPEAKERS = ("OAF", "YAF")
MISNAMED = {"OA_bite_neutral": "OAF_bite_neutral"}
NAMES = frozenset("_".join(parts) for parts in product(SPEAKERS, WORDS, EMOTIONS))
ABOUT = About(
    source="TESS, acted emotional speech in English (Pichora-Fuller and Dupuis 2010, CC BY-NC-ND 4.0)",
    language="en",
    licence="cc-by-nc-nd-4.0",
    facts="Two actresses, of 26 and 64 years, say 200 words in one carrier sentence, in an emotion that was asked for.",
    terms="TESS is under CC BY-NC-ND 4.0: name its authors, no commercial use, share no derivatives. Whether weights "
    "are an adaptation of recordings is not settled; here they are treated as one: ask before you publish them.",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "happiness"},
        **{"neu": "neutral", "sad": "sadness", "sur": "pleasant surprise"},
    },
)


def _describe(path: str) -> Row:
    name = MISNAMED.get(Path(path).stem, Path(path).stem)
    if name not in NAMES:
        raise ValueError("is not named like OAF_back_angry.wav: speaker, one of the 200 words, emotion")
    speaker, word, emotion = name.split("_")
    return {
        "ID": name,
        "spk_id": speaker,
        "gender": "F",
        "emo": EMOTIONS[emotion],
        "wrd": normalise(f"Say the word {word}"),
    }


RELEASE = Release("tess", ABOUT, _describe, "OAF_angry/OAF_back_angry.wav", names=NAMES)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine TESS in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
