"""The mini corpus: ten synthetic actors in the exact shape of the IEMOCAP release, made in seconds.

It runs the pipeline from end to end without a licence, a download or a GPU. The voices are libespeak-ng's,
the sentences our own, and emotions differ in rate, pitch, pitch range and loudness alone, so its figures
say nothing of real speech.

The release has what the real one has, traps included: improvised and scripted dialogues in which both
actors speak, `exc` beside `hap`, turns labelled `fru`, `xxx` and so on, dialogues with a suffix
(`Ses03M_impro05a`), evaluations in the order of names and transcripts in that of time, `_FXX0` turns in
the transcripts alone, AppleDouble files, sub-folders with single ratings, noise tags, and one turn that
is a laugh without a word. Each actor says 12 turns of each of the four classes and 8 others. The lines of a
script are the same in every session, and their emotions differ, so that words do not reveal the emotion.

Random numbers are seeded by the seed and a name (of an actor, a dialogue, a turn): the same seed gives the
same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from local.audio.header import SAMPLE_RATE
from local.core.errors import UserError
from local.core.files import digest
from local.core.lock import locked
from local.core.markers import Marker
from local.corpora import About, Corpus, espeak, iemocap, mini_ratings
from local.corpora import manner as manners
from local.corpora.manner import MANNERS, Manner, say
from local.text.normalise import NOISE_TAG

DEFAULT_FOLDS = ("01F", "02M")
DEFAULT_HPARAMS = "hparams/mini.yaml"
recording_fold = iemocap.recording_fold

RELEASE = "IEMOCAP_mini_release"
MARKER, EARLIER_MARKER = "mini.json", "VERSION"  # in the release: what it was made from
SENTENCES = Path(__file__).with_name("mini_sentences.txt")
DEFAULT_FOLDER = Path(__file__).parents[2] / ".cache" / "mini"

VOICES = {  # of each actor, by session and gender
    "01F": "en-us+f3", "01M": "en-us+m3",
    "02F": "en-us+f1", "02M": "en-us+m1",
    "03F": "en-us+f2", "03M": "en-us+m7",
    "04F": "en-us+f5", "04M": "en-us+m4",
    "05F": "en-us+f4", "05M": "en-us+m6",
}  # fmt: skip
JITTER = Manner(14, 6, 12, 1.5, 0.10)  # standard deviations from turn to turn, so that the task is not too easy

# What each actor says in all: each of eight dialogues gets six turns of the classes and one other.
CLASSES = ["ang"] * 12 + ["hap"] * 7 + ["exc"] * 5 + ["neu"] * 12 + ["sad"] * 12
OTHERS = ["fru", "fru", "xxx", "xxx", "sur", "fea", "oth", "dis"]
LINES = len(CLASSES) // len(OTHERS) + 1  # of an actor in a dialogue

FACTS = iemocap.Facts(
    name="mini",
    source="mini: synthetic voices (libespeak-ng) in the shape of IEMOCAP; its figures say nothing of real speech",
    n_turns=560,
    emotions={"ang": 120, "hap": 120, "neu": 120, "sad": 120},
    sessions={f"Ses{session:02}": 96 for session in range(1, 6)},
    speakers=dict.fromkeys(VOICES, 48),
    styles={"impro": 240, "script": 240},
    folds=dict.fromkeys(VOICES, 48),
    merged={"hap": 70, "exc": 50},
)
ABOUT = About(
    source=FACTS.source.removeprefix("mini: "),
    language="en",
    licence="synthetic-mini-corpus",
    facts="No human speaks: espeak-ng's voices vary rate, pitch and loudness. **The model shows that the pipeline "
    "works, and is of no use on real speech.**",
    terms="The sentences are this project's, under its licence (Apache 2.0), and the voices espeak-ng's, a program "
    "under GPL-3.0.",
    labels=iemocap.ABOUT.labels,
)

NOISES = ("{LG}", "{BR}", "[BREATHING]")
# What macOS leaves beside a file. It is no text: 0xB0 does not begin a character in UTF-8.
APPLE_DOUBLE = bytes.fromhex("00051607 00020000") + b"Mac OS X".ljust(16) + b"\0\2\0\0\0\x09\0\0\0\x32\0\0\x0e\xb0"


@dataclass(frozen=True)
class Turn:
    """What is to be said, by whom (session and gender) and how."""

    name: str
    actor: str
    label: str
    text: str  # as transcribed, noise tags included


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine the mini corpus after making it, if it is missing or out of date; see `local.corpora`.

    `data` is the folder that holds the release, or the release itself; None: `.cache/mini` of this repository.
    """
    data = DEFAULT_FOLDER if data is None else Path(data).expanduser()
    return iemocap.read_release(make(data.parent if _is_mini(data) else data), FACTS, partial)


