"""Folders in the exact shape of IEMOCAP_full_release, for tests: a small one and one of full size.

small_release(folder)
    Sessions 3 and 5, two dialogues each, 20 turns with every label and every trap, in a fraction of
    a second. `SMALL_FACTS` holds its counts, `SMALL` its turns.
full_release(folder)
    151 dialogues, 10,039 turns; the 5,531 that are used have the real corpus's counts of emotions,
    styles, sessions, speakers and recordings (also jointly by recording and speaker), in about a second.
    Which emotion falls to which speaker is made up, and so are all words.

Both return the path of `<folder>/IEMOCAP_full_release`. The wavs are tones of a tenth of a second or so.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
import random
import struct
import wave
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from local.corpora.iemocap import Facts

ROOT_NAME = "IEMOCAP_full_release"
# What macOS leaves beside each file; its byte 0xb0 is no UTF-8.
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02\x00\x00\x00\x09\x00\x00\x002\x00\x00\x0e\xb0"


@dataclass(frozen=True)
class TreeTurn:
    """A turn to be written: its place in the dialogue (`F000`), label, words and length in samples."""

    place: str
    label: str
    text: str
    frames: int = 1600


@functools.cache
def wav_bytes(frames: int = 1600, rate: int = 16_000, channels: int = 1) -> bytes:
    """Return a 16-bit PCM wav file with a 440 Hz tone."""
    tone = (round(8000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(frames))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, 2, rate, frames, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<h", sample) * channels for sample in tone))
    return file.getvalue()


def write_dialogue(root: Path, dialogue: str, turns: list[TreeTurn]) -> None:
    """Write one dialogue's evaluation, transcription and wavs, with the AppleDouble files between them.

    As in the release, the evaluation is in the order of the turns' names, and the transcription in that
    of time: turns are spoken in the order given, each from 5 s after the last one's start.
    """
    session = root / f"Session{int(dialogue[3:5])}"
    evaluation = session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
    transcription = session / "dialog" / "transcriptions" / f"{dialogue}.txt"
    wavs = session / "sentences" / "wav" / dialogue
    for folder in (evaluation.parent / "Categorical", evaluation.parent / "Attribute", transcription.parent, wavs):
        folder.mkdir(parents=True, exist_ok=True)
    rated, spoken = [], []
    for i, turn in enumerate(turns):
        start, end, name = 6.2901 + 5 * i, 6.2901 + 5 * i + turn.frames / 16_000, f"{dialogue}_{turn.place}"
        raters = "C-E2:\tNeutral;\t()\nC-F1:\tNeutral; Anger;\t(guarded)\nA-E3:\tval 3; act 2; dom  2;\t()\n"
        rated.append((name, f"[{start:.4f} - {end:.4f}]\t{name}\t{turn.label}\t[2.5000, 2.5000, 2.5000]\n{raters}\n"))
        spoken.append(f"{name} [{start:08.4f}-{end:08.4f}]: {turn.text}\n")
        # No two turns have the same audio: the last samples are made of the name.
        mark = hashlib.blake2b(name.encode(), digest_size=8).digest() if turn.frames >= 4 else b""
        (wavs / f"{name}.wav").write_bytes(wav_bytes(turn.frames)[: -len(mark) or None] + mark)
    header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    evaluation.write_text(header + "".join(block for _, block in sorted(rated)))
    # Turns that nobody rated, and lines that belong to no turn.
    spoken.insert(1, f"{dialogue}_FXX0 [007.5712-010.4750]: [BREATHING]\n{dialogue}_MXX1 [008.0000-009.0000]: Hm.\n")
    transcription.write_text("".join(spoken) + "M: It is not written when.\n\n")
    (evaluation.parent / "Categorical" / f"{dialogue}_e2_cat.txt").write_text(f"{dialogue}_F000 :Anger; ()\n")
    (evaluation.parent / "Attribute" / f"{dialogue}_e3_atr.txt").write_text(f"{dialogue}_F000 :act 9; ()\n")
    for path in (evaluation, transcription, wavs / f"{dialogue}_{turns[0].place}.wav"):
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)


SMALL = {
    "Ses03F_impro01": [
        TreeTurn("F000", "neu", "Good morning.", 1600),
        TreeTurn("M000", "fru", "Is it? I've been waiting for an hour.", 1616),
        TreeTurn("F001", "neu", "I'm sorry to hear that.", 1632),
        TreeTurn("M001", "ang", "You're not sorry [LAUGHTER], are you?", 1648),
        TreeTurn("M002", "xxx", "Well-known tricks.", 1664),
    ],
    "Ses03M_impro05a": [
        TreeTurn("M000", "exc", "We won, we won!", 3200),
        TreeTurn("F000", "hap", "No way!", 3216),
        TreeTurn("F001", "sur", "How much?", 3232),
        TreeTurn("M001", "sad", "", 3248),
        TreeTurn("F002", "oth", "Tell me.", 3264),
    ],
    "Ses05F_script02_1": [
        TreeTurn("F000", "sad", "I miss the sea.", 4800),
        TreeTurn("M000", "neu", "It is still there.", 4816),
        TreeTurn("F001", "sad", "[BREATHING]", 4832),
        TreeTurn("F002", "fea", "And if it is not?", 4848),
        TreeTurn("M001", "exc", "Then we shall look: I've got a map!", 4864),
    ],
    "Ses05M_script01_1b": [
        TreeTurn("F000", "ang", "Who moved the chair?", 6400),
        TreeTurn("M000", "ang", "Nobody moved it.", 6416),
        TreeTurn("F001", "dis", "It smells in here.", 6432),
        TreeTurn("M001", "hap", "That is supper.", 6448),
        TreeTurn("M002", "neu", "Sit down [026.2901-027.0000]: all of you.", 6464),
    ],
}
# Counted by hand.
SMALL_FACTS = Facts(
    name="small",
    source="a small release",
    n_turns=20,
    emotions={"ang": 3, "hap": 4, "neu": 4, "sad": 3},
    sessions={"Ses03": 6, "Ses05": 8},
    speakers={"03F": 3, "03M": 3, "05F": 3, "05M": 5},
    styles={"impro": 6, "script": 8},
    folds={"03F": 3, "03M": 3, "05F": 4, "05M": 4},
    merged={"hap": 2, "exc": 2},
    emotion_styles={
        **{"ang impro": 1, "hap impro": 2, "neu impro": 2, "sad impro": 1},
        **{"ang script": 2, "hap script": 2, "neu script": 2, "sad script": 2},
    },
)


def small_release(folder: Path) -> Path:
    """Write the small release below `folder` and return its root."""
    root = Path(folder) / ROOT_NAME
    for dialogue, turns in SMALL.items():
        write_dialogue(root, dialogue, turns)
    return root


# Used turns by (who wears the markers, who speaks), and by (emotion, style) as they are labelled: the sums
# over either are published, and that 2,280 improvised turns are left without the excited ones.
RECORDED_SPOKEN = {
    ("01F", "F"): 237, ("01F", "M"): 270, ("01M", "F"): 291, ("01M", "M"): 287,
    ("02F", "F"): 231, ("02F", "M"): 274, ("02M", "F"): 250, ("02M", "M"): 268,
    ("03F", "F"): 264, ("03F", "M"): 272, ("03M", "F"): 258, ("03M", "M"): 357,
    ("04F", "F"): 283, ("04F", "M"): 270, ("04M", "F"): 245, ("04M", "M"): 233,
    ("05F", "F"): 307, ("05F", "M"): 337, ("05M", "F"): 283, ("05M", "M"): 314,
}  # fmt: skip
LABELLED = {
    ("neu", "impro"): 1099, ("neu", "script"): 609,
    ("ang", "impro"): 289, ("ang", "script"): 814,
    ("hap", "impro"): 284, ("hap", "script"): 311,
    ("exc", "impro"): 663, ("exc", "script"): 378,
    ("sad", "impro"): 608, ("sad", "script"): 476,
}  # fmt: skip
OTHER_LABELS = {"fru": 1849, "xxx": 2507, "sur": 107, "fea": 40, "oth": 3, "dis": 2}
ALL_OF_SESSION = {"01": 1819, "02": 1811, "03": 2136, "04": 2103, "05": 2170}
WORDS = """
    the quick brown fox jumps over a lazy dog I don't know what you're saying please sit down and tell me why
    we never go out it's all right maybe tomorrow with zinc boxes [LAUGHTER] half-hearted
