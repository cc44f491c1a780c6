"""Reading a release in IEMOCAP's shape, and naming everything in it that is missing or broken.

SessionN/dialog/EmoEvaluation/<dialogue>.txt
    One line a turn, `[start - end] TAB turn TAB label TAB [valence, activation, dominance]`, in seconds.
    Its header begins with %; below each turn are its raters' lines, see `local.corpora.iemocap_ratings`. The
    sub-folders have the same ratings, by rater, and are skipped.
SessionN/dialog/transcriptions/<dialogue>.txt
    One line a turn, `turn [start-end]: text`. It also holds turns `_FXX0`, `_MXX1` that nobody rated,
    and lines that belong to no turn.
SessionN/sentences/wav/<dialogue>/<turn>.wav
    16 kHz, one channel.

AppleDouble files lie between them (`._Ses01F_impro01.txt`, `._Ses01F_impro01_F000.wav`), which no name
below matches. Reading goes on after a fault, so that a user sees all of them at once. Text that is not
UTF-8 is read as Latin-1, with a warning.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from local.audio.header import SAMPLE_RATE
from local.audio.header import examine as examine_audio
from local.corpora.faults import Fault
from local.corpora.iemocap_ratings import Ratings
from local.corpora.names import Disk
from local.text.normalise import ENGLISH, normalise

# The labels of turns, and the emotion as which they are used, if at all.
EMOTION = {"ang": "ang", "hap": "hap", "exc": "hap", "neu": "neu", "sad": "sad"}
LABELS = (*EMOTION, "fru", "xxx", "sur", "fea", "oth", "dis")

SESSION = re.compile(r"Session(?P<number>[1-9][0-9]*)")
DIALOGUE = re.compile(r"(?P<session>Ses\d\d)[FM]_(?:impro|script)\w{1,32}")
TURN = re.compile(rf"(?P<dialogue>{DIALOGUE.pattern})_[FM]\d+")
SECONDS = r"\d+(?:\.\d+)?"
EVALUATION_LINE = re.compile(
    rf"\[\s*(?P<start>{SECONDS})\s*-\s*(?P<end>{SECONDS})\s*\]\s+(?P<turn>\S+)\s+(?P<label>\S+)\s+"
    r"\[(?P<means>[^\]]*)\]"
)
TRANSCRIPT_LINE = re.compile(rf"(?P<turn>[^\s\[]+)\s*\[\s*{SECONDS}\s*-\s*{SECONDS}\s*\]\s*:?\s*(?P<text>.*)")

# What each dialogue of a session has, and where.
PARTS = {
    "evaluation file": ("dialog/EmoEvaluation", ".txt"),
    "transcription file": ("dialog/transcriptions", ".txt"),
    "folder of wavs": ("sentences/wav", ""),
}


@dataclass(frozen=True)
class Turn:
    """One turn of a dialogue, such as `Ses01F_impro01_M003`.

    The F before the first underscore is who wears the markers in that recording; the M after the last is who speaks.
    """

    name: str
    label: str  # what the raters agreed on: one of `LABELS`, unless the release has a fault
    wav: str  # path of the audio file, relative to the release
    duration: float | None  # seconds; None where the audio is missing or broken
    text: str  # the transcript as in the release; empty where there is none
    ratings: Ratings = field(default_factory=Ratings)


def session_folders(root: Path) -> dict[str, str]:
    """The folders of a release, by the session's name in the corpus: {"Ses01": "Session1", ...}."""
    matches = (SESSION.fullmatch(name) for name in sorted(os.listdir(root)) if os.path.isdir(root / name))
    return {f"Ses{int(match['number']):02d}": match[0] for match in matches if match}


