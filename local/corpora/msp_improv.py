"""MSP-IMPROV: acted conversations in English, 8,438 turns of twelve actors.

By Busso et al. (IEEE Transactions on Affective Computing 8, 2017). Ask for it at
https://www.lab-msp.com/MSP/MSP-Improv.html: the institution signs an academic licence, which allows research only and
forbids passing it on. The folder has

- `Evalution.txt` (spelled so): for each turn the consensus, the means of activation, valence and dominance, and every
  rater's choice; it names the videos (`UTD-IMPROV-S01A-F01-P-FM01.avi`);
- `session1` to `session6`, or `Audio/session1` ...: `S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`: the scenario of sentence
  01 written for emotion A, the speaker F01 (a woman, session 1), how it was recorded (P), the turn;
- `All_human_transcriptions`, or wherever: `MSP-IMPROV-S01A-F01-P-FM01.txt`. Without them there are no transcripts.

Turns, and those with each label by consensus (from table 4 of the paper):

======================================== ===== === === ==== ==== ===== ============
recorded                                 turns ang sad hap  neu  other no agreement
======================================== ===== === === ==== ==== ===== ============
T the target sentence, improvised          652 115 106  136  283     1           11
R the target sentence, read                620 169  80   88  241     3           39
S the rest of the improvised scenes      4,381 470 633 1048 1789    70          371
P natural: between the recordings        2,785  38  66 1372 1164    11          134
======================================== ===== === === ==== ==== ===== ============

The 7,798 turns of anger, happiness, neutral and sadness are read, the others are left out and counted. `style` is
`script` for R, `impro` for S and T, empty for P; `recording` is a scenario of a session, so that protocol `recording`
keeps the turns of both actors together; `session` is the pair of actors.

Traps: the label is that of the raters, and not the emotion in the file's name, which is that of the scenario;
activation runs from 1, very active, to 5, very calm, valence and dominance upwards; a rater's line that is there twice
counts once; sentences and scenarios are the same for all actors.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from local.core.errors import UserError
from local.corpora import About, Corpus
from local.corpora.faults import Fault
from local.corpora.msp_ratings import LEFT_OUT, LETTERS, Turn, blocks, read_text
from local.corpora.release import Release, Row, audio_files
from local.text.normalise import normalise

RATINGS = ("Evalution.txt", "Evaluation.txt")
KINDS = {"T": (652, 115, 106, 136, 283), "R": (620, 169, 80, 88, 241), "S": (4381, 470, 633, 1048, 1789)}
KINDS["P"] = (2785, 38, 66, 1372, 1164)  # turns, and those of ang, sad, hap, neu
COUNTS = {label: sum(each[i] for each in KINDS.values()) for i, label in enumerate(("ang", "sad", "hap", "neu"), 1)}
EMOTIONS = ("A", "H", "N", "S")
STYLES = {"R": "script", "S": "impro", "T": "impro", "P": ""}
NAME = re.compile(
    r"MSP-IMPROV-(?P<scenario>S\d\d[AHNS])-(?P<speaker>(?P<gender>[FM])0(?P<session>[1-6]))-(?P<kind>[PRST])-[FM]{2}\d+"
)
ABOUT = About(
    source="MSP-IMPROV, acted and improvised conversations in English (Busso et al. 2017)",
    language="en",
    licence="msp-improv-academic-license",
    facts="Twelve actors in six pairs; improvised scenes that embed a given sentence, the sentences read, and the talk "
    "between the recordings. The label is the choice of most raters. Arousal is 1 for very active to 5 for very calm.",
    terms="MSP-IMPROV is lent to institutions for research only, under a licence of the University of Texas at Dallas "
    "that forbids passing it on: ask its owners before you pass a model on.",
    labels={"ang": "anger", "hap": "happiness", "neu": "neutral", "sad": "sadness"},
)


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine MSP-IMPROV in the folder `data`; see `local.corpora`."""
    root = RELEASE.root(data)
    faults: list[Fault] = []
    ratings = blocks(_ratings(root), faults)
    turns = {name.replace("UTD-", "MSP-", 1): turn for name, turn in ratings.items()}
    texts = {Path(path).stem: root / path for path in audio_files(root, (".txt",))}
    wanted = [name for name, turn in turns.items() if turn.letter in EMOTIONS]
    release = replace(RELEASE, describe=lambda path: _describe(path, turns, texts), names=wanted)
    corpus = release.read(data, partial, faults)
    silent = int((corpus.table["wrd"] == "").sum())
    notes = [f"{silent} of {len(corpus.table)} utterances have no transcript"] if silent else []
    return replace(corpus, notes=corpus.notes + notes)


def _ratings(root: Path) -> Path:
    """The file with the ratings, in the folder or in one in it."""
    for name in RATINGS:
        for path in (root / name, *sorted(root.glob(f"*/{name}"))):
            if os.path.isfile(path):
                return path
    raise UserError(f"{root} is not MSP-IMPROV: it has no file {RATINGS[0]}", RELEASE.remedy)


def _describe(path: str, turns: dict[str, Turn], texts: dict[str, Path]) -> Row | str:
    found = NAME.fullmatch(Path(path).stem)
    if not found:
        raise ValueError("is not named like MSP-IMPROV-S01A-F01-P-FM01.wav: scenario, speaker, kind, turn")
    turn = turns.get(found[0])
    if not turn:
        raise ValueError(f"has no ratings in {RATINGS[0]}")
    if turn.letter in LEFT_OUT:
        return LEFT_OUT[turn.letter]
    if turn.letter not in EMOTIONS:
        raise ValueError(f"has the label {turn.letter!r}, which is none of {', '.join([*EMOTIONS, *LEFT_OUT])}")
    return {
        "spk_id": found["speaker"],
        "gender": found["gender"],
        "session": f"Ses0{found['session']}",
        "recording": f"Ses0{found['session']}_{found['scenario']}",
        "style": STYLES[found["kind"]],
        "emo": LETTERS[turn.letter],
        "wrd": normalise(read_text(texts[found[0]])) if found[0] in texts else "",
        "votes": turn.votes,
        **turn.means,
    }


RELEASE = Release(
    "msp-improv", ABOUT, lambda path: {}, "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav", {"emo": COUNTS}
)