def make(folder: Path, seed: int = 1) -> Path:
    """Make the release `folder/IEMOCAP_mini_release`, whole or not at all, and return it.

    A release made by the same code from the same seed is kept; any other mini corpus is replaced.

    Raises
    ------
    UserError
        libespeak-ng is missing, the folder cannot be written, or something else has that name.
    """
    release, unfinished = folder / RELEASE, folder / f".{RELEASE}.unfinished"
    code = digest(*map(Path, (__file__, mini_ratings.__file__, espeak.__file__, manners.__file__)), SENTENCES)
    inputs = {"made by": __name__, "code": code, "espeak-ng": espeak.version(), "seed": seed}
    try:
        if _is_made(release, inputs):
            return release
        with locked(folder / f".{RELEASE}.lock", f"makes {release}"):
            if _is_made(release, inputs):  # by another process, while this one waited
                return release
            shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
            try:
                for dialogue, turns in _dialogues(seed).items():
                    _write_dialogue(unfinished / "new", dialogue, turns, seed)
                Marker(unfinished / "new" / MARKER, inputs).write([])
                if release.exists():
                    release.rename(unfinished / "old")
                (unfinished / "new").rename(release)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot make the mini corpus in {folder}: {error}", "name another folder: --data") from None
    return release


def _is_mini(release: Path) -> bool:
    """Tell whether a folder is a mini corpus, of any version."""
    return any(os.path.isfile(release / name) for name in (MARKER, EARLIER_MARKER))


def _is_made(release: Path, inputs: dict[str, str | int]) -> bool:
    """Tell whether the release is there, made from these inputs; refuse what is not a mini corpus."""
    if release.exists() and not _is_mini(release):
        raise UserError(f"{release} is not a mini corpus", "move it away, or name another folder: --data")
    return Marker(release / MARKER, inputs).is_done("the mini corpus", redo=True)


def _recordings(session: int) -> list[str]:
    """Name a session's dialogues: two improvised and two scripted ones with the markers on either actor."""
    kinds = ("impro01", "impro05", "script01_1", "script02_2")
    suffixed = {"Ses03M_impro01": "Ses03M_impro05a", "Ses03M_impro05": "Ses03M_impro05b"}
    suffixed["Ses05M_script01_1"] = "Ses05M_script01_1b"
    names = [f"Ses{session:02}{letter}_{kind}" for letter in "FM" for kind in kinds]
    return [suffixed.get(name, name) for name in names]


def _dialogues(seed: int) -> dict[str, list[Turn]]:
    """Lay down every dialogue: its turns in the order in which they are spoken, one of them only a laugh."""
    dialogues: dict[str, list[Turn]] = {}
    for session in range(1, 6):
        parts = {letter: _part(session, letter, seed) for letter in "FM"}
        for recording in _recordings(session):
            order = list("FM" * LINES)  # in a script they alternate
            if "_impro" in recording:
                Random(f"{seed} {recording}").shuffle(order)
            dialogues[recording] = [next(parts[letter]) for letter in order]
    turns, place = next(
        (turns, place)
        for turns in dialogues.values()
        for place, turn in enumerate(turns)
        if (turn.actor, turn.label) == ("04F", "hap")  # no default fold tests this actress
    )
    turns[place] = replace(turns[place], text=NOISES[0])
    return dialogues


