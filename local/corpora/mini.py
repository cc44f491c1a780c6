"""The mini corpus: ten synthetic actors in the exact shape of the IEMOCAP release, made in seconds.

It is there to try the pipeline from end to end without a licence, a download or a GPU. The voices are
libespeak-ng's, the sentences our own, and the emotions a matter of rate, pitch, pitch range and level, so
its figures say nothing of real speech.

The release has what the real one has, traps included: improvised and scripted dialogues in which both
actors speak, `exc` beside `hap`, turns labelled `fru`, `xxx` and so on, dialogues with a suffix
(`Ses03M_impro05a`), `_FXX0` turns that only the transcripts know, AppleDouble files, sub-folders with single
ratings, noise tags, and one turn without a word. Each actor says 12 turns of each of the four classes, and 8
others. In a scripted dialogue the lines are the same in every session, but the emotions are not.

Everything is drawn from generators seeded by the seed and a name (of a turn, an actor), so that a turn does
not depend on those before it, and the same seed gives the same bytes.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from local.audio import SAMPLE_RATE
from local.corpora import Corpus, espeak, iemocap
from local.errors import UserError
from local.files import digest
from local.text import NOISE_TAG

DEFAULT_FOLDS = ("01F", "02M")
DEFAULT_HPARAMS = "hparams/mini.yaml"
recording_fold = iemocap.recording_fold

RELEASE = "IEMOCAP_mini_release"
STAMP = "VERSION"  # in the release: what made it
SENTENCES = Path(__file__).with_name("mini_sentences.txt")
DEFAULT_PLACE = Path(__file__).parents[2] / ".cache" / "mini"

VOICES = {
    "01F": "en-us+f3", "01M": "en-us+m3",
    "02F": "en-us+f1", "02M": "en-us+m1",
    "03F": "en-us+f2", "03M": "en-us+m7",
    "04F": "en-us+f5", "04M": "en-us+m4",
    "05F": "en-us+f4", "05M": "en-us+m6",
}  # fmt: skip


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds, as espeak's parameters; `level` is the RMS of the speech in dB of full scale."""

    rate: float  # words per minute
    pitch: float  # 50 is the voice's own
    pitch_range: float  # 50 is the voice's own
    level: float
    attributes: tuple[float, float, float]  # valence, activation, dominance, 1 to 5


MANNERS = {
    "ang": Manner(215, 52, 80, -21, (2.0, 4.0, 4.0)),
    "hap": Manner(190, 70, 80, -23, (4.0, 3.5, 3.0)),
    "exc": Manner(200, 75, 85, -22, (4.5, 4.0, 3.5)),
    "neu": Manner(165, 45, 45, -26, (3.0, 2.5, 2.5)),
    "sad": Manner(130, 35, 15, -32, (2.0, 2.0, 2.0)),
    "fru": Manner(185, 48, 60, -24, (2.5, 3.0, 3.0)),
    "sur": Manner(185, 80, 90, -23, (3.5, 3.5, 3.0)),
    "fea": Manner(225, 75, 40, -27, (2.0, 3.5, 1.5)),
    "dis": Manner(145, 40, 70, -25, (2.0, 3.0, 3.5)),
    "oth": Manner(170, 50, 50, -26, (3.0, 3.0, 3.0)),
    "xxx": Manner(175, 55, 60, -25, (3.0, 3.0, 3.0)),  # no two raters agreed
}
JITTER = Manner(14, 6, 12, 1.5, (0.4, 0.4, 0.4))  # standard deviations from turn to turn

# What each actor says in all, dealt to eight dialogues: six turns of the four classes and one other to each.
CLASSES = ["ang"] * 12 + ["hap"] * 7 + ["exc"] * 5 + ["neu"] * 12 + ["sad"] * 12
OTHERS = ["fru", "fru", "xxx", "xxx", "sur", "fea", "oth", "dis"]
DIALOGUES = len(OTHERS)
LINES = len(CLASSES) // DIALOGUES + 1

# Facts placeholder


@dataclass(frozen=True)
class Turn:
    """What is said, by whom and how; the sentence is empty where the actor only laughs."""

    name: str
    label: str
    sentence: str

    @property
    def actor(self) -> str:
        """Session and the letter after the last underscore, such as `01F`."""
        return self.name[3:5] + self.name.rpartition("_")[2][0]