def examine(root: Path, sessions: Iterable[str]) -> tuple[list[Turn], list[Fault], list[str]]:
    """Read every turn of a release, whatever its label, and the header of every wav; return its faults and warnings.

    `root` holds `Session1`, `Session2` and so on; `sessions` are required (`Ses01`, ...), others are read too.
    """
    reader = _Reader(root)
    folders = session_folders(root)
    for session in sorted(set(sessions) - set(folders)):
        reader.missing(f"Session{int(session[3:])}", "folder of the session is missing")
    turns = [turn for session in sorted(folders) for turn in reader.session(session, folders[session])]
    return turns, reader.faults, reader.warnings


class _Reader:
    """Reads one release and collects its faults and warnings; paths are relative to its root, as in the faults.

    A file or folder that cannot be read at all is one fault and becomes None, so that a missing file
    is not a fault of each turn in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.warnings: list[str] = []
        self.disk = Disk(root)

    def missing(self, path: str, reason: str, ID: str = "") -> None:
        """Note that a file or folder is missing, and which is there of that name in another case."""
        self.fault(path, reason + self.disk.other_case(path), ID=ID)

    def fault(self, file: str, reason: str, line: int | None = None, ID: str = "") -> None:
        self.faults.append(Fault(file, line, ID, reason))

    def session(self, session: str, folder: str) -> list[Turn]:
        listed = {
            part: self._dialogues(session, f"{folder}/{place}", suffix) for part, (place, suffix) in PARTS.items()
        }
        if listed["evaluation file"] is None:
            return []
        turns = []
        for dialogue in sorted(set().union(*(names or () for names in listed.values()))):
            for part, names in listed.items():
                if names is not None and dialogue not in names:
                    place, suffix = PARTS[part]
                    self.missing(f"{folder}/{place}/{dialogue}{suffix}", f"{part} of the dialogue is missing")
            present = {part for part, names in listed.items() if dialogue in (names or ())}
            turns += self._dialogue(dialogue, folder, present)
        return turns

    def _list(self, folder: str) -> list[str] | None:
        try:
            return sorted(os.listdir(self.root / folder))
        except OSError as error:
            self.missing(folder, f"folder is missing or cannot be read ({error.strerror})")
            return None

    def _dialogues(self, session: str, folder: str, suffix: str) -> set[str] | None:
        """The dialogues that have a file (or, without a suffix, a folder) in `folder`."""
        names = self._list(folder)
        if names is None:
            return None
        dialogues = set()
        for name in names:
            match = DIALOGUE.fullmatch(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if match and match["session"] == session:
                dialogues.add(match[0])
            elif match:
                self.fault(f"{folder}/{name}", "dialogue in the folder of another session")
        return dialogues

    def _dialogue(self, dialogue: str, folder: str, present: set[str]) -> list[Turn]:
        evaluation, transcription, wavs = (f"{folder}/{place}/{dialogue}{suffix}" for place, suffix in PARTS.values())
        rated = self._evaluation(evaluation, dialogue) if "evaluation file" in present else None
        texts = self._transcription(transcription) if "transcription file" in present else None
        files = self._wavs(wavs) if "folder of wavs" in present else None
        if rated is None:
            return []
        turns = []
        for name, (label, ratings) in rated.items():
            wav, duration = f"{wavs}/{name}.wav", None
            if texts is not None and name not in texts:
                self.fault(transcription, f"turn '{name}' has no line", ID=name)
            if files is not None and name not in files:
                self.missing(wav, "wav of the turn is missing", ID=name)
            elif files is not None:
                duration = self._duration(wav, name)
            turns.append(Turn(name, label, wav, duration, (texts or {}).get(name, ""), ratings))
        for name in sorted((files or set()) - set(rated)):
            self.fault(f"{wavs}/{name}.wav", "wav of a turn that is not in the evaluation file", ID=name)
        return turns

    def _lines(self, path: str) -> list[str] | None:
        try:
            content = (self.root / path).read_bytes()
        except OSError as error:
            self.fault(path, f"text file cannot be read ({error.strerror})")
            return None
        lines, foreign = [], []
        # Not splitlines(): it also breaks at characters that are no line ends to an editor.
        for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
            try:
                lines.append(line.decode().strip())
            except UnicodeDecodeError:
                # What calls itself Latin-1 is Windows-1252, with typographic apostrophes where Latin-1 has controls.
                lines.append(line.decode("cp1252", errors="replace").strip())
                foreign.append(number)
        if foreign and b"\0" in content:
            self.fault(path, "text file is not UTF-8", foreign[0])
            return None
        if foreign:
            more = f" (and {len(foreign) - 1} more lines)" if len(foreign) > 1 else ""
            self.warnings.append(f"{path}:{foreign[0]}{more}: text is not UTF-8; it is read as Latin-1")
        return lines

    def _evaluation(self, path: str, dialogue: str) -> dict[str, tuple[str, Ratings]] | None:
        """Read the label of each turn and what its raters said; None where the file holds no turn."""
        rated: dict[str, tuple[str, Ratings]] = {}
        ratings = Ratings()  # of the turn above; of one with a fault they go nowhere
        lines = self._lines(path)
        for number, line in enumerate(lines or [], 1):
            # A line that names a turn is a turn's line, even without its bracket.
            if line.startswith("%") or not (line.startswith("[") or TURN.search(line)):
                ratings.add(line)
                continue
            ratings = Ratings()
            match = EVALUATION_LINE.fullmatch(line)
            turn = match and TURN.fullmatch(match["turn"])
            if not turn:
                self.fault(path, f"malformed evaluation line {line[:80]!r}", number)
                continue
            name, label = match["turn"], match["label"]
            if turn["dialogue"] != dialogue:
                self.fault(path, f"turn '{name}' of another dialogue", number, name)
                continue
            if name in rated:
                self.fault(path, f"turn '{name}' is evaluated twice", number, name)
                continue
            ratings = Ratings.of_line(match["means"])
            rated[name] = label, ratings
            if label not in LABELS:
                self.fault(path, f"turn '{name}' has the unknown label {label!r}", number, name)
            # Times may run backwards from turn to turn, as the file is in the order of the names.
            if float(match["end"]) < float(match["start"]):
                times = f"ends at {match['end']} s, before it starts at {match['start']} s"
                self.fault(path, f"turn '{name}' {times}", number, name)
        if lines is not None and not rated:
            self.fault(path, "evaluation file has no turn")
        return rated or None

    def _transcription(self, path: str) -> dict[str, str] | None:
        """Read the text of each turn; lines of no turn are skipped."""
        lines = self._lines(path)
        texts: dict[str, str] = {}
        for number, line in enumerate(lines or [], 1):
            match = TRANSCRIPT_LINE.fullmatch(line)
            if match and TURN.fullmatch(match["turn"]):
                name, text = match["turn"], match["text"]
                first = texts.setdefault(name, text)
                if text != first and normalise(text, ENGLISH) != normalise(first, ENGLISH):
                    self.fault(path, f"turn '{name}' has a different transcript above", number, name)
            elif not match and TURN.search(line):
                self.fault(path, f"malformed transcript line {line[:80]!r}", number)
        return None if lines is None else texts

    def _wavs(self, folder: str) -> set[str] | None:
        names = self._list(folder)
        if names is None:
            return None
        return {name[: -len(".wav")] for name in names if name.endswith(".wav") and not name.startswith("._")}

    def _duration(self, wav: str, name: str) -> float | None:
        """Seconds of a wav; None for one with faults."""
        wrong = []
        try:
            header = examine_audio(self.root / wav)
            if header.rate != SAMPLE_RATE:
                wrong.append(f"wav at {header.rate} Hz, not {SAMPLE_RATE}")
            if header.channels != 1:
                wrong.append(f"wav with {header.channels} channels, not 1")
        except OSError as error:
            wrong.append(str(error))
        for reason in wrong:
            self.fault(wav, reason, ID=name)
        return None if wrong else header.duration