def _part(session: int, letter: str, seed: int) -> Iterator[Turn]:
    """Yield all turns of one actor, dialogue after dialogue."""
    actor = f"{session:02}{letter}"
    rng = Random(f"{seed} {actor}")
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    classes, others = rng.sample(CLASSES, len(CLASSES)), rng.sample(OTHERS, len(OTHERS))
    improvised = rng.sample(sentences, LINES * len(OTHERS) // 2)
    for recording in _recordings(session):
        labels = [classes.pop() for _ in range(LINES - 1)] + [others.pop()]
        rng.shuffle(labels)
        script = recording.partition("_")[2].rstrip("ab")
        scripted = Random(f"{seed} {script} {letter}").sample(sentences, LINES)
        lines = improvised if "_impro" in recording else scripted
        for number, label in enumerate(labels):
            noise = f"{rng.choice(NOISES)} " if rng.random() < 0.05 else ""
            yield Turn(f"{recording}_{letter}{number:03}", actor, label, noise + lines.pop())


def _write_dialogue(root: Path, dialogue: str, turns: list[Turn], seed: int) -> None:
    """Speak a dialogue, and write its wavs, evaluation and transcription."""
    session = root / f"Session{int(dialogue[3:5])}"
    evaluations, transcriptions = session / "dialog" / "EmoEvaluation", session / "dialog" / "transcriptions"
    wavs = session / "sentences" / "wav" / dialogue
    raters = {"Categorical": "e2_cat", "Attribute": "e3_atr", "Self-evaluation": "f1_atr"}
    for folder in (wavs, transcriptions, *(evaluations / name for name in raters)):
        folder.mkdir(parents=True, exist_ok=True)

    start, rated = 6.0, {}
    # Before the first turn come words that were not cut into turns.
    spoken = [f"{dialogue}_FXX0 [001.2000-001.6000]: Mm-hmm.\n", f"{dialogue}_MXX1 [002.1000-002.4000]: Yeah.\n"]
    for turn in turns:
        rng = Random(f"{seed} {turn.name}")
        samples = _say(turn, rng)
        soundfile.write(wavs / f"{turn.name}.wav", samples, SAMPLE_RATE, subtype="PCM_16")
        end = start + len(samples) / SAMPLE_RATE
        means, ratings = mini_ratings.lines(turn.label, turn.actor[-1], Random(f"{seed} {turn.name} ratings"))
        verdict = f"[{start:.4f} - {end:.4f}]\t{turn.name}\t{turn.label}\t[{means}]\n"
        rated[turn.name] = f"{verdict}{ratings}\n"
        spoken.append(f"{turn.name} [{start:08.4f}-{end:08.4f}]: {turn.text}\n")
        start = end + rng.uniform(0.2, 1.0)

    header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    evaluation, transcription = evaluations / f"{dialogue}.txt", transcriptions / f"{dialogue}.txt"
    evaluation.write_text(header + "".join(rated[name] for name in sorted(rated)), encoding="utf-8")
    transcription.write_text("".join(spoken), encoding="utf-8")
    for folder, rater in raters.items():
        ratings = "".join(f"{name} :act 3; ()\n" for name in rated)
        (evaluations / folder / f"{dialogue}_{rater}.txt").write_text(ratings, encoding="utf-8")
    if dialogue.endswith("F_impro01"):
        for path in (evaluation, transcription, wavs / f"{turns[0].name}.wav"):
            path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)


def _say(turn: Turn, rng: Random) -> np.ndarray:
    """Speak a turn in a manner near its label's: samples [frames], int16, 16 kHz."""
    means, deviations = astuple(MANNERS[turn.label]), astuple(JITTER)
    manner = Manner(*(rng.gauss(mean, deviation) for mean, deviation in zip(means, deviations, strict=True)))
    return say(NOISE_TAG.sub("", turn.text).strip() or "Ha ha ha!", VOICES[turn.actor], manner)
