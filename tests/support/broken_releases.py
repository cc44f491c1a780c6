"""Releases in IEMOCAP's shape, broken in one way each: how, its faults, and the utterances that are lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from iemocap_tree import wav_bytes

EVALUATION = "Session3/dialog/EmoEvaluation/Ses03F_impro01.txt"  # F000 in line 3, F001 8, M000 13, M001 18, M002 23
TRANSCRIPTION = "Session3/dialog/transcriptions/Ses03F_impro01.txt"  # F000 in line 1, M000 4, F001 5, M001 6, M002 7
WAVS = "Session3/sentences/wav/Ses03F_impro01"
F000, F001, M001 = (f"Ses03F_impro01_{place}" for place in ("F000", "F001", "M001"))
OF_DIALOGUE = {F000, F001, M001}
OF_SESSION = OF_DIALOGUE | {f"Ses03M_impro05a_{place}" for place in ("M000", "F000", "M001")}
ABSENT = "folder is missing or cannot be read (No such file or directory)"

OTHER_EVALUATION = "Session3/dialog/EmoEvaluation/Ses03M_impro05a.txt"

Breaker = Callable[[Path], object]


def remove(path: str) -> Breaker:
    return lambda root: shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def write(path: str, content: bytes) -> Breaker:
    return lambda root: (root / path).write_bytes(content)


def cut(path: str, size: int) -> Breaker:
    return lambda root: os.truncate(root / path, size)


def edit(path: str, old: str, new: str) -> Breaker:
    def apply(root: Path) -> None:
        text = (root / path).read_text()
        assert text.count(old) == 1
        (root / path).write_text(text.replace(old, new), encoding="latin-1")

    return apply


def relocate(root: Path) -> None:
    old, new = root / EVALUATION, root / EVALUATION.replace("Session3", "Session5")
    old.rename(new)


F000_LINE = "[6.2901 - 6.3901]\tSes03F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"
F001_LINE = "[16.2901 - 16.3921]\tSes03F_impro01_F001\tneu\t[2.5000, 2.5000, 2.5000]"
M000_LINE = "Ses03F_impro01_M000 [011.2901-011.3911]: Is it? I've been waiting for an hour."
CUT_LINE = "Ses03F_impro01_M000 [011.2901-0 Is it? I've been waiting for an hour."
LOST_BRACKET = F000_LINE.removeprefix("[")
LOST_LABEL = F000_LINE.replace("\tneu", "")
OTHER_TURN = F000_LINE.replace("Ses03F_impro01", "Ses03M_impro05a")
M000_OF_OTHER = "[6.2901 - 6.4901]\tSes03M_impro05a_M000\texc\t[2.5000, 2.5000, 2.5000]"
F000_WAV = f"{WAVS}/{F000}.wav: wav of a turn that is not in the evaluation file"

# What breaks it, the faults besides differing counts, and the utterances that `partial` goes on without.
BROKEN: dict[str, tuple[Breaker, list[str], set[str]]] = {
    "session": (remove("Session3"), ["Session3: folder of the session is missing"], OF_SESSION),
    "evaluations": (
        remove("Session3/dialog/EmoEvaluation"),
        [f"Session3/dialog/EmoEvaluation: {ABSENT}"],
        OF_SESSION,
    ),
    "transcriptions": (
        remove("Session3/dialog/transcriptions"),
        [f"Session3/dialog/transcriptions: {ABSENT}"],
        set(),
    ),
    "wavs": (remove("Session3/sentences"), [f"Session3/sentences/wav: {ABSENT}"], OF_SESSION),
    "evaluation": (remove(EVALUATION), [f"{EVALUATION}: evaluation file of the dialogue is missing"], OF_DIALOGUE),
    "transcription": (
        remove(TRANSCRIPTION),
        [f"{TRANSCRIPTION}: transcription file of the dialogue is missing"],
        set(),
    ),
    "wavs of a dialogue": (remove(WAVS), [f"{WAVS}: folder of wavs of the dialogue is missing"], OF_DIALOGUE),
    "evaluation elsewhere": (
        relocate,
        [
            f"{EVALUATION}: evaluation file of the dialogue is missing",
            f"{EVALUATION.replace('Session3', 'Session5')}: dialogue in the folder of another session",
        ],
        OF_DIALOGUE,
    ),
    "evaluation empty": (write(EVALUATION, b""), [f"{EVALUATION}: evaluation file has no turn"], OF_DIALOGUE),
    "evaluation not text": (
        edit(EVALUATION, F001_LINE, F001_LINE + " caf\xe9\0"),
        [f"{EVALUATION}:8: text file is not UTF-8"],
        OF_DIALOGUE,
    ),
    "transcription not text": (
        edit(TRANSCRIPTION, "an hour", "a caf\xe9\0"),
        [f"{TRANSCRIPTION}:4: text file is not UTF-8"],
        set(),
    ),
    "evaluation a folder": (
        lambda root: (remove(EVALUATION)(root), (root / EVALUATION).mkdir()),
        [f"{EVALUATION}: text file cannot be read (Is a directory)"],
        OF_DIALOGUE,
    ),
    "lost bracket": (
        edit(EVALUATION, F000_LINE, LOST_BRACKET),
        [f"{EVALUATION}:3: malformed evaluation line {LOST_BRACKET!r}", F000_WAV],
        {F000},
    ),
    "lost label": (
        edit(EVALUATION, F000_LINE, LOST_LABEL),
        [f"{EVALUATION}:3: malformed evaluation line {LOST_LABEL!r}", F000_WAV],
        {F000},
    ),
    "turn of another dialogue": (
        edit(EVALUATION, F000_LINE, OTHER_TURN),
        [f"{EVALUATION}:3: turn 'Ses03M_impro05a_F000' of another dialogue", F000_WAV],
        {F000},
    ),
    "unknown label": (
        edit(EVALUATION, F001_LINE, F001_LINE.replace("neu", "nue")),
        [f"{EVALUATION}:8: turn '{F001}' has the unknown label 'nue'"],
        {F001},
    ),
    "turn twice": (
        edit(EVALUATION, F001_LINE, F001_LINE + "\n" + F001_LINE.replace("neu", "sad")),
        [f"{EVALUATION}:9: turn '{F001}' is evaluated twice"],
        set(),
    ),
    "time backwards": (
        edit(EVALUATION, "[16.2901 - 16.3921]", "[16.3921 - 16.2901]"),
        [f"{EVALUATION}:8: turn '{F001}' ends at 16.2901 s, before it starts at 16.3921 s"],
        set(),
    ),
    "turn without a line": (
        edit(TRANSCRIPTION, "Ses03F_impro01_F000 [006.2901-006.3901]: Good morning.\n", ""),
        [f"{TRANSCRIPTION}: turn '{F000}' has no line"],
        set(),
    ),
    "two transcripts": (
        edit(TRANSCRIPTION, M000_LINE, M000_LINE + "\n" + M000_LINE.replace("Is it?", "It is!")),
        [f"{TRANSCRIPTION}:5: turn 'Ses03F_impro01_M000' has a different transcript above"],
        set(),
    ),
    "malformed transcript": (
        edit(TRANSCRIPTION, " [011.2901-011.3911]:", " [011.2901-0"),
        [
            f"{TRANSCRIPTION}:4: malformed transcript line {CUT_LINE!r}",
            f"{TRANSCRIPTION}: turn 'Ses03F_impro01_M000' has no line",
        ],
        set(),
    ),
    "wav missing": (remove(f"{WAVS}/{F000}.wav"), [f"{WAVS}/{F000}.wav: wav of the turn is missing"], {F000}),
    "wav of an unused turn missing": (
        remove(f"{WAVS}/Ses03F_impro01_M002.wav"),
        [f"{WAVS}/Ses03F_impro01_M002.wav: wav of the turn is missing"],
        set(),
    ),
    "wav of no turn": (
        write(f"{WAVS}/Ses03F_impro01_F009.wav", wav_bytes()),
        [f"{WAVS}/Ses03F_impro01_F009.wav: wav of a turn that is not in the evaluation file"],
        set(),
    ),
    "wav of 0 bytes": (cut(f"{WAVS}/{F000}.wav", 0), [f"{WAVS}/{F000}.wav: not audio, the file is empty"], {F000}),
    "wav of no samples": (
        write(f"{WAVS}/{F000}.wav", wav_bytes(0)),
        [f"{WAVS}/{F000}.wav: holds no samples"],
        {F000},
    ),
    "wav cut in its samples": (
        cut(f"{WAVS}/{F000}.wav", 2000),
        [f"{WAVS}/{F000}.wav: is cut short: its header promises 3244 bytes, it has 2000"],
        {F000},
    ),
    "wav of 44.1 kHz": (
        write(f"{WAVS}/{F000}.wav", wav_bytes(rate=44_100)),
        [f"{WAVS}/{F000}.wav: wav at 44100 Hz, not 16000"],
        {F000},
    ),
    "wav of two channels at 8 kHz": (
        write(f"{WAVS}/{F000}.wav", wav_bytes(rate=8000, channels=2)),
        [f"{WAVS}/{F000}.wav: wav at 8000 Hz, not 16000", f"{WAVS}/{F000}.wav: wav with 2 channels, not 1"],
        {F000},
    ),
    "turn in two dialogues": (
        edit(OTHER_EVALUATION, M000_OF_OTHER, M000_OF_OTHER + "\n" + F000_LINE),
        [f"{OTHER_EVALUATION}:19: turn '{F000}' of another dialogue"],
        set(),
    ),
    "session a link to itself": (
        lambda root: (remove("Session3")(root), (root / "Session3").symlink_to("Session3")),
        ["Session3: folder of the session is missing"],
        OF_SESSION,
    ),
    "session of another case": (
        lambda root: (root / "Session3").rename(root / "session3"),
        ["Session3: folder of the session is missing, but there is 'session3': only the case differs"],
        OF_SESSION,
    ),
    "wavs of a dialogue a link to itself": (
        lambda root: (remove(WAVS)(root), (root / WAVS).symlink_to(root / WAVS)),
        [f"{WAVS}: folder is missing or cannot be read (Too many levels of symbolic links)"],
        OF_DIALOGUE,
    ),
    "wav a link to itself": (
        lambda root: (remove(f"{WAVS}/{F000}.wav")(root), (root / WAVS / f"{F000}.wav").symlink_to(f"{F000}.wav")),
        [f"{WAVS}/{F000}.wav: Too many levels of symbolic links"],
        {F000},
    ),
    "wav of another case": (
        lambda root: (root / WAVS / f"{F000}.wav").rename(root / WAVS / f"{F000}.WAV"),
        [f"{WAVS}/{F000}.wav: wav of the turn is missing, but there is '{WAVS}/{F000}.WAV': only the case differs"],
        {F000},
    ),
}