def read(data: Path | None, partial: bool = False) -> Corpus:
    """Examine the mini corpus in the folder `data`, after making it if it is absent or out of date.

    Parameters
    ----------
    data
        The folder that holds the release, or the release itself; None: `.cache/mini` of this repository.
    partial
        As for IEMOCAP: go on with what is sound.

    Raises
    ------
    UserError
        The corpus cannot be made there, or is broken.
    """
    data = DEFAULT_PLACE if data is None else Path(data)
    folder = data.parent if (data / STAMP).is_file() else data
    return iemocap.read_release(make(folder), FACTS, partial)


def make(folder: Path, seed: int = 1) -> Path:
    """Make the release `folder/IEMOCAP_mini_release`, whole or not at all, and return it.

    One that the same code made from the same seed is left as it is, and an older one is replaced.

    Raises
    ------
    UserError
        libespeak-ng is missing, the folder cannot be written, or something else has that name.
    """
    release, stamp = Path(folder) / RELEASE, _stamp(seed)
    if _is_made(release, stamp):
        return release
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{RELEASE}.") as temporary:
            fresh = Path(temporary) / "fresh"
            _write_release(fresh, seed)
            (fresh / STAMP).write_text(stamp, encoding="utf-8")
            _publish(fresh, release, stamp)
    except OSError as error:
        raise UserError(f"cannot make the mini corpus in {folder}: {error}", "name another folder: --data") from None
    return release


def _stamp(seed: int) -> str:
    """What decides every byte of the release, in a file that also tells a reader what the folder is."""
    made_by = digest(Path(__file__), Path(espeak.__file__), SENTENCES, espeak.version(), str(seed))
    return f"{made_by}\nSynthetic voices in the shape of IEMOCAP, made by {__name__} from seed {seed}.\n"


def _is_made(release: Path, stamp: str) -> bool:
    """Tell whether the release is there as `stamp` says; what is not a mini corpus is never touched."""
    try:
        return (release / STAMP).read_text(encoding="utf-8") == stamp
    except FileNotFoundError:
        if release.exists():
            raise UserError(f"{release} is not a mini corpus", "move it away, or name another folder: --data") from None
        return False


def _publish(fresh: Path, release: Path, stamp: str) -> None:
    """Rename `fresh` to `release`. Where another process does the same at once, one of the two stays."""
    while not _is_made(release, stamp):
        try:
            if release.exists():
                os.rename(release, fresh.with_name("stale"))
            os.rename(fresh, release)
        except OSError:
            if not _is_made(release, stamp):
                raise


def _write_release(root: Path, seed: int) -> None:
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    for session in range(1, 6):
        dialogues = _dialogues(session, sentences, seed)
        for dialogue, turns in dialogues.items():
            _write_dialogue(root / f"Session{session}", dialogue, turns, seed)


def _recordings(session: int) -> list[str]:
    """Names of a session's eight dialogues, two of each kind with the markers on either actor."""
    suffixed = {
        "Ses03M_impro01": "Ses03M_impro05b",
        "Ses03M_impro05": "Ses03M_impro05a",
        "Ses05M_script01_1": "Ses05M_script01_1b",
    }
    names = [
        f"Ses{session:02}{letter}_{kind}"
        for letter in "FM"
        for kind in ("impro01", "impro05", "script01_1", "script02_1")
    ]
    return [suffixed.get(name, name) for name in names]


def _dialogues(session: int, sentences: list[str], seed: int) -> dict[str, list[Turn]]:
    """Deal classes and sentences to the dialogues of a session."""
    script = Random(f"{seed} script").sample(sentences, 4 * LINES)
    said: dict[str, list[Turn]] = {}
    parts = {letter: _part(session, letter, sentences, script, seed) for letter in "FM"}
    for recording in _recordings(session):
        order = list("FM" * LINES)
        if "impro" in recording:
            Random(f"{seed} {recording}").shuffle(order)
        said[recording] = [next(parts[letter]) for letter in order]
    return said


def _part(session, letter, sentences, script, seed) -> Iterator[Turn]:
    """Yield all that one actor says in a session, dialogue after dialogue."""
    rng = Random(f"{seed} Ses{session:02}{letter}")
    classes, others = rng.sample(CLASSES, len(CLASSES)), rng.sample(OTHERS, len(OTHERS))
    improvised = iter(rng.sample(sentences, DIALOGUES // 2 * LINES))
    for number, recording in enumerate(_recordings(session)):
        labels = classes[number * (LINES - 1) : (number + 1) * (LINES - 1)] + [others[number]]
        rng.shuffle(labels)
        first = ("script02" in recording) * 2 * LINES + (letter == "M") * LINES
        lines = iter(script[first : first + LINES]) if "script" in recording else improvised
        for line, label in enumerate(labels):
            yield Turn(f"{recording}_{letter}{line:03}", label, next(lines))