"""


def dialogues(recorded: str, style: str) -> list[str]:
    """Name the dialogues of a style in which one actor (`03M`) wears the markers, as the release does."""
    scenes = ["01_1", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2"] + ["01_1b"] * (recorded == "05M")
    if style == "impro":
        scenes = [f"{number:02d}" for number in range(1, 8 if recorded.startswith("01") else 9)]
        if recorded == "03M":
            scenes[7:] = ["08a", "08b"]
            scenes[4:5] = ["05a", "05b"]
    return [f"Ses{recorded}_{style}{scene}" for scene in scenes]


def full_release(folder: Path) -> Path:
    """Write a release of full size below `folder` and return its root."""
    root = Path(folder) / ROOT_NAME
    chance = random.Random(2008)
    spoken = [key for key, count in RECORDED_SPOKEN.items() for _ in range(count)]
    labelled = [key for key, count in LABELLED.items() for _ in range(count)]
    for session, count in ALL_OF_SESSION.items():
        others = count - sum(recorded.startswith(session) for recorded, _ in spoken)
        spoken += [(session + "FM"[i % 2], "FM"[i // 2 % 2]) for i in range(others)]
    others = [(label, ("impro", "script")[i % 2]) for label, count in OTHER_LABELS.items() for i in range(count)]
    # Any pairing keeps the sums of either side, so chance may pair them.
    chance.shuffle(labelled)
    chance.shuffle(others)
    dealt: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for (recorded, speaker), (label, style) in zip(spoken, labelled + others, strict=True):
        dealt[recorded, style].append((speaker, label))
    for (recorded, style), turns in dealt.items():
        chance.shuffle(turns)
        names = dialogues(recorded, style)
        for i, dialogue in enumerate(names):
            write_dialogue(root, dialogue, _numbered(turns[i :: len(names)], chance))
    return root


def _numbered(turns: list[tuple[str, str]], chance: random.Random) -> list[TreeTurn]:
    """Number each speaker's turns from 000 and put words into their mouths."""
    spoken = {"F": 0, "M": 0}
    result = []
    for speaker, label in turns:
        text = " ".join(chance.choices(WORDS.split(), k=chance.randint(1, 20)))
        result.append(TreeTurn(f"{speaker}{spoken[speaker]:03d}", label, text))
        spoken[speaker] += 1
    return result
