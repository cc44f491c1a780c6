"""EMOVO: acted emotional speech in Italian (Costantini et al., LREC 2014), free for research.

It was at http://voice.fub.it/activities/corpora/emovo/index.html; its first author sends it
(costantini@uniroma2.it), and copies are at Kaggle and DagsHub. Six folders, `f1` to `f3` and `m1` to `m3`, hold 588
files of 48 kHz and two channels (rab-f1-b1 has one), named as in `dis-f1-b1.wav`: emotion, speaker, sentence. Beside
them, `documents/LA STRUTTURA DI EMOVO.pdf` describes the names.

- Six actors, three women (f1, f2, f3) and three men (m1, m2, m3), of 23 to 30 years, speak 14 sentences in each
  emotion: 98 files an actor.
- Emotions, 84 files each: dis (disgusto) disgust, gio (gioia) joy, neu (neutro) neutral, pau (paura) fear, rab
  (rabbia) anger, sor (sorpresa) surprise, tri (tristezza) sadness.
- Sentences: b1 to b3 short, l1 to l4 long, n1 to n5 without sense, d1 and d2 questions.

Traps:
- The two channels are two microphones, of which the second is 0.4 ms behind. Their mean, which is what is read here as
  nearly everywhere, has a dip of 9 dB at 1.3 kHz (median of all files). The first channel alone has none: make a copy
  of one channel, `ffmpeg -i IN.wav -af "pan=mono|c0=c0" OUT.wav`, under the same names, and give that as --data.
  To choose it here would take a column `channel` of the table (`FURTHER` of `local.corpora.manifest`), in the audio
  store's fingerprint, for a reader that takes that channel in place of the mean (`local.audio.recordings.load`); and
  the same in exported models, which would otherwise hear in use what they did not hear in training.
- Every actor speaks every sentence, so that folds by speaker share sentences.
- `tri` is sadness and `sor` surprise.
- No licence is stated, so ask its authors before you pass a copy or a model on.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from local.corpora import About, Corpus
from local.corpora.release import Release, Row
from local.text.normalise import normalise

EMOTIONS = {
    **{"dis": "dis", "gio": "hap", "neu": "neu", "pau": "fea"},
    **{"rab": "ang", "sor": "sur", "tri": "sad"},
}
SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
    "l1": "L'autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
}
SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")
NAMES = frozenset("-".join(parts) for parts in product(EMOTIONS, SPEAKERS, SENTENCES))
ABOUT = About(
    source="EMOVO, acted emotional speech in Italian (Costantini et al. 2014)",
    language="it",
    licence="emovo-research",
    facts="Six actors speak the same 14 sentences in Italian, five of them without sense, in an emotion that was "
    "asked for.",
    terms="EMOVO is offered for research, without a licence that says more; its authors ask to be cited: Costantini "
    "et al., EMOVO corpus: an Italian emotional speech database, LREC 2014.",
    labels={
        **{"ang": "anger", "dis": "disgust", "fea": "fear", "hap": "joy"},
        **{"neu": "neutral", "sad": "sadness", "sur": "surprise"},
    },
)


def _describe(path: str) -> Row:
    name = Path(path).stem
    if name not in NAMES:
        raise ValueError("is not named like dis-f1-b1.wav: emotion, speaker, sentence")
    emotion, speaker, sentence = name.split("-")
    return {
        "spk_id": speaker,
        "gender": speaker[0].upper(),
        "emo": EMOTIONS[emotion],
        "wrd": normalise(SENTENCES[sentence]),
    }


RELEASE = Release("emovo", ABOUT, _describe, "f1/dis-f1-b1.wav", names=NAMES)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine EMOVO in the folder `data`; see `local.corpora`."""
    return RELEASE.read(data, partial)
